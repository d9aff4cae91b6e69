//! Filter expressions: the dialects exact, prefix, suffix, all, any and not of the CloudEvents Subscriptions API 1.0
//! (section 3.2.4), on attributes and, as our extension, on `data.` paths.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::event::Event;

/// The supported dialects, in the order of the specification; `sql` is optional there and absent here.
const DIALECTS: [&str; 6] = ["exact", "prefix", "suffix", "all", "any", "not"];

/// One filter expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Every named value equals the string.
    Exact(BTreeMap<String, String>),
    /// Every named value begins with the string.
    Prefix(BTreeMap<String, String>),
    /// Every named value ends with the string.
    Suffix(BTreeMap<String, String>),
    /// Every expression matches.
    All(Vec<Filter>),
    /// At least one expression matches.
    Any(Vec<Filter>),
    /// The expression does not match.
    Not(Box<Filter>),
}

/// Why a filter expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct FilterError {
    /// Where in the expression, from the key `filter` on: `filter[0].all[1].prefix`.
    pub place: String,
    /// What is wrong there and what to write instead.
    pub problem: String,
}

impl FilterError {
    fn at(place: &str, problem: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            problem: problem.into(),
        }
    }
}

impl Filter {
    /// Reads one expression; locations in errors begin with `filter`.
    ///
    /// # Errors
    /// The first part that is not an expression of the six dialects.
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        Self::parse_at(value, "filter")
    }

    /// Reads the value of the configuration key `filter`: an array of expressions that must all match. Locations in
    /// errors begin with `filter[0]`.
    ///
    /// # Errors
    /// One for each wrong expression of the array.
    pub fn parse_list(value: &Value) -> Result<Vec<Self>, Vec<FilterError>> {
        let Some(expressions) = value.as_array() else {
            return Err(vec![FilterError::at(
                "filter",
                "must be an array of expressions, like [{ prefix = { subject = \"calling/\" } }]",
            )]);
        };
        let mut filters = Vec::with_capacity(expressions.len());
        let mut errors = Vec::new();
        for (index, expression) in expressions.iter().enumerate() {
            match Self::parse_at(expression, &format!("filter[{index}]")) {
                Ok(filter) => filters.push(filter),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(filters)
        } else {
            Err(errors)
        }
    }

    fn parse_at(value: &Value, place: &str) -> Result<Self, FilterError> {
        let Some(members) = value.as_object() else {
            return Err(FilterError::at(
                place,
                "must be a table with one dialect, like { exact = { type = \"…\" } }",
            ));
        };
        let mut members = members.iter();
        let (Some((dialect, operand)), None) = (members.next(), members.next()) else {
            return Err(FilterError::at(
                place,
                format!(
                    "must hold exactly one of {}: wrap several in all = [{{ … }}, {{ … }}]",
                    DIALECTS.join(", ")
                ),
            ));
        };
        let here = format!("{place}.{dialect}");
        match dialect.as_str() {
            "exact" => pairs(operand, &here).map(Self::Exact),
            "prefix" => pairs(operand, &here).map(Self::Prefix),
            "suffix" => pairs(operand, &here).map(Self::Suffix),
            "all" => list(operand, &here).map(Self::All),
            "any" => list(operand, &here).map(Self::Any),
            "not" => Ok(Self::Not(Box::new(Self::parse_at(operand, &here)?))),
            other => Err(FilterError::at(&here, unknown_dialect(other))),
        }
    }

    /// Whether the event matches. A value that the event does not have matches nothing, so `not` of it matches.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        match self {
            Self::Exact(pairs) => holds(pairs, event, |value, wanted| value == wanted),
            Self::Prefix(pairs) => holds(pairs, event, |value, wanted| value.starts_with(wanted)),
            Self::Suffix(pairs) => holds(pairs, event, |value, wanted| value.ends_with(wanted)),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(event)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(event)),
            Self::Not(filter) => !filter.matches(event),
        }
    }

    /// The first part that does not match, for `explain`; `None` if the event matches. Names attributes and
    /// expressions, never a value of the event: values may be personal data.
    #[must_use]
    pub fn why_not(&self, event: &Event) -> Option<String> {
        match self {
            _ if self.matches(event) => None,
            Self::Exact(pairs) | Self::Prefix(pairs) | Self::Suffix(pairs) => {
                pairs.iter().find_map(|(name, value)| {
                    let alone = self.with_pair(name, value);
                    if alone.matches(event) {
                        None
                    } else if lookup(event, name).is_none() {
                        Some(format!("{alone} fails: the event has no {name}"))
                    } else {
                        Some(format!("{alone} fails"))
                    }
                })
            }
            Self::All(filters) => filters.iter().find_map(|filter| filter.why_not(event)),
            Self::Any(_) => Some(format!("no part of {self} matches")),
            Self::Not(inner) => Some(format!("{self} fails: {inner} matches")),
        }
    }

    /// The same dialect with one of its pairs only.
    fn with_pair(&self, name: &str, value: &str) -> Self {
        let pairs = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        match self {
            Self::Prefix(_) => Self::Prefix(pairs),
            Self::Suffix(_) => Self::Suffix(pairs),
            _ => Self::Exact(pairs),
        }
    }
}

