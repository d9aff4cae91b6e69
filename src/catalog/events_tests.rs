//! Our own payloads, the published samples, and the promise that every row comes with its papers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::event::{EnvelopeForm, Kind};

use super::{
    Catalog, Finding, Verdict,
    testing::{CATALOG, cloud_event, event_of, events_of, json_files, read_json, root},
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
            assert_eq!(finding.verdict, Verdict::Valid, "{file}");
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
        let Verdict::Invalid(faults) = finding.verdict else {
            panic!("{file} is {:?}", finding.verdict);
        };
        // Exactly these: a counter-example has one thing wrong.
        let found: Vec<String> = faults.into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(found, pointers, "{file}");
        let (generation, _) = generation_and_type(&file);
        assert_eq!(finding.generation.unwrap().as_str(), generation, "{file}");
    }
    assert!(expected.is_empty(), "no such files: {expected:?}");
}

#[test]
fn every_schema_has_its_papers_and_is_of_2020_12() {
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
        assert!(comment.starts_with("acs/events.md "), "{file}: {comment}");
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

/// The kinds are a promise to consumers; the table must not change them in passing.
#[test]
fn the_kinds_are_those_of_the_design() {
    let kinds: BTreeMap<&str, Kind> = CATALOG
        .rows()
        .map(|row| (row.event_type.rsplit('.').next().unwrap(), row.kind))
        .collect();
    let check = |kind: Kind, names: &[&str]| {
        for name in names {
            assert_eq!(kinds.get(name), Some(&kind), "{name}");
        }
    };
    check(
        Kind::CallState,
        &[
            "CallLegStateChanged",
            "CallConnectionStateChanged",
            "CallConnected",
            "CallDisconnected",
            "CreateCallFailed",
            "AnswerFailed",
            "ConnectFailed",
            "CallStarted",
            "CallEnded",
        ],
    );
    check(
        Kind::DtmfReceived,
        &[
            "DtmfReceived",
            "ToneReceived",
            "ContinuousDtmfRecognitionToneReceived",
            "ContinuousDtmfRecognitionToneFailed",
            "ContinuousDtmfRecognitionStopped",
        ],
    );
    check(
        Kind::PlayAudioResult,
        &[
            "PlayAudioResult",
            "PlayStarted",
            "PlayCompleted",
            "PlayFailed",
            "PlayCanceled",
            "PlayPaused",
            "PlayResumed",
        ],
    );
    check(
        Kind::InviteParticipantResult,
        &[
            "InviteParticipantResult",
            "InviteParticipantsResult",
            "AddParticipantResult",
            "AddParticipantSucceeded",
            "AddParticipantFailed",
            "AddParticipantsSucceeded",
            "AddParticipantsFailed",
            "CancelAddParticipantSucceeded",
            "CancelAddParticipantFailed",
            "MoveParticipantSucceeded",
            "MoveParticipantFailed",
        ],
    );
    check(
        Kind::ParticipantsUpdated,
        &[
            "ParticipantsUpdated",
            "CallParticipantAdded",
            "CallParticipantRemoved",
        ],
    );
    check(
        Kind::Recording,
        &[
            "CallRecordingStateChanged",
            "RecordingStateChanged",
            "StartRecordingFailed",
            "RecordingFileStatusUpdated",
        ],
    );
    check(Kind::IncomingCall, &["IncomingCall"]);
    check(Kind::Unknown, &["SubscriptionValidationEvent"]);
}

/// Real payloads that belong to others stand beside the repository and are not part of it.
#[test]
fn every_published_sample_is_valid_in_its_generation() {
    let directory = root().join("../shared/acs/samples");
    if !directory.is_dir() {
        eprintln!("skipped: {} is absent", directory.display());
        return;
    }
    let mut seen = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".json") else {
            continue;
        };
        let body = read_json(&path);
        let (is_fragment, stem) = match stem.strip_prefix("fragment-") {
            Some(rest) => (true, rest),
            None => (false, stem),
        };
        let parts: Vec<&str> = stem.rsplitn(3, '-').collect();
        let [_, short_type, generation] = parts[..] else {
            panic!("{name} is not <generation>-<type>-<n>.json");
        };
        let events = if is_fragment {
            vec![wrap(generation, short_type, body)]
        } else {
            events_of(&body)
        };
        // Recorded in a test of the dialog preview, but the event itself is the one of ga.
        let generation = if stem == "2023-preview-ParticipantsUpdated-1" {
            "ga"
        } else {
            generation
        };
        for event in events {
            let finding = CATALOG.examine(&event);
            assert_eq!(finding.verdict, Verdict::Valid, "{name}");
            assert_eq!(finding.generation.unwrap().as_str(), generation, "{name}");
        }
        seen += 1;
    }
    assert!(seen > 40, "only {seen} samples");
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

