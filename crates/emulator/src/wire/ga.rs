//! GA, from 2023-03-06 on: every event of docs/src/reference/acs-events.md, "Events of GA", with the members that each
//! version of the API has.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    super::{
        event::{Happened, Notice, Recognized, ResultInformation},
        identity::Identifier,
    },
    identifier::RawIdFirst,
    rendered::{CallbackEvent, kind_of, object, start_of_recording},
};

/// A point in the history of the API. Versions begin with their date, so that strings compare like dates, and a preview
/// (`2024-09-01-preview`) sorts at its date. A version that is not a date is older than all or newer than all: this
/// does no harm.
#[derive(Clone, Copy)]
struct ApiVersion(&'static str);

/// The packages 1.0.0 (2023-03-06).
const FIRST: ApiVersion = ApiVersion("");
/// Tones: recorded with 2023-06-15-preview.
const TONES: ApiVersion = ApiVersion("2023-06-15");
/// The packages 1.1.0.
const V2023_10: ApiVersion = ApiVersion("2023-10");
/// `resultInformation` on every event, `isOnHold`, `recordingKind`; the packages 1.2.0.
const V2024: ApiVersion = ApiVersion("2024");
/// The previews of the packages 1.3.0 and those themselves (2024-09-15).
const V2024_06: ApiVersion = ApiVersion("2024-06");
/// `version` and `publicEventType`: recorded with 2024-09-01-preview.
const SELF_NAMED: ApiVersion = ApiVersion("2024-09");
/// The packages 1.6.0.
const V2026_03: ApiVersion = ApiVersion("2026-03-12");

impl ApiVersion {
    fn has(self, version: &str) -> bool {
        version >= self.0
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(flatten)]
    own: EventMembers<'a>,
    /// Where the recordings have the result first.
    #[serde(rename = "resultInformation", skip_serializing_if = "Option::is_none")]
    early_result: Option<Result<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_context: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_information: Option<Result<'a>>,
    call_connection_id: &'a str,
    server_call_id: &'a str,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_event_type: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Result<'a> {
    code: u32,
    sub_code: u32,
    message: &'a str,
}

impl<'a> Result<'a> {
    fn of(result: &'a ResultInformation) -> Self {
        Self {
            code: result.code,
            sub_code: result.sub_code,
            message: &result.message,
        }
    }
}

/// The members that only this type of event has.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum EventMembers<'a> {
    Nothing {},
    Participants {
        participants: Vec<Participant>,
        sequence_number: u64,
    },
    Participant {
        #[serde(skip_serializing_if = "Option::is_none")]
        participant: Option<RawIdFirst>,
    },
    Invitation {
        invitation_id: &'a str,
    },
    Moved {
        participant: RawIdFirst,
        from_call: &'a str,
    },
    Transfer {
        transfer_target: RawIdFirst,
        transferee: RawIdFirst,
    },
    Failed {
        #[serde(skip_serializing_if = "Option::is_none")]
        failed_play_source_index: Option<usize>,
    },
    Dtmf {
        recognition_type: &'static str,
        dtmf_result: DtmfResult,
    },
    Choice {
        recognition_type: &'static str,
        choice_result: ChoiceResult<'a>,
    },
    Speech {
        recognition_type: &'static str,
        speech_result: SpeechResult<'a>,
    },
    Tone {
        sequence_id: u64,
        tone: &'static str,
    },
    MediaStreaming {
        media_streaming_update: MediaStreamingUpdate,
    },
    Transcription {
        transcription_update: TranscriptionUpdate,
    },
    Recording {
        recording_id: &'a str,
        state: &'static str,
        start_date_time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_kind: Option<&'static str>,
    },
    NoRecording {
        recording_id: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Participant {
    identifier: RawIdFirst,
    is_muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_on_hold: Option<bool>,
}

#[derive(Serialize)]
struct DtmfResult {
    tones: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChoiceResult<'a> {
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recognized_phrase: Option<&'a str>,
}

#[derive(Serialize)]
struct SpeechResult<'a> {
    speech: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MediaStreamingUpdate {
    content_type: &'static str,
    media_streaming_status: &'static str,
    media_streaming_status_details: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TranscriptionUpdate {
    transcription_status: &'static str,
    transcription_status_details: &'static str,
}

/// The type on the wire and the object, or `None` where this version of the API does not have the event.
pub(super) fn event(notice: &Notice, id: Uuid, at: Timestamp) -> Option<(String, Box<RawValue>)> {
    let version = notice.call.version.as_str();
    let (name, since) = name_and_since(&notice.happened)?;
    if !since.has(version) {
        return None;
    }
    let kind = kind_of(name);
    let (source, connection) = source_and_connection(notice);
    let result = notice
        .result
        .as_ref()
        .filter(|_| result_since(&notice.happened).has(version))
        .map(Result::of);
    let (early_result, result_information) = if result_is_early(&notice.happened, version) {
        (result, None)
    } else {
        (None, result)
    };
    let names_itself = SELF_NAMED.has(version);
    let data = Data {
        own: own(&notice.happened, version),
        early_result,
        version: names_itself.then_some(version),
        operation_context: notice
            .context
            .as_deref()
            .filter(|_| has_context(&notice.happened)),
        result_information,
        call_connection_id: connection,
        server_call_id: &notice.call.server_call,
        correlation_id: &notice.call.correlation,
        public_event_type: names_itself.then_some(&kind),
    };
    let event = object(&CallbackEvent::new(id, at, &source, &kind, data));
    Some((kind, event))
}

/// `source`, which is `subject` too, and `callConnectionId`: those of the call, or of the recording that the event is of. The
/// source of `StartRecordingFailed` was never recorded; it is taken to be that of `RecordingStateChanged`.
fn source_and_connection(notice: &Notice) -> (String, &str) {
    let call = &notice.call;
    match &notice.happened {
        Happened::RecordingStateChanged { recording, .. }
        | Happened::StartRecordingFailed { recording } => (
            format!(
                "calling/recordings/{}/{}/RecordingStateChanged",
                call.server_call,
                recording.as_str()
            ),
            recording.endpoint(),
        ),
        _ => (
            format!("calling/callConnections/{}", call.connection),
            &call.connection,
        ),
    }
}

/// The event's name, and the first version of the API that has it: the last column of docs/src/reference/acs-events.md,
/// "Events of GA", where it says only "<= 1.4.0-beta.1" the change logs of the packages. For the failures of create and
/// answer no version was found; they are taken to be as old as that of connect.
fn name_and_since(happened: &Happened) -> Option<(&'static str, ApiVersion)> {
    Some(match happened {
        Happened::Connecting | Happened::Disconnecting => return None,
        Happened::Connected => ("CallConnected", FIRST),
        Happened::Disconnected => ("CallDisconnected", FIRST),
        Happened::CreateCallFailed => ("CreateCallFailed", V2024_06),
        Happened::AnswerFailed => ("AnswerFailed", V2024_06),
        Happened::ConnectFailed => ("ConnectFailed", V2024_06),
        Happened::ParticipantsUpdated { .. } => ("ParticipantsUpdated", FIRST),
        Happened::ParticipantAdded { .. } => ("AddParticipantSucceeded", FIRST),
        Happened::AddParticipantFailed { .. } => ("AddParticipantFailed", FIRST),
        Happened::AddParticipantCanceled { .. } => ("CancelAddParticipantSucceeded", V2023_10),
        Happened::CancelAddParticipantFailed { .. } => ("CancelAddParticipantFailed", V2023_10),
        Happened::ParticipantRemoved { .. } => ("RemoveParticipantSucceeded", FIRST),
        Happened::RemoveParticipantFailed { .. } => ("RemoveParticipantFailed", FIRST),
        Happened::ParticipantMoved { .. } => ("MoveParticipantSucceeded", V2026_03),
        Happened::MoveParticipantFailed { .. } => ("MoveParticipantFailed", V2026_03),
        Happened::TransferAccepted { .. } => ("CallTransferAccepted", FIRST),
        Happened::TransferFailed => ("CallTransferFailed", FIRST),
        Happened::HoldFailed => ("HoldFailed", V2024_06),
        Happened::PlayStarted => ("PlayStarted", V2024_06),
        Happened::PlayCompleted => ("PlayCompleted", FIRST),
        Happened::PlayFailed { .. } => ("PlayFailed", FIRST),
        Happened::PlayCanceled => ("PlayCanceled", FIRST),
        Happened::RecognizeCompleted(_) => ("RecognizeCompleted", FIRST),
        Happened::RecognizeFailed { .. } => ("RecognizeFailed", FIRST),
        Happened::RecognizeCanceled => ("RecognizeCanceled", FIRST),
        Happened::ToneReceived { .. } => ("ContinuousDtmfRecognitionToneReceived", TONES),
        Happened::ToneFailed => ("ContinuousDtmfRecognitionToneFailed", TONES),
        Happened::ContinuousDtmfStopped => ("ContinuousDtmfRecognitionStopped", TONES),
        Happened::DtmfSent => ("SendDtmfTonesCompleted", TONES),
        Happened::SendDtmfFailed => ("SendDtmfTonesFailed", TONES),
        Happened::MediaStreamingStarted => ("MediaStreamingStarted", V2024_06),
        Happened::MediaStreamingStopped => ("MediaStreamingStopped", V2024_06),
        Happened::MediaStreamingFailed => ("MediaStreamingFailed", V2024_06),
        Happened::TranscriptionStarted => ("TranscriptionStarted", V2024_06),
        Happened::TranscriptionStopped => ("TranscriptionStopped", V2024_06),
        Happened::TranscriptionUpdated => ("TranscriptionUpdated", V2024_06),
        Happened::TranscriptionFailed => ("TranscriptionFailed", V2024_06),
        Happened::RecordingStateChanged { .. } => ("RecordingStateChanged", FIRST),
        Happened::StartRecordingFailed { .. } => ("StartRecordingFailed", V2026_03),
    })
}

/// Since when an event has a result: some have none in the models of 1.0.0 and in the recordings of 2023
/// (docs/src/reference/acs-events.md, "Ids").
fn result_since(happened: &Happened) -> ApiVersion {
    match happened {
        Happened::Connected
        | Happened::Disconnected
        | Happened::ParticipantsUpdated { .. }
        | Happened::PlayCanceled
        | Happened::RecognizeCanceled
        | Happened::ContinuousDtmfStopped => V2024,
        // Recorded without one of 2024-06-15-preview.
        Happened::RecordingStateChanged { .. } => SELF_NAMED,
        _ => FIRST,
    }
}

/// The recordings have the result before `version` here, everywhere else after it.
fn result_is_early(happened: &Happened, version: &str) -> bool {
    match happened {
        Happened::ParticipantsUpdated { .. } | Happened::RecordingStateChanged { .. } => true,
        Happened::Disconnected => V2026_03.has(version),
        _ => false,
    }
}

fn has_context(happened: &Happened) -> bool {
    !matches!(
        happened,
        Happened::ParticipantsUpdated { .. } | Happened::RecordingStateChanged { .. }
    )
}

fn own<'a>(happened: &'a Happened, version: &str) -> EventMembers<'a> {
    match happened {
        Happened::ParticipantsUpdated {
            sequence,
            participants,
        } => EventMembers::Participants {
            participants: participants
                .iter()
                .map(|participant| Participant {
                    identifier: RawIdFirst::of(&participant.identifier),
                    is_muted: participant.muted,
                    is_on_hold: V2024.has(version).then_some(participant.on_hold),
                })
                .collect(),
            sequence_number: *sequence,
        },
        // GA adds one participant at a time.
        Happened::ParticipantAdded { participants }
        | Happened::AddParticipantFailed { participants } => participant(participants.first()),
        Happened::ParticipantRemoved { participant: who }
        | Happened::RemoveParticipantFailed { participant: who } => participant(Some(who)),
        Happened::AddParticipantCanceled { invitation }
        | Happened::CancelAddParticipantFailed { invitation } => EventMembers::Invitation {
            invitation_id: invitation,
        },
        Happened::ParticipantMoved {
            participant,
            from_call,
        }
        | Happened::MoveParticipantFailed {
            participant,
            from_call,
        } => EventMembers::Moved {
            participant: RawIdFirst::of(participant),
            from_call,
        },
        Happened::TransferAccepted { target, transferee } if V2023_10.has(version) => {
            EventMembers::Transfer {
                transfer_target: RawIdFirst::of(target),
                transferee: RawIdFirst::of(transferee),
            }
        }
        Happened::PlayFailed { source } | Happened::RecognizeFailed { source } => {
            EventMembers::Failed {
                // Came with prompts of several sources.
                failed_play_source_index: source.filter(|_| V2024_06.has(version)),
            }
        }
        Happened::RecognizeCompleted(recognized) => own_of_recognized(recognized),
        Happened::ToneReceived { sequence, tone } => EventMembers::Tone {
            sequence_id: *sequence,
            tone: tone.name(),
        },
        Happened::MediaStreamingStarted => {
            media_streaming("mediaStreamingStarted", "subscriptionStarted")
        }
        Happened::MediaStreamingStopped => {
            media_streaming("mediaStreamingStopped", "subscriptionStopped")
        }
        Happened::MediaStreamingFailed => {
            media_streaming("mediaStreamingFailed", "streamConnectionUnsuccessful")
        }
        Happened::TranscriptionStarted => {
            transcription("transcriptionStarted", "subscriptionStarted")
        }
        Happened::TranscriptionStopped => {
            transcription("transcriptionStopped", "subscriptionStopped")
        }
        Happened::TranscriptionUpdated => {
            transcription("transcriptionUpdated", "transcriptionLocaleUpdated")
        }
        Happened::TranscriptionFailed => {
            transcription("transcriptionFailed", "streamConnectionUnsuccessful")
        }
        Happened::RecordingStateChanged {
            recording,
            active,
            started,
        } => EventMembers::Recording {
            recording_id: recording.as_str(),
            state: if *active { "active" } else { "inactive" },
            start_date_time: start_of_recording(*started),
            recording_kind: V2024.has(version).then_some("azureCommunicationServices"),
        },
        Happened::StartRecordingFailed { recording } => EventMembers::NoRecording {
            recording_id: recording.as_str(),
        },
        Happened::Connecting
        | Happened::Connected
        | Happened::Disconnecting
        | Happened::Disconnected
        | Happened::CreateCallFailed
        | Happened::AnswerFailed
        | Happened::ConnectFailed
        | Happened::TransferAccepted { .. }
        | Happened::TransferFailed
        | Happened::HoldFailed
        | Happened::PlayStarted
        | Happened::PlayCompleted
        | Happened::PlayCanceled
        | Happened::RecognizeCanceled
        | Happened::ToneFailed
        | Happened::ContinuousDtmfStopped
        | Happened::DtmfSent
        | Happened::SendDtmfFailed => EventMembers::Nothing {},
    }
}

fn participant(identifier: Option<&Identifier>) -> EventMembers<'static> {
    EventMembers::Participant {
        participant: identifier.map(RawIdFirst::of),
    }
}

fn own_of_recognized(recognized: &Recognized) -> EventMembers<'_> {
    match recognized {
        Recognized::Dtmf { tones } => EventMembers::Dtmf {
            recognition_type: "dtmf",
            dtmf_result: DtmfResult {
                tones: tones.iter().map(|tone| tone.name()).collect(),
            },
        },
        // `confidence` is optional in the models, and the emulator has no measure of it.
        Recognized::Choice { label, phrase } => EventMembers::Choice {
            recognition_type: "choices",
            choice_result: ChoiceResult {
                label,
                recognized_phrase: phrase.as_deref(),
            },
        },
        Recognized::Speech { speech } => EventMembers::Speech {
            recognition_type: "speech",
            speech_result: SpeechResult { speech },
        },
    }
}

fn media_streaming(status: &'static str, details: &'static str) -> EventMembers<'static> {
    EventMembers::MediaStreaming {
        media_streaming_update: MediaStreamingUpdate {
            // Described as `audio`, recorded as this.
            content_type: "Audio",
            media_streaming_status: status,
            media_streaming_status_details: details,
        },
    }
}

fn transcription(status: &'static str, details: &'static str) -> EventMembers<'static> {
    EventMembers::Transcription {
        transcription_update: TranscriptionUpdate {
            transcription_status: status,
            transcription_status_details: details,
        },
    }
}
