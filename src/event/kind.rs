//! Kinds: our names for the subject of an event, the same across generations (docs/src/reference/kinds.md).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The subject of an event, independent of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "each variant is the name itself; docs/src/reference/kinds.md lists the wire types behind it"
)]
pub enum Kind {
    CallState,
    DtmfReceived,
    PlayAudioResult,
    InviteParticipantResult,
    ParticipantsUpdated,
    Recording,
    RemoveParticipantResult,
    Recognize,
    SendDtmf,
    Transfer,
    Hold,
    MediaStreaming,
    Transcription,
    Dialog,
    IncomingCall,
    /// A type that the catalogue does not know; routed like any other by default.
    Unknown,
}

impl Kind {
    /// Every kind, in the order of the documentation; the closed label set of the metrics.
    pub const ALL: [Self; 16] = [
        Self::CallState,
        Self::DtmfReceived,
        Self::PlayAudioResult,
        Self::InviteParticipantResult,
        Self::ParticipantsUpdated,
        Self::Recording,
        Self::RemoveParticipantResult,
        Self::Recognize,
        Self::SendDtmf,
        Self::Transfer,
        Self::Hold,
        Self::MediaStreaming,
        Self::Transcription,
        Self::Dialog,
        Self::IncomingCall,
        Self::Unknown,
    ];

    /// The name in headers, routes and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallState => "CallState",
            Self::DtmfReceived => "DtmfReceived",
            Self::PlayAudioResult => "PlayAudioResult",
            Self::InviteParticipantResult => "InviteParticipantResult",
            Self::ParticipantsUpdated => "ParticipantsUpdated",
            Self::Recording => "Recording",
            Self::RemoveParticipantResult => "RemoveParticipantResult",
            Self::Recognize => "Recognize",
            Self::SendDtmf => "SendDtmf",
            Self::Transfer => "Transfer",
            Self::Hold => "Hold",
            Self::MediaStreaming => "MediaStreaming",
            Self::Transcription => "Transcription",
            Self::Dialog => "Dialog",
            Self::IncomingCall => "IncomingCall",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>(), Ok(kind));
        }
        assert!("callstate".parse::<Kind>().is_err());
    }
}
