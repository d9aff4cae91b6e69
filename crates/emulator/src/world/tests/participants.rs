//! How participants join and leave a call.

use super::*;

#[test]
fn an_invitation_is_accepted_declined_or_withdrawn() {
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
fn removing_the_last_participant_ends_the_call() {
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
fn event_grid_reports_the_start_the_users_and_the_end() {
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
    // The application and Alice are users of the resource; a phone number is not.
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
