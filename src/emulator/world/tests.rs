//! The world, call by call, without I/O.

mod ends;
mod laws;

use std::time::Duration;

use super::{
    super::{
        event::{Generation, GridHappened, Happened, Recognized, Tone},
        identity::Identifier,
        scenario::Scenario,
    },
    *,
};

const CALLBACK: &str = "http://127.0.0.1:1/callback";

/// A world with what it told.
struct Trial {
    world: World,
    calls: Vec<Notice>,
    grid: Vec<GridNotice>,
}

fn trial(scenario: &str) -> Trial {
    let setup = Setup {
        scenario: Scenario::parse(scenario).expect("a scenario"),
        seed: 7,
        resource_id: "resource".to_owned(),
        epoch: jiff::Timestamp::UNIX_EPOCH,
        speed: 1.0,
    };
    Trial {
        world: World::new(setup),
        calls: Vec::new(),
        grid: Vec::new(),
    }
}

fn phone(number: &str) -> Identifier {
    Identifier::Phone {
        number: number.to_owned(),
    }
}

fn api(generation: Generation) -> Api {
    let version = match generation {
        Generation::Private => "2021-04-15-preview1",
        Generation::Public => "2021-08-30-preview",
        Generation::Ga => "2026-03-12",
    };
    Api {
        generation,
        version: version.to_owned(),
    }
}

fn create(generation: Generation, targets: &[&str]) -> Create {
    Create {
        api: api(generation),
        targets: targets.iter().map(|number| phone(number)).collect(),
        source: None,
        caller_id: Some("+15550100".to_owned()),
        display_name: None,
        callback: CALLBACK.to_owned(),
        context: Some("of the call".to_owned()),
        wants: Wants {
            participants: true,
            tones: true,
        },
        media: Media::default(),
    }
}

fn operation(context: &str) -> Operation {
    Operation {
        context: Some(context.to_owned()),
        callback: None,
    }
}

fn add(number: &str) -> Add {
    Add {
        participants: vec![phone(number)],
        timeout: None,
        operation: operation("add"),
    }
}

fn file(uri: &str) -> Source {
    Source::File {
        uri: uri.to_owned(),
    }
}

