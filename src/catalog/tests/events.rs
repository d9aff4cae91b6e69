//! The catalogue's result for an event: kind, generation, ids, validity.

use std::collections::BTreeMap;

use base64::{engine::general_purpose::URL_SAFE_NO_PAD, prelude::*};
use serde_json::{Value, json};

use crate::event::{EnvelopeForm, Kind};

use crate::catalog::{
    Catalog, CatalogMatch, Validity,
    test_support::{CATALOG, cloud_event, event_of},
};

/// The kinds are a promise to consumers; a change of the table must not change them by accident.
#[test]
fn the_kinds_are_the_promised_ones() {
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
            "TeamsRecordingStateChanged",
            "TeamsComplianceRecordingStateChanged",
        ],
    );
    check(
        Kind::Hold,
        &[
            "HoldFailed",
            "HoldAudioStarted",
            "HoldAudioPaused",
            "HoldAudioResumed",
            "HoldAudioCompleted",
        ],
    );
    check(
        Kind::SendDtmf,
        &[
            "SendDtmfTonesCompleted",
            "SendDtmfTonesFailed",
            "SendDtmfCompleted",
            "SendDtmfFailed",
        ],
    );
    check(
        Kind::Transcription,
        &[
            "TranscriptionStarted",
            "TranscriptionResumed",
            "TranscriptionUpdated",
            "TranscriptionCallSummaryUpdated",
            "TranscriptionStopped",
            "TranscriptionFailed",
        ],
    );
    check(Kind::IncomingCall, &["IncomingCall"]);
    check(Kind::Unknown, &["SubscriptionValidationEvent"]);
}

fn examine(short_type: &str, data: Value) -> CatalogMatch {
    CATALOG.examine(&cloud_event(short_type, data))
}

