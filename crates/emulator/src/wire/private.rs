//! 2021-private: the envelope of Event Grid with nulls in it, and data in PascalCase (docs/src/reference/acs-events.md,
//! "Events of 2021, private preview").

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    super::event::{CallFacts, Happened, Notice, ResultInformation, Tone},
    identifier::Pascal,
    public,
    rendered::{kind_of, object, start_of_recording, time_with_z},
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    id: Option<Uuid>,
    topic: Option<&'static str>,
    subject: String,
    data: Data<'a>,
    event_type: &'a str,
    event_time: String,
    metadata_version: Option<&'static str>,
    data_version: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "PascalCase")]
enum Data<'a> {
    State {
        conversation_id: Option<&'a str>,
        call_leg_id: &'a str,
        call_state: &'static str,
    },
    Tone {
        tone_info: ToneInfo,
        call_leg_id: &'a str,
    },
    Played {
        result_info: Option<ResultInfo>,
        operation_context: Option<&'a str>,
        status: &'static str,
        call_leg_id: &'a str,
    },
    Invited {
        result_info: Option<ResultInfo>,
        operation_context: Option<&'a str>,
        status: &'static str,
        call_leg_id: &'a str,
        participants: Vec<Pascal>,
    },
    Participants {
        call_leg_id: &'a str,
        participants: Vec<Participant<'a>>,
    },
    /// No payload was published; these are the members that the other events and 2021-public suggest.
    Recording {
        recording_id: &'a str,
        state: &'static str,
        start_date_time: String,
        conversation_id: Option<&'a str>,
        call_leg_id: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ToneInfo {
    sequence_id: u64,
    tone: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ResultInfo {
    code: u32,
    subcode: u32,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Participant<'a> {
    identifier: Pascal,
    participant_id: &'a str,
    is_muted: bool,
}

/// The type on the wire and the object, or `None` where this generation does not have the event.
pub(super) fn event(notice: &Notice, id: Uuid, at: Timestamp) -> Option<(String, Box<RawValue>)> {
    let (name, aspect, data) = event_body(notice)?;
    let kind = kind_of(name);
    let envelope = Envelope {
        // Null in every published sample but those of this one type.
        id: matches!(data, Data::Invited { .. }).then_some(id),
        topic: None,
        subject: format!("callLeg/{}/{aspect}", notice.call.connection),
        data,
        event_type: &kind,
        event_time: time_with_z(at),
        metadata_version: None,
        data_version: None,
    };
    let event = object(&envelope);
    Some((kind, event))
}

/// Name, last part of the subject, and data.
fn event_body(notice: &Notice) -> Option<(&'static str, &'static str, Data<'_>)> {
    let call = &notice.call;
    Some(match &notice.happened {
        Happened::Connecting => state(call, "Establishing"),
        Happened::Connected => state(call, "Established"),
        Happened::Disconnecting => state(call, "Terminating"),
        Happened::Disconnected => state(call, "Terminated"),
        Happened::ParticipantsUpdated { participants, .. } => (
            "ParticipantsUpdated",
            "participantsUpdated",
            Data::Participants {
                call_leg_id: &call.connection,
                participants: participants
                    .iter()
                    .map(|participant| Participant {
                        identifier: Pascal::of(&participant.identifier),
                        participant_id: &participant.participant_id,
                        is_muted: participant.muted,
                    })
                    .collect(),
            },
        ),
        Happened::ParticipantAdded { participants } => (
            "InviteParticipantResult",
            "inviteParticipantResult",
            Data::Invited {
                // Null on success, as published.
                result_info: None,
                operation_context: notice.context.as_deref(),
                status: "Completed",
                call_leg_id: &call.connection,
                participants: participants.iter().map(Pascal::of).collect(),
            },
        ),
        Happened::AddParticipantFailed { participants } => (
            "InviteParticipantResult",
            "inviteParticipantResult",
            Data::Invited {
                result_info: notice.result.clone().map(result_info),
                operation_context: notice.context.as_deref(),
                status: "Failed",
                call_leg_id: &call.connection,
                participants: participants.iter().map(Pascal::of).collect(),
            },
        ),
        Happened::PlayCompleted => played(notice, notice.result.clone(), "Completed"),
        Happened::PlayFailed { .. } => played(notice, notice.result.clone(), "Failed"),
        Happened::PlayCanceled => played(
            notice,
            Some(public::canceled(notice.result.as_ref())),
            "Completed",
        ),
        Happened::ToneReceived { sequence, tone } => (
            "DtmfReceived",
            "dtmf",
            Data::Tone {
                tone_info: ToneInfo {
                    sequence_id: *sequence,
                    tone: tone_name(*tone),
                },
                call_leg_id: &call.connection,
            },
        ),
        Happened::RecordingStateChanged {
            recording,
            active,
            started,
        } => (
            "CallRecordingStateChanged",
            "callRecordingState",
            Data::Recording {
                recording_id: recording.as_str(),
                state: if *active { "Active" } else { "Inactive" },
                start_date_time: start_of_recording(*started),
                conversation_id: call.conversation.as_deref(),
                call_leg_id: &call.connection,
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
    call_state: &'static str,
) -> (&'static str, &'static str, Data<'a>) {
    (
        "CallLegStateChanged",
        "callState",
        Data::State {
            conversation_id: call.conversation.as_deref(),
            call_leg_id: &call.connection,
            call_state,
        },
    )
}

fn played<'a>(
    notice: &'a Notice,
    result: Option<ResultInformation>,
    status: &'static str,
) -> (&'static str, &'static str, Data<'a>) {
    (
        "PlayAudioResult",
        "playAudio",
        Data::Played {
            result_info: result.map(result_info),
            operation_context: notice.context.as_deref(),
            status,
            call_leg_id: &notice.call.connection,
        },
    )
}

fn result_info(result: ResultInformation) -> ResultInfo {
    ResultInfo {
        code: result.code,
        subcode: result.sub_code,
        message: result.message,
    }
}

fn tone_name(tone: Tone) -> String {
    match tone.key() {
        '*' => "Star".to_owned(),
        '#' => "Pound".to_owned(),
        letter @ 'A'..='D' => letter.to_string(),
        digit => format!("Tone{digit}"),
    }
}
