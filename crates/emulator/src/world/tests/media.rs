//! What a leg plays, hears, streams and records.

use super::*;

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
fn a_recording_that_cannot_start_is_reported() {
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
