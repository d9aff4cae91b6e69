//! Drift: the sender's additions are noticed, and never fail an event.

use serde_json::{Value, json};

use crate::catalog::{
    Validity,
    test_support::{CATALOG, cloud_event},
};

fn drift(short_type: &str, mut data: Value) -> Vec<String> {
    for id in ["callConnectionId", "serverCallId", "correlationId"] {
        data[id] = json!("id");
    }
    let finding = CATALOG.examine(&cloud_event(short_type, data));
    assert_eq!(finding.verdict, Validity::Valid);
    finding.drift
}

#[test]
fn an_unknown_member_is_reported_by_pointer() {
    assert_eq!(drift("CallConnected", json!({})), Vec::<String>::new());
    assert_eq!(
        drift(
            "CallConnected",
            json!({"a/b": 1, "resultInformation": {"code": 1, "cause": {}}})
        ),
        ["/data/a~1b", "/data/resultInformation/cause"]
    );
}

#[test]
fn members_of_array_items_are_reported_once_with_a_star() {
    let participant = json!({"identifier": {"rawId": "r", "species": "bot"}, "mood": 1});
    assert_eq!(
        drift(
            "ParticipantsUpdated",
            json!({"participants": [participant, participant]})
        ),
        [
            "/data/participants/*/identifier/species",
            "/data/participants/*/mood"
        ]
    );
}

#[test]
fn an_unknown_value_of_a_known_enum_is_reported_and_its_text_is_not() {
    assert_eq!(
        drift(
            "RecognizeCompleted",
            json!({"recognitionType": "telepathy"})
        ),
        ["/data/recognitionType"]
    );
    assert_eq!(
        drift(
            "RecognizeCompleted",
            json!({"dtmfResult": {"tones": ["one", "twelve", "ten"]}})
        ),
        ["/data/dtmfResult/tones/*"]
    );
}

#[test]
fn a_free_map_has_no_unknown_members() {
    let call = json!({
        "to": {"rawId": "a"}, "from": {"rawId": "b"}, "incomingCallContext": "c",
        "customContext": {"sipHeaders": {"X-Anything": "goes"}, "other": {}},
    });
    assert_eq!(drift("IncomingCall", call), ["/data/customContext/other"]);
}

#[test]
fn null_is_not_drift_where_the_generation_allows_it() {
    let finding = CATALOG.examine(&cloud_event(
        "PlayAudioResult",
        json!({"status": "completed", "resultInfo": null, "operationContext": null}),
    ));
    assert_eq!(finding.verdict, Validity::Valid);
    assert_eq!(finding.drift, Vec::<String>::new());
}

#[test]
fn what_one_event_can_report_is_bounded() {
    let mut data = json!({});
    for n in 0..500 {
        data[format!("{n}{}", "ä".repeat(500))] = json!(n);
    }
    let found = drift("CallConnected", data);
    assert_eq!(found.len(), 64);
    assert!(found.iter().all(|pointer| pointer.len() < 300));
}
