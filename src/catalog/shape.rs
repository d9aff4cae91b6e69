//! The structure that a schema describes, as a tree to walk along an event: unknown members and enum values are drift
//! (schemas/README.md, "A row"). Validity is the validator's job.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{pointer::escape, references};

/// Annotation keyword: the values that were known when the schema was written. Not `enum`, which would refuse others.
const KNOWN_VALUES: &str = "x-known-values";
/// Keywords whose subschemas describe the same value as the schema that contains them.
const SAME_VALUE: [&str; 7] = ["$ref", "allOf", "anyOf", "oneOf", "if", "then", "else"];
/// Maximum drift reported for one event; the sender does not decide how much is remembered.
const DRIFT_LIMIT: usize = 64;
/// Longest member name written out, characters.
const NAME_LIMIT: usize = 100;

/// Names one [`Shape`] in [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShapeId(usize);

/// Every shape of a catalogue. Kept by number because a schema may refer to itself.
#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

#[derive(Debug, Default)]
struct Shape {
    members: HashMap<String, ShapeId>,
    other_members: OtherMembers,
    items: Option<ShapeId>,
    known_values: Option<HashSet<String>>,
}

/// The meaning of a member that is not described by name.
#[derive(Debug, Default)]
enum OtherMembers {
    /// Nothing is described, or the schema says `additionalProperties: true`: a free map.
    #[default]
    Free,
    /// A map whose values have a shape.
    Shaped(ShapeId),
    /// Other members are described, and this one is not.
    Drift,
}

/// The location of a schema: file and JSON Pointer within.
type Location = (String, String);

/// Turns schemas into shapes. Several schemas may describe one value (`$ref` beside `properties`, `allOf`), so a shape
/// belongs to a set of locations; the same set is the same shape.
pub(super) struct ShapeBuilder<'a> {
    files: &'a BTreeMap<String, Value>,
    shapes: Shapes,
    known: HashMap<BTreeSet<Location>, ShapeId>,
}

impl<'a> ShapeBuilder<'a> {
    pub(super) fn new(files: &'a BTreeMap<String, Value>) -> Self {
        Self {
            files,
            shapes: Shapes::default(),
            known: HashMap::new(),
        }
    }

    pub(super) fn finish(self) -> Shapes {
        self.shapes
    }

    /// The shape of everything that `file` describes.
    pub(super) fn shape_of_file(&mut self, file: &str) -> ShapeId {
        self.shape_of(BTreeSet::from([(file.to_owned(), String::new())]))
    }

    fn shape_of(&mut self, places: BTreeSet<Location>) -> ShapeId {
        let all = self.with_same_value(places);
        if let Some(id) = self.known.get(&all) {
            return *id;
        }
        // Registered before its members are visited, so that a schema that refers to itself terminates here.
        let id = ShapeId(self.shapes.0.len());
        self.shapes.0.push(Shape::default());
        self.known.insert(all.clone(), id);

        let mut members: BTreeMap<String, BTreeSet<Location>> = BTreeMap::new();
        let mut items = BTreeSet::new();
        let mut map_values = BTreeSet::new();
        let mut is_free_map = false;
        let mut known_values: Option<HashSet<String>> = None;
        for (file, pointer) in &all {
            let Some(schema) = self.schema(file, pointer) else {
                continue;
            };
            let child = |rest: &str| (file.clone(), format!("{pointer}/{rest}"));
            if let Some(Value::Object(properties)) = schema.get("properties") {
                for name in properties.keys() {
                    members
                        .entry(name.clone())
                        .or_default()
                        .insert(child(&format!("properties/{}", escape(name))));
                }
            }
            if schema.get("items").is_some() {
                items.insert(child("items"));
            }
            match schema.get("additionalProperties") {
                Some(Value::Object(_)) => {
                    map_values.insert(child("additionalProperties"));
                }
                Some(_) => is_free_map = true,
                None => {}
            }
            if let Some(Value::Array(values)) = schema.get(KNOWN_VALUES) {
                known_values
                    .get_or_insert_default()
                    .extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
            }
        }
        let other_members = if !map_values.is_empty() {
            OtherMembers::Shaped(self.shape_of(map_values))
        } else if is_free_map || members.is_empty() {
            OtherMembers::Free
        } else {
            OtherMembers::Drift
        };
        let shape = Shape {
            members: members
                .into_iter()
                .map(|(name, places)| (name, self.shape_of(places)))
                .collect(),
            other_members,
            items: (!items.is_empty()).then(|| self.shape_of(items)),
            known_values,
        };
        if let Some(slot) = self.shapes.0.get_mut(id.0) {
            *slot = shape;
        }
        id
    }

