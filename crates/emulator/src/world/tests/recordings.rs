//! Recordings: the id and endpoint in their events, and when the events are reported.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{super::super::event::RecordingId, *};

/// A recording that is started with the server call id of a call.
fn by_server_call(trial: &Trial, id: &str) -> StartRecording {
    let server_call = trial.world.call(id).expect("live").server_call;
    StartRecording {
        of: Recorded::Place(Place::ServerCall(server_call)),
        ..recording(id)
    }
}

/// `PlatformEndpointId` and `ResourceSpecificId` of a recording id.
fn parts(id: &str) -> (String, String) {
    let text = BASE64_URL_SAFE_NO_PAD.decode(id).expect("base64url");
    let object: Value = serde_json::from_slice(&text).expect("JSON");
    let part = |name: &str| object[name].as_str().expect("a text").to_owned();
    (part("PlatformEndpointId"), part("ResourceSpecificId"))
}

/// Of every `RecordingStateChanged` whether it is active and whether it has a start.
fn states(trial: &Trial) -> Vec<(bool, bool)> {
    let states = trial
        .calls
        .iter()
        .filter_map(|notice| match notice.happened {
            Happened::RecordingStateChanged {
                active, started, ..
            } => Some((active, started.is_some())),
            _ => None,
        });
    states.collect()
}

fn told_ids(trial: &Trial) -> Vec<RecordingId> {
    let ids = trial.calls.iter().filter_map(|notice| {
        let (Happened::RecordingStateChanged { recording, .. }
        | Happened::StartRecordingFailed { recording }) = &notice.happened
        else {
            return None;
        };
        Some(recording.clone())
    });
    ids.collect()
}

#[test]
fn a_recording_of_a_server_call_has_an_endpoint_of_its_own() {
    for scenario in ["", "[line]\nrecording = false"] {
        let mut trial = trial(scenario);
        let id = trial.call("+15550101");
        let mut seen = BTreeSet::from([id.clone()]);
        for _ in 0..2 {
            let request = by_server_call(&trial, &id);
            let made = trial.world.start_recording(request).expect("taken");
            trial.wait(0.1);
            let (endpoint, resource) = parts(&made);
            assert!(seen.insert(endpoint.clone()) && seen.insert(resource));
            let told = told_ids(&trial).remove(0);
            assert_eq!((told.as_str(), told.endpoint()), (&*made, &*endpoint));
            // It is posted among the events of the call all the same.
            assert_eq!(trial.calls[0].call.connection, id);
            trial.calls.clear();
            if scenario.is_empty() {
                trial.world.stop_recording(&made).expect("stops");
            }
            trial.wait(0.1);
            assert!(told_ids(&trial).iter().all(|told| told.as_str() == made));
            trial.calls.clear();
        }
    }
}

#[test]
fn a_recording_of_a_connection_has_that_as_its_endpoint() {
    for scenario in ["", "[line]\nrecording = false"] {
        let mut trial = trial(scenario);
        let first = trial.call("+15550101");
        let place = Place::ServerCall(trial.world.call(&first).expect("live").server_call);
        let second = trial.world.connect(Connect {
            api: api(Generation::Ga),
            place,
            source: None,
            callback: CALLBACK.to_owned(),
            context: None,
            wants: super::super::calls::EVERYTHING,
            media: Media::default(),
        });
        let second = second.expect("a second leg");
        trial.wait(1.0);
        trial.calls.clear();
        let made = trial.world.start_recording(recording(&second));
        let made = made.expect("taken");
        trial.wait(0.1);
        assert_eq!(parts(&made).0, second);
        let told = told_ids(&trial).remove(0);
        assert_eq!((told.as_str(), told.endpoint()), (&*made, &*second));
        assert_eq!(trial.calls[0].call.connection, second);
        assert_eq!(
            trial.calls[0].call.server_call,
            trial.world.call(&first).expect("live").server_call
        );
    }
}

#[test]
fn event_grid_names_the_recording_that_the_callbacks_name() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    for request in [by_server_call(&trial, &id), recording(&id)] {
        let made = trial.world.start_recording(request).expect("records");
        trial.world.stop_recording(&made).expect("stops");
        trial.wait(0.1);
        assert_eq!(told_ids(&trial).len(), 2);
        assert!(told_ids(&trial).iter().all(|told| told.as_str() == made));
        let ready = trial.grid.iter().find_map(|notice| match &notice.happened {
            GridHappened::RecordingFileReady { recording, .. } => Some(recording.as_str()),
            _ => None,
        });
        assert_eq!(ready, Some(&*made));
        trial.calls.clear();
        trial.grid.clear();
    }
}

#[test]
fn a_recording_without_a_leg_of_the_application_goes_by_its_endpoint() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    trial.world.add(&id, add("+15550102")).expect("rings");
    trial.wait(2.0);
    let request = by_server_call(&trial, &id);
    trial.world.hang_up(&id).expect("the others stay");
    trial.wait(1.0);
    trial.calls.clear();
    let made = trial.world.start_recording(request).expect("records");
    trial.wait(0.1);
    let call = &trial.calls[0].call;
    assert_eq!((&call.connection, call.ordinal), (&parts(&made).0, 0));
}

