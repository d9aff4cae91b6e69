//! Reads one table of the configuration key by key. Every read names the key, its limits and its default, so a section
//! reads like its documentation; a key that is not read is unknown.
//!
//! Why not serde: it stops at the first value of a wrong type, and an operator wants to see every problem at once, with
//! its line. A problem is noted and the default replaces the value, so that reading goes on; the result is discarded at
//! the end if a problem was noted.

use std::{
    collections::BTreeSet, fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr,
    time::Duration,
};

use super::{
    problems::{Origin, ProblemCollector, suggestion},
    tree::{Entries, Node, Value},
};

/// One table while it is read.
pub(super) struct Section<'t> {
    path: String,
    place: Origin,
    entries: &'t Entries,
    asked: BTreeSet<&'static str>,
    findings: &'t ProblemCollector,
}

/// A value as written, with what is needed to report a problem with it.
pub(super) struct Given<'t> {
    /// Full key path.
    pub(super) key: String,
    /// The value and its location.
    pub(super) node: &'t Node,
    findings: &'t ProblemCollector,
}

impl Given<'_> {
    /// Notes a problem with this value.
    pub(super) fn refuse(&self, message: impl Display) {
        self.findings.add(&self.node.place, &self.key, message);
    }

    /// Notes a problem with a part of this value, for example `[0].exact`.
    pub(super) fn refuse_inside(&self, part: &str, message: impl Display) {
        let key = format!("{}{part}", self.key);
        self.findings.add(&self.node.place, &key, message);
    }

    fn expected(&self, what: impl Display) {
        if self.node.place.is_untyped() {
            // The value is always a text there, so its type says nothing.
            self.refuse(format!("expected {what}"));
        } else {
            let found = self.node.value.description();
            self.refuse(format!("is {found}, expected {what}"));
        }
    }

    /// The text of a value that is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn untyped(&self) -> Option<&str> {
        self.text().filter(|_| self.node.place.is_untyped())
    }

    fn integer(&self) -> Option<i64> {
        match self.node.value {
            Value::Integer(number) => Some(number),
            _ => self.untyped()?.parse().ok(),
        }
    }

    fn fraction(&self) -> Option<f64> {
        match self.node.value {
            Value::Float(number) => Some(number),
            // Exact for every integer that a share can be.
            Value::Integer(number) => i32::try_from(number).ok().map(f64::from),
            _ => self.untyped()?.parse().ok(),
        }
    }

    fn boolean(&self) -> Option<bool> {
        match self.node.value {
            Value::Boolean(flag) => Some(flag),
            _ => self.untyped()?.parse().ok(),
        }
    }
}

/// How the table with this key path is headed in a file: list indices are not written there, the table is the last one
/// above.
fn header(path: &str) -> String {
    path.split('.')
        .map(|part| part.split_once('[').map_or(part, |(name, _)| name))
        .collect::<Vec<_>>()
        .join(".")
}

impl<'t> Section<'t> {
    /// Reads a table with `read`, then refuses every key that was not read.
    pub(super) fn read<T>(
        path: &str,
        place: &Origin,
        entries: &'t Entries,
        findings: &'t ProblemCollector,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut section = Self {
            path: path.to_owned(),
            place: place.clone(),
            entries,
            asked: BTreeSet::new(),
            findings,
        };
        let result = read(&mut section);
        for (key, node) in entries {
            if !section.asked.contains(key.as_str()) {
                let known = section.asked.iter().copied();
                let hint = match suggestion(key, known.clone()) {
                    none if none.is_empty() => {
                        format!("; known here: {}", known.collect::<Vec<_>>().join(", "))
                    }
                    found => found,
                };
                findings.add(&node.place, &section.key(key), format!("unknown key{hint}"));
            }
        }
        result
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The value of `name` as written, if present.
    pub(super) fn given(&mut self, name: &'static str) -> Option<Given<'t>> {
        self.asked.insert(name);
        Some(Given {
            key: self.key(name),
            node: self.entries.get(name)?,
            findings: self.findings,
        })
    }

    /// Notes a problem with this table as a whole, or with a key that is missing in it.
    pub(super) fn refuse(&self, name: &str, message: impl Display) {
        let key = if name.is_empty() {
            self.path.clone()
        } else {
            self.key(name)
        };
        let place = self
            .entries
            .get(name)
            .map_or(&self.place, |node| &node.place);
        self.findings.add(place, &key, message);
    }

    /// A table inside this one; an absent one is read as empty, for its defaults.
    pub(super) fn table<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let empty = Entries::new();
        let path = self.key(name);
        match self.given(name) {
            Some(given) => match &given.node.value {
                Value::Table(entries) => {
                    Section::read(&path, &given.node.place, entries, self.findings, read)
                }
                _ => {
                    given.expected(format!("a table: write [{}]", header(&path)));
                    // The problems of an empty table would only repeat this one.
                    Section::read(
                        &path,
                        &self.place,
                        &empty,
                        &ProblemCollector::default(),
                        read,
                    )
                }
            },
            None => Section::read(&path, &self.place, &empty, self.findings, read),
        }
    }

