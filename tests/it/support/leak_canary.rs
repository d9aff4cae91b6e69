//! Leak canaries: values that stand for private ones in the requests of the tests. No program may print or log one.
//! `dev/leak-check` searches the output of a whole test run for them.

/// The beginning of every canary text.
pub(crate) const TEXT: &str = "hscanary-";

/// The digits that every canary phone number begins with, in any notation.
pub(crate) const DIGITS: &str = "4915999000";

/// A canary text that names its place.
pub(crate) fn text(place: &str) -> String {
    format!("{TEXT}{place}")
}

/// The canaries in `text`, and anything shaped like a signed token, with a few characters around each.
pub(crate) fn found(text: &str) -> Vec<String> {
    let token =
        regex::Regex::new(r"eyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}\.").expect("a pattern");
    let canary = regex::Regex::new(&format!("{TEXT}|{DIGITS}")).expect("a pattern");
    [canary, token]
        .iter()
        .flat_map(|pattern| pattern.find_iter(text))
        .map(|hit| {
            let start = text.floor_char_boundary(hit.start().saturating_sub(80));
            let end = text.ceil_char_boundary(hit.end() + 40);
            text.get(start..end).unwrap_or_default().to_owned()
        })
        .collect()
}

/// The events that most tests send hold canaries, too.
#[test]
fn the_events_of_a_call_hold_leak_canaries() {
    let events = super::call_events("call", 5);
    let hits: Vec<usize> = events.iter().map(|(_, body)| found(body).len()).collect();
    assert_eq!(hits, [0, 2, 1, 1, 0]);
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
    assert_eq!(found(token).len(), 1);
    assert_eq!(found("eyJ alone, and 4915999 alone").len(), 0);
}
