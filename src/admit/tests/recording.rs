//! The call keys of the events of one call with a recording, in whatever order they arrive.

use proptest::prelude::*;

use crate::{
    event::{AppName, CallIds, CallKey},
    route::{DestinationId, QueueType, Target},
};

use crate::admit::{
    Admission, AdmissionDecision, AdmissionLimits, CallRule, EventFacts, EventIdentity, Offer,
};

const LEG: &str = "leg";
const SECOND_LEG: &str = "second leg";
const SERVER_CALL: &str = "server call";
const RECORDING: &str = "recording";
/// The `PlatformEndpointId` in the id of a recording that was started by server call id: no leg has it.
const ENDPOINT: &str = "endpoint";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// An event of a leg.
fn of_leg(leg: &str) -> CallIds {
    CallIds {
        connection: some(leg),
        server_call: some(SERVER_CALL),
        ..CallIds::default()
    }
}

/// A recording event whose `data.callConnectionId` is the endpoint in its recording id.
fn of_recording(endpoint: &str) -> CallIds {
    CallIds {
        recording_endpoint: some(endpoint),
        server_call: some(SERVER_CALL),
        recording: some(RECORDING),
        ..CallIds::default()
    }
}

/// Event Grid's CallStarted and CallEnded.
fn of_server_call() -> CallIds {
    CallIds {
        server_call: some(SERVER_CALL),
        ..CallIds::default()
    }
}

/// Event Grid's RecordingFileStatusUpdated: with the server call since 2025; before, its subject contained the
/// correlation id, which no other event has in that place.
fn of_file(call: Option<&str>) -> CallIds {
    CallIds {
        server_call: call.map(str::to_owned),
        recording: some(RECORDING),
        ..CallIds::default()
    }
}

fn offer(ids: CallIds, digest: usize) -> Offer {
    let identity = EventIdentity {
        named: None,
        digest: digest as u128,
    };
    let targets = vec![Target::Queue {
        name: "q".into(),
        partitions: None,
        queue_type: QueueType::Quorum,
    }];
    let app = AppName::try_from("a".to_owned()).unwrap();
    let facts = EventFacts::new(app, jiff::Timestamp::UNIX_EPOCH);
    Offer::new(
        identity,
        (ids, CallRule::Auto),
        targets,
        facts,
        bytes::Bytes::from_static(b"{}"),
    )
}

/// The keys of the events, in the order given; every event in a commit of its own.
fn keys(events: &[CallIds]) -> Vec<String> {
    let app = AppName::try_from("a".to_owned()).unwrap();
    let mut admission = Admission::new(AdmissionLimits::default());
    let mut sequences = std::collections::HashMap::new();
    events
        .iter()
        .enumerate()
        .map(|(index, ids)| {
            admission.begin(0);
            let verdict =
                admission.decide(&app, &offer(ids.clone(), index), &mut |_| DestinationId(0));
            admission.commit();
            let AdmissionDecision::New {
                call: Some(key),
                placed,
            } = verdict
            else {
                panic!("no call for {ids:?}");
            };
            let before = sequences.entry(key.clone()).or_insert(0);
            *before += 1;
            assert_eq!(
                placed[0].line.unwrap().sequence,
                *before,
                "the sequences of {key} have a gap"
            );
            key.to_string()
        })
        .collect()
}

#[test]
fn a_recording_by_server_call_id_follows_the_call_and_makes_no_key_of_its_endpoint() {
    let events = [
        of_leg(LEG),
        of_recording(ENDPOINT),
        of_server_call(),
        of_file(Some("correlation")),
    ];
    assert_eq!(keys(&events), [LEG; 4]);
}

#[test]
fn a_recording_that_comes_first_takes_the_server_call_and_leaves_the_leg_its_own_key() {
    let events = [
        of_recording(ENDPOINT),
        of_leg(LEG),
        of_server_call(),
        of_file(Some("correlation")),
        of_recording(ENDPOINT),
    ];
    assert_eq!(
        keys(&events),
        [SERVER_CALL, LEG, SERVER_CALL, SERVER_CALL, SERVER_CALL]
    );
}

