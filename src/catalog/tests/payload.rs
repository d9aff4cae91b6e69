//! Our own payloads, the published samples, and the promise that every row has a payload and a source.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::catalog::{
    Validity,
    test_support::{CATALOG, event_of, events_of, json_files, read_json, root},
};

/// `ga/CallConnected.2023.json` is about `("ga", "CallConnected")`.
fn generation_and_type(file: &str) -> (String, String) {
    let (generation, name) = file.split_once('/').unwrap();
    let short_type = name.split('.').next().unwrap();
    (generation.to_owned(), short_type.to_owned())
}

fn rows() -> BTreeSet<(String, String)> {
    CATALOG
        .rows()
        .map(|row| {
            let short_type = row.event_type.rsplit('.').next().unwrap();
            (row.generation.as_str().to_owned(), short_type.to_owned())
        })
        .collect()
}

#[test]
fn every_row_has_a_good_event_and_a_counter_example() {
    let good: BTreeSet<_> = json_files("tests/data/events")
        .iter()
        .map(|(file, _)| generation_and_type(file))
        .collect();
    assert_eq!(rows(), good);
    let counter: BTreeSet<_> = json_files("tests/data/counter")
        .iter()
        .filter(|(file, _)| file != "expected.json")
        .map(|(file, _)| generation_and_type(file))
        .collect();
    assert_eq!(rows(), counter);
}

#[test]
fn every_good_event_is_valid_in_its_generation_and_without_drift() {
    for (file, body) in json_files("tests/data/events") {
        let (generation, _) = generation_and_type(&file);
        for event in events_of(&body) {
            let finding = CATALOG.examine(&event);
            assert_eq!(finding.verdict, Validity::Valid, "{file}");
            assert_eq!(finding.generation.unwrap().as_str(), generation, "{file}");
            assert_eq!(finding.drift, Vec::<String>::new(), "{file}");
        }
    }
}

#[test]
fn every_good_event_names_its_call() {
    for (file, body) in json_files("tests/data/events") {
        for event in events_of(&body) {
            let named = CATALOG.examine(&event).ids.own_key().is_some();
            assert_eq!(named, !file.contains("SubscriptionValidation"), "{file}");
        }
    }
}

#[test]
fn every_counter_example_fails_at_the_expected_place_in_its_generation() {
    let mut expected: BTreeMap<String, Vec<String>> =
        serde_json::from_value(read_json(&root().join("tests/data/counter/expected.json")))
            .unwrap();
    for (file, body) in json_files("tests/data/counter") {
        if file == "expected.json" {
            continue;
        }
        let pointers = expected
            .remove(&file)
            .unwrap_or_else(|| panic!("expected.json does not name {file}"));
        let [event] = events_of(&body).try_into().unwrap();
        let finding = CATALOG.examine(&event);
        let Validity::Invalid(faults) = finding.verdict else {
            panic!("{file} is {:?}", finding.verdict);
        };
        // Exactly these: a counter-example has one fault.
        let found: Vec<String> = faults.into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(found, pointers, "{file}");
        let (generation, _) = generation_and_type(&file);
        assert_eq!(finding.generation.unwrap().as_str(), generation, "{file}");
    }
    assert!(expected.is_empty(), "no such files: {expected:?}");
}

