//! Filter expressions: accepted, or refused with a location; the same after being printed and read again; and `not`
//! negates.

use std::sync::LazyLock;

use bytes::Bytes;
use hookswitch::{
    envelope::{self, CallbackHead, DecodeLimits, Element},
    event::Event,
    route::Filter,
};
use serde_json::Value;

use super::seeds;

static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let limits = DecodeLimits::new(10);
    let decoded = |payload: Vec<u8>| {
        envelope::decode(&CallbackHead::default(), &Bytes::from(payload), &limits)
    };
    seeds::files(&seeds::root().join("tests/data/events"), ".json")
        .into_iter()
        .step_by(9)
        .filter_map(|payload| decoded(payload).ok())
        .flatten()
        .filter_map(|element| match element {
            Element::Event(event) => Some(event),
            Element::Malformed(_) => None,
        })
        .collect()
});

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        r#"[{"prefix":{"subject":"calling/"}},{"exact":{"data.operationContext":"survey"}}]"#,
        r#"[{"suffix":{"type":"Connected","data.resultInformation.code":"200"}}]"#,
        r#"[{"all":[{"exact":{"type":"a"}},{"not":{"any":[{"prefix":{"id":""}},{"suffix":{"source":"x"}}]}}]}]"#,
        r#"[{"not":{"not":{"exact":{"data.a\"b\u007f.c":"\u0000\n'"}}}}]"#,
        r#"{"exact":{"type":"Microsoft.Communication.CallConnected"}}"#,
        r#"[{"sql":"x"},{"exact":{}},{"any":[]},5]"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

pub(crate) fn run(input: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    match Filter::parse_list(&value) {
        Ok(filters) => filters.iter().for_each(hold),
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(
                    error.place.starts_with("filter") && !error.problem.is_empty(),
                    "{error}"
                );
            }
        }
    }
    if let Ok(filter) = Filter::parse(&value) {
        hold(&filter);
    }
}

fn hold(filter: &Filter) {
    // `explain` and `check-config` print it so that it can be copied into the file.
    let printed = format!("filter = [{filter}]");
    let read: Value = toml::from_str::<toml::Table>(&printed)
        .ok()
        .and_then(|table| serde_json::to_value(table.get("filter")?).ok())
        .unwrap_or_else(|| panic!("not TOML: {printed}"));
    assert_eq!(
        Filter::parse_list(&read).as_deref(),
        Ok(std::slice::from_ref(filter)),
        "{printed}"
    );
    let not = Filter::Not(Box::new(filter.clone()));
    for event in EVENTS.iter() {
        let matches = filter.matches(event);
        assert_eq!(filter.why_not(event).is_none(), matches, "{printed}");
        assert_eq!(not.matches(event), !matches, "{printed}");
        assert_eq!(Filter::All(vec![filter.clone()]).matches(event), matches);
        assert_eq!(Filter::Any(vec![filter.clone()]).matches(event), matches);
    }
}