#[test]
fn an_inactive_without_a_start_comes_140_ms_before_the_active() {
    let mut trial = trial_with("", 1.0);
    let id = trial.call("+15550101");
    let made = trial
        .world
        .start_recording(by_server_call(&trial, &id))
        .expect("records");
    trial.wait(0.06);
    assert_eq!(states(&trial), [(false, false)]);
    trial.wait(0.12);
    assert_eq!(states(&trial).len(), 1, "at 180 ms");
    trial.wait(0.02);
    assert_eq!(states(&trial), [(false, false), (true, true)]);
    assert!(told_ids(&trial).iter().all(|told| told.as_str() == made));
    assert!(
        trial
            .calls
            .iter()
            .all(|notice| notice.result == Some(ResultInformation::fine()))
    );
    trial.world.pause_recording(&made).expect("pauses");
    trial.wait(1.0);
    assert_eq!(
        states(&trial),
        [(false, false), (true, true), (false, true)]
    );
}

#[test]
fn what_happens_to_a_recording_at_once_is_reported_after_its_start() {
    let mut trial = trial_with("", 1.0);
    let id = trial.call("+15550101");
    let made = trial
        .world
        .start_recording(recording(&id))
        .expect("records");
    trial.world.pause_recording(&made).expect("pauses");
    trial.world.resume_recording(&made).expect("goes on");
    trial.world.terminate(&id).expect("ends");
    trial.wait(1.0);
    assert_eq!(
        states(&trial),
        [
            (false, false),
            (true, true),
            (false, true),
            (true, true),
            (false, true)
        ]
    );
    assert!(trial.world.is_over());
}

#[test]
fn only_a_recording_of_ga_that_starts_is_reported_inactive_first() {
    let unpaused = |generation, paused| {
        let mut trial = trial_with("", 1.0);
        let id = trial.call("+15550101");
        let request = StartRecording {
            api: api(generation),
            paused,
            ..by_server_call(&trial, &id)
        };
        trial.world.start_recording(request).expect("records");
        trial.wait(1.0);
        states(&trial)
    };
    assert_eq!(
        unpaused(Generation::Ga, false),
        [(false, false), (true, true)]
    );
    assert_eq!(unpaused(Generation::Ga, true), [(false, true)]);
    assert_eq!(unpaused(Generation::Public, false), [(true, true)]);
    assert_eq!(unpaused(Generation::Private, false), [(true, true)]);

    let mut failing = trial_with("[line]\nrecording = false", 1.0);
    let id = failing.call("+15550101");
    failing
        .world
        .start_recording(recording(&id))
        .expect("taken");
    failing.wait(1.0);
    assert_eq!(failing.heard(), ["StartRecordingFailed 500"]);
}

#[test]
fn a_rate_is_the_part_of_the_recordings_that_it_happens_to() {
    let early = |rate: f64| {
        let mut trial = trial_with("", rate);
        let mut early = Vec::new();
        for _ in 0..20 {
            let id = trial.call("+15550101");
            for _ in 0..10 {
                let made = trial.world.start_recording(recording(&id));
                let made = made.expect("records");
                trial.wait(0.3);
                trial.world.stop_recording(&made).expect("stops");
                trial.wait(0.3);
                early.push(states(&trial).first() == Some(&(false, false)));
                trial.calls.clear();
            }
        }
        early
    };
    let (few, many) = (early(0.3), early(0.6));
    let count = |early: &[bool]| early.iter().filter(|early| **early).count();
    assert!((40..80).contains(&count(&few)), "{}", count(&few));
    assert!((100..140).contains(&count(&many)), "{}", count(&many));
    assert!(
        few.iter().zip(&many).all(|(few, many)| !few | many),
        "a higher rate leaves none out"
    );
    assert_eq!(count(&early(0.0)), 0);
}

#[test]
fn ids_of_recordings_depend_on_their_call_and_not_on_the_time() {
    let ids = |wait: f64, inactive_first: f64| {
        let mut trial = trial_with("", inactive_first);
        let calls: Vec<_> = (0..2).map(|_| trial.call("+15550101")).collect();
        trial.wait(wait);
        // The second call first, or last.
        let order: Vec<_> = if wait > 0.0 {
            calls.iter().rev().collect()
        } else {
            calls.iter().collect()
        };
        let made = order
            .into_iter()
            .map(|id| trial.world.start_recording(by_server_call(&trial, id)));
        made.collect::<Result<BTreeSet<_>, _>>().expect("recorded")
    };
    assert_eq!(ids(0.0, 0.0), ids(1.7, 1.0));
}

#[test]
fn server_call_ids_of_ga_are_standard_base64_and_one_in_three_has_a_slash() {
    let mut trial = trial("");
    let ids: Vec<_> = (0..60)
        .map(|_| {
            let id = trial.call("+15550101");
            let id = trial.world.call(&id).expect("live").server_call;
            let url = BASE64_STANDARD.decode(&id).expect("standard base64");
            let url = String::from_utf8(url).expect("UTF-8");
            assert!(url.starts_with("https://conv-"), "{url}");
            id
        })
        .collect();
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
    let slashes: Vec<_> = ids.iter().map(|id| id.contains('/')).collect();
    assert_eq!(slashes, [true, false, false].repeat(20));
    for padding in ["=", "=="] {
        let of = |id: &&String| id.len() - id.trim_end_matches('=').len() == padding.len();
        assert_eq!(ids.iter().filter(of).count(), 20, "{padding}");
    }
    // The same id in the alphabet of 2021.
    let public = trial
        .world
        .create(create(Generation::Public, &["+15550101"]));
    let public = public.expect("a call");
    trial.wait(1.1);
    let connected = trial
        .calls
        .iter()
        .find(|notice| notice.call.connection == public)
        .expect("an event of the call");
    let id = &connected.call.server_call;
    BASE64_URL_SAFE_NO_PAD.decode(id).expect("base64url");
    assert!(id.contains('_'), "{id}");
}