fn play(uri: &str) -> Play {
    Play {
        sources: vec![file(uri)],
        to: Vec::new(),
        repeat: false,
        interrupt: false,
        operation: operation(uri),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Trial {
    /// Lets time pass, up to the next plan and everything that follows within `passed`.
    fn wait(&mut self, passed: f64) -> &mut Self {
        let until = self.world.now + seconds(passed);
        self.world.advance(until);
        for told in self.world.take() {
            match told {
                Told::Call(notice) => self.calls.push(notice),
                Told::Grid(notice) => self.grid.push(notice),
            }
        }
        self
    }

    /// Names of what was told since the last time, with the code of the result.
    fn heard(&mut self) -> Vec<String> {
        self.calls
            .drain(..)
            .map(|notice| {
                let name = format!("{:?}", notice.happened);
                let name = name
                    .split([' ', '{', '('])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                match notice.result {
                    Some(result) if result.code != 200 => format!("{name} {}", result.code),
                    _ => name,
                }
            })
            .collect()
    }

    /// A connected GA call to `number`, with its first events heard.
    fn call(&mut self, number: &str) -> String {
        let id = self
            .world
            .create(create(Generation::Ga, &[number]))
            .expect("a call");
        self.wait(1.1);
        assert_eq!(
            self.world.call(&id).expect("it is there").state,
            "connected"
        );
        self.calls.clear();
        id
    }

    fn numbers(&mut self, id: &str) -> Vec<String> {
        self.world
            .participants(id)
            .expect("a live call")
            .iter()
            .map(|participant| participant.identifier.short())
            .filter(|who| who.starts_with('+'))
            .collect()
    }
}

fn status<T: std::fmt::Debug>(result: Result<T, Fault>) -> u16 {
    result.expect_err("a refusal").status
}

#[test]
fn a_call_that_is_taken_connects_and_ends_with_its_callee() {
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
fn a_call_that_nobody_takes_says_why() {
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
    assert_eq!(status(trial.world.play("nobody's", play("a.wav"))), 404);
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
fn a_second_leg_shares_the_server_call_and_hears_of_everybody() {
    let mut trial = trial("");
    let first = trial.call("+15550101");
    let view = trial.world.call(&first).expect("live");
    let connect = |place| Connect {
        api: api(Generation::Ga),
        place,
        source: None,
        callback: CALLBACK.to_owned(),
        context: None,
        wants: calls::EVERYTHING,
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
fn an_invitation_is_taken_declined_or_taken_back() {
    let mut trial = trial(
        "[[callee]]\nmatch = \"*3\"\nanswer = \"decline\"\n[[callee]]\nmatch = \"*4\"\nafter = \"20s\"",
    );
    let id = trial.call("+15550101");
    trial
        .world
        .add(&id, add("+15550102"))
        .expect("an invitation");
    trial.wait(1.2);
    assert_eq!(trial.heard(), ["ParticipantsUpdated", "ParticipantAdded"]);
    assert_eq!(status(trial.world.add(&id, add("+15550102"))), 409);

    trial
        .world
        .add(&id, add("+15550103"))
        .expect("an invitation");
    trial.wait(1.2);
    assert_eq!(trial.heard(), ["AddParticipantFailed 603"]);

    let added = trial
        .world
        .add(&id, add("+15550104"))
        .expect("an invitation");
    trial.wait(5.0);
    trial
        .world
        .cancel_add(&id, &added.invitation, operation("cancel"))
        .expect("taken");
    trial.wait(1.0);
    assert_eq!(trial.heard(), ["AddParticipantCanceled 487"]);
    trial
        .world
        .cancel_add(&id, &added.invitation, operation("again"))
        .expect("taken");
    trial.wait(60.0);
    assert_eq!(trial.heard(), ["CancelAddParticipantFailed 400"]);

    let mut hurried = add("+15550104");
    hurried.timeout = Some(seconds(5.0));
    trial.world.add(&id, hurried).expect("an invitation");
    trial.wait(5.2);
    assert_eq!(trial.heard(), ["AddParticipantFailed 480"]);
}

#[test]
fn participants_are_removed_muted_held_and_moved() {
    let mut trial = trial("[[callee]]\nmatch = \"*5\"\nobliging = false");
    let id = trial.call("+15550101");
    for number in ["+15550102", "+15550105"] {
        trial.world.add(&id, add(number)).expect("an invitation");
        trial.wait(1.2);
    }
    trial.heard();
    let (one, two, five) = (phone("+15550101"), phone("+15550102"), phone("+15550105"));

    trial
        .world
        .mute(&id, std::slice::from_ref(&one), None)
        .expect("muted");
    trial
        .world
        .hold(&id, &two, None, operation("hold"))
        .expect("held");
    assert_eq!(
        status(trial.world.hold(&id, &two, None, operation("hold"))),
        409
    );
    trial
        .world
        .hold(&id, &five, None, operation("hold"))
        .expect("told later");
    trial.wait(0.1);
    assert_eq!(
        trial.heard(),
        [
            "ParticipantsUpdated",
            "ParticipantsUpdated",
            "HoldFailed 500"
        ]
    );
    assert!(
        trial
            .world
            .participant(&id, "4:+15550101")
            .expect("there")
            .muted
    );
    assert!(
        trial
            .world
            .participant(&id, "4:+15550102")
            .expect("there")
            .on_hold
    );
    trial
        .world
        .unhold(&id, &two, operation("unhold"))
        .expect("off hold");

    let other = trial.call("+15550103");
    let moved = trial
        .world
        .move_here(&other, &id, &[two.clone(), five.clone()], operation("move"));
    assert_eq!(moved.expect("moved").len(), 2);
    trial.wait(0.1);
    let heard = trial.heard();
    assert!(heard.contains(&"ParticipantMoved".to_owned()), "{heard:?}");
    assert!(
        heard.contains(&"MoveParticipantFailed 500".to_owned()),
        "{heard:?}"
    );
    assert_eq!(trial.numbers(&other), ["+15550103", "+15550102"]);
    assert_eq!(trial.numbers(&id), ["+15550101", "+15550105"]);

    trial
        .world
        .remove(&id, &five, operation("remove"))
        .expect("told later");
    trial
        .world
        .remove(&id, &one, operation("remove"))
        .expect("told later");
    assert_eq!(
        status(trial.world.remove(&id, &two, operation("remove"))),
        404
    );
    trial.wait(0.1);
    assert_eq!(
        trial.heard(),
        [
            "RemoveParticipantFailed 500",
            "ParticipantRemoved",
            "ParticipantsUpdated"
        ]
    );
}

#[test]
fn the_last_one_that_is_removed_ends_the_call() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    trial
        .world
        .remove(&id, &phone("+15550101"), operation("remove"))
        .expect("removed");
    trial.wait(0.1);
    assert_eq!(
        trial.heard(),
        [
            "ParticipantRemoved",
            "ParticipantsUpdated",
            "Disconnecting",
            "Disconnected"
        ]
    );
}

#[test]
fn a_transfer_takes_the_application_out_or_fails() {
    let mut trial = trial("[[callee]]\nmatch = \"*9\"\nanswer = \"busy\"");
    let id = trial.call("+15550101");
    let transfer = |target| Transfer {
        target: phone(target),
        transferee: None,
        operation: operation("transfer"),
    };
    trial
        .world
        .transfer(&id, transfer("+15550109"))
        .expect("told later");
    trial.wait(1.2);
    assert_eq!(trial.heard(), ["TransferFailed 486"]);
    trial
        .world
        .transfer(&id, transfer("+15550102"))
        .expect("told later");
    trial.wait(1.2);
    let heard = trial.heard();
    assert_eq!(heard.first().map(String::as_str), Some("TransferAccepted"));
    assert_eq!(heard.last().map(String::as_str), Some("Disconnected"));
}

#[test]
fn prompts_play_one_after_the_other_unless_one_interrupts() {
    let mut trial = trial("[line]\nbroken_files = [\"*missing*\"]");
    let id = trial.call("+15550101");
    trial.world.play(&id, play("first")).expect("plays");
    trial.world.play(&id, play("missing.wav")).expect("waits");
    trial.world.play(&id, play("third")).expect("waits");
    trial.wait(1.0);
    assert_eq!(trial.heard(), ["PlayStarted"]);
    trial.wait(3.2);
    assert_eq!(
        trial.heard(),
        ["PlayCompleted", "PlayFailed 400", "PlayStarted"]
    );
    let mut loud = play("loud");
    loud.interrupt = true;
    loud.repeat = true;
    trial.world.play(&id, loud).expect("interrupts");
    trial.wait(100.0);
    assert_eq!(trial.heard(), ["PlayCanceled 400", "PlayStarted"]);
    trial.world.cancel_media(&id, None).expect("cancelled");
    trial.wait(0.1);
    assert_eq!(
        trial
            .calls
            .last()
            .and_then(|last| last.context.clone())
            .as_deref(),
        Some("loud")
    );
    assert_eq!(trial.heard(), ["PlayCanceled 400"]);
}

#[test]
fn what_the_callee_does_is_recognized_after_the_prompt() {
    let mut trial = trial("[[callee]]\nmatch = \"*1\"\npress = \"1 #\"");
    let id = trial.call("+15550101");
    let recognize = |prompts| Recognize {
        input: Input::Dtmf(DtmfOptions {
            between_tones: seconds(2.0),
            most: None,
            stop: vec![Tone::from_key('#').expect("a key")],
        }),
        prompts,
        target: phone("+15550101"),
        initial_silence: seconds(5.0),
        interrupt_prompt: false,
        interrupt: false,
        operation: operation("recognize"),
    };
    trial
        .world
        .recognize(&id, recognize(vec![file("menu.wav")]))
        .expect("asked");
    trial.wait(3.0);
    assert_eq!(trial.heard(), Vec::<String>::new());
    trial.wait(1.0);
    let [told] = trial.calls.as_slice() else {
        panic!("{:?}", trial.calls);
    };
    assert_eq!(told.context.as_deref(), Some("recognize"));
    let Happened::RecognizeCompleted(Recognized::Dtmf { tones }) = &told.happened else {
        panic!("{told:?}");
    };
    assert_eq!(
        tones.iter().map(|tone| tone.name()).collect::<Vec<_>>(),
        ["one", "pound"]
    );
    trial.heard();
    trial
        .world
        .recognize(&id, recognize(Vec::new()))
        .expect("asked");
    trial.world.cancel_media(&id, None).expect("cancelled");
    trial.wait(10.0);
    assert_eq!(trial.heard(), ["RecognizeCanceled 400"]);
}

#[test]
fn tones_come_one_by_one_while_they_are_listened_to() {
    let mut trial = trial("[[callee]]\nmatch = \"*\"\npress = \"1 2 3\"\nobliging = true\n");
    let id = trial.call("+15550101");
    let who = phone("+15550101");
    trial
        .world
        .start_tones(&id, &who, operation("tones"))
        .expect("listens");
    trial.wait(1.7);
    let sequences: Vec<_> = trial
        .calls
        .iter()
        .filter_map(|notice| match notice.happened {
            Happened::ToneReceived { sequence, tone } => Some((sequence, tone.key())),
            _ => None,
        })
        .collect();
    assert_eq!(sequences, [(1, '1'), (2, '2')]);
    trial.heard();
    trial
        .world
        .stop_tones(&id, &who, operation("tones"))
        .expect("stops");
    assert_eq!(
        status(trial.world.stop_tones(&id, &who, operation("tones"))),
        409
    );
    let tones = [Tone::from_key('5').expect("a key")];
    trial
        .world
        .send_tones(&id, &tones, &who, operation("send"))
        .expect("sends");
    trial.wait(5.0);
    assert_eq!(trial.heard(), ["ContinuousDtmfStopped", "DtmfSent"]);
}

#[test]
fn streams_need_options_and_are_on_or_off() {
    let mut trial = trial("");
    let bare = trial.call("+15550101");
    trial
        .world
        .start_streaming(&bare, operation("s"))
        .expect("told later");
    trial
        .world
        .start_transcription(&bare, None, operation("t"))
        .expect("told later");
    trial.wait(0.1);
    assert_eq!(
        trial.heard(),
        ["MediaStreamingFailed 400", "TranscriptionFailed 400"]
    );

    let mut request = create(Generation::Ga, &["+15550101"]);
    let subscription = Subscription {
        at_once: true,
        locale: Some("en-US".to_owned()),
    };
    request.media = Media {
        streaming: Some(Subscription {
            at_once: false,
            locale: None,
        }),
        transcription: Some(subscription),
    };
    let id = trial.world.create(request).expect("a call");
    trial.wait(1.2);
    assert!(trial.heard().contains(&"TranscriptionStarted".to_owned()));
    assert_eq!(
        status(trial.world.start_transcription(&id, None, operation("t"))),
        409
    );
    assert_eq!(status(trial.world.stop_streaming(&id, operation("s"))), 409);
    trial
        .world
        .start_streaming(&id, operation("s"))
        .expect("on");
    trial
        .world
        .update_transcription(&id, Some("de-DE".to_owned()), operation("t"))
        .expect("on");
    trial
        .world
        .stop_streaming(&id, operation("s"))
        .expect("off");
    trial
        .world
        .stop_transcription(&id, operation("t"))
        .expect("off");
    trial.wait(0.1);
    assert_eq!(
        trial.heard(),
        [
            "MediaStreamingStarted",
            "TranscriptionUpdated",
            "MediaStreamingStopped",
            "TranscriptionStopped"
        ]
    );
}

fn recording(id: &str) -> StartRecording {
    StartRecording {
        api: api(Generation::Ga),
        of: Recorded::Connection(id.to_owned()),
        callback: Some("http://127.0.0.1:1/recording".to_owned()),
        content: None,
        channel: None,
        format: None,
        paused: false,
    }
}

#[test]
fn a_recording_goes_on_until_it_is_stopped_or_the_call_ends() {
    let mut trial = trial("");
    let id = trial.call("+15550101");
    let first = trial
        .world
        .start_recording(recording(&id))
        .expect("records");
    assert_eq!(status(trial.world.start_recording(recording(&id))), 409);
    trial.world.pause_recording(&first).expect("pauses");
    trial.world.pause_recording(&first).expect("is paused");
    assert!(!trial.world.recording(&first).expect("there").active);
    trial.world.resume_recording(&first).expect("goes on");
    trial.world.stop_recording(&first).expect("stops");
    assert_eq!(status(trial.world.stop_recording(&first)), 404);
    assert_eq!(status(trial.world.recording(&first)), 404);
    trial.wait(0.1);
    assert!(
        trial
            .calls
            .iter()
            .all(|notice| notice.to.ends_with("/recording"))
    );
    assert_eq!(trial.heard(), ["RecordingStateChanged"; 4]);

    trial
        .world
        .start_recording(recording(&id))
        .expect("records again");
    trial.wait(10.0);
    trial.world.terminate(&id).expect("ends");
    trial.wait(0.1);
    let ready: Vec<_> = trial
        .grid
        .iter()
        .filter_map(|notice| match &notice.happened {
            GridHappened::RecordingFileReady {
                end_reason,
                duration_ms,
                format,
                ..
            } => Some((end_reason.as_str(), *duration_ms, format.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        ready,
        [("RecordingStopped", 0, "mp4"), ("CallEnded", 10_000, "mp4")]
    );
}

#[test]
fn a_recording_that_cannot_start_is_told_of() {
    let mut trial = trial("[line]\nrecording = false");
    let id = trial.call("+15550101");
    let failed = trial
        .world
        .start_recording(recording(&id))
        .expect("told later");
    trial.wait(0.1);
    assert_eq!(trial.heard(), ["StartRecordingFailed 500"]);
    assert_eq!(status(trial.world.recording(&failed)), 404);
}

#[test]
fn calls_of_2021_get_the_events_that_they_asked_for() {
    for (participants, tones) in [(true, true), (false, false)] {
        let mut trial = trial("[[callee]]\nmatch = \"*\"\npress = \"1 2\"");
        let mut request = create(Generation::Private, &["+15550101"]);
        request.wants = Wants {
            participants,
            tones,
        };
        let id = trial.world.create(request).expect("a call");
        trial.wait(10.0);
        let heard = trial.heard();
        assert_eq!(
            heard.get(..2),
            Some(["Connecting".to_owned(), "Connected".to_owned()].as_slice())
        );
        assert_eq!(
            heard.contains(&"ParticipantsUpdated".to_owned()),
            participants
        );
        assert_eq!(
            heard.iter().filter(|name| *name == "ToneReceived").count(),
            if tones { 2 } else { 0 }
        );
        let who = trial.world.participants(&id).expect("live");
        let callee = who
            .iter()
            .find(|who| who.identifier == phone("+15550101"))
            .expect("there");
        trial
            .world
            .remove_by_id(&id, &callee.participant_id.clone())
            .expect("removed");
        assert_eq!(status(trial.world.call(&id)), 404);
    }
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
fn event_grid_hears_of_the_beginning_the_users_and_the_end() {
    let mut trial = trial("");
    let mut request = create(Generation::Ga, &[]);
    request.targets = vec![Identifier::from_raw_id("8:acs:alice")];
    let id = trial.world.create(request).expect("a call");
    trial.wait(2.0);
    trial
        .world
        .add(&id, add("+15550102"))
        .expect("an invitation");
    trial.wait(2.0);
    trial.world.terminate(&id).expect("ends");
    trial.wait(1.0);
    let names: Vec<_> = trial
        .grid
        .iter()
        .map(|notice| {
            let name = format!("{:?}", notice.happened);
            name.split(' ').next().unwrap_or_default().to_owned()
        })
        .collect();
    // The application and Alice are users of the resource; who is called by phone is not.
    assert_eq!(
        names,
        [
            "CallStarted",
            "ParticipantAdded",
            "ParticipantAdded",
            "ParticipantRemoved",
            "ParticipantRemoved",
            "CallEnded"
        ]
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
