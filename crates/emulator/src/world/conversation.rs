//! Conversations, and the application's legs in them. Two legs of one conversation share its server call id and differ in
//! their connection ids (docs/src/reference/acs-events.md, "Ids").

use std::{collections::VecDeque, time::Duration};

use rand::rngs::StdRng;

use super::{
    super::{
        event::{CallFacts, Generation, Happened, Participant, RecordingId},
        identity::Identifier,
        scenario::Answering,
    },
    request::{Api, Media, Operation, Recognize, Source, Wants},
};

/// A call, as all its participants share it.
#[derive(Debug)]
pub(super) struct Conversation {
    /// `serverCallId` of GA: standard base64, padded, of a URL.
    pub(super) server_call: String,
    pub(super) correlation: String,
    pub(super) group: Option<String>,
    pub(super) room: Option<String>,
    pub(super) started_by: Identifier,
    /// When the first two participants were in it.
    pub(super) started: Option<Duration>,
    pub(super) ended: bool,
    pub(super) participants: Vec<Participant>,
    pub(super) invitations: Vec<Invitation>,
    /// Randomness of its recordings: the same for the same seed and call.
    pub(super) recordings: StdRng,
}

/// A participant is being called, and has not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Invitation {
    pub(super) id: String,
    /// The leg that invited.
    pub(super) leg: String,
    pub(super) who: Identifier,
    pub(super) participant_id: String,
    /// The outcome.
    pub(super) answer: Answering,
    /// `None`: the call itself began with it.
    pub(super) added: Option<Operation>,
}

/// The state of the application's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegState {
    Connecting,
    Connected,
    TransferAccepted,
    Disconnected,
}

impl LegState {
    /// `callConnectionState` of GA.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::TransferAccepted => "transferAccepted",
            Self::Disconnected => "disconnected",
        }
    }
}

/// The application in a conversation: a call connection, a call leg.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) ordinal: u64,
    pub(super) conversation: u64,
    pub(super) api: Api,
    pub(super) state: LegState,
    pub(super) callback: String,
    pub(super) context: Option<String>,
    pub(super) wants: Wants,
    /// The application's identity in this call.
    pub(super) source: Identifier,
    pub(super) caller_id: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) targets: Vec<Identifier>,
    pub(super) answered_by: Option<Identifier>,
    pub(super) answered_for: Option<String>,
    pub(super) media: Media,
    pub(super) streaming: bool,
    pub(super) transcribing: bool,
    /// The last `sequenceNumber` of ParticipantsUpdated.
    pub(super) sequence: u64,
    pub(super) playing: Option<Playing>,
    pub(super) waiting: VecDeque<Playing>,
    pub(super) listening: Vec<Listening>,
    /// Operations that were accepted and whose outcome is still to be reported.
    pub(super) pending: Vec<Pending>,
}

/// Something that plays on a leg, or waits to.
#[derive(Clone, Debug)]
pub(super) struct Playing {
    /// `operationId` of 2021.
    pub(super) id: String,
    pub(super) what: Playable,
    pub(super) operation: Operation,
}

#[derive(Clone, Debug)]
pub(super) enum Playable {
    Prompt { sources: Vec<Source>, repeat: bool },
    Recognize(Box<Recognize>),
}

/// An operation whose outcome comes later. It fails if the leg ends first.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: String,
    pub(super) operation: Operation,
    /// What is reported then.
    pub(super) failed: Happened,
}

/// Tones of a participant are reported as they arrive.
#[derive(Clone, Debug)]
pub(super) struct Listening {
    /// Tones still planned for a subscription that was stopped do not reach its successor.
    pub(super) id: String,
    /// Raw id.
    pub(super) who: String,
    /// The sequence number of the last tone.
    pub(super) sequence: u64,
    pub(super) operation: Operation,
}

/// An incoming call that has not been answered.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) conversation: u64,
    pub(super) from: Identifier,
    pub(super) to: Identifier,
}

/// A recording that has not been stopped.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) id: RecordingId,
    pub(super) conversation: u64,
    pub(super) active: bool,
    pub(super) started: jiff::Timestamp,
    pub(super) begun: Duration,
    pub(super) callback: Option<String>,
    /// When its last event goes out: the next one does not go out before that.
    pub(super) told: Duration,
    pub(super) facts: CallFacts,
    pub(super) content: String,
    pub(super) channel: String,
    pub(super) format: String,
}

impl Recording {
    pub(super) fn state(&self) -> &'static str {
        if self.active { "active" } else { "inactive" }
    }

    pub(super) fn state_changed(&self) -> Happened {
        Happened::RecordingStateChanged {
            recording: self.id.clone(),
            active: self.active,
            started: Some(self.started),
        }
    }
}

impl Conversation {
    /// `serverCallId` as a generation writes it: standard base64 (GA), base64url without padding (2021).
    pub(super) fn server_call(&self, generation: Generation) -> String {
        match generation {
            Generation::Ga => self.server_call.clone(),
            Generation::Private | Generation::Public => url_safe(&self.server_call),
        }
    }

    /// Whether `id` names this conversation, in either alphabet, with or without padding.
    pub(super) fn is(&self, id: &str) -> bool {
        url_safe(&self.server_call) == url_safe(id)
    }

    pub(super) fn participant(&mut self, raw_id: &str) -> Option<&mut Participant> {
        self.participants
            .iter_mut()
            .find(|participant| participant.identifier.raw_id() == raw_id)
    }

    /// What the events of a leg in it say of the call.
    pub(super) fn facts(&self, connection: &str, ordinal: u64, api: &Api) -> CallFacts {
        CallFacts {
            ordinal,
            generation: api.generation,
            version: api.version.clone(),
            connection: connection.to_owned(),
            server_call: self.server_call(api.generation),
            conversation: self.started.map(|_| url_safe(&self.server_call)),
            correlation: self.correlation.clone(),
        }
    }
}

fn url_safe(id: &str) -> String {
    id.trim_end_matches('=').replace('+', "-").replace('/', "_")
}
