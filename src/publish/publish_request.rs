//! One publish, from the journal's payload to the broker's confirm.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{Channel, Confirmation, options::BasicPublishOptions};

use crate::{
    dispatch::{AttemptId, BrokerReply, DeliveryId, PublishOutcome, Refused, ReturnedMessage},
    journal::{Destinations, PayloadSource, PayloadUnavailable},
    route::DestinationId,
};

use super::message::{self, AttemptInfo, Message, MessageOptions};

/// What all publishes share.
pub(super) struct PublishContext {
    pub(super) payloads: PayloadSource,
    pub(super) destinations: Destinations,
    /// The journal's UUID.
    pub(super) instance: String,
    pub(super) boot: u64,
    /// Exchange of queue destinations.
    pub(super) exchange: String,
    pub(super) max_message_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PublishRequest {
    pub(super) attempt: AttemptId,
    pub(super) delivery: DeliveryId,
    pub(super) destination: DestinationId,
    pub(super) count: u32,
    pub(super) without_body: bool,
}

/// One publish that ended.
#[derive(Debug)]
pub(super) struct EndedAttempt {
    pub(super) attempt: AttemptId,
    pub(super) how: AttemptEnd,
    /// From the hand-over to the answer.
    pub(super) took: Duration,
}

/// How a publish ended for the dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// The broker's answer.
    PublishOutcome(PublishOutcome),
    NotSent(NotSent),
}

/// Why a publish ended before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// It can never be sent.
    Unsendable(Refused),
    /// The journal could not provide it for now.
    NotNow,
}

/// How one publish ended, before returns are attributed.
#[derive(Debug)]
pub(super) enum PublishEnd {
    /// The broker answered.
    Answered {
        verdict: BrokerReply,
        attached: ReturnedMessage,
        /// From the hand-over to the answer.
        took: Duration,
    },
    NotSent(NotSent),
    /// The channel is gone; the loss says whether it was sent.
    Failed(lapin::Error),
}

/// The message of one publish.
///
/// # Errors
/// [`NotSent`]: the publish ends without one.
pub(super) async fn compose(
    context: &PublishContext,
    request: &PublishRequest,
) -> Result<Message, NotSent> {
    let payload = context.payloads.fetch(request.delivery).await;
    let attempt_info = AttemptInfo {
        instance: &context.instance,
        boot: context.boot,
        delivery: request.delivery,
        attempt: request.attempt,
        count: request.count,
    };
    let rules = MessageOptions {
        exchange: &context.exchange,
        max_message_bytes: context.max_message_bytes,
        without_body: request.without_body,
    };
    match &payload {
        Ok(payload) => {
            message::compose(payload, &attempt_info, &rules).map_err(NotSent::Unsendable)
        }
        // A record that the journal cannot read leaves its queue like one that the broker refused. In quarantine, where
        // nothing follows, it is replaced by a message that says so.
        Err(PayloadUnavailable::Unreadable) if context.is_quarantine(request.destination) => {
            Ok(message::tombstone(&attempt_info, &rules))
        }
        Err(PayloadUnavailable::NotNow) => Err(NotSent::NotNow),
        Err(PayloadUnavailable::Unreadable) => Err(NotSent::Unsendable(Refused {
            code: 0,
            text: "unreadable: the journal's record is damaged".to_owned(),
        })),
    }
}

/// Publishes and waits for the confirm.
///
/// # Cancel safety
/// None: dropping it does not withdraw what was handed to the connection. It may be dropped only when its channel is
/// gone.
pub(super) async fn publish(
    context: Arc<PublishContext>,
    channel: Channel,
    request: PublishRequest,
) -> PublishEnd {
    let message = match compose(&context, &request).await {
        Ok(message) => message,
        Err(why) => return PublishEnd::NotSent(why),
    };
    let since = Instant::now();
    // `mandatory`: without it the broker acks, then drops, an event that no queue is bound for.
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let sent = channel
        .basic_publish(
            message.exchange,
            message.routing_key,
            options,
            &message.body,
            message.properties,
        )
        .await;
    let confirmation = match sent {
        Ok(confirm) => confirm.await,
        Err(error) => return PublishEnd::Failed(error),
    };
    let (verdict, returned) = match confirmation {
        Ok(Confirmation::Ack(returned)) => (BrokerReply::Ack, returned),
        Ok(Confirmation::Nack(returned)) => (BrokerReply::Nack, returned),
        Ok(Confirmation::NotRequested) => {
            unreachable!("a channel is handed out only after confirm.select was answered")
        }
        Err(error) => return PublishEnd::Failed(error),
    };
    let attached = match returned {
        None => ReturnedMessage::Nothing,
        Some(returned) => message::attempt_of(&returned.delivery.properties, context.boot)
            .map_or(ReturnedMessage::Unreadable, ReturnedMessage::Return),
    };
    PublishEnd::Answered {
        verdict,
        attached,
        took: since.elapsed(),
    }
}

impl PublishContext {
    pub(super) fn is_quarantine(&self, destination: DestinationId) -> bool {
        self.destinations
            .get(destination)
            .is_some_and(|destination| message::is_quarantine(&destination))
    }
}