    /// The tables of a list of tables, in order.
    pub(super) fn tables<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(given) = self.given(name) else {
            return Vec::new();
        };
        let Value::List(items) = &given.node.value else {
            given.expected(format!(
                "a list of tables: write [[{}]], or {name} = [{{ ... }}]",
                header(&given.key)
            ));
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", given.key);
            match &item.value {
                Value::Table(entries) => all.push(Section::read(
                    &path,
                    &item.place,
                    entries,
                    self.findings,
                    &mut read,
                )),
                other => self.findings.add(
                    &item.place,
                    &path,
                    format!(
                        "is {}, expected a table: write [[{}]]",
                        other.description(),
                        header(&given.key)
                    ),
                ),
            }
        }
        all
    }

    /// The tables of `name`, which is a table or a list of tables.
    pub(super) fn table_or_tables<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(given) = self.given(name) else {
            return Vec::new();
        };
        match &given.node.value {
            Value::List(_) => self.tables(name, read),
            Value::Table(_) => vec![self.table(name, &mut read)],
            _ => {
                given.expected(format!(
                    "a table or a list of tables: write [{}]",
                    header(&given.key)
                ));
                Vec::new()
            }
        }
    }

    /// Any text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let given = self.given(name)?;
        let text = given.text();
        if text.is_none() {
            given.expected("a text in quotes");
        }
        text.map(str::to_owned)
    }

    /// A text that parses as `T`, for example `example`.
    pub(super) fn parsed<T>(&mut self, name: &'static str, example: &str, default: T) -> T
    where
        T: FromStr<Err: Display>,
    {
        let Some(given) = self.given(name) else {
            return default;
        };
        match given.text() {
            None => given.expected(format!("a text like {example:?}")),
            Some(text) => match text.parse() {
                Ok(value) => return value,
                Err(error) => {
                    given.refuse(format!("{text:?}: {error}; write for example {example:?}"))
                }
            },
        }
        default
    }

    /// One of a fixed set of words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&'static str, T)],
        default: T,
    ) -> T {
        let Some(given) = self.given(name) else {
            return default;
        };
        let known = words.iter().map(|(word, _)| *word);
        let choice = known
            .clone()
            .map(|word| format!("{word:?}"))
            .collect::<Vec<_>>()
            .join(" or ");
        match given.text() {
            None => given.expected(choice),
            Some(text) => match words.iter().find(|(word, _)| *word == text) {
                Some((_, value)) => return *value,
                None => given.refuse(format!(
                    "is {text:?}, expected {choice}{}",
                    suggestion(text, known)
                )),
            },
        }
        default
    }

    /// An integer within `range`.
    pub(super) fn integer<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let Some(given) = self.given(name) else {
            return default;
        };
        let bounds = format!("an integer from {} to {}", range.start(), range.end());
        match given.integer() {
            None => given.expected(bounds),
            Some(number) => match T::try_from(number) {
                Ok(value) if range.contains(&value) => return value,
                _ => given.refuse(format!("is {number}, expected {bounds}")),
            },
        }
        default
    }

    /// A fraction over 0, at most 1.
    pub(super) fn share(&mut self, name: &'static str, default: f64) -> f64 {
        let Some(given) = self.given(name) else {
            return default;
        };
        match given.fraction() {
            None => given.expected("a number over 0, at most 1"),
            Some(share) if share > 0.0 && share <= 1.0 => return share,
            Some(other) => given.refuse(format!("is {other}, expected a number over 0, at most 1")),
        }
        default
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(given) = self.given(name) else {
            return default;
        };
        given.boolean().unwrap_or_else(|| {
            given.expected("true or false, without quotes");
            default
        })
    }

    /// A number with its unit, within `range`.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(given) = self.given(name) else {
            return default;
        };
        let bounds = format!(
            "a time from \"{}\" to \"{}\"",
            humantime::format_duration(*range.start()),
            humantime::format_duration(*range.end())
        );
        match given.text().map(humantime::parse_duration) {
            None => given.expected(format!("{bounds}, in quotes and with its unit")),
            Some(Ok(time)) if range.contains(&time) => return time,
            Some(Ok(time)) => given.refuse(format!(
                "is \"{}\", expected {bounds}",
                humantime::format_duration(time)
            )),
            Some(Err(error)) => given.refuse(format!("{error}, expected {bounds}")),
        }
        default
    }

    /// A path; relative ones start at the working directory.
    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let given = self.given(name)?;
        match given.text() {
            None => given.expected("a path in quotes"),
            Some("") => given.refuse("is empty, expected a path"),
            Some(text) => return Some(text.into()),
        }
        None
    }

    /// A list of texts, each with its own location; an absent list is empty.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<Given<'t>> {
        let Some(given) = self.given(name) else {
            return Vec::new();
        };
        let Value::List(items) = &given.node.value else {
            given.expected("a list of texts in square brackets");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, node)| Given {
                key: format!("{}[{index}]", given.key),
                node,
                findings: self.findings,
            })
            .filter(|item| {
                let is_text = item.text().is_some();
                if !is_text {
                    item.expected("a text in quotes");
                }
                is_text
            })
            .collect()
    }

    /// Refuses a key that a later version will have.
    pub(super) fn not_yet(&mut self, name: &'static str, message: &str) {
        if let Some(given) = self.given(name) {
            given.refuse(message);
        }
    }
}
