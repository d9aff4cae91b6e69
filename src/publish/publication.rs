//! One publish from the journal's parcel to the broker's confirm.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{Channel, Confirmation, options::BasicPublishOptions};

use crate::{
    dispatch::{Attached, AttemptId, DeliveryId, Refused, Verdict},
    journal::{Destinations, NoParcel, Parcels},
    route::DestinationId,
};

use super::message::{self, Rules, Stamp};

/// What every publish needs and none changes.
pub(super) struct Press {
    pub(super) parcels: Parcels,
    pub(super) destinations: Destinations,
    /// The journal's UUID.
    pub(super) instance: String,
    pub(super) boot: u64,
    /// Exchange of queue destinations.
    pub(super) exchange: String,
    pub(super) max_message_bytes: usize,
}

/// One publish, as ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sheet {
    pub(super) attempt: AttemptId,
    pub(super) delivery: DeliveryId,
    pub(super) destination: DestinationId,
    pub(super) count: u32,
    pub(super) without_body: bool,
}

/// How one publish ended, before returns are attributed.
#[derive(Debug)]
pub(super) enum Ending {
    /// The broker answered.
    Answered {
        verdict: Verdict,
        attached: Attached,
        /// From the hand-over to the answer.
        took: Duration,
    },
    /// It can never be sent; nothing was.
    Unsendable(Refused),
    /// The journal could not give it just now; nothing was sent.
    NotNow,
    /// The channel is gone; whether it was sent is for the loss to say.
    Failed(lapin::Error),
}

/// Publishes and waits for the confirm.
///
/// # Cancel safety
/// None: dropping it does not withdraw what was handed to the connection. It may be dropped only when its channel is
/// gone.
pub(super) async fn publish(press: Arc<Press>, channel: Channel, sheet: Sheet) -> Ending {
    let parcel = press.parcels.fetch(sheet.delivery).await;
    let stamp = Stamp {
        instance: &press.instance,
        boot: press.boot,
        delivery: sheet.delivery,
        attempt: sheet.attempt,
        count: sheet.count,
    };
    let rules = Rules {
        exchange: &press.exchange,
        max_message_bytes: press.max_message_bytes,
        without_body: sheet.without_body,
    };
    let made = match &parcel {
        Ok(parcel) => message::compose(parcel, &stamp, &rules),
        // A record that the journal cannot read leaves its queue like one that the broker refused. In quarantine,
        // where nothing comes after, its place is taken by a message that says so.
        Err(NoParcel::Unreadable) if press.is_quarantine(sheet.destination) => {
            Ok(message::tombstone(&stamp, &rules))
        }
        Err(NoParcel::NotNow) => return Ending::NotNow,
        Err(NoParcel::Unreadable) => Err(Refused {
            code: 0,
            text: "unreadable: the journal's record is damaged".to_owned(),
        }),
    };
    let message = match made {
        Ok(message) => message,
        Err(refused) => return Ending::Unsendable(refused),
    };
    let since = Instant::now();
    // `mandatory`: without it the broker acks, then drops, an event that no queue is there for.
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
        Err(error) => return Ending::Failed(error),
    };
    let (verdict, returned) = match confirmation {
        Ok(Confirmation::Ack(returned)) => (Verdict::Ack, returned),
        Ok(Confirmation::Nack(returned)) => (Verdict::Nack, returned),
        Ok(Confirmation::NotRequested) => {
            unreachable!("a channel is handed out only after confirm.select was answered")
        }
        Err(error) => return Ending::Failed(error),
    };
    let attached = match returned {
        None => Attached::Nothing,
        Some(returned) => message::attempt_of(&returned.delivery.properties, press.boot)
            .map_or(Attached::Unreadable, Attached::Return),
    };
    Ending::Answered {
        verdict,
        attached,
        took: since.elapsed(),
    }
}

impl Press {
    pub(super) fn is_quarantine(&self, destination: DestinationId) -> bool {
        self.destinations
            .get(destination)
            .is_some_and(|destination| message::is_quarantine(&destination))
    }
}
