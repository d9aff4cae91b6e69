//! Problems of a configuration: collected while reading, reported all at once.

use std::{cell::RefCell, fmt, rc::Rc};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A line of the file, counted from 1.
    Line(Rc<str>, usize),
    /// The file as a whole.
    File(Rc<str>),
    /// An environment variable.
    Environment(String),
    /// A command line flag.
    Flag(&'static str),
}

impl Origin {
    /// True where values have no type of their own and are read as the setting needs them.
    pub(super) fn is_untyped(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Collects problems while a configuration is read. Shared by every section, so that reading goes on after a problem.
#[derive(Debug, Default)]
pub(super) struct ProblemCollector(RefCell<Vec<(Origin, String)>>);

impl ProblemCollector {
    /// Notes one problem; `key` is empty for the file as a whole.
    pub(super) fn add(&self, place: &Origin, key: &str, message: impl fmt::Display) {
        let text = if key.is_empty() {
            format!("{place}: {message}")
        } else {
            format!("{place}: {key}: {message}")
        };
        self.0.borrow_mut().push((place.clone(), text));
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The problems in the order of the file; `None` where there are none.
    pub(super) fn into_problems(self) -> Option<Problems> {
        let mut found = self.0.into_inner();
        found.sort();
        found.dedup();
        let lines: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
        (!lines.is_empty()).then_some(Problems(lines))
    }
}

/// All problems of a configuration, one line each: where, which key, what is wrong, what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(Vec<String>);

impl Problems {
    /// A problem that was found only by trying something.
    #[must_use]
    pub fn one(line: String) -> Self {
        Self(vec![line])
    }

    /// The lines; never empty.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

/// `; did you mean "…"?` for the word of `known` that `word` is probably a misspelling of; else nothing.
pub(super) fn suggestion<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    let folded = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::jaro_winkler(&folded, &candidate.to_lowercase());
            (likeness, candidate)
        })
        // Below this Jaro-Winkler similarity, words share a few letters by accident.
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| format!("; did you mean {candidate:?}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_gets_the_nearest_one_and_nonsense_gets_none() {
        let known = ["window", "accept_after", "stall_timeout"];
        assert_eq!(suggestion("windw", known), "; did you mean \"window\"?");
        assert_eq!(suggestion("Window", known), "; did you mean \"window\"?");
        assert_eq!(suggestion("zzz", known), "");
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let findings = ProblemCollector::default();
        let file: Rc<str> = "f.toml".into();
        findings.add(&Origin::Flag("--listen"), "server.listen", "c");
        findings.add(&Origin::Line(file.clone(), 12), "b", "later");
        findings.add(&Origin::Line(file, 9), "a", "sooner");
        assert_eq!(
            findings.into_problems().unwrap().lines(),
            [
                "f.toml:9: a: sooner",
                "f.toml:12: b: later",
                "flag --listen: server.listen: c"
            ]
        );
        assert_eq!(ProblemCollector::default().into_problems(), None);
    }
}