    /// `places` and all that describe the same value through [`SAME_VALUE`].
    fn with_same_value(&self, places: BTreeSet<Location>) -> BTreeSet<Location> {
        let mut all = BTreeSet::new();
        let mut open: Vec<Location> = places.into_iter().collect();
        while let Some(place) = open.pop() {
            if !all.insert(place.clone()) {
                continue;
            }
            let (file, pointer) = place;
            let Some(schema) = self.schema(&file, &pointer) else {
                continue;
            };
            for keyword in SAME_VALUE {
                match schema.get(keyword) {
                    Some(Value::String(reference)) => {
                        open.extend(references::resolve(&file, reference));
                    }
                    Some(Value::Object(_)) => {
                        open.push((file.clone(), format!("{pointer}/{keyword}")));
                    }
                    Some(Value::Array(several)) => open.extend(
                        (0..several.len())
                            .map(|n| (file.clone(), format!("{pointer}/{keyword}/{n}"))),
                    ),
                    _ => {}
                }
            }
        }
        all
    }

    fn schema(&self, file: &str, pointer: &str) -> Option<&'a Value> {
        self.files.get(file)?.pointer(pointer)
    }
}

/// The path from `data` to a value, kept on the stack so that an event without drift costs no allocation.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
}

impl Path<'_> {
    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        out.push('/');
        match self.name.char_indices().nth(NAME_LIMIT) {
            Some((end, _)) => {
                out.push_str(&escape(self.name.get(..end).unwrap_or_default()));
                out.push('…');
            }
            None => out.push_str(&escape(self.name)),
        }
    }
}

impl Shapes {
    /// Pointers to what `data` holds and the schema does not know; array indices are `*`, each pointer once.
    pub(super) fn drift(&self, id: ShapeId, data: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let root = Path {
            parent: None,
            name: "data",
        };
        self.walk(id, data, root, &mut found);
        found
    }

    fn walk(&self, id: ShapeId, value: &Value, path: Path<'_>, found: &mut Vec<String>) {
        let Some(shape) = self.0.get(id.0) else {
            return;
        };
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let path = Path {
                        parent: Some(&path),
                        name,
                    };
                    match (shape.members.get(name), &shape.other_members) {
                        (Some(described), _) => self.walk(*described, member, path, found),
                        (None, OtherMembers::Shaped(other)) => {
                            self.walk(*other, member, path, found);
                        }
                        (None, OtherMembers::Drift) => note(path, found),
                        (None, OtherMembers::Free) => {}
                    }
                }
            }
            Value::Array(several) => {
                if let Some(described) = shape.items {
                    let path = Path {
                        parent: Some(&path),
                        name: "*",
                    };
                    for item in several {
                        self.walk(described, item, path, found);
                    }
                }
            }
            Value::String(text) => {
                if let Some(known) = &shape.known_values
                    && !known.contains(text)
                {
                    note(path, found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn note(path: Path<'_>, found: &mut Vec<String>) {
    if found.len() < DRIFT_LIMIT {
        let mut pointer = String::new();
        path.write(&mut pointer);
        if !found.contains(&pointer) {
            found.push(pointer);
        }
    }
}
