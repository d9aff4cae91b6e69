//! Every event in every generation.

mod grid;
mod published;
mod recordings;
mod table;

use serde_json::Value;

use self::table::table;
use super::{
    super::{
        event::{
            CallFacts, Generation, Happened, Notice, Participant, Recognized, RecordingId,
            ResultInformation, Tone,
        },
        identity::Identifier,
    },
    rendered::{kind_of, time_with_offset, time_with_z},
    *,
};

/// The versions of GA that the packages use.
const VERSIONS: [&str; 7] = [
    "2023-03-06",
    "2023-10-15",
    "2024-04-15",
    "2024-09-15",
    "2025-05-15",
    "2025-06-15",
    "2026-03-12",
];
const CONNECTION: &str = "441f1200-fd54-422e-9566-a867d187dca7";

fn at() -> Timestamp {
    "2026-02-26T22:03:53.793270016Z".parse().expect("a time")
}

fn user() -> Identifier {
    Identifier::from_raw_id("8:acs:d6_0e")
}

fn participants() -> Vec<Participant> {
    vec![Participant {
        identifier: user(),
        participant_id: "de7539f7-019e-4934-a4c9-9a770e5e07bb".to_owned(),
        muted: false,
        on_hold: true,
    }]
}

fn tone() -> Tone {
    Tone::from_key('1').expect("a key")
}

fn updated() -> Happened {
    Happened::ParticipantsUpdated {
        sequence: 1,
        participants: participants(),
    }
}

fn added() -> Happened {
    Happened::ParticipantAdded {
        participants: vec![user()],
    }
}

fn not_added() -> Happened {
    Happened::AddParticipantFailed {
        participants: vec![user()],
    }
}

fn pressed() -> Happened {
    Happened::ToneReceived {
        sequence: 1,
        tone: tone(),
    }
}

/// Of the recording's own endpoint, as where it was started with a server call id.
const ENDPOINT: &str = "9d5b7c1e-3f0a-4b52-8f6d-2c4e6a8b0d1f";
const RESOURCE: &str = "4e1f6b2a-7c3d-4a85-9b0e-5d6f7a8b9c0d";

fn recording_id() -> RecordingId {
    RecordingId::new(ENDPOINT.to_owned(), RESOURCE)
}

fn recording() -> Happened {
    Happened::RecordingStateChanged {
        recording: recording_id(),
        active: true,
        started: Some(at()),
    }
}

fn dtmf() -> Happened {
    Happened::RecognizeCompleted(Recognized::Dtmf {
        tones: vec![tone()],
    })
}

fn notice(generation: Generation, version: &str, happened: Happened) -> Notice {
    Notice {
        call: CallFacts {
            ordinal: 1,
            generation,
            version: version.to_owned(),
            connection: CONNECTION.to_owned(),
            server_call: "aHR0cHM6Ly9jb252".to_owned(),
            conversation: Some("aHR0cHM6Ly9jb252".to_owned()),
            correlation: "cbb1bcc0-4950-40e4-a11a-b63eb5daabe6".to_owned(),
        },
        to: "http://127.0.0.1/callbacks".to_owned(),
        context: Some("context".to_owned()),
        result: Some(ResultInformation::completed()),
        happened,
    }
}

fn rendered(notice: &Notice) -> Option<Rendered> {
    render(notice, Uuid::nil(), at())
}

/// The object of an event that the generation has.
fn json(notice: &Notice) -> Value {
    let rendered = rendered(notice).expect("an event");
    serde_json::from_str(rendered.event.get()).expect("JSON")
}

#[test]
fn every_event_has_the_name_of_its_generation_or_none() {
    for (happened, private, public, ga) in table() {
        let kind = |generation, version: &str| {
            rendered(&notice(generation, version, happened.clone())).map(|event| event.kind)
        };
        assert_eq!(kind(Generation::Private, ""), private.map(kind_of));
        assert_eq!(
            kind(Generation::Public, "2021-08-30-preview"),
            public.map(kind_of)
        );
        for version in VERSIONS {
            let expected = ga
                .filter(|(_, since)| version >= *since)
                .map(|(name, _)| kind_of(name));
            assert_eq!(
                kind(Generation::Ga, version),
                expected,
                "{happened:?} in {version}"
            );
        }
    }
}

/// The table above names 38 of the 38 event types that the emulator sends; a type that is lost from it is noticed here.
#[test]
fn every_event_type_of_ga_is_made() {
    let mut names: Vec<&str> = table()
        .into_iter()
        .filter_map(|(_, _, _, ga)| ga.map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 38, "{names:?}");
}

