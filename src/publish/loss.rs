//! What an error of the client library says about the publishes that were not confirmed
//! (docs/src/internals/delivery.md, "Unknown outcomes"). Pure.

use lapin::{
    ChannelState, ErrorKind,
    protocol::{AMQPError, AMQPErrorKind},
};

use crate::dispatch::{ChannelLoss, Refused};

/// Reply codes of AMQP 0-9-1 (1.8) with which a broker says that it would not take what it was sent.
mod code {
    pub(super) const CONTENT_TOO_LARGE: u16 = 311;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    pub(super) const FRAME_ERROR: u16 = 501;
    pub(super) const SYNTAX_ERROR: u16 = 502;
    pub(super) const UNEXPECTED_FRAME: u16 = 505;
    pub(super) const INTERNAL_ERROR: u16 = 541;
}

/// What the broker, or the line to it, said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossCause {
    /// The channel was closed by the broker with this code, or Close-Ok came: nothing can land any more.
    Channel(Option<u16>),
    /// The connection was closed by the broker with this code.
    Connection(u16),
    /// The connection went without a word.
    Silence,
}

impl LossCause {
    /// Reads an error that a publish or a close ended with. `connected`: whether the connection still stood when the
    /// error was seen; the library marks the connection before its channels, so a channel that is closed while its
    /// connection stands was closed alone.
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

    /// The more telling of two causes of one loss: many publishes fail at once, and the first error seen is often
    /// only "the channel is closed".
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

    /// What the dispatcher is told of a channel of the shared connection.
    pub(super) fn loss(self) -> ChannelLoss {
        match self {
            Self::Channel(Some(code::CONTENT_TOO_LARGE | code::PRECONDITION_FAILED)) => {
                ChannelLoss::Refused { settled: true }
            }
            Self::Channel(_) => ChannelLoss::Settled,
            // Which channel the message came on is not said, so the unconfirmed of all of them are sent alone. An
            // internal error is among them: a message that crashes the broker's channel would otherwise be sent
            // again for ever, and everything with it.
            Self::Connection(
                code::FRAME_ERROR
                | code::SYNTAX_ERROR
                | code::UNEXPECTED_FRAME
                | code::INTERNAL_ERROR,
            ) => ChannelLoss::Refused { settled: false },
            Self::Connection(_) | Self::Silence => ChannelLoss::Unfenced,
        }
    }

    /// Whether a message that was alone on its connection was refused for what it is.
    pub(super) fn refused_alone(self) -> IsolatedLoss {
        match self {
            Self::Channel(Some(code::CONTENT_TOO_LARGE | code::PRECONDITION_FAILED))
            | Self::Connection(code::FRAME_ERROR | code::SYNTAX_ERROR | code::UNEXPECTED_FRAME) => {
                IsolatedLoss::Refused
            }
            // May be the message, may be a broker in trouble: refused only if it happens again and again.
            Self::Connection(code::INTERNAL_ERROR) => IsolatedLoss::Suspect,
            Self::Channel(_) => IsolatedLoss::NotLanded,
            Self::Connection(_) | Self::Silence => IsolatedLoss::Unknown,
        }
    }
}

/// What became of a message that was sent alone and was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsolatedLoss {
    /// Poison.
    Refused,
    /// Perhaps poison.
    Suspect,
    /// It did not land, for a reason that is not its own: a missing exchange, a permission.
    NotLanded,
    /// It may have landed.
    Unknown,
}

/// The broker's words, for the quarantine.
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
        // A line that went while the channel was closing: its word cannot be trusted to be the last.
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