fn examine(short_type: &str, data: Value) -> Finding {
    CATALOG.examine(&cloud_event(short_type, data))
}

#[test]
fn data_that_is_no_object_is_invalid_at_data() {
    for data in [json!(null), json!("text"), json!([])] {
        let Verdict::Invalid(faults) = examine("CallConnected", data).verdict else {
            panic!("valid");
        };
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].pointer, "/data");
        assert!(faults[0].message.contains("must be object"), "{faults:?}");
    }
}

#[test]
fn a_type_without_a_row_is_unknown_and_its_ids_are_read_all_the_same() {
    let finding = examine(
        "BrandNew",
        json!({"serverCallId": "s", "operationContext": "o"}),
    );
    assert_eq!(finding.verdict, Verdict::Unknown);
    assert_eq!(finding.kind, Kind::Unknown);
    assert_eq!(finding.generation, None);
    assert_eq!(finding.ids.connection.as_deref(), Some("from-subject"));
    assert_eq!(finding.ids.server_call.as_deref(), Some("s"));
    assert_eq!(finding.ids.operation_context.as_deref(), Some("o"));
}

#[test]
fn a_shape_that_fits_no_generation_has_the_errors_of_the_nearest() {
    let check = |data: Value, generation: &str, expected: &[&str]| {
        let finding = examine("DtmfReceived", data);
        assert_eq!(finding.generation.unwrap().as_str(), generation);
        let Verdict::Invalid(faults) = finding.verdict else {
            panic!("valid");
        };
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, expected);
    };
    // Signs of both generations each time; one is an error nearer than the other.
    check(
        json!({"CallLegId": "leg", "ToneInfo": {}}),
        "2021-private",
        &["/data/ToneInfo/Tone"],
    );
    check(
        json!({"CallLegId": 5, "toneInfo": {"tone": "a", "sequenceId": 1}}),
        "2021-public",
        &["/data/callConnectionId"],
    );
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
            let Verdict::Invalid(faults) = CATALOG.examine(&event).verdict else {
                panic!("{file} is not invalid");
            };
            for fault in faults {
                assert!(!fault.message.contains(secret), "{file}: {fault:?}");
                assert!(!fault.pointer.contains(secret), "{file}: {fault:?}");
            }
        }
    }
}

#[test]
fn the_time_tells_2022_from_ga_only_where_nothing_else_does() {
    let check = |time: Value, data: Value, expected: &str| {
        let mut event = cloud_event("CallConnected", data);
        event.attributes.time = time.as_str().map(str::to_owned);
        let finding = CATALOG.examine(&event);
        assert_eq!(finding.verdict, Verdict::Valid);
        assert_eq!(finding.generation.unwrap().as_str(), expected, "{time}");
    };
    let ids = json!({"callConnectionId": "c", "serverCallId": "s", "correlationId": "r"});
    check(
        json!("2023-03-05T23:59:59.9999999+00:00"),
        ids.clone(),
        "2022-beta",
    );
    check(json!("2023-03-06T01:00:00+01:00"), ids.clone(), "ga");
    check(json!("2023-03-06T00:59:59+01:00"), ids.clone(), "2022-beta");
    check(json!("yesterday"), ids.clone(), "ga");
    check(Value::Null, ids.clone(), "ga");
    let mut versioned = ids;
    versioned["version"] = json!("2024-09-01-preview");
    check(json!("2022-01-01T00:00:00Z"), versioned, "ga");
}

