//! `docs/openapi.json` describes the answers of the listeners: compared here with the sources, and in
//! `tests/it/openapi.rs` with the running program. Its pages and words are checked in `src/admin/mod.rs`.

use std::collections::BTreeSet;

use serde_json::Value;

/// Answered before the handlers, so not in `status_of`: limits of the listener itself.
const BY_THE_LISTENER: [u16; 2] = [429, 431];

/// Consent and acceptance, which are not errors.
const GOOD: [u16; 2] = [200, 202];

fn file(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).expect(path)
}

fn document() -> Value {
    serde_json::from_str(&file("docs/openapi.json")).expect("it is JSON")
}

/// The operations of the listener with this tag, with their paths.
fn operations<'d>(document: &'d Value, tag: &str) -> Vec<(&'d String, &'d Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path item");
        item.iter().map(move |(_, operation)| (path, operation))
    });
    all.filter(|(_, operation)| {
        operation
            .pointer("/tags/0")
            .is_some_and(|first| first == tag)
    })
    .collect()
}

fn statuses(operation: &Value) -> BTreeSet<u16> {
    let responses = operation["responses"].as_object().expect("responses");
    responses
        .keys()
        .map(|status| status.parse().expect("a status"))
        .collect()
}

/// The body of a function of a source file.
fn function<'s>(source: &'s str, signature: &str) -> &'s str {
    let (_, rest) = source.split_once(signature).expect(signature);
    let (body, _) = rest.split_once("\n}\n").expect("the function ends");
    body
}

/// The number of a name like `NOT_FOUND`: the standard's phrase in capitals.
fn number(name: &str) -> u16 {
    let named = |status: &reqwest::StatusCode| {
        let phrase = status.canonical_reason().unwrap_or_default();
        phrase.to_uppercase().replace([' ', '-'], "_") == name
    };
    (100..600)
        .filter_map(|number| reqwest::StatusCode::from_u16(number).ok())
        .find(named)
        .unwrap_or_else(|| panic!("no status is called {name}"))
        .as_u16()
}

#[test]
fn every_status_of_the_public_listener_is_described_and_no_other() {
    let errors = file("src/ingress/error.rs");
    let mut given: BTreeSet<u16> = function(&errors, "fn status_of(")
        .split("StatusCode::")
        .skip(1)
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_uppercase() && c != '_')?;
            rest.get(..end).filter(|name| name.len() > 2)
        })
        .map(number)
        .collect();
    assert!(
        given.len() >= 10,
        "the statuses are found at all: {given:?}"
    );
    let envelope = file("src/envelope/error.rs");
    let (_, decode) = envelope
        .split_once("pub const fn status(")
        .expect("DecodeError::status");
    let (decode, _) = decode.split_once("\n    }\n").expect("it ends");
    let numbers = decode
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| number.len() == 3)
        .map(|number| number.parse::<u16>().expect("digits"));
    let before = given.len();
    given.extend(numbers);
    assert!(given.len() >= before && given.contains(&413), "{given:?}");
    given.extend(GOOD);
    given.extend(BY_THE_LISTENER);

    let document = document();
    let described: BTreeSet<u16> = operations(&document, "public")
        .into_iter()
        .flat_map(|(_, operation)| statuses(operation))
        .collect();
    assert_eq!(described, given);
}

/// The book's table for senders names them too.
#[test]
fn the_table_of_answers_and_the_document_agree() {
    let page = file("docs/src/sender/answers.md");
    let table: BTreeSet<u16> = page
        .lines()
        .skip_while(|line| !line.starts_with("| answer | when | body |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|status| status.trim().parse().expect("a status"))
        .collect();
    let document = document();
    let described: BTreeSet<u16> = operations(&document, "public")
        .into_iter()
        .flat_map(|(_, operation)| statuses(operation))
        .collect();
    assert_eq!(described, &table | &BTreeSet::from(BY_THE_LISTENER));
}

#[test]
fn the_required_headers_of_a_status_are_described() {
    let document = document();
    let whole = |response: &Value| match response["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("within the document");
            document.pointer(pointer).expect(reference).clone()
        }
        None => response.clone(),
    };
    let mut seen = 0;
    for tag in ["public", "admin"] {
        for (path, operation) in operations(&document, tag) {
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let response = whole(response);
                // Probes give the reason in a document of their own, and their clients do not wait.
                let is_probe = response["content"]["application/json"].is_object();
                let carries = |name: &str| response["headers"][name]["required"] == true;
                match status.as_str() {
                    "200" | "202" => continue,
                    "429" | "503" if !is_probe => {
                        assert!(carries("Retry-After"), "{path} {status}")
                    }
                    "401" => assert!(carries("WWW-Authenticate"), "{path} {status}"),
                    "405" => assert!(carries("Allow"), "{path} {status}"),
                    _ => {}
                }
                seen += 1;
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert!(
                    is_probe || problem == "#/components/schemas/Problem",
                    "{path} {status}"
                );
            }
        }
    }
    assert!(seen > 30, "{seen} answers");
}