/// The expression as written in the configuration.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(pairs) => write_pairs(f, "exact", pairs),
            Self::Prefix(pairs) => write_pairs(f, "prefix", pairs),
            Self::Suffix(pairs) => write_pairs(f, "suffix", pairs),
            Self::All(filters) => write_list(f, "all", filters),
            Self::Any(filters) => write_list(f, "any", filters),
            Self::Not(filter) => write!(f, "{{ not = {filter} }}"),
        }
    }
}

fn write_pairs(
    f: &mut fmt::Formatter<'_>,
    dialect: &str,
    pairs: &BTreeMap<String, String>,
) -> fmt::Result {
    write!(f, "{{ {dialect} = {{ ")?;
    for (index, (name, value)) in pairs.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        f.write_str(comma)?;
        if is_bare(name) {
            f.write_str(name)?;
        } else {
            write_text(f, name)?;
        }
        f.write_str(" = ")?;
        write_text(f, value)?;
    }
    f.write_str(" } }")
}

/// Whether a TOML key needs no quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A TOML basic string.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            _ if character.is_control() => write!(f, "\\u{:04x}", u32::from(character))?,
            _ => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

fn write_list(f: &mut fmt::Formatter<'_>, dialect: &str, filters: &[Filter]) -> fmt::Result {
    write!(f, "{{ {dialect} = [")?;
    for (index, filter) in filters.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{filter}")?;
    }
    f.write_str("] }")
}

fn holds(
    pairs: &BTreeMap<String, String>,
    event: &Event,
    compare: impl Fn(&str, &str) -> bool,
) -> bool {
    pairs
        .iter()
        .all(|(name, wanted)| lookup(event, name).is_some_and(|value| compare(&value, wanted)))
}

/// The text of an attribute or of a `data.` path. Numbers and booleans have their JSON text; objects, arrays and
/// null have none.
fn lookup<'e>(event: &'e Event, name: &str) -> Option<Cow<'e, str>> {
    let Some(path) = name.strip_prefix("data.") else {
        return event.attributes.get(name).map(Cow::Borrowed);
    };
    let value = path
        .split('.')
        .try_fold(&event.data, |value, member| value.get(member))?;
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn pairs(operand: &Value, place: &str) -> Result<BTreeMap<String, String>, FilterError> {
    let Some(members) = operand.as_object().filter(|members| !members.is_empty()) else {
        return Err(FilterError::at(
            place,
            "must be a table of at least one attribute and its text, like { subject = \"calling/\" }",
        ));
    };
    members
        .iter()
        .map(|(name, value)| {
            let here = format!("{place}.{name}");
            check_name(name, &here)?;
            match value.as_str() {
                Some("") => Err(FilterError::at(
                    &here,
                    "must not be empty: every text begins and ends with nothing",
                )),
                Some(text) => Ok((name.clone(), text.to_owned())),
                None => Err(FilterError::at(
                    &here,
                    "must be a string; write numbers and booleans as their JSON text, like \"1\" or \"true\"",
                )),
            }
        })
        .collect()
}

fn list(operand: &Value, place: &str) -> Result<Vec<Filter>, FilterError> {
    let Some(expressions) = operand.as_array().filter(|list| !list.is_empty()) else {
        return Err(FilterError::at(
            place,
            "must be an array of at least one expression, like [{ exact = { type = \"…\" } }]",
        ));
    };
    expressions
        .iter()
        .enumerate()
        .map(|(index, expression)| Filter::parse_at(expression, &format!("{place}[{index}]")))
        .collect()
}

