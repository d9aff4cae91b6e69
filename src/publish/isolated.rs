//! Sends one message alone, on a connection of its own: the only way to know that it is this message which the broker
//! refuses (docs/src/internals/delivery.md, "Messages that the broker refuses").

use std::{collections::HashMap, sync::Arc, time::Duration};

use lapin::{Channel, ErrorKind, options::ConfirmSelectOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{
    AttemptId, BrokerReply, DeliveryId, PublishOutcome, Refused, ReturnedMessage,
};

use super::{
    PublishError,
    backoff::Backoff,
    connection::{BrokerConnection, Dialer},
    error::chain,
    fence::Fence,
    loss::{self, LossCause},
    publish_request::{
        AttemptEnd, EndedAttempt, PublishContext, PublishEnd, PublishRequest, publish,
    },
    supervisor::{pause, until_gone},
};

/// The connection is closed after this long without work.
const IDLE: Duration = Duration::from_secs(30);
/// channel.open and confirm.select.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// The broker must fail this often in a row with an internal error while a message is alone with it, until the message
/// is considered the cause.
const SUSPECT_TIMES: u32 = 3;
/// How often the stall clock is advanced.
const CLOCK: Duration = Duration::from_millis(250);

/// The result of a message that was sent in isolation.
#[derive(Debug)]
pub(super) enum IsolatedEvent {
    /// The broker answered, or it can never be sent.
    EndedAttempt(EndedAttempt),
    /// The broker refuses it.
    Refused {
        attempt: AttemptId,
        refused: Refused,
    },
    /// Nothing of it is at the broker, and it is not the cause.
    NotSent { attempt: AttemptId, why: String },
    /// It may have arrived; by now no copy of it can arrive any more.
    Unknown { attempt: AttemptId },
}

/// The state of the isolated publisher.
pub(super) struct IsolatedPublisher {
    pub(super) dialer: Dialer,
    pub(super) fence: Fence,
    pub(super) context: Arc<PublishContext>,
    pub(super) stall_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) news: mpsc::Sender<IsolatedEvent>,
    pub(super) halt: CancellationToken,
}

/// How one attempt ended.
enum IsolatedAttempt {
    News(IsolatedEvent),
    /// The connection was lost while the message was in flight.
    Lost,
}

