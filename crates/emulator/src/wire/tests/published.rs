//! Callbacks beside the published and recorded ones of their type.

use super::{
    super::{super::event::Happened, published_shape::check_sample, *},
    added, not_added, notice, pressed, rendered, updated,
};

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn the_private_preview_looks_as_published() {
    let check = |happened, file| {
        let event = rendered(&notice(Generation::Private, "", happened)).expect("an event");
        check_sample(&event, file, &[]);
    };
    check(
        Happened::Disconnecting,
        "2021-private-CallLegStateChanged-3.json",
    );
    check(pressed(), "2021-private-DtmfReceived-1.json");
    check(
        Happened::PlayCompleted,
        "2021-private-PlayAudioResult-1.json",
    );
    check(added(), "2021-private-InviteParticipantResult-1.json");
    check(updated(), "2021-private-ParticipantsUpdated-1.json");
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn the_public_preview_looks_as_published() {
    let check = |happened, file, without: &[&str]| {
        let event = rendered(&notice(Generation::Public, "2021-08-30-preview", happened));
        check_sample(&event.expect("an event"), file, without);
    };
    check(
        Happened::Connected,
        "2021-public-CallConnectionStateChanged-1.json",
        // In the SDK's test (below), and not in this later one.
        &["data.serverCallId"],
    );
    check(
        Happened::Connected,
        "fragment-2021-public-CallConnectionStateChanged-1.json",
        &[],
    );
    check(
        not_added(),
        "fragment-2021-public-AddParticipantResult-1.json",
        &[],
    );
    check(pressed(), "fragment-2021-public-DtmfReceived-1.json", &[]);
    check(
        updated(),
        "fragment-2021-public-ParticipantsUpdated-1.json",
        &[],
    );
    let mut played = notice(Generation::Public, "", Happened::PlayCompleted);
    played.result = None;
    check_sample(
        &rendered(&played).expect("an event"),
        "fragment-2021-public-PlayAudioResult-2.json",
        &[],
    );
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn ga_looks_as_recorded_from_2023_to_2026() {
    let check = |version, context: Option<&str>, happened, file| {
        let mut notice = notice(Generation::Ga, version, happened);
        notice.context = context.map(str::to_owned);
        check_sample(&rendered(&notice).expect("an event"), file, &[]);
    };
    let (old, may, preview, new) = (
        "2023-06-15-preview",
        "2025-05-15",
        "2024-09-01-preview",
        "2026-03-12",
    );
    let some = Some("context");
    check(old, None, Happened::Connected, "ga-CallConnected-1.json");
    check(may, None, Happened::Connected, "ga-CallConnected-2.json");
    check(may, None, Happened::Connected, "ga-CallConnected-3.json");
    check(
        may,
        None,
        Happened::Disconnected,
        "ga-CallDisconnected-1.json",
    );
    check(
        new,
        None,
        Happened::Disconnected,
        "ga-CallDisconnected-3.json",
    );
    check(
        preview,
        some,
        Happened::AddParticipantCanceled {
            invitation: "invitation".to_owned(),
        },
        "ga-CancelAddParticipantSucceeded-1.json",
    );
    check(
        old,
        None,
        Happened::ContinuousDtmfStopped,
        "ga-ContinuousDtmfRecognitionStopped-1.json",
    );
    check(
        new,
        some,
        Happened::MediaStreamingStarted,
        "ga-MediaStreamingStarted-1.json",
    );
    check(
        "2023-03-06",
        some,
        updated(),
        "ga-ParticipantsUpdated-1.json",
    );
    check(may, some, updated(), "ga-ParticipantsUpdated-3.json");
    check(preview, some, updated(), "ga-ParticipantsUpdated-4.json");
    check(may, some, Happened::PlayStarted, "ga-PlayStarted-1.json");
    check(
        may,
        some,
        Happened::RecognizeFailed { source: Some(0) },
        "ga-RecognizeFailed-1.json",
    );
    check(
        may,
        some,
        Happened::TranscriptionStarted,
        "ga-TranscriptionStarted-1.json",
    );
    check(
        may,
        some,
        Happened::TranscriptionUpdated,
        "ga-TranscriptionUpdated-1.json",
    );
}
