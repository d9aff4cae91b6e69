//! Operations that something else ends first.

use super::*;

#[test]
fn every_accepted_operation_has_an_outcome_when_the_call_ends_first() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let who = phone("+15550101");
    let tones = vec![Tone::from_key('1').expect("a key"); 10];
    trial.world.add(&id, add("+15550102")).expect("rings");
    trial
        .world
        .transfer(
            &id,
            Transfer {
                target: phone("+15550103"),
                transferee: None,
                operation: operation("transfer"),
            },
        )
        .expect("taken");
    trial
        .world
        .send_tones(&id, &tones, &who, operation("send"))
        .expect("taken");
    trial.world.play(&id, play("a.wav")).expect("plays");
    trial
        .world
        .start_recording(recording(&id))
        .expect("records");
    trial.wait(0.1);
    trial.heard();
    trial.world.hang_up(&id).expect("ends");
    trial.wait(60.0);
    assert_eq!(
        trial.heard(),
        [
            "RecordingStateChanged",
            "PlayCanceled 400",
            "TransferFailed 487",
            "SendDtmfFailed 487",
            "AddParticipantFailed 487",
            "Disconnecting",
            "Disconnected"
        ]
    );
    assert!(trial.world.is_over());
}

#[test]
fn a_call_is_transferred_once() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let transfer = || Transfer {
        target: phone("+15550103"),
        transferee: None,
        operation: operation("transfer"),
    };
    trial.world.transfer(&id, transfer()).expect("taken");
    assert_eq!(status(trial.world.transfer(&id, transfer())), 409);
}

#[test]
fn tones_of_a_stopped_recognition_do_not_reach_the_next() {
    let mut trial = trial("[[callee]]\nmatch = \"*\"\npress = \"12\"");
    let id = trial.call("+15550101");
    let who = phone("+15550101");
    trial
        .world
        .start_tones(&id, &who, operation("one"))
        .expect("listens");
    trial
        .world
        .stop_tones(&id, &who, operation("one"))
        .expect("stops");
    trial
        .world
        .start_tones(&id, &who, operation("two"))
        .expect("listens");
    trial.wait(10.0);
    assert_eq!(
        trial.heard(),
        ["ContinuousDtmfStopped", "ToneReceived", "ToneReceived"]
    );
}

#[test]
fn a_participant_that_joins_again_stays_its_full_time() {
    let mut trial = trial("[[callee]]\nmatch = \"*2\"\nhang_up_after = \"10s\"");
    let id = trial.call("+15550101");
    trial.world.add(&id, add("+15550102")).expect("rings");
    assert_eq!(status(trial.world.add(&id, add("+15550102"))), 409);
    trial.wait(6.0);
    trial
        .world
        .remove(&id, &phone("+15550102"), operation("remove"))
        .expect("removed");
    trial.world.add(&id, add("+15550102")).expect("rings again");
    trial.wait(6.0);
    assert_eq!(trial.numbers(&id), ["+15550101", "+15550102"]);
    trial.wait(6.0);
    assert_eq!(trial.numbers(&id), ["+15550101"]);
}

#[test]
fn a_leg_lives_on_when_another_one_fails() {
    let mut trial = trial("[[callee]]\nmatch = \"*\"\nanswer = \"no_answer\"");
    let first = trial.world.create(create(Generation::Ga, &["+15550101"]));
    let first = first.expect("a call");
    let place = Place::ServerCall(trial.world.call(&first).expect("live").server_call);
    let second = trial.world.connect(Connect {
        api: api(Generation::Ga),
        place: place.clone(),
        source: None,
        callback: CALLBACK.to_owned(),
        context: None,
        wants: super::super::calls::EVERYTHING,
        media: Media::default(),
    });
    let second = second.expect("a leg");
    trial.wait(40.0);
    assert_eq!(status(trial.world.call(&first)), 404);
    assert_eq!(trial.world.leg_of(&place).expect("still there"), second);
}

