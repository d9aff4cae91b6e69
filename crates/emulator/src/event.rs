//! Events for an application, before they take the form of a generation of the API (`wire`).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::identity::Identifier;

/// The generation of the REST API that made a call, and so of the events that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Generation {
    /// The private preview of 2021: `callLegId`, PascalCase, Event Grid envelope.
    Private,
    /// 2021-06-15-preview and 2021-08-30-preview: CloudEvents.
    Public,
    /// From 2023-03-06 on.
    Ga,
}

impl Generation {
    /// The name that output uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "2021-private",
            Self::Public => "2021-public",
            Self::Ga => "ga",
        }
    }
}

/// `resultInformation` (GA), `resultInfo` (2021).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultInformation {
    /// Like an HTTP status; outside of 2xx also on some events that are not failures.
    pub(crate) code: u32,
    /// Of the service's own tables.
    pub(crate) sub_code: u32,
    /// For human readers.
    pub(crate) message: String,
}

impl ResultInformation {
    pub(crate) fn new(code: u32, sub_code: u32, message: impl Into<String>) -> Self {
        Self {
            code,
            sub_code,
            message: message.into(),
        }
    }

    /// 200, as the service reports it for a media action.
    pub(crate) fn completed() -> Self {
        Self::new(200, 0, "Action completed successfully.")
    }

    /// 200 without a message, as the service reports it for a call.
    pub(crate) fn fine() -> Self {
        Self::new(200, 0, "")
    }
}

/// A participant of a call, as `ParticipantsUpdated` and the list of participants show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Participant {
    pub(crate) identifier: Identifier,
    /// A GUID of this participation (2021 and Event Grid).
    pub(crate) participant_id: String,
    pub(crate) muted: bool,
    pub(crate) on_hold: bool,
}

/// What a callee said or pressed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recognized {
    /// Names of tones as GA spells them: `one`, `pound`, `asterisk`.
    Dtmf {
        tones: Vec<Tone>,
    },
    Choice {
        label: String,
        /// `None` where it was chosen by a tone.
        phrase: Option<String>,
    },
    Speech {
        speech: String,
    },
}

/// A tone of a phone's keypad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tone(char);

impl Tone {
    /// From the character on the key: `0` to `9`, `*`, `#`, `A` to `D`.
    pub(crate) fn from_key(key: char) -> Option<Self> {
        let key = key.to_ascii_uppercase();
        matches!(key, '0'..='9' | '*' | '#' | 'A'..='D').then_some(Self(key))
    }

    /// From GA's name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(key, _)| Self(*key))
    }

    /// The character on the key.
    pub(crate) fn key(self) -> char {
        self.0
    }

    /// GA's name: `zero` to `nine`, `a` to `d`, `pound`, `asterisk`.
    pub(crate) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(key, _)| *key == self.0)
            .map_or("zero", |(_, name)| name)
    }
}

const NAMES: [(char, &str); 16] = [
    ('0', "zero"),
    ('1', "one"),
    ('2', "two"),
    ('3', "three"),
    ('4', "four"),
    ('5', "five"),
    ('6', "six"),
    ('7', "seven"),
    ('8', "eight"),
    ('9', "nine"),
    ('A', "a"),
    ('B', "b"),
    ('C', "c"),
    ('D', "d"),
    ('#', "pound"),
    ('*', "asterisk"),
];

/// What happened to a call. Not every generation has an event for each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happened {
    /// 2021 only: `establishing`, `connecting`.
    Connecting,
    /// 2021: `established`, `connected`; GA `CallConnected`.
    Connected,
    /// 2021 only: `terminating`, `disconnecting`.
    Disconnecting,
    /// 2021: `terminated`, `disconnected`; GA `CallDisconnected`. The last event of a call.
    Disconnected,
    CreateCallFailed,
    AnswerFailed,
    ConnectFailed,
    ParticipantsUpdated {
        sequence: u64,
        participants: Vec<Participant>,
    },
    /// 2021: `InviteParticipantResult`, `AddParticipantResult`, completed; GA `AddParticipantSucceeded`.
    ParticipantAdded {
        participants: Vec<Identifier>,
    },
    /// The same, failed.
    AddParticipantFailed {
        participants: Vec<Identifier>,
    },
    AddParticipantCanceled {
        invitation: String,
    },
    CancelAddParticipantFailed {
        invitation: String,
    },
    ParticipantRemoved {
        participant: Identifier,
    },
    RemoveParticipantFailed {
        participant: Identifier,
    },
    ParticipantMoved {
        participant: Identifier,
        from_call: String,
    },
    MoveParticipantFailed {
        participant: Identifier,
        from_call: String,
    },
    TransferAccepted {
        target: Identifier,
        transferee: Identifier,
    },
    TransferFailed,
    HoldFailed,
    /// GA from 2024 on.
    PlayStarted,
    /// 2021: `PlayAudioResult`, completed.
    PlayCompleted,
    /// 2021: `PlayAudioResult`, failed. GA: which source.
    PlayFailed {
        source: Option<usize>,
    },
    /// 2021: `PlayAudioResult`, completed, with code 400 and subcode 8508.
    PlayCanceled,
    RecognizeCompleted(Recognized),
    RecognizeFailed {
        source: Option<usize>,
    },
    RecognizeCanceled,
    /// 2021: `DtmfReceived`; GA `ContinuousDtmfRecognitionToneReceived`.
    ToneReceived {
        sequence: u64,
        tone: Tone,
    },
    ToneFailed,
    ContinuousDtmfStopped,
    DtmfSent,
    SendDtmfFailed,
    MediaStreamingStarted,
    MediaStreamingStopped,
    MediaStreamingFailed,
    TranscriptionStarted,
    TranscriptionStopped,
    TranscriptionUpdated,
    TranscriptionFailed,
    RecordingStateChanged {
        recording: RecordingId,
        active: bool,
        /// `None`: it has not started.
        started: Option<jiff::Timestamp>,
    },
    StartRecordingFailed {
        recording: RecordingId,
    },
}