#[test]
fn ids_are_found_in_data_before_the_envelope() {
    let ids = |short_type: &str, data: Value| examine(short_type, data).ids;
    let found = ids(
        "PlayAudioResult",
        json!({"status": "completed", "operationContext": "o"}),
    );
    assert_eq!(found.connection.as_deref(), Some("from-subject"));
    assert_eq!(found.operation_context.as_deref(), Some("o"));
    let found = ids(
        "CallConnected",
        json!({"callConnectionId": "c", "serverCallId": "s", "correlationId": "r"}),
    );
    assert_eq!(found.connection.as_deref(), Some("c"));
    assert_eq!(found.correlation.as_deref(), Some("r"));
    // An empty string names no call.
    let found = ids(
        "CallConnected",
        json!({"callConnectionId": "", "serverCallId": 5}),
    );
    assert_eq!(found.connection.as_deref(), Some("from-subject"));
    assert_eq!(found.server_call, None);
    let found = ids(
        "CallRecordingStateChanged",
        json!({"callLocator": {"groupCallId": "g"}, "recordingId": "rec"}),
    );
    assert_eq!(found.server_call.as_deref(), Some("g"));
    assert_eq!(found.recording.as_deref(), Some("rec"));
}

#[test]
fn ids_are_found_in_every_subject_that_event_grid_and_the_private_preview_use() {
    let check =
        |short_type: &str, subject: &str, server_call: Option<&str>, recording: Option<&str>| {
            let event = event_of(&json!({
                "topic": "/subscriptions/s", "subject": subject, "data": {},
                "eventType": format!("Microsoft.Communication.{short_type}"),
            }));
            assert_eq!(event.form, EnvelopeForm::EventGrid);
            let ids = CATALOG.examine(&event).ids;
            assert_eq!(ids.server_call.as_deref(), server_call, "{subject}");
            assert_eq!(ids.recording.as_deref(), recording, "{subject}");
        };
    // Plain base64 may hold a slash.
    for short_type in ["CallStarted", "NotInTheTable"] {
        check(
            short_type,
            "call/a/b+c==/startedBy/8:acs:x",
            Some("a/b+c=="),
            None,
        );
        check(
            short_type,
            "call/a/b+c==/participant/8:acs:x",
            Some("a/b+c=="),
            None,
        );
        check(short_type, "call/a/b+c==", Some("a/b+c=="), None);
    }
    let recording = "RecordingFileStatusUpdated";
    check(recording, "/recording/call/k", Some("k"), None);
    check(
        recording,
        "/recording/call/k/recordingId/r",
        Some("k"),
        Some("r"),
    );
    check(
        recording,
        "/recording/call/k/serverCallId/a/b==/recordingId/r",
        Some("a/b=="),
        Some("r"),
    );
    check(
        recording,
        "/recording/call/k/serverCallId/a/b==",
        Some("a/b=="),
        None,
    );

    let event = event_of(&json!({
        "subject": "callLeg/leg/playAudio", "data": null,
        "eventType": "Microsoft.Communication.PlayAudioResult",
    }));
    assert_eq!(
        CATALOG.examine(&event).ids.connection.as_deref(),
        Some("leg")
    );
}

#[test]
fn types_and_generations_can_be_looked_up_by_name() {
    assert!(CATALOG.knows_type("CallConnected"));
    assert!(CATALOG.knows_type("Microsoft.Communication.CallConnected"));
    assert!(!CATALOG.knows_type("callConnected"));
    let generations: Vec<_> = CATALOG.generations();
    let names: Vec<&str> = generations.iter().map(|one| one.as_str()).collect();
    assert_eq!(
        names,
        [
            "2021-late",
            "2021-private",
            "2021-public",
            "2022-beta",
            "2023-preview",
            "eg",
            "ga"
        ]
    );
    assert!(
        CATALOG
            .types()
            .contains(&"Microsoft.EventGrid.SubscriptionValidationEvent")
    );
    assert_eq!(CATALOG.schemas_of("ParticipantsUpdated", None).len(), 4);
    let one = CATALOG.schemas_of("Microsoft.Communication.ParticipantsUpdated", Some("ga"));
    assert_eq!(one.len(), 1);
    assert!(one[0].1.contains("\"sequenceNumber\""));
}

#[test]
fn a_catalogue_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Catalog>();
}