#[test]
fn sparse_and_unusual_events_render_too() {
    for (happened, ..) in table() {
        for (generation, version) in [
            (Generation::Private, "no date"),
            (Generation::Public, ""),
            (Generation::Ga, ""),
            (Generation::Ga, "no date"),
            (Generation::Ga, "9999-12-31-preview"),
        ] {
            let mut notice = notice(generation, version, happened.clone());
            notice.context = None;
            notice.result = None;
            notice.call.conversation = None;
            notice.call.connection = "\"\u{0}\\ü".to_owned();
            if let Some(event) = rendered(&notice) {
                serde_json::from_str::<Value>(event.event.get()).expect("JSON");
            }
        }
    }
    let absent = Happened::ParticipantAdded {
        participants: Vec::new(),
    };
    let event = json(&notice(Generation::Ga, "2026-03-12", absent));
    assert_eq!(event["data"].get("participant"), None);
}

#[test]
fn members_of_ga_come_with_their_versions() {
    let data = |version: &str, happened: Happened| {
        json(&notice(Generation::Ga, version, happened))["data"].clone()
    };
    let has = |version: &str, happened: Happened, member: &str| {
        data(version, happened).get(member).is_some()
    };
    for (version, with_result, with_version) in [
        ("2023-03-06", false, false),
        ("2023-10-15", false, false),
        ("2024-04-15", true, false),
        ("2024-09-15", true, true),
        ("2026-03-12", true, true),
    ] {
        for happened in [
            Happened::Connected,
            Happened::Disconnected,
            Happened::PlayCanceled,
            Happened::RecognizeCanceled,
            recording(),
            updated(),
        ] {
            // Recorded of a recording only with the versions that name themselves.
            let with_result = match happened {
                Happened::RecordingStateChanged { .. } => with_version,
                _ => with_result,
            };
            assert_eq!(
                has(version, happened.clone(), "resultInformation"),
                with_result,
                "{happened:?} in {version}"
            );
            assert_eq!(has(version, happened.clone(), "version"), with_version);
            assert_eq!(has(version, happened, "publicEventType"), with_version);
        }
        for happened in [added(), not_added(), Happened::PlayCompleted, dtmf()] {
            assert!(has(version, happened, "resultInformation"));
        }
        let participant = &data(version, updated())["participants"][0];
        assert_eq!(participant.get("isOnHold").is_some(), with_result);
        assert_eq!(has(version, recording(), "recordingKind"), with_result);
        assert!(!has(version, recording(), "operationContext"));
        assert!(has(version, Happened::Connected, "operationContext"));
    }
    assert_eq!(
        data("2024-09-15", Happened::Connected)["version"],
        "2024-09-15"
    );
}

#[test]
fn a_result_is_written_once() {
    for happened in [updated(), recording()] {
        let event = rendered(&notice(Generation::Ga, "2026-03-12", happened)).expect("an event");
        assert_eq!(event.event.get().matches("resultInformation").count(), 1);
    }
}

#[test]
fn a_recognition_has_its_own_member() {
    let data = |recognized| {
        let happened = Happened::RecognizeCompleted(recognized);
        json(&notice(Generation::Ga, "2025-05-15", happened))["data"].clone()
    };
    let tones = ['0', '#', '*', 'A'];
    let tones = tones
        .map(|key| Tone::from_key(key).expect("a key"))
        .to_vec();
    let pressed = data(Recognized::Dtmf { tones });
    assert_eq!(pressed["recognitionType"], "dtmf");
    assert_eq!(
        pressed["dtmfResult"],
        serde_json::json!({"tones": ["zero", "pound", "asterisk", "a"]})
    );
    let chosen = data(Recognized::Choice {
        label: "Confirm".to_owned(),
        phrase: None,
    });
    assert_eq!(chosen["recognitionType"], "choices");
    assert_eq!(
        chosen["choiceResult"],
        serde_json::json!({"label": "Confirm"})
    );
    let event_body = data(Recognized::Speech {
        speech: "yes".to_owned(),
    });
    assert_eq!(event_body["recognitionType"], "speech");
    assert_eq!(
        event_body["speechResult"],
        serde_json::json!({"speech": "yes"})
    );
}

