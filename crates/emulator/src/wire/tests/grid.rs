//! Event Grid's events, beside the published ones.

use serde_json::Value;

use super::{
    super::{
        super::{
            event::{GridHappened, GridNotice},
            identity::Identifier,
        },
        published_shape::{Shape, check_sample, sample},
        rendered::kind_of,
        *,
    },
    at, participants, recording_id, user,
};

fn resource() -> Resource {
    Resource::new("016a7064-0581-40b9-be73-6dde64d69d72")
}

fn grid(happened: GridHappened, schema: GridSchema) -> Rendered {
    let notice = GridNotice {
        ordinal: 1,
        server_call: "aHR0cHM6Ly9jb252".to_owned(),
        correlation: "06666876-a345-4eef-a60c-eb7fa30f6c9a".to_owned(),
        happened,
    };
    render_grid(&notice, Uuid::nil(), at(), &resource(), schema)
}

fn incoming() -> GridHappened {
    GridHappened::IncomingCall {
        from: Identifier::from_raw_id("4:+15550100"),
        to: user(),
        display_name: "Ann".to_owned(),
        context_token: "token".to_owned(),
    }
}

fn ended(room: Option<String>) -> GridHappened {
    GridHappened::CallEnded {
        started_by: user(),
        two_party: true,
        room,
        duration_seconds: 49.5,
        code: 200,
        sub_code: 7000,
    }
}

fn left(room: Option<String>) -> GridHappened {
    GridHappened::ParticipantRemoved {
        started_by: user(),
        user: participants().remove(0),
        display_name: "Ann".to_owned(),
        room,
    }
}

fn file_ready() -> GridHappened {
    GridHappened::RecordingFileReady {
        recording: recording_id(),
        started: at(),
        duration_ms: 6620,
        content: "audioVideo".to_owned(),
        channel: "mixed".to_owned(),
        format: "mp4".to_owned(),
        end_reason: "CallEnded".to_owned(),
    }
}

fn all_of_the_grid() -> Vec<(GridHappened, &'static str, String)> {
    let of_recording = format!(
        "/recording/call/06666876-a345-4eef-a60c-eb7fa30f6c9a/serverCallId/aHR0cHM6Ly9jb252/recordingId/{}",
        recording_id().as_str()
    );
    vec![
        (
            incoming(),
            "IncomingCall",
            "/caller/4:+15550100/recipient/8:acs:d6_0e".to_owned(),
        ),
        (
            GridHappened::CallStarted {
                by: user(),
                two_party: true,
                room: None,
            },
            "CallStarted",
            "call/aHR0cHM6Ly9jb252/startedBy/8:acs:d6_0e".to_owned(),
        ),
        (ended(None), "CallEnded", "call/aHR0cHM6Ly9jb252".to_owned()),
        (
            GridHappened::ParticipantAdded {
                started_by: user(),
                user: participants().remove(0),
                display_name: "Ann".to_owned(),
                room: None,
            },
            "CallParticipantAdded",
            "call/aHR0cHM6Ly9jb252/participant/8:acs:d6_0e".to_owned(),
        ),
        (
            left(None),
            "CallParticipantRemoved",
            "call/aHR0cHM6Ly9jb252/participant/8:acs:d6_0e".to_owned(),
        ),
        (file_ready(), "RecordingFileStatusUpdated", of_recording),
    ]
}

#[test]
fn event_grid_says_the_same_in_both_schemas() {
    for (happened, name, subject) in all_of_the_grid() {
        let own = grid(happened.clone(), GridSchema::EventGrid);
        let cloud = grid(happened, GridSchema::CloudEvents);
        assert_eq!((&own.kind, &cloud.kind), (&kind_of(name), &kind_of(name)));
        let own: Value = serde_json::from_str(own.event.get()).expect("JSON");
        let cloud: Value = serde_json::from_str(cloud.event.get()).expect("JSON");
        assert_eq!(own["data"], cloud["data"]);
        assert_eq!(own["eventType"], cloud["type"]);
        assert_eq!(own["eventTime"], "2026-02-26T22:03:53.7932700Z");
        assert_eq!(own["eventTime"], cloud["time"]);
        assert_eq!(own["subject"], subject);
        assert_eq!(cloud["subject"], subject);
        assert_eq!(own["topic"], resource().topic);
        assert_eq!(cloud["source"], resource().topic);
        assert_eq!(cloud["specversion"], "1.0");
    }
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn event_grid_looks_as_published() {
    let check = |happened, file, without: &[&str]| {
        check_sample(&grid(happened, GridSchema::EventGrid), file, without);
    };
    let room = || Some("room".to_owned());
    let from_user = || GridHappened::IncomingCall {
        from: user(),
        to: user(),
        display_name: "Ann".to_owned(),
        context_token: "token".to_owned(),
    };
    // The sample's call had headers of its own; the emulator's has none, as in the recording after it.
    check(
        from_user(),
        "eg-IncomingCall-1.json",
        &["data.customContext"],
    );
    check(from_user(), "fragment-eg-IncomingCall-1.json", &[]);
    // What the SDK's models have in addition.
    let wrapped = "data.startedBy.communicationIdentifier";
    check(
        GridHappened::CallStarted {
            by: user(),
            two_party: false,
            room: room(),
        },
        "eg-CallStarted-1.json",
        &[wrapped],
    );
    check(
        ended(room()),
        "eg-CallEnded-1.json",
        &[wrapped, "data.callDurationInSeconds", "data.reason"],
    );
    check(
        left(room()),
        "eg-CallParticipantRemoved-1.json",
        &[
            wrapped,
            "data.user.communicationIdentifier",
            "data.userAgent",
            // Not known where the event is made.
            "data.isTwoParty",
        ],
    );
    let published = sample("eg-RecordingFileStatusUpdated-1.json");
    let emulated = grid(file_ready(), GridSchema::EventGrid);
    let mut emulated = Shape::of(emulated.event.get());
    // What came after 2021.
    for member in [
        "recordingId",
        "storageType",
        "recordingContentType",
        "recordingChannelType",
        "recordingFormatType",
    ] {
        emulated = emulated.without(&format!("data.{member}"));
    }
    let differences = emulated.differences(&published);
    assert!(
        matches!(differences.as_slice(), [one] if one.contains("deleteLocation")),
        "{differences:#?}"
    );
}

#[test]
fn a_recording_has_the_published_values_and_no_real_url() {
    let event = grid(file_ready(), GridSchema::EventGrid);
    let value: Value = serde_json::from_str(event.event.get()).expect("JSON");
    let data = &value["data"];
    assert_eq!(data["recordingContentType"], "AudioVideo");
    assert_eq!(data["recordingChannelType"], "Mixed");
    assert_eq!(data["recordingFormatType"], "Mp4");
    let chunk = &data["recordingStorageInfo"]["recordingChunks"][0];
    for location in ["contentLocation", "metadataLocation", "deleteLocation"] {
        let url = chunk[location].as_str().expect("a URL");
        assert!(
            url.starts_with("https://storage.emulator.invalid/"),
            "{url}"
        );
    }
}
