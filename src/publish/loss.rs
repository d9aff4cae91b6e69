//! What an error of the client library means for the unconfirmed publishes (docs/src/internals/delivery.md, "Unknown
//! outcomes"). Pure.

use lapin::{
    ChannelState, ErrorKind,
    protocol::{AMQPError, AMQPErrorKind},
};

use crate::dispatch::{ChannelLoss, Refused};

/// Reply codes of AMQP 0-9-1 (1.8) with which a broker refuses what it was sent.
mod code {
    pub(super) const CONTENT_TOO_LARGE: u16 = 311;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    pub(super) const FRAME_ERROR: u16 = 501;
    pub(super) const SYNTAX_ERROR: u16 = 502;
    pub(super) const UNEXPECTED_FRAME: u16 = 505;
    pub(super) const INTERNAL_ERROR: u16 = 541;
}

/// What the broker, or the connection, reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossCause {
    /// The channel was closed by the broker with this code, or Close-Ok arrived: nothing can arrive any more.
    Channel(Option<u16>),
    /// The connection was closed by the broker with this code.
    Connection(u16),
    /// The connection ended without a reply.
    Silence,
}

impl LossCause {
    /// Reads an error that a publish or a close ended with. `connected`: whether the connection was still up when the
    /// error was seen; the library marks the connection before its channels, so a channel that is closed while its
    /// connection is up was closed individually.
    pub(super) fn of(error: &ErrorKind, connected: bool) -> Self {
        match error {
            ErrorKind::ProtocolError(error) => match error.kind() {
                AMQPErrorKind::Soft(_) => Self::Channel(Some(error.get_id())),
                AMQPErrorKind::Hard(_) => Self::Connection(error.get_id()),
            },
            ErrorKind::InvalidChannelState(ChannelState::Closing | ChannelState::Closed, _)
                if connected =>
            {
                Self::Channel(None)
            }
            _ => Self::Silence,
        }
    }

    /// The more specific of two causes of one loss: many publishes fail at once, and the first error seen is often only
    /// "the channel is closed".
    pub(super) fn or(self, other: Self) -> Self {
        let weight = |cause: &Self| match cause {
            Self::Channel(None) => 1,
            Self::Silence => 2,
            Self::Channel(Some(_)) => 3,
            Self::Connection(_) => 4,
        };
        if weight(&other) > weight(&self) {
            other
        } else {
            self
        }
    }

    /// What the dispatcher is told about a channel of the shared connection.
    pub(super) fn loss(self) -> ChannelLoss {
        match self {
            Self::Channel(Some(code::CONTENT_TOO_LARGE | code::PRECONDITION_FAILED)) => {
                ChannelLoss::Refused { settled: true }
            }
            Self::Channel(_) => ChannelLoss::Settled,
            // The channel of the message is not named, so the unconfirmed messages of all channels are sent in
            // isolation. An internal error is among the codes: a message that crashes the broker's channel would
            // otherwise be resent without end, and everything with it.
            Self::Connection(
                code::FRAME_ERROR
                | code::SYNTAX_ERROR
                | code::UNEXPECTED_FRAME
                | code::INTERNAL_ERROR,
            ) => ChannelLoss::Refused { settled: false },
            Self::Connection(_) | Self::Silence => ChannelLoss::Unfenced,
        }
    }

    /// Whether a message that was alone on its connection was refused because of its content.
    pub(super) fn refused_alone(self) -> IsolatedLoss {
        match self {
            Self::Channel(Some(code::CONTENT_TOO_LARGE | code::PRECONDITION_FAILED))
            | Self::Connection(code::FRAME_ERROR | code::SYNTAX_ERROR | code::UNEXPECTED_FRAME) => {
                IsolatedLoss::Refused
            }
            // The cause may be the message or a fault of the broker: it is refused only if this happens repeatedly.
            Self::Connection(code::INTERNAL_ERROR) => IsolatedLoss::Suspect,
            Self::Channel(_) => IsolatedLoss::NotLanded,
            Self::Connection(_) | Self::Silence => IsolatedLoss::Unknown,
        }
    }
}

/// The result of an isolated message that was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsolatedLoss {
    /// Poison.
    Refused,
    /// Perhaps poison.
    Suspect,
    /// It did not arrive, for an external reason: a missing exchange, a permission.
    NotLanded,
    /// It may have arrived.
    Unknown,
}

/// The broker's text, for the quarantine.
pub(super) fn words(error: &AMQPError) -> Refused {
    Refused {
        code: error.get_id(),
        text: error.get_message().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPHardError, AMQPSoftError};

    use super::*;

    fn closed(kind: impl Into<AMQPErrorKind>) -> ErrorKind {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), "why".into()))
    }

    #[test]
    fn only_a_refused_message_makes_suspects() {
        let check = |error: ErrorKind, connected, expected| {
            assert_eq!(
                LossCause::of(&error, connected).loss(),
                expected,
                "{error:?} {connected}"
            );
        };
        check(closed(AMQPSoftError::NOTFOUND), true, ChannelLoss::Settled);
        check(
            closed(AMQPSoftError::ACCESSREFUSED),
            true,
            ChannelLoss::Settled,
        );
        check(
            closed(AMQPSoftError::PRECONDITIONFAILED),
            true,
            ChannelLoss::Refused { settled: true },
        );
        check(
            closed(AMQPHardError::FRAMEERROR),
            false,
            ChannelLoss::Refused { settled: false },
        );
        check(
            closed(AMQPHardError::CONNECTIONFORCED),
            false,
            ChannelLoss::Unfenced,
        );
        check(
            ErrorKind::MissingHeartbeatError,
            false,
            ChannelLoss::Unfenced,
        );
    }

    #[test]
    fn a_closed_channel_is_settled_only_while_its_connection_stands() {
        let error =
            ErrorKind::InvalidChannelState(ChannelState::Closed, "channel.close-ok received");
        assert_eq!(LossCause::of(&error, true).loss(), ChannelLoss::Settled);
        assert_eq!(LossCause::of(&error, false).loss(), ChannelLoss::Unfenced);
        let error = ErrorKind::InvalidChannelState(ChannelState::Error, "basic.publish");
        assert_eq!(LossCause::of(&error, true).loss(), ChannelLoss::Unfenced);
    }

    #[test]
    fn the_brokers_word_counts_more_than_the_state_it_left_behind() {
        let refused = LossCause::Channel(Some(406));
        assert_eq!(LossCause::Channel(None).or(refused), refused);
        assert_eq!(refused.or(LossCause::Channel(None)), refused);
        // A connection that was lost while the channel was closing: the close cannot be trusted to be the last frame.
        assert_eq!(
            LossCause::Channel(None).or(LossCause::Silence),
            LossCause::Silence
        );
    }

    #[test]
    fn an_internal_error_is_poison_only_when_it_repeats() {
        assert_eq!(
            LossCause::Connection(541).refused_alone(),
            IsolatedLoss::Suspect
        );
        assert_eq!(
            LossCause::Connection(501).refused_alone(),
            IsolatedLoss::Refused
        );
        assert_eq!(
            LossCause::Channel(Some(404)).refused_alone(),
            IsolatedLoss::NotLanded
        );
        assert_eq!(
            LossCause::Connection(320).refused_alone(),
            IsolatedLoss::Unknown
        );
    }
}
