//! The parts of the world that requests can see.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    super::identity::Identifier,
    World,
    conversation::{Leg, LegState},
    request::Media,
};

/// A live leg of the application: `CallConnectionProperties`.
#[derive(Clone, Debug)]
pub(crate) struct CallView {
    pub(crate) connection: String,
    pub(crate) server_call: String,
    pub(crate) correlation: String,
    pub(crate) targets: Vec<Identifier>,
    /// `callConnectionState` of GA.
    pub(crate) state: &'static str,
    pub(crate) callback: String,
    pub(crate) caller_id: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) source: Option<Identifier>,
    pub(crate) answered_by: Option<Identifier>,
    pub(crate) answered_for: Option<String>,
    pub(crate) media: Media,
    pub(crate) streaming_on: bool,
    pub(crate) transcription_on: bool,
}

/// A recording that has not been stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordingView {
    pub(crate) id: String,
    pub(crate) active: bool,
    /// `recordingKind` of GA.
    pub(crate) kind: &'static str,
}

/// A conversation as `GET /_emulator/calls` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConversationView {
    server_call_id: String,
    correlation_id: String,
    state: &'static str,
    legs: Vec<LegView>,
    participants: Vec<ParticipantView>,
    ringing: Vec<String>,
    recordings: Vec<RecordingLine>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LegView {
    number: u64,
    connection_id: String,
    api: &'static str,
    api_version: String,
    state: &'static str,
    /// Without its query, which may hold a secret.
    callback_uri: String,
    playing: bool,
    waiting_to_play: usize,
    media_streaming: bool,
    transcription: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ParticipantView {
    raw_id: String,
    is_muted: bool,
    is_on_hold: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordingLine {
    recording_id: String,
    state: &'static str,
}

impl World {
    /// Every conversation since the start, the oldest first.
    pub(crate) fn conversations(&self) -> Vec<ConversationView> {
        let mut legs: BTreeMap<u64, Vec<(&String, &Leg)>> = BTreeMap::new();
        for (id, leg) in &self.legs {
            legs.entry(leg.conversation).or_default().push((id, leg));
        }
        self.conversations
            .iter()
            .map(|(key, conversation)| ConversationView {
                server_call_id: conversation.server_call.clone(),
                correlation_id: conversation.correlation.clone(),
                state: match (conversation.ended, conversation.started) {
                    (true, _) => "ended",
                    (false, Some(_)) => "connected",
                    (false, None) => "ringing",
                },
                legs: legs
                    .remove(key)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(id, leg)| leg_view(id, leg))
                    .collect(),
                participants: conversation
                    .participants
                    .iter()
                    .map(|participant| ParticipantView {
                        raw_id: participant.identifier.raw_id(),
                        is_muted: participant.muted,
                        is_on_hold: participant.on_hold,
                    })
                    .collect(),
                ringing: conversation
                    .invitations
                    .iter()
                    .map(|invitation| invitation.who.raw_id())
                    .collect(),
                recordings: self
                    .recordings
                    .iter()
                    .filter(|(_, recording)| recording.conversation == *key)
                    .map(|(id, recording)| RecordingLine {
                        recording_id: id.clone(),
                        state: recording.state(),
                    })
                    .collect(),
            })
            .collect()
    }

    /// How many legs of the application there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.last_leg
    }

    /// Whether every leg has ended and nothing is planned: without a request no further event follows.
    pub(crate) fn is_over(&self) -> bool {
        self.plan.next().is_none()
            && self
                .legs
                .values()
                .all(|leg| leg.state == LegState::Disconnected)
    }
}

fn leg_view(id: &str, leg: &Leg) -> LegView {
    LegView {
        number: leg.ordinal,
        connection_id: id.to_owned(),
        api: leg.api.generation.name(),
        api_version: leg.api.version.clone(),
        state: leg.state.name(),
        callback_uri: leg
            .callback
            .split_once('?')
            .map_or(leg.callback.as_str(), |(path, _)| path)
            .to_owned(),
        playing: leg.playing.is_some(),
        waiting_to_play: leg.waiting.len(),
        media_streaming: leg.streaming,
        transcription: leg.transcribing,
    }
}