/// Attribute names as CloudEvents 1.0.2 section 3 allows them, or our `data.` paths.
fn check_name(name: &str, place: &str) -> Result<(), FilterError> {
    if let Some(path) = name.strip_prefix("data.") {
        return if path.split('.').all(|member| !member.is_empty()) {
            Ok(())
        } else {
            Err(FilterError::at(
                place,
                "must be data. and member names separated by single dots, like \"data.resultInformation.code\"",
            ))
        };
    }
    let is_attribute = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if name == "data" {
        Err(FilterError::at(
            place,
            "is not an attribute: write the path of a member, like \"data.operationContext\"",
        ))
    } else if is_attribute {
        Ok(())
    } else {
        Err(FilterError::at(
            place,
            format!(
                "is not a CloudEvents attribute name (a to z and 0 to 9): for a member of data write \"data.{name}\""
            ),
        ))
    }
}

fn unknown_dialect(word: &str) -> String {
    if word == "sql" {
        return "the dialect sql is not supported: combine exact, prefix and suffix with all, any and not"
            .to_owned();
    }
    match super::nearest(word, &DIALECTS) {
        Some(known) => format!("unknown dialect {word:?}: did you mean {known:?}?"),
        None => format!(
            "unknown dialect {word:?}: write one of {}",
            DIALECTS.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use crate::event::{Attributes, EnvelopeForm};

    use super::*;

    fn event() -> Event {
        Event {
            form: EnvelopeForm::CloudEvents,
            attributes: Attributes {
                id: Some("e1".to_owned()),
                source: None,
                event_type: "Microsoft.Communication.PlayFailed".to_owned(),
                subject: Some("calling/callConnections/c1".to_owned()),
                time: None,
                other: vec![("tenant".to_owned(), "t1".to_owned())],
            },
            data: json!({
                "operationContext": "survey", "resultInformation": {"code": 400, "ok": false, "ratio": 1.5},
                "none": null, "list": ["x"], "empty": ""
            }),
            raw: Bytes::new(),
            cloud_event: Bytes::new(),
        }
    }

    fn filter(value: &Value) -> Filter {
        Filter::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    fn check(value: Value, matches: bool) {
        let filter = filter(&value);
        assert_eq!(filter.matches(&event()), matches, "{filter}");
        assert_eq!(filter.why_not(&event()).is_none(), matches, "{filter}");
    }

    fn refused(value: Value) -> FilterError {
        Filter::parse(&value).expect_err(&value.to_string())
    }

    #[test]
    fn the_three_comparisons_compare_attributes() {
        check(json!({"exact": {"id": "e1"}}), true);
        check(json!({"exact": {"id": "e"}}), false);
        check(json!({"exact": {"id": "E1"}}), false);
        check(json!({"prefix": {"subject": "calling/"}}), true);
        check(json!({"prefix": {"subject": "alling/"}}), false);
        check(json!({"suffix": {"type": ".PlayFailed"}}), true);
        check(json!({"suffix": {"type": ".PlayFaile"}}), false);
        check(json!({"exact": {"tenant": "t1"}}), true);
        check(json!({"exact": {"id": "e1", "tenant": "t1"}}), true);
        check(json!({"exact": {"id": "e1", "tenant": "t2"}}), false);
    }

    #[test]
    fn data_paths_compare_strings_and_the_json_text_of_numbers_and_booleans() {
        check(json!({"exact": {"data.operationContext": "survey"}}), true);
        check(
            json!({"exact": {"data.resultInformation.code": "400"}}),
            true,
        );
        check(
            json!({"prefix": {"data.resultInformation.code": "4"}}),
            true,
        );
        check(
            json!({"exact": {"data.resultInformation.ok": "false"}}),
            true,
        );
        check(
            json!({"exact": {"data.resultInformation.ratio": "1.5"}}),
            true,
        );
        check(json!({"prefix": {"data.resultInformation": "{"}}), false);
        check(json!({"exact": {"data.list.0": "x"}}), false);
        check(json!({"exact": {"data.none": "null"}}), false);
    }

    #[test]
    fn a_missing_value_matches_nothing_and_so_its_negation_matches() {
        for dialect in ["exact", "prefix", "suffix"] {
            for name in [
                "source",
                "time",
                "nosuch",
                "data.nosuch",
                "data.operationContext.x",
            ] {
                check(json!({dialect: {name: "x"}}), false);
                check(json!({"not": {dialect: {name: "x"}}}), true);
            }
        }
    }

    #[test]
    fn all_any_and_not_combine() {
        let yes = json!({"exact": {"id": "e1"}});
        let no = json!({"exact": {"id": "e2"}});
        check(json!({"all": [yes, yes]}), true);
        check(json!({"all": [yes, no]}), false);
        check(json!({"any": [no, yes]}), true);
        check(json!({"any": [no, no]}), false);
        check(json!({"not": no}), true);
        check(json!({"not": yes}), false);
        check(
            json!({"not": {"all": [yes, {"any": [no, {"not": no}]}]}}),
            false,
        );
    }

    #[test]
    fn an_explanation_names_the_first_part_that_fails_and_no_value_of_the_event() {
        let why = |value: Value| filter(&value).why_not(&event()).unwrap();
        assert_eq!(
            why(
                json!({"all": [{"exact": {"id": "e1"}}, {"prefix": {"subject": "calls/", "tenant": "t"}}]})
            ),
            "{ prefix = { subject = \"calls/\" } } fails"
        );
        assert_eq!(
            why(json!({"exact": {"data.nosuch": "x"}})),
            "{ exact = { \"data.nosuch\" = \"x\" } } fails: the event has no data.nosuch"
        );
        assert_eq!(
            why(json!({"any": [{"exact": {"id": "a"}}, {"suffix": {"id": "b"}}]})),
            "no part of { any = [{ exact = { id = \"a\" } }, { suffix = { id = \"b\" } }] } matches"
        );
        assert_eq!(
            why(json!({"not": {"prefix": {"subject": "calling/"}}})),
            "{ not = { prefix = { subject = \"calling/\" } } } fails: { prefix = { subject = \"calling/\" } } matches"
        );
    }

    #[test]
    fn an_unknown_dialect_is_refused_with_a_suggestion() {
        let error = refused(json!({"prefx": {"id": "x"}}));
        assert_eq!(error.place, "filter.prefx");
        assert!(
            error.problem.contains("did you mean \"prefix\"?"),
            "{error}"
        );
        assert!(
            refused(json!({"sql": "id = 'x'"}))
                .problem
                .contains("not supported")
        );
        let error = refused(json!({"zzz": {"id": "x"}}));
        assert!(
            error.problem.contains("write one of exact, prefix"),
            "{error}"
        );
    }

    #[test]
    fn errors_name_the_place_within_the_expression() {
        let at = |value: Value| refused(value).place;
        assert_eq!(at(json!("x")), "filter");
        assert_eq!(at(json!({})), "filter");
        assert_eq!(
            at(json!({"exact": {"id": "a"}, "prefix": {"id": "a"}})),
            "filter"
        );
        assert_eq!(at(json!({"exact": {}})), "filter.exact");
        assert_eq!(at(json!({"exact": "x"})), "filter.exact");
        assert_eq!(at(json!({"exact": {"id": 4}})), "filter.exact.id");
        assert_eq!(at(json!({"exact": {"id": ""}})), "filter.exact.id");
        assert_eq!(at(json!({"all": []})), "filter.all");
        assert_eq!(at(json!({"all": {}})), "filter.all");
        assert_eq!(at(json!({"not": []})), "filter.not");
        let deep = json!({"all": [{"exact": {"id": "a"}}, {"not": {"any": [{"prefix": {}}]}}]});
        assert_eq!(at(deep), "filter.all[1].not.any[0].prefix");
    }

    #[test]
    fn names_are_attributes_or_data_paths() {
        let problem = |name: &str| refused(json!({"exact": {name: "x"}})).problem;
        assert!(problem("operationContext").contains("\"data.operationContext\""));
        assert!(problem("data").contains("path of a member"));
        for name in ["", "data.", "data..x", "data.x.", "a-b", "a b", "ä"] {
            assert!(!problem(name).is_empty());
        }
        filter(&json!({"exact": {"data.With-Any.name here": "x"}}));
    }

    #[test]
    fn the_list_of_the_configuration_reports_every_expression_that_is_wrong() {
        let good = json!([{"prefix": {"subject": "calling/"}}, {"exact": {"data.operationContext": "survey"}}]);
        assert_eq!(Filter::parse_list(&good).unwrap().len(), 2);
        assert!(Filter::parse_list(&json!([])).unwrap().is_empty());
        let bad =
            json!([{"exact": {}}, {"exact": {"id": "x"}}, {"all": [{"prefix": {"ID": "x"}}]}]);
        let places: Vec<_> = Filter::parse_list(&bad)
            .unwrap_err()
            .into_iter()
            .map(|error| error.place)
            .collect();
        assert_eq!(places, ["filter[0].exact", "filter[2].all[0].prefix.ID"]);
        let table = Filter::parse_list(&json!({"exact": {"id": "x"}})).unwrap_err();
        assert!(
            table[0].to_string().starts_with("filter: must be an array"),
            "{table:?}"
        );
    }
}