#[test]
fn data_that_is_not_an_object_is_invalid_at_data() {
    for data in [json!(null), json!("text"), json!([])] {
        let Validity::Invalid(faults) = examine("CallConnected", data).verdict else {
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
    assert_eq!(finding.verdict, Validity::Unknown);
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
        let Validity::Invalid(faults) = finding.verdict else {
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
fn the_time_tells_2022_from_ga_only_where_nothing_else_does() {
    let check = |time: Value, data: Value, expected: &str| {
        let mut event = cloud_event("CallConnected", data);
        event.attributes.time = time.as_str().map(str::to_owned);
        let finding = CATALOG.examine(&event);
        assert_eq!(finding.verdict, Validity::Valid);
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
fn the_time_tells_2021_from_2022_only_where_nothing_else_does() {
    let check = |short_type: &str, time: Value, data: &Value, expected: &str| {
        let mut event = cloud_event(short_type, data.clone());
        event.attributes.time = time.as_str().map(str::to_owned);
        let finding = CATALOG.examine(&event);
        assert_eq!(finding.verdict, Validity::Valid, "{short_type} {time}");
        assert_eq!(finding.generation.unwrap().as_str(), expected, "{time}");
    };
    let tone = json!({"callConnectionId": "c", "toneInfo": {"sequenceId": 1, "tone": "tone1"}});
    let people = json!({"callConnectionId": "c", "participants": [{"identifier": {"rawId": "r"}}]});
    for (short_type, data) in [("ToneReceived", &tone), ("ParticipantsUpdated", &people)] {
        let check = |time, expected| check(short_type, time, data, expected);
        check(json!("2021-08-30T00:00:00Z"), "2021-public");
        check(json!("2022-04-06T23:59:59.9999999Z"), "2021-public");
        check(json!("2022-04-07T00:00:00Z"), "2022-beta");
        check(Value::Null, "2021-public");
    }
    // An application that stays with the version of 2021 gets its events in that shape in 2022, too.
    check(
        "PlayAudioResult",
        json!("2022-06-01T00:00:00Z"),
        &json!({"status": "completed", "resultInfo": null}),
        "2021-public",
    );
    let mut named = people;
    named["participants"][0]["participantId"] = json!("p");
    check(
        "ParticipantsUpdated",
        json!("2022-06-01T00:00:00Z"),
        &named,
        "2021-public",
    );
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
    // An empty string does not name a call.
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
fn a_recording_in_source_or_subject_gives_its_server_call_and_its_id() {
    let recording_id = recording_id("endpoint");
    // Standard base64 may hold slashes.
    for server_call in ["aHR0cA==", "aHR0/cDov/L2E="] {
        for rest in [
            format!("{recording_id}/RecordingStateChanged"),
            recording_id.clone(),
            format!("recordingId/{recording_id}/RecordingStateChanged"),
            format!("recordingId/{recording_id}"),
        ] {
            for short_type in [
                "RecordingStateChanged",
                "CallRecordingStateChanged",
                "StartRecordingFailed",
                "NotInTheTable",
            ] {
                let text = format!("calling/recordings/{server_call}/{rest}");
                let mut event = cloud_event(short_type, json!({}));
                event.attributes.source = Some("elsewhere".into());
                event.attributes.subject = Some(text.clone());
                for _ in 0..2 {
                    let ids = CATALOG.examine(&event).ids;
                    assert_eq!(ids.server_call.as_deref(), Some(server_call), "{text}");
                    assert_eq!(ids.recording.as_deref(), Some(&*recording_id), "{text}");
                    assert_eq!(ids.connection, None, "{text}");
                    let attributes = &mut event.attributes;
                    std::mem::swap(&mut attributes.source, &mut attributes.subject);
                }
            }
        }
    }
    // A recording id of another form is recognized by the event name after it.
    let mut event = cloud_event("RecordingStateChanged", json!({}));
    event.attributes.subject = Some("calling/recordings/a/b==/r-1/RecordingStateChanged".into());
    let ids = CATALOG.examine(&event).ids;
    assert_eq!(ids.server_call.as_deref(), Some("a/b=="));
    assert_eq!(ids.recording.as_deref(), Some("r-1"));
}

#[test]
fn a_recordings_own_endpoint_is_told_from_the_connection_of_a_call() {
    let check = |subject: &str, data: Value, connection: Option<&str>, endpoint: Option<&str>| {
        for short_type in ["RecordingStateChanged", "NotInTheTable"] {
            let mut event = cloud_event(short_type, data.clone());
            event.attributes.source = Some(subject.to_owned());
            event.attributes.subject = None;
            let ids = CATALOG.examine(&event).ids;
            assert_eq!(ids.connection.as_deref(), connection, "{subject} {data}");
            assert_eq!(
                ids.recording_endpoint.as_deref(),
                endpoint,
                "{subject} {data}"
            );
        }
    };
    let recording = recording_id("8F0F7A51-6A6D-4C27-9A3E-1F7F8B1F6A10");
    let endpoint = "8f0f7a51-6a6d-4c27-9a3e-1f7f8b1f6a10";
    let source = format!("calling/recordings/s/{recording}/RecordingStateChanged");
    let named =
        json!({"callConnectionId": endpoint, "recordingId": recording, "serverCallId": "s"});
    check(&source, named.clone(), None, Some(endpoint));
    // The recording id may be in `source` alone.
    let unnamed = json!({"callConnectionId": endpoint});
    check(&source, unnamed, None, Some(endpoint));
    // Another id is a call's.
    let other = json!({"callConnectionId": "leg", "recordingId": recording});
    check(&source, other, Some("leg"), None);
    // So is every id of an event that is not about a recording.
    let of_call = "calling/callConnections/x";
    check(of_call, named, Some(endpoint), None);
    // An id without an endpoint cannot exclude one.
    let opaque = json!({"callConnectionId": endpoint, "recordingId": "r-1"});
    let source = "calling/recordings/s/r-1/RecordingStateChanged";
    check(source, opaque, Some(endpoint), None);
}

fn recording_id(endpoint: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(
        r#"{{"PlatformEndpointId":"{endpoint}","ResourceSpecificId":"5b0c3c0e-9e0b-4f0e-8a35-4a0d7c1f9b11"}}"#
    ))
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
