//! What docs/src/reference/acs-events.md says of every event.

use super::{
    super::super::event::Happened, added, dtmf, not_added, pressed, recording, recording_id,
    updated, user,
};

/// What the tables say: everything that can happen, its name in 2021-private, in 2021-public and in GA, and the first version
/// of GA in [`VERSIONS`] that has it.
#[expect(
    clippy::type_complexity,
    reason = "a table reads best without names for its columns"
)]
pub(super) fn table() -> Vec<(
    Happened,
    Option<&'static str>,
    Option<&'static str>,
    Option<(&'static str, &'static str)>,
)> {
    use Happened as H;
    let first = "2023-03-06";
    let state = (
        Some("CallLegStateChanged"),
        Some("CallConnectionStateChanged"),
    );
    let invited = (
        Some("InviteParticipantResult"),
        Some("AddParticipantResult"),
    );
    let played = (Some("PlayAudioResult"), Some("PlayAudioResult"));
    let ga = |happened, name, since| (happened, None, None, Some((name, since)));
    let all =
        |happened, (private, public), name, since| (happened, private, public, Some((name, since)));
    let invitation = || "invitation".to_owned();
    let from_call = || "call".to_owned();
    vec![
        (H::Connecting, state.0, state.1, None),
        all(H::Connected, state, "CallConnected", first),
        (H::Disconnecting, state.0, state.1, None),
        all(H::Disconnected, state, "CallDisconnected", first),
        ga(H::CreateCallFailed, "CreateCallFailed", "2024-09-15"),
        ga(H::AnswerFailed, "AnswerFailed", "2024-09-15"),
        ga(H::ConnectFailed, "ConnectFailed", "2024-09-15"),
        all(
            updated(),
            (Some("ParticipantsUpdated"), Some("ParticipantsUpdated")),
            "ParticipantsUpdated",
            first,
        ),
        all(added(), invited, "AddParticipantSucceeded", first),
        all(not_added(), invited, "AddParticipantFailed", first),
        ga(
            H::AddParticipantCanceled {
                invitation: invitation(),
            },
            "CancelAddParticipantSucceeded",
            "2023-10-15",
        ),
        ga(
            H::CancelAddParticipantFailed {
                invitation: invitation(),
            },
            "CancelAddParticipantFailed",
            "2023-10-15",
        ),
        ga(
            H::ParticipantRemoved {
                participant: user(),
            },
            "RemoveParticipantSucceeded",
            first,
        ),
        ga(
            H::RemoveParticipantFailed {
                participant: user(),
            },
            "RemoveParticipantFailed",
            first,
        ),
        ga(
            H::ParticipantMoved {
                participant: user(),
                from_call: from_call(),
            },
            "MoveParticipantSucceeded",
            "2026-03-12",
        ),
        ga(
            H::MoveParticipantFailed {
                participant: user(),
                from_call: from_call(),
            },
            "MoveParticipantFailed",
            "2026-03-12",
        ),
        ga(
            H::TransferAccepted {
                target: user(),
                transferee: user(),
            },
            "CallTransferAccepted",
            first,
        ),
        ga(H::TransferFailed, "CallTransferFailed", first),
        ga(H::HoldFailed, "HoldFailed", "2024-09-15"),
        ga(H::PlayStarted, "PlayStarted", "2024-09-15"),
        all(H::PlayCompleted, played, "PlayCompleted", first),
        all(
            H::PlayFailed { source: Some(0) },
            played,
            "PlayFailed",
            first,
        ),
        all(H::PlayCanceled, played, "PlayCanceled", first),
        ga(dtmf(), "RecognizeCompleted", first),
        ga(
            H::RecognizeFailed { source: Some(0) },
            "RecognizeFailed",
            first,
        ),
        ga(H::RecognizeCanceled, "RecognizeCanceled", first),
        all(
            pressed(),
            (Some("DtmfReceived"), Some("DtmfReceived")),
            "ContinuousDtmfRecognitionToneReceived",
            "2023-10-15",
        ),
        ga(
            H::ToneFailed,
            "ContinuousDtmfRecognitionToneFailed",
            "2023-10-15",
        ),
        ga(
            H::ContinuousDtmfStopped,
            "ContinuousDtmfRecognitionStopped",
            "2023-10-15",
        ),
        ga(H::DtmfSent, "SendDtmfTonesCompleted", "2023-10-15"),
        ga(H::SendDtmfFailed, "SendDtmfTonesFailed", "2023-10-15"),
        ga(
            H::MediaStreamingStarted,
            "MediaStreamingStarted",
            "2024-09-15",
        ),
        ga(
            H::MediaStreamingStopped,
            "MediaStreamingStopped",
            "2024-09-15",
        ),
        ga(
            H::MediaStreamingFailed,
            "MediaStreamingFailed",
            "2024-09-15",
        ),
        ga(
            H::TranscriptionStarted,
            "TranscriptionStarted",
            "2024-09-15",
        ),
        ga(
            H::TranscriptionStopped,
            "TranscriptionStopped",
            "2024-09-15",
        ),
        ga(
            H::TranscriptionUpdated,
            "TranscriptionUpdated",
            "2024-09-15",
        ),
        ga(H::TranscriptionFailed, "TranscriptionFailed", "2024-09-15"),
        all(
            recording(),
            (
                Some("CallRecordingStateChanged"),
                Some("CallRecordingStateChanged"),
            ),
            "RecordingStateChanged",
            first,
        ),
        ga(
            H::StartRecordingFailed {
                recording: recording_id(),
            },
            "StartRecordingFailed",
            "2026-03-12",
        ),
    ]
}
