//! Sending one message alone, on a connection of its own: the only way to know that it is this message which the
//! broker will not take (docs/src/internals/delivery.md, "Messages that the broker refuses").

use std::{collections::HashMap, sync::Arc, time::Duration};

use lapin::{Channel, ErrorKind, options::ConfirmSelectOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Attached, AttemptId, DeliveryId, Outcome, Refused, Verdict};

use super::{
    PublishError,
    backoff::Backoff,
    channel::{Ended, How},
    error::chain,
    fence::Fence,
    line::{pause, until_gone},
    link::{Dialer, Link},
    loss::{self, Cause},
    publication::{Ending, Press, Sheet, publish},
};

/// After so long without work the connection is closed.
const IDLE: Duration = Duration::from_secs(30);
/// channel.open and confirm.select.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// So often in a row must the broker fail with an internal error while a message is alone with it, until the message
/// is held to be the cause.
const SUSPECT_TIMES: u32 = 3;
/// How often the stall clock is advanced.
const CLOCK: Duration = Duration::from_millis(250);

/// What became of a message that was sent alone.
#[derive(Debug)]
pub(super) enum AloneNews {
    /// The broker answered, or it can never be sent.
    Ended(Ended),
    /// The broker will not take it.
    Refused {
        attempt: AttemptId,
        refused: Refused,
    },
    /// Nothing of it is at the broker, and it is not to blame.
    NotSent { attempt: AttemptId, why: String },
    /// It may have landed; by now nothing more of it can.
    Unknown { attempt: AttemptId },
}

/// What the sender of single messages works with.
pub(super) struct Booth {
    pub(super) dialer: Dialer,
    pub(super) fence: Fence,
    pub(super) press: Arc<Press>,
    pub(super) stall_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) news: mpsc::Sender<AloneNews>,
    pub(super) halt: CancellationToken,
}

/// How one try ended.
enum Try {
    News(AloneNews),
    /// The connection went while the message was on its way.
    Lost,
}

impl Booth {
    /// Sends one message after the other until `halt`.
    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<Sheet>) {
        let halt = self.halt.clone();
        let working = async {
            let mut link = None;
            let mut suspicions = HashMap::new();
            loop {
                let sheet = tokio::select! {
                    sheet = orders.recv() => match sheet {
                        Some(sheet) => sheet,
                        None => break,
                    },
                    () = tokio::time::sleep(IDLE), if link.is_some() => {
                        close(&mut link).await;
                        continue;
                    }
                };
                let news = self.send(&mut link, &mut suspicions, sheet).await;
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
        link: &mut Option<Arc<Link>>,
        suspicions: &mut HashMap<DeliveryId, u32>,
        sheet: Sheet,
    ) -> AloneNews {
        let attempt = sheet.attempt;
        loop {
            let open = match link.as_ref().filter(|link| link.connected()) {
                Some(open) => open.clone(),
                None => link.insert(self.connect().await).clone(),
            };
            let channel = match open_channel(&open).await {
                Ok(channel) => channel,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no channel to send a message alone");
                    close(link).await;
                    continue;
                }
            };
            return match self.attempt(&open, &channel, suspicions, sheet).await {
                Try::News(news) => {
                    suspicions.remove(&sheet.delivery);
                    // One channel a message: its returns and confirms can be nobody else's.
                    if let Err(error) = channel.close(200, "OK".into()).await {
                        tracing::debug!(%error, "closing a channel failed");
                    }
                    news
                }
                Try::Lost => {
                    open.cut();
                    // The next connection holds the fence: from then on nothing of this one can land.
                    *link = Some(self.connect().await);
                    AloneNews::Unknown { attempt }
                }
            };
        }
    }

    /// One publish on one channel.
    async fn attempt(
        &self,
        link: &Link,
        channel: &Channel,
        suspicions: &mut HashMap<DeliveryId, u32>,
        sheet: Sheet,
    ) -> Try {
        let attempt = sheet.attempt;
        let mut publishing = Box::pin(publish(self.press.clone(), channel.clone(), sheet));
        let ending = tokio::select! {
            ending = &mut publishing => ending,
            () = self.stalled(link) => {
                let closing = channel.close(200, "stalled".into());
                match tokio::time::timeout(self.close_timeout, closing).await {
                    // Confirmed while it was being closed, or settled by Close-Ok.
                    Ok(Ok(())) => publishing.await,
                    Ok(Err(_)) | Err(_) => return Try::Lost,
                }
            }
        };
        let how = match ending {
            Ending::Answered {
                verdict,
                attached,
                took,
            } => {
                let outcome = match (verdict, attached) {
                    (Verdict::Nack, _) => Outcome::Nacked,
                    (Verdict::Ack, Attached::Nothing) => Outcome::Confirmed,
                    (Verdict::Ack, Attached::Return(_) | Attached::Unreadable) => Outcome::Returned,
                };
                return Try::News(AloneNews::Ended(Ended {
                    attempt,
                    how: How::Outcome(outcome),
                    took,
                }));
            }
            Ending::Unsendable(refused) => {
                return Try::News(AloneNews::Ended(Ended {
                    attempt,
                    how: How::Unsendable(refused),
                    took: Duration::ZERO,
                }));
            }
            Ending::NotNow => {
                return Try::News(AloneNews::Ended(Ended {
                    attempt,
                    how: How::NotNow,
                    took: Duration::ZERO,
                }));
            }
            Ending::Failed(error) => error,
        };
        let said = match how.kind() {
            ErrorKind::ProtocolError(said) => Some(loss::words(said)),
            _ => None,
        };
        let refused = |refused: Option<Refused>| AloneNews::Refused {
            attempt,
            refused: refused.unwrap_or(Refused {
                code: 0,
                text: chain(&how),
            }),
        };
        match Cause::of(how.kind(), link.connected()).refused_alone() {
            loss::Verdict::Refused => Try::News(refused(said)),
            loss::Verdict::NotLanded => Try::News(AloneNews::NotSent {
                attempt,
                why: chain(&how),
            }),
            loss::Verdict::Unknown => Try::Lost,
            loss::Verdict::Suspect => {
                let times = suspicions.entry(sheet.delivery).or_default();
                *times += 1;
                if *times >= SUSPECT_TIMES {
                    Try::News(refused(said))
                } else {
                    Try::Lost
                }
            }
        }
    }

    /// Ends when a publish took longer than `stall_timeout`, not counting the time for which the broker blocks.
    async fn stalled(&self, link: &Link) {
        let mut waited = Duration::ZERO;
        while waited < self.stall_timeout {
            tokio::time::sleep(CLOCK).await;
            if !link.connection.status().blocked() {
                waited += CLOCK;
            }
        }
    }

    /// A connection that holds the fence, however long that takes.
    async fn connect(&mut self) -> Arc<Link> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            match self.try_connect().await {
                Ok(link) => return Arc::new(link),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "no connection to send a message alone");
                    pause(&mut backoff, &self.halt).await;
                }
            }
            if self.halt.is_cancelled() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn try_connect(&mut self) -> Result<Link, PublishError> {
        let link = self.dialer.dial().await?;
        let taken = tokio::select! {
            taken = self.fence.take(&link) => taken,
            () = until_gone(&link) => Err(PublishError::Ended { part: "connection" }),
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

async fn open_channel(link: &Link) -> Result<Channel, PublishError> {
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

async fn close(link: &mut Option<Arc<Link>>) {
    if let Some(link) = link.take() {
        link.close().await;
    }
}
