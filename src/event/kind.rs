//! Kinds: our names for the subject of an event, the same across generations (docs/src/reference/kinds.md).

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The subject of an event, independent of its generation.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
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
    /// The name as it stands in headers, routes and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for &kind in Kind::VARIANTS {
            assert_eq!(kind.as_str().parse::<Kind>(), Ok(kind));
        }
        assert!("callstate".parse::<Kind>().is_err());
    }
}
