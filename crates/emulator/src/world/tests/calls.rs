//! How calls begin and end.

use super::*;

#[test]
fn an_answered_call_connects_and_ends_with_its_callee() {
    let mut trial = trial("[[callee]]\nmatch = \"*\"\nhang_up_after = \"30s\"");
    let id = trial.world.create(create(Generation::Ga, &["+15550101"]));
    let id = id.expect("a call");
    assert_eq!(
        trial.world.call(&id).expect("it is there").state,
        "connecting"
    );
    trial.wait(1.2);
    // In GA the two come in either order.
    let mut heard = trial.heard();
    assert_eq!(heard.remove(0), "Connecting");
    heard.sort();
    assert_eq!(heard, ["Connected", "ParticipantsUpdated"]);
    assert_eq!(trial.numbers(&id), ["+15550101"]);
    trial.wait(31.0);
    assert_eq!(
        trial.heard(),
        ["ParticipantsUpdated", "Disconnecting", "Disconnected"]
    );
    assert_eq!(status(trial.world.call(&id)), 404);
    assert_eq!(status(trial.world.hang_up(&id)), 404);
    assert!(trial.world.is_over());
}

#[test]
fn an_unanswered_call_says_why() {
    for (answer, code, after) in [
        ("busy", 486, 1.1),
        ("decline", 603, 1.1),
        ("no_answer", 480, 30.1),
    ] {
        let mut trial = trial(&format!("[[callee]]\nmatch = \"*\"\nanswer = \"{answer}\""));
        let request = create(Generation::Ga, &["+15550101"]);
        trial.world.create(request).expect("a call");
        trial.wait(after);
        assert_eq!(
            trial.heard(),
            [
                "Connecting".to_owned(),
                "Disconnecting".to_owned(),
                format!("Disconnected {code}"),
                format!("CreateCallFailed {code}")
            ]
        );
        assert!(trial.world.is_over());
    }
}

#[test]
fn of_a_call_to_several_the_first_that_accepts_connects_it() {
    let mut trial = trial(
        "[[callee]]\nmatch = \"*1\"\nanswer = \"busy\"\n[[callee]]\nmatch = \"*3\"\nafter = \"5s\"",
    );
    let targets = ["+15550101", "+15550102", "+15550103"];
    let id = trial.world.create(create(Generation::Ga, &targets));
    let id = id.expect("a call");
    trial.wait(1.1);
    assert_eq!(trial.numbers(&id), ["+15550102"]);
    trial.wait(4.1);
    assert_eq!(trial.numbers(&id), ["+15550102", "+15550103"]);
    trial.wait(60.0);
    assert!(!trial.heard().iter().any(|name| name.starts_with("Create")));
}

#[test]
fn a_phone_call_needs_a_number_to_show() {
    let mut trial = trial("");
    for generation in [Generation::Private, Generation::Public, Generation::Ga] {
        let mut request = create(generation, &["+15550101"]);
        request.caller_id = None;
        assert_eq!(status(trial.world.create(request)), 400);
    }
}

#[test]
fn hanging_up_leaves_the_others_talking_and_terminating_does_not() {
    for (terminate, ends) in [(false, false), (true, true)] {
        let mut trial = trial("");
        let id = trial.call("+15550101");
        trial
            .world
            .add(&id, add("+15550102"))
            .expect("an invitation");
        trial.wait(2.0);
        trial.heard();
        let place = Place::ServerCall(trial.world.call(&id).expect("live").server_call);
        if terminate {
            trial.world.terminate(&id).expect("it ends");
        } else {
            trial.world.hang_up(&id).expect("it ends");
        }
        trial.wait(1.0);
        assert_eq!(
            trial
                .calls
                .last()
                .and_then(|last| last.result.clone())
                .map(|result| result.sub_code),
            Some(7000)
        );
        assert_eq!(trial.heard(), ["Disconnecting", "Disconnected"]);
        assert_eq!(trial.world.conversation_at(&place).is_none(), ends);
    }
}

#[test]
fn nothing_can_be_done_before_a_call_is_connected() {
    let mut trial = trial("");
    let id = trial.world.create(create(Generation::Ga, &["+15550101"]));
    let id = id.expect("a call");
    assert_eq!(status(trial.world.play(&id, play("a.wav"))), 409);
    assert_eq!(status(trial.world.add(&id, add("+15550102"))), 409);
    assert_eq!(status(trial.world.start_recording(recording(&id))), 409);
    trial.world.hang_up(&id).expect("that can");
    assert_eq!(status(trial.world.play(&id, play("a.wav"))), 404);
    assert_eq!(status(trial.world.play("unknown", play("a.wav"))), 404);
}