#[test]
fn every_schema_is_of_2020_12_and_cites_its_sources() {
    let files = json_files("schemas");
    assert!(files.len() > rows().len());
    for (file, schema) in files {
        if file == "catalog.json" {
            continue;
        }
        assert_eq!(
            schema["$schema"],
            json!("https://json-schema.org/draft/2020-12/schema"),
            "{file}"
        );
        for keyword in ["title", "description", "$comment"] {
            let text = schema[keyword].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{file} has no {keyword}");
        }
        let comment = schema["$comment"].as_str().unwrap();
        // The page and heading that describe it, which `tests/citations.rs` finds, and where its members are from.
        let (page, source) = comment.split_once(". Source: ").unwrap_or_default();
        let cites = page.starts_with("docs/src/reference/acs-events.md#");
        assert!(cites && !source.is_empty(), "{file}: {comment}");
        jsonschema::draft202012::meta::validate(&schema)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[test]
fn every_schema_belongs_to_a_row_of_the_same_name() {
    let named: BTreeSet<String> = CATALOG.rows().map(|row| row.schema.clone()).collect();
    let there: BTreeSet<String> = CATALOG
        .files()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.contains('/') && !name.starts_with("shared/"))
        .collect();
    assert_eq!(named, there);
    for row in CATALOG.rows() {
        let short_type = row.event_type.rsplit('.').next().unwrap();
        assert_eq!(
            row.schema,
            format!("{}/{short_type}.schema.json", row.generation)
        );
    }
}

#[test]
fn faults_never_repeat_what_the_event_says() {
    let secret = "+15550199";
    for (file, body) in json_files("tests/data/events") {
        for mut event in events_of(&body) {
            // Every value of the wrong type, and recognisable.
            let Value::Object(members) = &mut event.data else {
                panic!("{file}");
            };
            for value in members.values_mut() {
                *value = if value.is_string() {
                    json!([secret])
                } else {
                    json!(secret)
                };
            }
            let Validity::Invalid(faults) = CATALOG.examine(&event).verdict else {
                panic!("{file} is not invalid");
            };
            for fault in faults {
                assert!(!fault.message.contains(secret), "{file}: {fault:?}");
                assert!(!fault.pointer.contains(secret), "{file}: {fault:?}");
            }
        }
    }
}

/// Every location in `data` that holds a value, by JSON Pointer.
fn places(data: &Value, prefix: &str, found: &mut Vec<String>) {
    let mut child = |name: &str, value: &Value| {
        let pointer = format!("{prefix}/{name}");
        places(value, &pointer, found);
        found.push(pointer);
    };
    match data {
        Value::Object(members) => members.iter().for_each(|(name, value)| child(name, value)),
        Value::Array(items) => (0..)
            .zip(items)
            .for_each(|(n, item): (usize, _)| child(&n.to_string(), item)),
        _ => {}
    }
}

#[test]
fn a_value_of_the_wrong_type_fails_wherever_it_is() {
    for (file, body) in json_files("tests/data/events") {
        for event in events_of(&body) {
            let mut found = Vec::new();
            places(&event.data, "", &mut found);
            for pointer in found {
                let mut event = event.clone();
                let place = event.data.pointer_mut(&pointer).unwrap();
                // No location accepts both a boolean and something else.
                *place = match place {
                    // Null says nothing about the expected type.
                    Value::Null => continue,
                    Value::Bool(_) => json!("text"),
                    _ => json!(true),
                };
                let Validity::Invalid(faults) = CATALOG.examine(&event).verdict else {
                    panic!("{file} is not invalid with another type at {pointer}");
                };
                let expected = format!("/data{pointer}");
                assert!(
                    faults.iter().any(|fault| fault.pointer == expected),
                    "{file}: {pointer}: {faults:?}"
                );
            }
        }
    }
}

/// Sets every location of every good event of the generations with this prefix to null, one at a time, unless it is an
/// item of an array or its name is among `needed`.
fn null_passes_for_all_but(generations: &str, needed: &[&str]) {
    let mut seen = 0;
    for (file, body) in json_files("tests/data/events") {
        if !file.starts_with(generations) {
            continue;
        }
        for event in events_of(&body) {
            let mut found = Vec::new();
            places(&event.data, "", &mut found);
            for pointer in found {
                let name = pointer.rsplit('/').next().unwrap();
                // An item of an array is not optional: leaving it out makes the array shorter.
                if needed.contains(&name) || name.parse::<usize>().is_ok() {
                    continue;
                }
                let mut event = event.clone();
                *event.data.pointer_mut(&pointer).unwrap() = Value::Null;
                assert_eq!(
                    CATALOG.examine(&event).verdict,
                    Validity::Valid,
                    "{file}: {pointer}"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} places");
}

/// The service of 2021 writes null for unset members.
#[test]
fn in_the_generations_of_2021_null_passes_for_all_but_identity_and_state() {
    null_passes_for_all_but(
        "2021-",
        &[
            "CallLegId",
            "CallState",
            "Status",
            "ToneInfo",
            "Tone",
            "Participants",
            "RecordingId",
            "callConnectionId",
            "callConnectionState",
            "status",
            "toneInfo",
            "sequenceId",
            "tone",
            "participants",
            "recordingId",
            "state",
            "callRecordingState",
            "startDateTime",
            "callLocator",
            "serverCallId",
            "groupCallId",
        ],
    );
}

/// The examples of Event Grid's specification write null for what is not known.
#[test]
fn in_event_grid_events_null_passes_for_all_that_is_not_required() {
    null_passes_for_all_but(
        "eg/",
        &[
            "to",
            "from",
            "serverCallId",
            "incomingCallContext",
            "startedBy",
            "user",
            "recordingStorageInfo",
            "recordingChunks",
            "validationCode",
        ],
    );
}

/// In the middle of 2022 events had no `serverCallId`, some no `correlationId`; this may apply to any type.
#[test]
fn in_2022_an_event_needs_only_the_id_of_its_connection() {
    let mut seen = BTreeSet::new();
    for (file, body) in json_files("tests/data/events") {
        let (generation, short_type) = generation_and_type(&file);
        for event in events_of(&body) {
            for absent in [
                ["serverCallId"].as_slice(),
                &["correlationId"],
                &["serverCallId", "correlationId"],
            ] {
                let mut event = event.clone();
                let members = event.data.as_object_mut().unwrap();
                let there = absent
                    .iter()
                    .filter(|id| members.remove(**id).is_some())
                    .count();
                let finding = CATALOG.examine(&event);
                if generation == "2022-beta" {
                    assert_eq!(
                        finding.verdict,
                        Validity::Valid,
                        "{file} without {absent:?}"
                    );
                    assert_eq!(finding.generation.unwrap().as_str(), generation, "{file}");
                    seen.insert(short_type.clone());
                } else if ["ga", "2023-preview"].contains(&generation.as_str())
                    && short_type != "IncomingCall"
                {
                    assert!(there > 0, "{file} has no {absent:?}");
                    assert!(
                        matches!(finding.verdict, Validity::Invalid(_)),
                        "{file} is valid without {absent:?}"
                    );
                }
            }
        }
    }
    let types = rows()
        .iter()
        .filter(|(generation, _)| generation == "2022-beta")
        .count();
    assert_eq!(seen.len(), types);
}

/// Errors of hand-written payloads, which the service does not send: attributes of the envelope inside `data`, and a
/// member of another event.
const SLIPS: [&str; 5] = [
    "/data/datacontenttype",
    "/data/dialogId",
    "/data/specversion",
    "/data/subject",
    "/data/time",
];

/// Placeholders for a value in the examples of a specification.
const PLACEHOLDERS: [&str; 3] = [
    "/data/endedBy/type",
    "/data/startedBy/role",
    "/data/user/role",
];

/// Published payloads of others are not part of the repository.
#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn what_published_payloads_hold_is_known() {
    let folder = std::env::var_os("HOOKSWITCH_SAMPLES").expect("HOOKSWITCH_SAMPLES is set");
    let mut seen = 0;
    for corpus in ["samples", "samples-2"] {
        for entry in std::fs::read_dir(PathBuf::from(&folder).join(corpus)).expect(corpus) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let Some(stem) = name.strip_suffix(".json") else {
                continue;
            };
            // One of them is not JSON, and must be refused.
            let Ok(body) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()) else {
                continue;
            };
            let events = match stem.strip_prefix("fragment-") {
                Some(stem) => {
                    let parts: Vec<&str> = stem.rsplitn(3, '-').collect();
                    let [_, short_type, generation] = parts[..] else {
                        panic!("{name} is not fragment-<generation>-<type>-<n>.json");
                    };
                    vec![wrap(generation, short_type, body)]
                }
                None => events_of(&body),
            };
            for event in events {
                let mut drift = CATALOG.examine(&event).drift;
                drift.retain(|pointer| {
                    !SLIPS.contains(&pointer.as_str()) && !PLACEHOLDERS.contains(&pointer.as_str())
                });
                assert_eq!(drift, Vec::<String>::new(), "{name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} payloads");
}

/// Wraps a bare `data` as its generation does.
fn wrap(generation: &str, short_type: &str, data: Value) -> crate::event::Event {
    let event_type = format!("Microsoft.Communication.{short_type}");
    match generation {
        "eg" => event_of(&json!({
            "id": "1", "topic": "/subscriptions/s", "subject": "", "data": data,
            "eventType": event_type, "dataVersion": "1.0", "metadataVersion": "1",
            "eventTime": "2025-07-15T09:28:26Z",
        })),
        _ => event_of(&json!({
            "id": "1", "source": "calling/callConnections/c", "type": event_type, "data": data,
            "time": "2021-08-30T09:28:26Z", "specversion": "1.0",
            "subject": "calling/callConnections/c",
        })),
    }
}
