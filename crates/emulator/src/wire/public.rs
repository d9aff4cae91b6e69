//! 2021-public (2021-06-15-preview, 2021-08-30-preview): CloudEvents, data in camelCase
//! (docs/src/reference/acs-events.md, "Events of 2021, public preview").

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    super::event::{CallFacts, Happened, Notice, ResultInformation, Tone},
    identifier::WithNulls,
    rendered::{CallbackEvent, kind_of, object, start_of_recording},
};

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Data<'a> {
    State {
        server_call_id: &'a str,
        call_connection_id: &'a str,
        call_connection_state: &'static str,
    },
    Tone {
        tone_info: ToneInfo,
        call_connection_id: &'a str,
    },
    /// `PlayAudioResult` and `AddParticipantResult`: they name no call, only the envelope does.
    Result {
        #[serde(skip_serializing_if = "Option::is_none")]
        result_info: Option<ResultInfo>,
        #[serde(skip_serializing_if = "Option::is_none")]
        operation_context: Option<&'a str>,
        status: &'static str,
    },
    Participants {
        call_connection_id: &'a str,
        participants: Vec<Participant<'a>>,
    },
    Recording {
        recording_id: &'a str,
        state: &'static str,
        start_date_time: String,
        server_call_id: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToneInfo {
    sequence_id: u64,
    tone: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultInfo {
    code: u32,
    subcode: u32,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Participant<'a> {
    identifier: WithNulls,
    participant_id: &'a str,
    is_muted: bool,
}

/// The type on the wire and the object, or `None` where this generation does not have the event.
pub(super) fn event(notice: &Notice, id: Uuid, at: Timestamp) -> Option<(String, Box<RawValue>)> {
    let (name, source, data) = event_body(notice)?;
    let kind = kind_of(name);
    let event = object(&CallbackEvent::new(id, at, &source, &kind, data));
    Some((kind, event))
}

/// How 2021 reports a cancelled play: there is no event of its own for it, and its status is not a failure.
pub(super) fn canceled(result: Option<&ResultInformation>) -> ResultInformation {
    let message = result.map_or("Action failed, the operation was cancelled.", |result| {
        result.message.as_str()
    });
    ResultInformation::new(400, 8508, message)
}

/// Name, `source`, and data.
fn event_body(notice: &Notice) -> Option<(&'static str, String, Data<'_>)> {
    let call = &notice.call;
    let of_call = |aspect: &str| format!("calling/callConnections/{}/{aspect}", call.connection);
    Some(match &notice.happened {
        Happened::Connecting => state(call, "connecting"),
        Happened::Connected => state(call, "connected"),
        Happened::Disconnecting => state(call, "disconnecting"),
        Happened::Disconnected => state(call, "disconnected"),
        Happened::ParticipantsUpdated { participants, .. } => (
            "ParticipantsUpdated",
            of_call("participantsUpdated"),
            Data::Participants {
                call_connection_id: &call.connection,
                participants: participants
                    .iter()
                    .map(|participant| Participant {
                        identifier: WithNulls::of(&participant.identifier),
                        participant_id: &participant.participant_id,
                        is_muted: participant.muted,
                    })
                    .collect(),
            },
        ),
        Happened::ParticipantAdded { .. } => (
            "AddParticipantResult",
            of_call("addParticipantResult"),
            result(notice, notice.result.clone(), "completed"),
        ),
        Happened::AddParticipantFailed { .. } => (
            "AddParticipantResult",
            of_call("addParticipantResult"),
            result(notice, notice.result.clone(), "failed"),
        ),
        Happened::PlayCompleted => (
            "PlayAudioResult",
            of_call("playAudio"),
            result(notice, notice.result.clone(), "completed"),
        ),
        Happened::PlayFailed { .. } => (
            "PlayAudioResult",
            of_call("playAudio"),
            result(notice, notice.result.clone(), "failed"),
        ),
        Happened::PlayCanceled => (
            "PlayAudioResult",
            of_call("playAudio"),
            result(notice, Some(canceled(notice.result.as_ref())), "completed"),
        ),
        Happened::ToneReceived { sequence, tone } => (
            "DtmfReceived",
            of_call("dtmf"),
            Data::Tone {
                tone_info: ToneInfo {
                    sequence_id: *sequence,
                    tone: tone_name(*tone),
                },
                call_connection_id: &call.connection,
            },
        ),
        Happened::RecordingStateChanged {
            recording,
            active,
            started,
        } => (
            "CallRecordingStateChanged",
            // A recording is of a server call and not of a connection; the real form is not known.
            format!(
                "calling/serverCalls/{}/recordings/{}/recordingState",
                call.server_call,
                recording.as_str()
            ),
            Data::Recording {
                recording_id: recording.as_str(),
                state: if *active { "active" } else { "inactive" },
                start_date_time: start_of_recording(*started),
                server_call_id: &call.server_call,
            },
        ),
        // This generation does not report these, or has no operation that causes them.
        Happened::CreateCallFailed
        | Happened::AnswerFailed
        | Happened::ConnectFailed
        | Happened::AddParticipantCanceled { .. }
        | Happened::CancelAddParticipantFailed { .. }
        | Happened::ParticipantRemoved { .. }
        | Happened::RemoveParticipantFailed { .. }
        | Happened::ParticipantMoved { .. }
        | Happened::MoveParticipantFailed { .. }
        | Happened::TransferAccepted { .. }
        | Happened::TransferFailed
        | Happened::HoldFailed
        | Happened::PlayStarted
        | Happened::RecognizeCompleted(_)
        | Happened::RecognizeFailed { .. }
        | Happened::RecognizeCanceled
        | Happened::ToneFailed
        | Happened::ContinuousDtmfStopped
        | Happened::DtmfSent
        | Happened::SendDtmfFailed
        | Happened::MediaStreamingStarted
        | Happened::MediaStreamingStopped
        | Happened::MediaStreamingFailed
        | Happened::TranscriptionStarted
        | Happened::TranscriptionStopped
        | Happened::TranscriptionUpdated
        | Happened::TranscriptionFailed
        | Happened::StartRecordingFailed { .. } => return None,
    })
}

fn state<'a>(
    call: &'a CallFacts,
    call_connection_state: &'static str,
) -> (&'static str, String, Data<'a>) {
    (
        "CallConnectionStateChanged",
        format!("calling/callConnections/{}/callState", call.connection),
        Data::State {
            server_call_id: &call.server_call,
            call_connection_id: &call.connection,
            call_connection_state,
        },
    )
}

fn result<'a>(
    notice: &'a Notice,
    result: Option<ResultInformation>,
    status: &'static str,
) -> Data<'a> {
    Data::Result {
        result_info: result.map(|result| ResultInfo {
            code: result.code,
            subcode: result.sub_code,
            message: result.message,
        }),
        operation_context: notice.context.as_deref(),
        status,
    }
}

fn tone_name(tone: Tone) -> String {
    match tone.key() {
        '*' => "star".to_owned(),
        '#' => "pound".to_owned(),
        letter @ 'A'..='D' => letter.to_ascii_lowercase().to_string(),
        digit => format!("tone{digit}"),
    }
}
