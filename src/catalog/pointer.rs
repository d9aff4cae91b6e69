//! JSON Pointers (RFC 6901), split once so that reading an event allocates nothing.

use serde_json::Value;

/// A pointer into `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    index: Option<usize>,
}

impl Pointer {
    /// `None` unless `text` is empty or starts with `/`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/')?.split('/').map(|token| Token {
            name: token.replace("~1", "/").replace("~0", "~"),
            index: token.parse().ok(),
        });
        Some(Self(tokens.collect()))
    }

    /// The value there; an explicit `null` counts as absent, because the 2021 generations write it for an unset member.
    pub(super) fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0
            .iter()
            .try_fold(value, |value, token| match value {
                Value::Object(members) => members.get(&token.name),
                Value::Array(items) => items.get(token.index?),
                _ => None,
            })
            .filter(|value| !value.is_null())
    }
}

/// Writes `name` as one token of a pointer.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_members_and_items_and_takes_null_for_absent() {
        let data = json!({"a/b": [{"x~": "there", "none": null}]});
        let find = |text: &str| Pointer::parse(text).unwrap().find(&data).cloned();
        assert_eq!(find("/a~1b/0/x~0"), Some(json!("there")));
        assert_eq!(find("/a~1b/0/none"), None);
        assert_eq!(find("/a~1b/1"), None);
        assert_eq!(find("/a~1b/0/x~0/deeper"), None);
        assert_eq!(Pointer::parse("a"), None);
    }

    #[test]
    fn an_escaped_name_is_found_again() {
        let data = json!({"~/": 1});
        let pointer = Pointer::parse(&format!("/{}", escape("~/"))).unwrap();
        assert_eq!(pointer.find(&data), Some(&json!(1)));
    }
}
