//! Events of recordings, whose ids depend on how the recording was started.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    super::{
        super::event::{GridHappened, GridNotice, Happened, RecordingId, ResultInformation},
        rendered::start_of_recording,
        *,
    },
    CONNECTION, ENDPOINT, RESOURCE, VERSIONS, at, json, notice, recording, recording_id, rendered,
};

/// Standard base64 with a slash, as some ids of the service are.
const SERVER_CALL: &str = "aHR0cHM6Ly9jb252L3g/aT0x";

fn failed() -> Happened {
    Happened::StartRecordingFailed {
        recording: recording_id(),
    }
}

/// A notice of GA, of the call with [`SERVER_CALL`].
fn told(version: &str, happened: Happened) -> Notice {
    let mut notice = notice(Generation::Ga, version, happened);
    notice.call.server_call = SERVER_CALL.to_owned();
    notice
}

#[test]
fn an_id_is_an_object_in_base64url_without_padding() {
    for (endpoint, resource) in [(ENDPOINT, RESOURCE), ("a", "b"), ("a", "bc"), ("a", "bcd")] {
        let id = RecordingId::new(endpoint.to_owned(), resource);
        let text = BASE64_URL_SAFE_NO_PAD
            .decode(id.as_str())
            .expect("base64url");
        assert_eq!(
            String::from_utf8(text).expect("UTF-8"),
            format!(r#"{{"PlatformEndpointId":"{endpoint}","ResourceSpecificId":"{resource}"}}"#)
        );
        assert_eq!(id.endpoint(), endpoint);
    }
}

#[test]
fn the_state_of_a_recording_is_written_as_recorded() {
    let id = recording_id();
    let id = id.as_str();
    let source = format!("calling/recordings/{SERVER_CALL}/{id}/RecordingStateChanged");
    let mut notice = told("2025-05-15", recording());
    notice.result = Some(ResultInformation::fine());
    let event = rendered(&notice).expect("an event");
    assert_eq!(
        event.event.get(),
        format!(
            concat!(
                r#"{{"id":"00000000-0000-0000-0000-000000000000","source":"{source}","#,
                r#""type":"Microsoft.Communication.RecordingStateChanged","data":{{"recordingId":"{id}","#,
                r#""state":"active","startDateTime":"2026-02-26T22:03:53.79327+00:00","#,
                r#""recordingKind":"azureCommunicationServices","#,
                r#""resultInformation":{{"code":200,"subCode":0,"message":""}},"version":"2025-05-15","#,
                r#""callConnectionId":"{endpoint}","serverCallId":"{server_call}","#,
                r#""correlationId":"cbb1bcc0-4950-40e4-a11a-b63eb5daabe6","#,
                r#""publicEventType":"Microsoft.Communication.RecordingStateChanged"}},"#,
                r#""time":"2026-02-26T22:03:53.7932700+00:00","specversion":"1.0","#,
                r#""datacontenttype":"application/json","subject":"{source}"}}"#
            ),
            source = source,
            id = id,
            endpoint = ENDPOINT,
            server_call = SERVER_CALL,
        )
    );
}

#[test]
fn a_recording_names_its_endpoint_and_its_server_call_in_every_version() {
    let id = recording_id();
    let source = format!(
        "calling/recordings/{SERVER_CALL}/{}/RecordingStateChanged",
        id.as_str()
    );
    for version in VERSIONS {
        for happened in [recording(), failed()] {
            let Some(event) = rendered(&told(version, happened)) else {
                // `StartRecordingFailed` came late.
                continue;
            };
            let event: Value = serde_json::from_str(event.event.get()).expect("JSON");
            assert_eq!(event["source"], source, "{version}");
            assert_eq!(event["subject"], source);
            assert_eq!(event["data"]["recordingId"], id.as_str());
            assert_eq!(event["data"]["callConnectionId"], ENDPOINT);
            assert_eq!(event["data"]["serverCallId"], SERVER_CALL);
        }
    }
}

#[test]
fn a_recording_of_a_connection_has_the_same_source_and_names_the_connection() {
    let id = RecordingId::new(CONNECTION.to_owned(), RESOURCE);
    let source = format!(
        "calling/recordings/{SERVER_CALL}/{}/RecordingStateChanged",
        id.as_str()
    );
    for happened in [
        Happened::RecordingStateChanged {
            recording: id.clone(),
            active: true,
            started: Some(at()),
        },
        Happened::StartRecordingFailed {
            recording: id.clone(),
        },
    ] {
        let event = json(&told("2026-03-12", happened));
        assert_eq!(event["source"], source);
        assert_eq!(event["subject"], source);
        assert_eq!(event["data"]["callConnectionId"], CONNECTION);
        assert_eq!(event["data"]["recordingId"], id.as_str());
    }
}

#[test]
fn a_recording_that_has_not_started_began_in_the_year_1() {
    let not_started = Happened::RecordingStateChanged {
        recording: recording_id(),
        active: false,
        started: None,
    };
    let event = json(&told("2025-05-15", not_started));
    assert_eq!(event["data"]["state"], "inactive");
    assert_eq!(event["data"]["startDateTime"], "0001-01-01T00:00:00+00:00");
}

#[test]
fn the_start_of_a_recording_has_the_digits_that_it_needs() {
    for (start, written) in [
        ("2026-02-26T22:03:53Z", "2026-02-26T22:03:53+00:00"),
        ("2026-02-26T22:03:50.1Z", "2026-02-26T22:03:50.1+00:00"),
        ("2026-02-26T22:00:00Z", "2026-02-26T22:00:00+00:00"),
        (
            "2026-02-26T22:03:53.123456789Z",
            "2026-02-26T22:03:53.1234567+00:00",
        ),
    ] {
        let start = start.parse().expect("a time");
        assert_eq!(start_of_recording(Some(start)), written);
    }
}

#[test]
fn event_grid_names_the_recording_as_the_callbacks_do() {
    let state = json(&told("2026-03-12", recording()));
    let notice = GridNotice {
        ordinal: 1,
        server_call: SERVER_CALL.to_owned(),
        correlation: "06666876-a345-4eef-a60c-eb7fa30f6c9a".to_owned(),
        happened: GridHappened::RecordingFileReady {
            recording: recording_id(),
            started: at(),
            duration_ms: 6620,
            content: "audio".to_owned(),
            channel: "mixed".to_owned(),
            format: "wav".to_owned(),
            end_reason: "CallEnded".to_owned(),
        },
    };
    let resource = Resource::new("016a7064-0581-40b9-be73-6dde64d69d72");
    for schema in [GridSchema::EventGrid, GridSchema::CloudEvents] {
        let event = render_grid(&notice, Uuid::nil(), at(), &resource, schema);
        let event: Value = serde_json::from_str(event.event.get()).expect("JSON");
        let id = &state["data"]["recordingId"];
        assert_eq!(&event["data"]["recordingId"], id);
        let subject = event["subject"].as_str().expect("a subject");
        let id = id.as_str().expect("an id");
        assert!(
            subject.ends_with(&format!("/serverCallId/{SERVER_CALL}/recordingId/{id}")),
            "{subject}"
        );
    }
}
