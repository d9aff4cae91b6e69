//! The table of `tests/data/json`: JSON on which parsers disagree, posted to the listener. Each case is refused with
//! 400 and its position, or offered to the journal byte for byte, as it is published.

use percent_encoding::percent_decode_str;

use crate::ingress::test_support::{Listener, settings_with};

const TABLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/json/table.tsv"
));

/// What surrounds the text of a case of `data`.
const EVENT: (&str, &str) = (
    r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":"#,
    "}",
);

struct Case {
    name: &'static str,
    body: Vec<u8>,
    /// Where the text of the table begins in the body.
    begins: usize,
    /// The position of the fault in that text; `None` if there is none.
    fault: Option<usize>,
}

fn case(line: &'static str) -> Case {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, place, text, verdict] = columns[..] else {
        panic!("four columns: {line}");
    };
    let text: Vec<u8> = percent_decode_str(&repeated(text)).collect();
    let (before, after) = match place {
        "data" => EVENT,
        "body" => ("", ""),
        other => panic!("{name}: where is {other}?"),
    };
    Case {
        name,
        body: [before.as_bytes(), &text, after.as_bytes()].concat(),
        begins: before.len(),
        fault: match verdict {
            "unchanged" => None,
            position => Some(position.parse().expect(name)),
        },
    }
}

/// `‹x×3›` is `xxx`.
fn repeated(text: &str) -> String {
    let mut parts = text.split('‹');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (repeat, rest) = part.split_once('›').expect("‹ has its ›");
        let (text, times) = repeat.split_once('×').expect("how often");
        whole += &text.repeat(times.parse().expect("a number"));
        whole += rest;
    }
    whole
}

#[tokio::test]
async fn json_on_which_parsers_disagree_is_refused_with_its_position_or_published_unchanged() {
    let mut listener = Listener::open(settings_with(|it| {
        it.limits.body_limit_bytes = 64 * 1_024;
        it.body_memory_bytes = 1_024 * 1_024;
    }));
    let (mut refused, mut unchanged, mut failed) = (0, 0, Vec::new());
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let case = case(line);
        let sent = listener
            .post("/callbacks/contoso", case.body.clone())
            .send();
        let mut offered = None;
        let mut sent = std::pin::pin!(sent);
        let response = loop {
            tokio::select! {
                response = &mut sent => break response.unwrap(),
                waiting = listener.journal.next() => offered = Some(waiting.unwrap().keep()),
            }
        };
        let found = match (response.status().as_u16(), &offered) {
            (202, Some(callback)) => {
                let [offer] = &callback.offers[..] else {
                    panic!("{}: {} events", case.name, callback.offers.len());
                };
                let sent = case.body.strip_prefix("\u{feff}".as_bytes());
                let sent = sent.unwrap_or(&case.body).trim_ascii();
                let same = offer.body == sent && offer.facts.quarantine.is_none();
                if same { "unchanged" } else { "changed" }.to_owned()
            }
            (400, None) => {
                let problem: serde_json::Value = response.json().await.unwrap();
                match problem["errors"][0]["offset"].as_u64() {
                    Some(offset) => (i64::try_from(offset).unwrap()
                        - i64::try_from(case.begins).unwrap())
                    .to_string(),
                    None => format!("no position in {problem}"),
                }
            }
            (status, _) => format!("{status}"),
        };
        let expected = case
            .fault
            .map_or_else(|| "unchanged".to_owned(), |position| position.to_string());
        if found != expected {
            failed.push(format!("{}: {found}, expected {expected}", case.name));
        } else if case.fault.is_some() {
            refused += 1;
        } else {
            unchanged += 1;
        }
    }
    println!(
        "JSON table: {refused} refused with their position, {unchanged} published unchanged, {} failed",
        failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(refused + unchanged >= 100, "the table has 100 cases");
}
