//! JSON as required of callbacks: each body is parsed once, strictly, with the bytes that each value came from.
//!
//! `serde_json` is laxer than an interoperable reader may be according to RFC 8259: of two members with the same name
//! it keeps the last, where another reader keeps the first. [`Strict`] refuses that, and nesting beyond our limit.

use std::{cell::Cell, fmt};

use bytes::Bytes;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, map::Entry};

use super::{DecodeError, JsonProblem, position};

/// The limits of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most events in one callback.
    pub batch: usize,
    /// How deeply arrays and objects may be nested, the batch's array included; at most 127, where the JSON parser
    /// itself stops.
    pub depth: usize,
}

impl DecodeLimits {
    /// Nesting beyond this is refused (docs/src/operator/limits.md).
    pub const DEPTH: usize = 64;

    /// At most `batch` events, nested no deeper than [`DecodeLimits::DEPTH`].
    #[must_use]
    pub const fn new(batch: usize) -> Self {
        Self {
            batch,
            depth: Self::DEPTH,
        }
    }
}

/// One value and its bytes, a slice of the body without a copy.
pub(super) struct ParsedEvent {
    pub(super) raw: Bytes,
    pub(super) value: Value,
}

/// Reads a callback body: the elements of an array, or the one value that is not an array.
///
/// # Errors
/// [`DecodeError::Json`], [`DecodeError::EmptyArray`], [`DecodeError::TooManyEvents`].
pub(super) fn read(body: &Bytes, limits: &DecodeLimits) -> Result<Vec<ParsedEvent>, DecodeError> {
    let mut reader = Reader::new(body, limits)?;
    if reader.next() != Some(b'[') {
        return Ok(vec![reader.last_value(limits.depth)?]);
    }
    reader.position += 1;
    if reader.next() == Some(b']') {
        reader.position += 1;
        reader.end()?;
        return Err(DecodeError::EmptyArray);
    }
    let mut elements = Vec::new();
    loop {
        if elements.len() == limits.batch {
            return Err(DecodeError::TooManyEvents {
                limit: limits.batch,
            });
        }
        // The array is one level of the body's depth.
        elements.push(reader.value(limits.depth.saturating_sub(1))?);
        match reader.next() {
            Some(b',') => reader.position += 1,
            Some(b']') => {
                reader.position += 1;
                reader.end()?;
                return Ok(elements);
            }
            Some(_) => return Err(reader.syntax("expected `,` or `]`")),
            None => return Err(reader.syntax("the array does not end")),
        }
    }
}

/// Reads a body that is one value of any type: the data of binary mode.
///
/// # Errors
/// [`DecodeError::Json`].
pub(super) fn read_one(body: &Bytes, limits: &DecodeLimits) -> Result<ParsedEvent, DecodeError> {
    Reader::new(body, limits)?.last_value(limits.depth)
}

struct Reader<'b> {
    body: &'b Bytes,
    text: &'b str,
    /// Where the next value begins; always between two characters of `text`.
    position: usize,
    depth_limit: usize,
}

impl<'b> Reader<'b> {
    fn new(body: &'b Bytes, limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let problem = |offset, problem| Err(DecodeError::Json { offset, problem });
        let text = match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => return problem(error.valid_up_to(), JsonProblem::NotUtf8),
        };
        let mut reader = Self {
            body,
            text,
            position: 0,
            depth_limit: limits.depth,
        };
        if reader.next().is_none() {
            return problem(text.len(), JsonProblem::Empty);
        }
        Ok(reader)
    }

    /// Skips whitespace and returns the next byte without consuming it.
    fn next(&mut self) -> Option<u8> {
        let rest = self.rest();
        let inner = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.position += rest.len() - inner.len();
        inner.bytes().next()
    }

    fn rest(&self) -> &'b str {
        self.text
            .get(self.position..)
            .expect("the position only moves past ASCII and past whole values")
    }

    fn value(&mut self, depth: usize) -> Result<ParsedEvent, DecodeError> {
        // Nothing here reads past the value, so a batch is read once, whatever its number of elements; positions are
        // counted from the element, so an error costs one pass over that element.
        self.next();
        let start = self.position;
        let rest = self.rest();
        let mut deserializer = serde_json::Deserializer::from_str(rest);
        let broken = Cell::new(None);
        let seed = Strict {
            depth,
            broken: &broken,
        };
        let value = seed.deserialize(&mut deserializer).map_err(|error| {
            let stopped = position::of_error(&error, rest);
            let (offset, problem) = match broken.get() {
                Some(BrokenJson::DuplicateName) => {
                    (position::of_name(rest, stopped), JsonProblem::DuplicateName)
                }
                Some(BrokenJson::TooDeep) => (
                    position::of_level_beyond(rest, depth),
                    JsonProblem::TooDeep {
                        limit: self.depth_limit,
                    },
                ),
                None => (stopped, JsonProblem::of(&error)),
            };
            DecodeError::Json {
                offset: start + offset,
                problem,
            }
        })?;
        self.position = start + deserializer.into_iter::<IgnoredAny>().byte_offset();
        Ok(ParsedEvent {
            raw: self.body.slice(start..self.position),
            value,
        })
    }

    fn last_value(&mut self, depth: usize) -> Result<ParsedEvent, DecodeError> {
        let parsed = self.value(depth)?;
        self.end()?;
        Ok(parsed)
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(self.syntax("trailing characters")),
        }
    }

    fn syntax(&self, message: &str) -> DecodeError {
        DecodeError::Json {
            offset: self.position,
            problem: JsonProblem::Syntax(message.to_owned()),
        }
    }
}

/// Builds a [`Value`], but refuses what `serde_json` accepts.
#[derive(Clone, Copy)]
struct Strict<'c> {
    /// Levels of arrays and objects that may still open.
    depth: usize,
    /// Which of our rules was broken; `serde_json` can carry only text.
    broken: &'c Cell<Option<BrokenJson>>,
}

#[derive(Clone, Copy)]
enum BrokenJson {
    DuplicateName,
    TooDeep,
}

impl<'c> Strict<'c> {
    fn refuse<E: serde::de::Error>(self, broken: BrokenJson) -> E {
        self.broken.set(Some(broken));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(BrokenJson::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(deeper)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match object.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(members.next_value_seed(deeper)?);
                }
                Entry::Occupied(_) => return Err(self.refuse(BrokenJson::DuplicateName)),
            }
        }
        Ok(Value::Object(object))
    }
}