#[test]
fn an_incoming_call_is_answered_redirected_or_rejected_once() {
    let mut trial = trial("[[incoming]]\nfrom = \"+15550110\"\nto = \"8:acs:bot\"\ncount = 4\n");
    trial.wait(5.0);
    let tokens: Vec<_> = trial
        .grid
        .drain(..)
        .filter_map(|notice| match notice.happened {
            GridHappened::IncomingCall { context_token, .. } => Some(context_token),
            _ => None,
        })
        .collect();
    let [first, second, third, _] = tokens.as_slice() else {
        panic!("four calls, not {}", tokens.len());
    };
    let answer = |token: &str| Answer {
        api: api(Generation::Ga),
        token: token.to_owned(),
        callback: CALLBACK.to_owned(),
        context: None,
        answered_by: None,
        media: Media::default(),
    };
    let id = trial.world.answer(answer(first)).expect("a call");
    trial
        .world
        .redirect(second, Some(phone("+15550111")))
        .expect("gone");
    assert_eq!(status(trial.world.reject(third, Some("tired"))), 400);
    trial.world.reject(third, Some("busy")).expect("gone");
    for gone in [first, second, third] {
        assert_eq!(status(trial.world.answer(answer(gone))), 404);
    }
    trial.wait(0.2);
    let mut heard = trial.heard();
    heard.sort();
    assert_eq!(heard, ["Connected", "ParticipantsUpdated"]);
    assert_eq!(trial.numbers(&id), ["+15550110"]);
    let source = trial.world.call(&id).expect("live").source;
    assert_eq!(source, Some(Identifier::from_raw_id("8:acs:bot")));
}

#[test]
fn a_caller_that_has_gone_cannot_be_answered() {
    let mut trial = trial("[[callee]]\nmatch = \"*\"\nanswer = \"decline\"");
    let token = trial
        .world
        .incoming(phone("+15550110"), phone("+15550100"), String::new());
    let answered = trial.world.answer(Answer {
        api: api(Generation::Ga),
        token,
        callback: CALLBACK.to_owned(),
        context: None,
        answered_by: None,
        media: Media::default(),
    });
    answered.expect("a call");
    trial.wait(1.0);
    assert_eq!(
        trial.heard(),
        ["Disconnecting", "Disconnected 487", "AnswerFailed 487"]
    );
}

#[test]
fn a_second_leg_shares_the_server_call_and_sees_every_participant() {
    let mut trial = trial("");
    let first = trial.call("+15550101");
    let view = trial.world.call(&first).expect("live");
    let connect = |place| Connect {
        api: api(Generation::Ga),
        place,
        source: None,
        callback: CALLBACK.to_owned(),
        context: None,
        wants: super::super::calls::EVERYTHING,
        media: Media::default(),
    };
    let second = trial
        .world
        .connect(connect(Place::ServerCall(view.server_call.clone())));
    let second = second.expect("a leg");
    trial.wait(1.0);
    assert_eq!(
        trial.world.call(&second).expect("live").server_call,
        view.server_call
    );
    assert_ne!(first, second);
    let updates = |trial: &mut Trial| {
        let heard: Vec<_> = trial
            .calls
            .drain(..)
            .filter(|notice| matches!(notice.happened, Happened::ParticipantsUpdated { .. }))
            .map(|notice| notice.call.connection)
            .collect();
        heard
    };
    let mut heard = updates(&mut trial);
    heard.sort();
    let mut both = [first.clone(), second];
    both.sort();
    assert_eq!(heard, both);

    let nowhere = trial
        .world
        .connect(connect(Place::ServerCall("bm93aGVyZQ==".to_owned())));
    nowhere.expect("told later");
    trial.wait(1.0);
    assert_eq!(
        trial.heard(),
        ["Disconnecting", "Disconnected 404", "ConnectFailed 404"]
    );
    trial
        .world
        .connect(connect(Place::Room("room".to_owned())))
        .expect("a room is made");
}

#[test]
fn a_server_call_is_found_in_both_alphabets() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let ga = trial.world.call(&id).expect("live").server_call;
    let early = ga.trim_end_matches('=').replace('+', "-").replace('/', "_");
    for spelling in [ga, early] {
        assert_eq!(
            trial
                .world
                .leg_of(&Place::ServerCall(spelling))
                .expect("found"),
            id
        );
    }
    assert_eq!(
        status(trial.world.leg_of(&Place::ServerCall("x".to_owned()))),
        404
    );
}

#[test]
fn the_same_seed_and_the_same_requests_make_the_same_calls() {
    let story = || {
        let mut trial = trial("[[callee]]\nmatch = \"*\"\nhang_up_after = \"9s\"");
        let id = trial.call("+15550101");
        trial.world.play(&id, play("a.wav")).expect("plays");
        trial.wait(20.0);
        trial
            .calls
            .iter()
            .map(|notice| format!("{notice:?}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(story(), story());
}

#[test]
fn calls_that_ended_long_ago_are_forgotten() {
    let mut trial = trial("");
    let first = trial.call("+15550101");
    trial.world.terminate(&first).expect("ends");
    let second = trial.call("+15550102");
    for _ in 0..10_001 {
        trial
            .world
            .incoming(phone("+15550110"), phone("+15550100"), String::new());
    }
    assert!(!trial.world.legs.contains_key(&first));
    assert_eq!(
        trial.world.call(&second).expect("still there").state,
        "connected"
    );
}