impl IsolatedPublisher {
    /// Sends one message after the other until `halt`.
    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<PublishRequest>) {
        let halt = self.halt.clone();
        let working = async {
            let mut link = None;
            let mut suspicions = HashMap::new();
            loop {
                let request = tokio::select! {
                    request = orders.recv() => match request {
                        Some(request) => request,
                        None => break,
                    },
                    () = tokio::time::sleep(IDLE), if link.is_some() => {
                        close(&mut link).await;
                        continue;
                    }
                };
                let news = self.send(&mut link, &mut suspicions, request).await;
                drop(self.news.send(news).await);
            }
            close(&mut link).await;
        };
        tokio::select! {
            () = working => {}
            () = halt.cancelled() => {}
        }
    }

    async fn send(
        &mut self,
        link: &mut Option<Arc<BrokerConnection>>,
        suspicions: &mut HashMap<DeliveryId, u32>,
        request: PublishRequest,
    ) -> IsolatedEvent {
        let attempt = request.attempt;
        loop {
            let open = match link.as_ref().filter(|link| link.connected()) {
                Some(open) => open.clone(),
                None => link.insert(self.connect().await).clone(),
            };
            let channel = match open_channel(&open).await {
                Ok(channel) => channel,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no channel for an isolated message");
                    close(link).await;
                    continue;
                }
            };
            return match self.attempt(&open, &channel, suspicions, request).await {
                IsolatedAttempt::News(news) => {
                    suspicions.remove(&request.delivery);
                    // One channel per message: its returns and confirms cannot belong to another message.
                    if let Err(error) = channel.close(200, "OK".into()).await {
                        tracing::debug!(%error, "closing a channel failed");
                    }
                    news
                }
                IsolatedAttempt::Lost => {
                    open.cut();
                    // The next connection holds the fence: from then on nothing of this one can arrive.
                    *link = Some(self.connect().await);
                    IsolatedEvent::Unknown { attempt }
                }
            };
        }
    }

    /// One publish on one channel.
    async fn attempt(
        &self,
        link: &BrokerConnection,
        channel: &Channel,
        suspicions: &mut HashMap<DeliveryId, u32>,
        request: PublishRequest,
    ) -> IsolatedAttempt {
        let attempt = request.attempt;
        let mut publishing = Box::pin(publish(self.context.clone(), channel.clone(), request));
        let ending = tokio::select! {
            ending = &mut publishing => ending,
            () = self.stalled(link) => {
                let closing = channel.close(200, "stalled".into());
                match tokio::time::timeout(self.close_timeout, closing).await {
                    // Confirmed while the channel was being closed, or settled by Close-Ok.
                    Ok(Ok(())) => publishing.await,
                    Ok(Err(_)) | Err(_) => return IsolatedAttempt::Lost,
                }
            }
        };
        let how = match ending {
            PublishEnd::Answered {
                verdict,
                attached,
                took,
            } => {
                let outcome = match (verdict, attached) {
                    (BrokerReply::Nack, _) => PublishOutcome::Nacked,
                    (BrokerReply::Ack, ReturnedMessage::Nothing) => PublishOutcome::Confirmed,
                    (
                        BrokerReply::Ack,
                        ReturnedMessage::Return(_) | ReturnedMessage::Unreadable,
                    ) => PublishOutcome::Returned,
                };
                return IsolatedAttempt::News(IsolatedEvent::EndedAttempt(EndedAttempt {
                    attempt,
                    how: AttemptEnd::PublishOutcome(outcome),
                    took,
                }));
            }
            PublishEnd::NotSent(why) => {
                return IsolatedAttempt::News(IsolatedEvent::EndedAttempt(EndedAttempt {
                    attempt,
                    how: AttemptEnd::NotSent(why),
                    took: Duration::ZERO,
                }));
            }
            PublishEnd::Failed(error) => error,
        };
        let said = match how.kind() {
            ErrorKind::ProtocolError(said) => Some(loss::words(said)),
            _ => None,
        };
        let refused = |refused: Option<Refused>| IsolatedEvent::Refused {
            attempt,
            refused: refused.unwrap_or(Refused {
                code: 0,
                text: chain(&how),
            }),
        };
        match LossCause::of(how.kind(), link.connected()).refused_alone() {
            loss::IsolatedLoss::Refused => IsolatedAttempt::News(refused(said)),
            loss::IsolatedLoss::NotLanded => IsolatedAttempt::News(IsolatedEvent::NotSent {
                attempt,
                why: chain(&how),
            }),
            loss::IsolatedLoss::Unknown => IsolatedAttempt::Lost,
            loss::IsolatedLoss::Suspect => {
                let times = suspicions.entry(request.delivery).or_default();
                *times += 1;
                if *times >= SUSPECT_TIMES {
                    IsolatedAttempt::News(refused(said))
                } else {
                    IsolatedAttempt::Lost
                }
            }
        }
    }

    /// Ends when a publish takes longer than `stall_timeout`, not counting the time for which the broker blocks.
    async fn stalled(&self, link: &BrokerConnection) {
        let mut waited = Duration::ZERO;
        while waited < self.stall_timeout {
            tokio::time::sleep(CLOCK).await;
            if !link.connection.status().blocked() {
                waited += CLOCK;
            }
        }
    }

    /// A connection that holds the fence, however long that takes.
    async fn connect(&mut self) -> Arc<BrokerConnection> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            match self.try_connect().await {
                Ok(link) => return Arc::new(link),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no connection for an isolated message");
                    pause(&mut backoff, &self.halt).await;
                }
            }
            if self.halt.is_cancelled() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn try_connect(&mut self) -> Result<BrokerConnection, PublishError> {
        let link = self.dialer.dial().await?;
        let taken = tokio::select! {
            taken = self.fence.take(&link) => taken,
            () = until_gone(&link) => Err(PublishError::PartEnded { part: "connection" }),
        };
        match taken {
            Ok(()) => Ok(link),
            Err(error) => {
                link.cut();
                Err(error)
            }
        }
    }
}

async fn open_channel(link: &BrokerConnection) -> Result<Channel, PublishError> {
    let opening = async {
        let channel = link.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    };
    match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(PublishError::broker("open a channel", error)),
        Err(_) => Err(PublishError::Silent {
            host: "broker".to_owned(),
            after: OPEN_TIMEOUT,
        }),
    }
}

async fn close(link: &mut Option<Arc<BrokerConnection>>) {
    if let Some(link) = link.take() {
        link.close().await;
    }
}