#[test]
fn a_recording_by_connection_id_is_the_legs_once_the_leg_is_known() {
    let events = [of_leg(LEG), of_leg(SECOND_LEG), of_recording(SECOND_LEG)];
    assert_eq!(keys(&events), [LEG, SECOND_LEG, SECOND_LEG]);
    let events = [of_leg(LEG), of_recording(SECOND_LEG), of_leg(SECOND_LEG)];
    assert_eq!(keys(&events), [LEG, LEG, SECOND_LEG]);
}

#[test]
fn an_unknown_id_does_not_hide_a_bound_one() {
    let events = [
        of_file(None),
        of_file(Some("correlation")),
        of_file(Some("correlation")),
    ];
    assert_eq!(keys(&events), [RECORDING; 3]);
}

#[test]
fn an_endpoint_alone_names_no_call_and_is_not_remembered() {
    let app = AppName::try_from("a".to_owned()).unwrap();
    let mut admission = Admission::new(AdmissionLimits::default());
    let alone = CallIds {
        recording_endpoint: some(ENDPOINT),
        ..CallIds::default()
    };
    for digest in 0..2 {
        admission.begin(0);
        let verdict = admission.decide(&app, &offer(alone.clone(), digest), &mut |_| {
            DestinationId(0)
        });
        assert!(matches!(verdict, AdmissionDecision::New { call: None, .. }));
        admission.commit();
        assert_eq!(admission.calls(), 0);
    }
}

#[test]
fn an_endpoint_in_use_at_another_app_is_not_in_use_at_this_one() {
    let mut admission = Admission::new(AdmissionLimits::default());
    let mut key = |app: &str, ids, digest| {
        let app = AppName::try_from(app.to_owned()).unwrap();
        admission.begin(0);
        let verdict = admission.decide(&app, &offer(ids, digest), &mut |_| DestinationId(0));
        admission.commit();
        match verdict {
            AdmissionDecision::New { call, .. } => call,
            AdmissionDecision::Duplicate => panic!("taken for a duplicate"),
        }
    };
    assert_eq!(key("a", of_leg(LEG), 1), CallKey::new(LEG));
    assert_eq!(key("b", of_recording(LEG), 2), CallKey::new(SERVER_CALL));
    assert_eq!(key("a", of_recording(LEG), 3), CallKey::new(LEG));
}

/// All events of a call with two legs and a recording, some of them twice.
fn events_of_a_call() -> impl Strategy<Value = Vec<CallIds>> {
    let started_by = prop_oneof![Just(ENDPOINT), Just(LEG), Just(SECOND_LEG)];
    // A file identifies its call by the server call, or only by the recording.
    let file = prop_oneof![Just(Some(SERVER_CALL)), Just(None)];
    (started_by, file).prop_flat_map(|(endpoint, file)| {
        Just(vec![
            of_leg(LEG),
            of_leg(LEG),
            of_leg(SECOND_LEG),
            of_leg(SECOND_LEG),
            of_recording(endpoint),
            of_recording(endpoint),
            of_server_call(),
            of_server_call(),
            of_file(file),
        ])
        .prop_shuffle()
    })
}

proptest! {
    /// And the sequences of each key have no gaps: `keys` looks.
    #[test]
    fn no_key_exists_that_is_not_an_id_of_a_leg_the_server_call_or_the_recording(
        events in events_of_a_call()
    ) {
        for (ids, key) in events.iter().zip(keys(&events)) {
            prop_assert!([LEG, SECOND_LEG, SERVER_CALL, RECORDING].contains(&key.as_str()), "{} in {:?}", key, events);
            if let Some(connection) = &ids.connection {
                prop_assert_eq!(connection, &key, "a leg's event has the leg's key");
            }
        }
    }
}
