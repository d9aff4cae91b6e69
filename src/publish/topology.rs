//! Declares and checks one object on the broker, on a channel that may be lost by it (docs/src/internals/delivery.md,
//! "Topology").

use std::time::Duration;

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPError, AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable, LongString},
};

use crate::{config::Broker, route::QueueType, status::DestinationState};

use super::broker_object::BrokerObject;

/// A queue whose members have no majority does not answer a declare.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopologyCheck {
    /// It can be published to.
    Good,
    /// It does not exist.
    Missing(String),
    /// It exists with other arguments; the broker's text names both sides.
    Mismatched(String),
    /// The broker did not say, or did not permit it.
    Held(String),
}

impl TopologyCheck {
    /// The state and reason for the status.
    pub(super) fn status(&self) -> (DestinationState, Option<String>) {
        match self {
            Self::Good => (DestinationState::Ready, None),
            Self::Missing(why) => (DestinationState::Missing, Some(why.clone())),
            Self::Mismatched(why) => (DestinationState::Mismatched, Some(why.clone())),
            Self::Held(why) => (DestinationState::Held, Some(why.clone())),
        }
    }
}

/// How much a check may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckDepth {
    /// Only check whether it exists.
    Look,
    /// Declare it, which compares its arguments; an existing queue stays unchanged.
    Compare,
    /// The same, and bind it to `broker.exchange`: what is missing is created.
    Declare,
}

/// Checks one object on a throw-away channel of `connection`.
///
/// # Errors
/// If the connection itself fails; the broker's answer about the object is a [`TopologyCheck`].
pub(super) async fn check(
    connection: &Connection,
    object: &BrokerObject,
    broker: &Broker,
    depth: CheckDepth,
) -> Result<TopologyCheck, lapin::Error> {
    let channel = connection.create_channel().await?;
    let outcome = match object {
        BrokerObject::Exchange { name } => look_for_exchange(&channel, name).await,
        BrokerObject::Queue { name, queue_type } => {
            queue(&channel, name, *queue_type, &broker.exchange, depth).await
        }
    };
    match outcome {
        Ok(()) => {
            // The answer is already known; a channel that does not close regularly is closed with its connection.
            if let Err(error) = channel.close(200, "OK".into()).await {
                tracing::debug!(%error, "closing a check's channel failed");
            }
            Ok(TopologyCheck::Good)
        }
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(said) => verdict_of(said).ok_or(error),
            _ => Err(error),
        },
    }
}

async fn queue(
    channel: &Channel,
    name: &str,
    queue_type: QueueType,
    exchange: &str,
    depth: CheckDepth,
) -> Result<(), lapin::Error> {
    if !exchange.is_empty() {
        look_for_exchange(channel, exchange).await?;
    }
    let options = QueueDeclareOptions {
        passive: depth == CheckDepth::Look,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(name.into(), options, arguments(queue_type))
        .await?;
    if !exchange.is_empty() && depth == CheckDepth::Declare {
        channel
            .queue_bind(
                name.into(),
                exchange.into(),
                name.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

async fn look_for_exchange(channel: &Channel, name: &str) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    // A passive declare compares nothing: the kind only fills the field.
    channel
        .exchange_declare(
            name.into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
}

/// Exactly these two: limits, TTL and dead-lettering belong to policies.
fn arguments(queue_type: QueueType) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString(LongString::from(queue_type.as_str())),
    );
    arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    arguments
}

fn verdict_of(said: &AMQPError) -> Option<TopologyCheck> {
    let text = said.get_message().to_string();
    match said.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Some(TopologyCheck::Missing(text)),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            Some(TopologyCheck::Mismatched(text))
        }
        AMQPErrorKind::Soft(_) => Some(TopologyCheck::Held(text)),
        AMQPErrorKind::Hard(_) => None,
    }
}