/// One event for one application at one URL.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) call: CallFacts,
    /// The callback URL, of the call or of the operation.
    pub(crate) to: String,
    /// `operationContext` of the request that caused it.
    pub(crate) context: Option<String>,
    /// `None`: the service does not report a result here.
    pub(crate) result: Option<ResultInformation>,
    pub(crate) happened: Happened,
}

impl Happened {
    /// The state of a recording that has not started, which the service occasionally reports before the first `active`.
    pub(crate) fn is_unstarted_recording(&self) -> bool {
        matches!(self, Self::RecordingStateChanged { started: None, .. })
    }
}

/// `recordingId`, and the endpoint that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordingId {
    text: String,
    endpoint: String,
}

impl RecordingId {
    /// The id as the service makes it: unpadded base64url of an object with two GUIDs. The first is the endpoint that
    /// records: the call connection if the request named one, else one of the recording's own.
    pub(crate) fn new(endpoint: String, resource: &str) -> Self {
        let json =
            format!(r#"{{"PlatformEndpointId":"{endpoint}","ResourceSpecificId":"{resource}"}}"#);
        Self {
            text: BASE64_URL_SAFE_NO_PAD.encode(json),
            endpoint,
        }
    }

    /// As requests and events write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The `PlatformEndpointId` inside it, and `callConnectionId` of its events in GA.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

/// What every event of a call says about the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallFacts {
    /// The first call of this emulator is 1; for people and for seeds.
    pub(crate) ordinal: u64,
    pub(crate) generation: Generation,
    /// `api-version` of the request that made the call.
    pub(crate) version: String,
    /// `callConnectionId`, `callLegId`. Events of a recording are posted among those of this leg, whatever id they
    /// carry.
    pub(crate) connection: String,
    /// `serverCallId`: standard base64 of a URL (GA), base64url (2021).
    pub(crate) server_call: String,
    /// `ConversationId` of the private preview: base64url; `None` while the call is not established.
    pub(crate) conversation: Option<String>,
    /// `correlationId`.
    pub(crate) correlation: String,
}

/// Events of the ACS resource that Event Grid delivers (docs/src/reference/acs-events.md, "Event Grid events").
#[derive(Clone, Debug)]
pub(crate) struct GridNotice {
    /// As [`CallFacts::ordinal`]: of the first leg of the application in it, 0 where it has none yet.
    pub(crate) ordinal: u64,
    /// `serverCallId`.
    pub(crate) server_call: String,
    /// `correlationId`.
    pub(crate) correlation: String,
    pub(crate) happened: GridHappened,
}

#[derive(Clone, Debug)]
pub(crate) enum GridHappened {
    IncomingCall {
        from: Identifier,
        to: Identifier,
        display_name: String,
        context_token: String,
    },
    CallStarted {
        by: Identifier,
        two_party: bool,
        room: Option<String>,
    },
    CallEnded {
        started_by: Identifier,
        two_party: bool,
        room: Option<String>,
        duration_seconds: f64,
        code: u32,
        sub_code: u32,
    },
    ParticipantAdded {
        started_by: Identifier,
        user: Participant,
        display_name: String,
        room: Option<String>,
    },
    ParticipantRemoved {
        started_by: Identifier,
        user: Participant,
        display_name: String,
        room: Option<String>,
    },
    RecordingFileReady {
        recording: RecordingId,
        started: jiff::Timestamp,
        duration_ms: u64,
        /// `audio` or `audioVideo`, as the request had it.
        content: String,
        channel: String,
        format: String,
        end_reason: String,
    },
}