#[test]
fn tones_of_2021_have_names_of_their_own() {
    for (key, private, public) in [
        ('0', "Tone0", "tone0"),
        ('9', "Tone9", "tone9"),
        ('*', "Star", "star"),
        ('#', "Pound", "pound"),
        ('D', "D", "d"),
    ] {
        let happened = Happened::ToneReceived {
            sequence: 7,
            tone: Tone::from_key(key).expect("a key"),
        };
        let event = json(&notice(Generation::Private, "", happened.clone()));
        assert_eq!(event["data"]["ToneInfo"]["Tone"], private);
        assert_eq!(event["data"]["ToneInfo"]["SequenceId"], 7);
        let event = json(&notice(Generation::Public, "", happened));
        assert_eq!(event["data"]["toneInfo"]["tone"], public);
    }
}

#[test]
fn a_cancelled_play_of_2021_is_completed_with_400() {
    let event = json(&notice(Generation::Private, "", Happened::PlayCanceled));
    assert_eq!(event["data"]["Status"], "Completed");
    assert_eq!(event["data"]["ResultInfo"]["Code"], 400);
    assert_eq!(event["data"]["ResultInfo"]["Subcode"], 8508);
    let event = json(&notice(Generation::Public, "", Happened::PlayCanceled));
    assert_eq!(event["data"]["status"], "completed");
    assert_eq!(event["data"]["resultInfo"]["code"], 400);
    assert_eq!(event["data"]["resultInfo"]["subcode"], 8508);
}

#[test]
fn the_states_of_a_call_have_their_names_in_2021() {
    for (happened, private, public) in [
        (Happened::Connecting, "Establishing", "connecting"),
        (Happened::Connected, "Established", "connected"),
        (Happened::Disconnecting, "Terminating", "disconnecting"),
        (Happened::Disconnected, "Terminated", "disconnected"),
    ] {
        let event = json(&notice(Generation::Private, "", happened.clone()));
        assert_eq!(event["data"]["CallState"], private);
        assert_eq!(event["subject"], format!("callLeg/{CONNECTION}/callState"));
        let event = json(&notice(Generation::Public, "", happened));
        assert_eq!(event["data"]["callConnectionState"], public);
        let source = format!("calling/callConnections/{CONNECTION}/callState");
        assert_eq!(event["source"], source);
        assert_eq!(event["subject"], source);
    }
}

#[test]
fn a_time_has_seven_digits_and_the_zone_of_its_envelope() {
    let event = json(&notice(Generation::Private, "", Happened::Connected));
    assert_eq!(event["eventTime"], "2026-02-26T22:03:53.7932700Z");
    let event = json(&notice(Generation::Ga, "2026-03-12", Happened::Connected));
    assert_eq!(event["time"], "2026-02-26T22:03:53.7932700+00:00");
    let whole = Timestamp::from_second(0).expect("a time");
    assert_eq!(time_with_z(whole), "1970-01-01T00:00:00.0000000Z");
    assert_eq!(time_with_offset(whole), "1970-01-01T00:00:00.0000000+00:00");
}

#[test]
fn only_the_end_of_a_call_is_last() {
    for (happened, ..) in table() {
        let ends = matches!(
            happened,
            Happened::Disconnected
                | Happened::CreateCallFailed
                | Happened::AnswerFailed
                | Happened::ConnectFailed
        );
        for generation in [Generation::Private, Generation::Public, Generation::Ga] {
            if let Some(event) = rendered(&notice(generation, "2026-03-12", happened.clone())) {
                assert_eq!(event.last, ends, "{happened:?}");
            }
        }
    }
}

#[test]
fn a_body_is_an_array_where_the_service_sends_one() {
    let check = |body: Body, events: Option<usize>, content_type| {
        let value: Value = serde_json::from_slice(&body.bytes).expect("JSON");
        assert_eq!(value.as_array().map(Vec::len), events, "{value}");
        assert_eq!(body.content_type, content_type);
    };
    let event = rendered(&notice(Generation::Private, "", Happened::Connected)).expect("one");
    for generation in [Generation::Private, Generation::Public] {
        check(body(generation, &[&event]), None, "application/json");
    }
    check(body(Generation::Ga, &[&event]), Some(1), "application/json");
    for generation in [Generation::Private, Generation::Public, Generation::Ga] {
        let two = body(generation, &[&event, &event]);
        check(two, Some(2), "application/json");
    }
    let grid = |events: &[&Rendered]| grid_body(GridSchema::EventGrid, events);
    check(grid(&[&event]), Some(1), "application/json");
    check(grid(&[&event, &event]), Some(2), "application/json");
    let cloud = |events: &[&Rendered]| grid_body(GridSchema::CloudEvents, events);
    check(cloud(&[&event]), None, "application/cloudevents+json");
    check(
        cloud(&[&event, &event]),
        Some(2),
        "application/cloudevents-batch+json",
    );
}