#[test]
fn an_application_leaves_by_hanging_up_only() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let source = trial
        .world
        .call(&id)
        .expect("live")
        .source
        .expect("a participant");
    assert_eq!(
        status(trial.world.remove(&id, &source, operation("remove"))),
        400
    );
    let other = trial.call("+15550102");
    assert_eq!(
        status(
            trial
                .world
                .move_here(&other, &id, &[source], operation("move"))
        ),
        400
    );
}

#[test]
fn silence_begins_at_the_end_of_a_prompt_that_may_be_interrupted() {
    let mut trial = trial("[line]\nprompt = \"30s\"");
    let id = trial.call("+15550101");
    trial
        .world
        .recognize(
            &id,
            Recognize {
                input: Input::Speech,
                prompts: vec![file("long.wav")],
                target: phone("+15550101"),
                initial_silence: seconds(5.0),
                interrupt_prompt: true,
                interrupt: false,
                operation: operation("recognize"),
            },
        )
        .expect("asked");
    trial.wait(34.0);
    assert_eq!(trial.heard(), Vec::<String>::new());
    trial.wait(1.2);
    assert_eq!(trial.heard(), ["RecognizeFailed 400"]);
}

#[test]
fn nothing_is_recognized_of_a_participant_that_left() {
    let mut trial = trial("[[callee]]\nmatch = \"*2\"\nsay = \"yes\"\nsay_after = \"4s\"");
    let id = trial.call("+15550101");
    trial.world.add(&id, add("+15550102")).expect("rings");
    trial.wait(2.0);
    let who = phone("+15550102");
    trial
        .world
        .recognize(
            &id,
            Recognize {
                input: Input::Speech,
                prompts: Vec::new(),
                target: who.clone(),
                initial_silence: seconds(5.0),
                interrupt_prompt: false,
                interrupt: false,
                operation: operation("recognize"),
            },
        )
        .expect("asked");
    trial
        .world
        .remove(&id, &who, operation("remove"))
        .expect("removed");
    trial.heard();
    trial.wait(5.0);
    let last = trial.calls.last().and_then(|last| last.result.clone());
    assert_eq!(last.map(|result| result.sub_code), Some(8585));
}

#[test]
fn a_single_participant_may_stay_in_a_room_whatever_its_spelling() {
    let mut trial = trial("");
    let mut join = |group: &str| {
        let leg = trial.world.connect(Connect {
            api: api(Generation::Ga),
            place: Place::Group(group.to_owned()),
            source: None,
            callback: CALLBACK.to_owned(),
            context: None,
            wants: super::super::calls::EVERYTHING,
            media: Media::default(),
        });
        let leg = leg.expect("a leg");
        trial.wait(1.0);
        (
            leg.clone(),
            trial.world.call(&leg).expect("live").server_call,
        )
    };
    let (first, here) = join("5c1b7b8e-aaaa-bbbb-cccc-0123456789ab");
    let (second, there) = join("5C1B7B8E-AAAA-BBBB-CCCC-0123456789AB");
    assert_eq!(here, there);
    trial.world.hang_up(&second).expect("leaves");
    trial.wait(1.0);
    assert_eq!(
        trial.world.call(&first).expect("still there").state,
        "connected"
    );
}

#[test]
fn a_recording_is_found_in_its_own_conversation_only() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let other = trial.call("+15550102");
    let of = |trial: &Trial, id: &str| {
        Place::ServerCall(trial.world.call(id).expect("live").server_call)
    };
    let recorded = trial
        .world
        .start_recording(recording(&id))
        .expect("records");
    assert_eq!(
        trial.world.recording_in(&of(&trial, &id), &recorded),
        Ok(())
    );
    assert_eq!(
        status(trial.world.recording_in(&of(&trial, &other), &recorded)),
        404
    );
}

#[test]
fn ids_of_calls_depend_on_their_number_and_not_on_the_time() {
    let ids = |wait: f64| {
        let mut trial = trial("");
        (0..3)
            .map(|_| {
                let id = trial.world.create(create(Generation::Ga, &["+15550101"]));
                trial.wait(wait);
                id.expect("a call")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(0.0), ids(1.7));
}
