//! Invariants that hold for any requests of applications and any behaviour of callees.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One request, of a call that is picked from those made so far.
#[derive(Clone, Debug)]
struct Step {
    call: usize,
    what: u8,
    who: u8,
    passed: f64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0..6_usize, 0..22_u8, 0..6_u8, 0.0..4.0_f64).prop_map(|(call, what, who, passed)| Step {
            call,
            what,
            who,
            passed,
        });
    prop::collection::vec(step, 1..60)
}

const SCENARIO: &str = "[[callee]]\nmatch = \"*1\"\nhang_up_after = \"6s\"\npress = \"1 2\"\n\
    [[callee]]\nmatch = \"*2\"\nanswer = \"busy\"\n\
    [[callee]]\nmatch = \"*3\"\nanswer = \"no_answer\"\n\
    [[callee]]\nmatch = \"*4\"\nobliging = false\nsay = \"yes\"\n\
    [[incoming]]\nfrom = \"+15550105\"\nto = \"8:acs:bot\"\ncount = 3\n";

/// Refusals are answers too: only the reported events count.
fn take(trial: &mut Trial, step: &Step, calls: &mut Vec<String>) {
    let number = format!("+1555010{}", step.who);
    let who = phone(&number);
    let id = calls
        .get(step.call % calls.len().max(1))
        .cloned()
        .unwrap_or_default();
    let world = &mut trial.world;
    let generation = match step.who % 3 {
        0 => Generation::Ga,
        1 => Generation::Public,
        _ => Generation::Private,
    };
    let made = match step.what {
        0..=4 => world.create(create(generation, &[&number])).ok(),
        5 => {
            let token = world.incoming(who, phone("+15550100"), String::new());
            world
                .answer(Answer {
                    api: api(Generation::Ga),
                    token,
                    callback: CALLBACK.to_owned(),
                    context: None,
                    answered_by: None,
                    media: Media::default(),
                })
                .ok()
        }
        _ => {
            let refused = match step.what {
                6 => world.hang_up(&id),
                7 => world.terminate(&id),
                8 | 9 => world.add(&id, add(&number)).map(|_| ()),
                10 => world.remove(&id, &who, operation("remove")),
                11 => world.mute(&id, &[who], None),
                12 => world.hold(&id, &who, None, operation("hold")),
                13 => world.play(&id, play("a.wav")).map(|_| ()),
                14 => world.cancel_media(&id, None).map(|_| ()),
                15 => world.start_tones(&id, &who, operation("tones")),
                16 => world.start_recording(recording(&id)).map(|_| ()),
                17 => world.start_streaming(&id, operation("stream")),
                18 => world.transfer(
                    &id,
                    Transfer {
                        target: who,
                        transferee: None,
                        operation: operation("transfer"),
                    },
                ),
                19 => {
                    let from = calls.first().cloned().unwrap_or_default();
                    world
                        .move_here(&id, &from, &[who], operation("move"))
                        .map(|_| ())
                }
                20 => world.stop_tones(&id, &who, operation("tones")),
                _ => world.recognize(
                    &id,
                    Recognize {
                        input: Input::Speech,
                        prompts: vec![file("menu.wav")],
                        target: who,
                        initial_silence: seconds(3.0),
                        interrupt_prompt: true,
                        interrupt: true,
                        operation: operation("recognize"),
                    },
                ),
            };
            drop(refused);
            None
        }
    };
    calls.extend(made);
    trial.wait(step.passed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_leg_ends_once_and_every_operation_is_reported_once(steps in steps()) {
        let mut trial = trial(SCENARIO);
        let mut calls = Vec::new();
        for step in &steps {
            take(&mut trial, step, &mut calls);
        }
        for id in &calls {
            drop(trial.world.terminate(id));
        }
        trial.wait(200.0);
        prop_assert!(trial.world.is_over());

        let mut ended: BTreeMap<&str, bool> = BTreeMap::new();
        let mut sequences: BTreeMap<&str, u64> = BTreeMap::new();
        let mut played = BTreeMap::from([("started", 0), ("ended", 0)]);
        for notice in &trial.calls {
            let id = notice.call.connection.as_str();
            let over = ended.get(id).copied().unwrap_or_default();
            match &notice.happened {
                Happened::CreateCallFailed | Happened::AnswerFailed | Happened::ConnectFailed => {
                    prop_assert!(over, "a failure follows the end of its leg");
                }
                // Recordings belong to the conversation, which may outlive the leg.
                Happened::RecordingStateChanged { .. } => {}
                Happened::Disconnected => {
                    prop_assert!(!over, "{id} ended twice");
                    ended.insert(id, true);
                }
                other => {
                    prop_assert!(!over, "{other:?} after the end");
                    if let Happened::ParticipantsUpdated { sequence, participants } = other {
                        let last = sequences.insert(id, *sequence).unwrap_or_default();
                        prop_assert!(*sequence > last);
                        let mut raw_ids: Vec<_> = participants.iter().map(|who| who.identifier.raw_id()).collect();
                        raw_ids.sort();
                        raw_ids.dedup();
                        prop_assert_eq!(raw_ids.len(), participants.len(), "each participant is listed once");
                    }
                    match other {
                        Happened::PlayStarted => *played.entry("started").or_default() += 1,
                        Happened::PlayCompleted => *played.entry("ended").or_default() += 1,
                        _ => {}
                    }
                }
            }
        }
        prop_assert!(played.get("started") >= played.get("ended"));
        for id in &calls {
            prop_assert!(ended.contains_key(id.as_str()), "{} never ended", id);
        }
    }
}
