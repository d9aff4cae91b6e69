//! Test help: published payloads and emulated ones, compared by member names, their order and their JSON types.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::Rendered;

/// JSON without its values; the order of members is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Null,
    Bool,
    Number,
    Text,
    List(Vec<Shape>),
    Object(Vec<(String, Shape)>),
}

impl Shape {
    pub(super) fn of(json: &str) -> Self {
        serde_json::from_str(json).expect("JSON")
    }

    /// Without the member at `path` (`data.room`).
    pub(super) fn without(mut self, path: &str) -> Self {
        fn remove(shape: &mut Shape, path: &str) {
            let Shape::Object(members) = shape else {
                panic!("no object on the way to {path}");
            };
            match path.split_once('.') {
                None => members.retain(|(name, _)| name != path),
                Some((first, rest)) => members
                    .iter_mut()
                    .filter(|(name, _)| name == first)
                    .for_each(|(_, member)| remove(member, rest)),
            }
        }
        remove(&mut self, path);
        self
    }

    /// Every location where `self` differs from `other`. An explicit null counts as a value: which it is depends on the
    /// call. Lists are compared by their first elements.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        fn compare(place: &str, one: &Shape, other: &Shape, found: &mut Vec<String>) {
            match (one, other) {
                (Shape::Object(one), Shape::Object(other)) => {
                    let names = |members: &[(String, Shape)]| {
                        let names: Vec<String> =
                            members.iter().map(|(name, _)| name.clone()).collect();
                        names
                    };
                    if names(one) != names(other) {
                        found.push(format!("{place}: {:?} not {:?}", names(one), names(other)));
                    }
                    let other: BTreeMap<&String, &Shape> =
                        other.iter().map(|(name, member)| (name, member)).collect();
                    for (name, member) in one {
                        if let Some(counterpart) = other.get(name) {
                            compare(&format!("{place}.{name}"), member, counterpart, found);
                        }
                    }
                }
                (Shape::List(one), Shape::List(other)) => {
                    if let (Some(one), Some(other)) = (one.first(), other.first()) {
                        compare(&format!("{place}[]"), one, other, found);
                    }
                }
                (Shape::Null, _) | (_, Shape::Null) => {}
                (one, other) if one == other => {}
                (one, other) => found.push(format!("{place}: {one:?} not {other:?}")),
            }
        }
        let mut found = Vec::new();
        compare("$", self, other, &mut found);
        found
    }
}

/// The one event of a published payload. Tests that need one are ignored where there are none.
pub(super) fn sample(file: &str) -> Shape {
    let folder = std::env::var_os("HOOKSWITCH_SAMPLES").expect("HOOKSWITCH_SAMPLES is set");
    let path = Path::new(&folder).join("samples").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match Shape::of(&text) {
        Shape::List(events) => events.first().cloned().expect("an event"),
        event => event,
    }
}

/// Compares with the file of that name, whole or, where it is a fragment, its data. `without` names members that one of the
/// two has and the other not, each with its reason at the call.
#[track_caller]
pub(super) fn check_sample(event: &Rendered, file: &str, without: &[&str]) {
    let published = sample(file);
    let mut emulated = Shape::of(event.event.get());
    if file.starts_with("fragment-") {
        let Shape::Object(members) = emulated else {
            panic!("an event is an object");
        };
        (_, emulated) = members
            .into_iter()
            .find(|(name, _)| name == "data")
            .expect("data");
    }
    let strip = |shape: Shape| {
        without
            .iter()
            .fold(shape, |shape, path| shape.without(path))
    };
    let differences = strip(emulated).differences(&strip(published));
    assert!(differences.is_empty(), "{file}: {differences:#?}");
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Shape;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Bool)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
                Ok(Shape::Number)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
                Ok(Shape::Number)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
                Ok(Shape::Number)
            }
            fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
                Ok(Shape::Text)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Shape::List(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Shape::Object(members))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
