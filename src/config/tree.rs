//! Values as written, each with its location: the content of the layers.

use std::{collections::BTreeMap, ops::Range, rc::Rc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problems::{Origin, ProblemCollector};

/// The entries of a table, by key.
pub(super) type Entries = BTreeMap<String, Node>;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Origin,
    pub(super) value: Value,
}

/// A value of TOML, or a text of a layer without types.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Table(Entries),
    List(Vec<Node>),
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
}

impl Value {
    /// Its type, for error messages. Never the value itself: it may be a secret.
    pub(super) fn description(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date",
        }
    }

    /// The same value as JSON, for modules that do not know TOML.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Table(entries) => entries
                .iter()
                .map(|(key, node)| (key.clone(), node.value.to_json()))
                .collect(),
            Self::List(items) => items.iter().map(|node| node.value.to_json()).collect(),
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(flag) => (*flag).into(),
            Self::Date => serde_json::Value::Null,
        }
    }
}

/// Reads the TOML document `text`, noting every syntax error.
pub(super) fn parse(file: &Rc<str>, text: &str, findings: &ProblemCollector) -> Entries {
    let (document, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { file, text };
    for error in errors {
        let place = error
            .span()
            .map_or_else(|| Origin::File(file.clone()), |span| lines.place(&span));
        findings.add(&place, "", error.message());
    }
    lines.entries(document.get_ref(), findings)
}

/// Merges `upper` over `lower`: tables are merged key by key, anything else is replaced.
///
/// A key and its `_file` form are two forms of one setting, so either of them in an upper layer replaces both in the
/// lower one: `HOOKSWITCH__BROKER__URL_FILE` must win over a `broker.url` in the file and not conflict with it.
pub(super) fn overlay(lower: &mut Entries, upper: Entries) {
    for (key, above) in upper {
        if let Some(Node {
            value: Value::Table(below),
            ..
        }) = lower.get_mut(&key)
            && let Value::Table(above) = above.value
        {
            overlay(below, above);
            continue;
        }
        match key.strip_suffix("_file") {
            Some(plain) => lower.remove(plain),
            None => lower.remove(&format!("{key}_file")),
        };
        lower.insert(key, above);
    }
}

/// Finds the line of a byte in the file.
struct Lines<'t> {
    file: &'t Rc<str>,
    text: &'t str,
}

impl Lines<'_> {
    fn place(&self, span: &Range<usize>) -> Origin {
        let before = self.text.bytes().take(span.start);
        Origin::Line(
            self.file.clone(),
            1 + before.filter(|byte| *byte == b'\n').count(),
        )
    }

    fn entries(&self, table: &DeTable<'_>, findings: &ProblemCollector) -> Entries {
        table
            .iter()
            .filter_map(|(key, value)| {
                let node = self.node(key.get_ref(), value, findings)?;
                Some((key.get_ref().to_string(), node))
            })
            .collect()
    }

    /// `None`, and a problem, for a number that no setting could hold.
    fn node(
        &self,
        key: &str,
        spanned: &Spanned<DeValue<'_>>,
        findings: &ProblemCollector,
    ) -> Option<Node> {
        let place = self.place(&spanned.span());
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        findings.add(&place, key, "is larger than any integer of TOML");
                        return None;
                    }
                }
            }
            DeValue::Float(digits) => Value::Float(digits.as_str().parse().ok()?),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .filter_map(|item| self.node(key, item, findings))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.entries(table, findings)),
        };
        Some(Node { place, value })
    }
}
