//! One channel for one destination, and the one task that owns it (docs/src/internals/delivery.md, "Channels and
//! windows").

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use lapin::{Channel, options::ConfirmSelectOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::{AttemptId, ChannelId, ChannelLoss, UnconfirmedPublishes},
    status::DestinationState,
};

use super::{
    backoff::Backoff,
    broker_object::BrokerObject,
    connection::BrokerConnection,
    error::chain,
    loss::LossCause,
    publish_request::{
        AttemptEnd, EndedAttempt, PublishContext, PublishEnd, PublishRequest, publish,
    },
    supervisor::{ConnectionWatch, pause},
    topology::TopologyCheck,
    topology_checker::TopologyChecker,
};

/// channel.open and confirm.select.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// After one publish failed because the channel is gone, the others fail within moments.
const FAIL_TIMEOUT: Duration = Duration::from_secs(1);
/// Close-Ok at the end of the process; what is unconfirmed then is resent by the next process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Orders processed in one turn.
const BATCH: usize = 64;

/// An order of the engine for a channel's task.
#[derive(Debug)]
pub(super) enum ChannelCommand {
    /// Publish. `epoch`: the opening of the channel that it is meant for; a later opening ignores it, because the
    /// dispatcher has been told that the earlier one was lost and sends again what it wants sent.
    Publish { epoch: u64, request: PublishRequest },
    /// It is stalled: close it.
    Close { epoch: u64 },
}

/// The sender of an event: a channel that was released may be needed again while its former task still reports its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    pub(super) channel: ChannelId,
    /// Which task of that channel: numbers are not reused.
    pub(super) task: u64,
}

/// What a channel's task reports to the engine, in this order.
#[derive(Debug)]
pub(super) enum ChannelEvent {
    /// Open on connection `link`, topology checked.
    Opened { epoch: u64, link: u64 },
    /// These publishes ended.
    AttemptsEnded(Vec<EndedAttempt>),
    /// It is gone; publishes that have not ended stay without an outcome.
    Lost { loss: ChannelLoss, why: String },
    /// It cannot be opened, for now.
    TopologyStatus(DestinationState, Option<String>),
}

/// The state of a channel's task.
pub(super) struct ChannelTask {
    pub(super) task_id: TaskId,
    pub(super) object: BrokerObject,
    pub(super) context: Arc<PublishContext>,
    pub(super) topology_checker: TopologyChecker,
    pub(super) news: mpsc::Sender<(TaskId, ChannelEvent)>,
    pub(super) halt: CancellationToken,
}

impl ChannelTask {
    /// Opens the channel whenever there is a connection, and publishes until `halt`.
    pub(super) async fn serve(
        self,
        mut line: ConnectionWatch,
        mut orders: mpsc::Receiver<ChannelCommand>,
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut epoch = 0;
        let halt = self.halt.clone();
        while !halt.is_cancelled() && !orders.is_closed() {
            let opened = tokio::select! {
                opened = self.open(&mut line) => opened,
                () = halt.cancelled() => return,
            };
            let (link, channel) = match opened {
                Ok(open) => open,
                Err((state, why)) => {
                    self.tell(ChannelEvent::TopologyStatus(state, Some(why)))
                        .await;
                    pause(&mut backoff, &self.halt).await;
                    continue;
                }
            };
            epoch += 1;
            self.tell(ChannelEvent::Opened {
                epoch,
                link: link.number,
            })
            .await;
            let opened = Instant::now();
            let (cause, why) = self.publish(&link, &channel, epoch, &mut orders).await;
            let loss = cause.loss();
            tracing::debug!(
                destination = self.object.name(),
                ?loss,
                why,
                "a publishing channel is gone"
            );
            self.tell(ChannelEvent::Lost { loss, why }).await;
            // A channel that lived for a while is reopened at once; one that fails as soon as it is open is not.
            if opened.elapsed() > Duration::from_secs(5) {
                backoff.reset();
            }
            pause(&mut backoff, &self.halt).await;
        }
    }

    pub(super) async fn tell(&self, news: ChannelEvent) {
        // The engine outlives its channels; if it does not, there is no receiver left.
        drop(self.news.send((self.task_id, news)).await);
    }

    /// Opens a channel in confirm mode on the current connection and checks its topology.
    async fn open(
        &self,
        line: &mut ConnectionWatch,
    ) -> Result<(Arc<BrokerConnection>, Channel), (DestinationState, String)> {
        let link = loop {
            let link = line.borrow_and_update().clone();
            match link {
                Some(link) => break link,
                None => {
                    if line.changed().await.is_err() {
                        // The watch is closed only at the end, and then `halt` is near.
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        match self.topology_checker.ask(self.object.clone()).await {
            TopologyCheck::Good => {}
            verdict => {
                let (state, why) = verdict.status();
                return Err((state, why.unwrap_or_default()));
            }
        }
        let opening = async {
            let channel = link.connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            Ok::<_, lapin::Error>(channel)
        };
        match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok(channel)) => Ok((link, channel)),
            Ok(Err(error)) => Err((DestinationState::Held, chain(&error))),
            Err(_) => Err((
                DestinationState::Held,
                format!("no channel within {OPEN_TIMEOUT:?}"),
            )),
        }
    }

    /// Publishes on an open channel until it is gone, and says how it ended.
    async fn publish(
        &self,
        link: &Arc<BrokerConnection>,
        channel: &Channel,
        epoch: u64,
        orders: &mut mpsc::Receiver<ChannelCommand>,
    ) -> (LossCause, String) {
        let mut pending = PendingPublishes::default();
        let mut batch = Vec::with_capacity(BATCH);
        let mut closing: Option<Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>> = None;
        let mut leaving = false;
        loop {
            let turn = tokio::select! {
                biased;
                () = link.lost.cancelled() => ChannelWake::LineLost,
                () = pending.polled(), if pending.has_work() => ChannelWake::Polled,
                closed = poll_closing(&mut closing), if closing.is_some() => ChannelWake::Closed(closed),
                () = self.halt.cancelled(), if !leaving => ChannelWake::Leave,
                _ = orders.recv_many(&mut batch, BATCH), if !leaving => ChannelWake::Orders,
            };
            match turn {
                ChannelWake::Orders if batch.is_empty() => {
                    // The engine has released this channel: nothing is pending on it.
                    leaving = true;
                }
                ChannelWake::Orders => {
                    for order in batch.drain(..) {
                        match order {
                            ChannelCommand::Publish {
                                epoch: meant,
                                request,
                            } if meant == epoch => {
                                let publication =
                                    publish(self.context.clone(), channel.clone(), request);
                                pending.add(request.attempt, Box::pin(publication));
                            }
                            ChannelCommand::Close { epoch: meant } if meant == epoch => {
                                closing.get_or_insert_with(|| close(channel.clone()));
                            }
                            ChannelCommand::Publish { .. } | ChannelCommand::Close { .. } => {}
                        }
                    }
                }
                ChannelWake::Leave => leaving = true,
                ChannelWake::Polled => {
                    let ended = pending.take();
                    if !ended.is_empty() {
                        self.tell(ChannelEvent::AttemptsEnded(ended)).await;
                    }
                    if pending.failure.is_some() {
                        return self.gone(link, &mut pending, None).await;
                    }
                }
                ChannelWake::Closed(closed) => {
                    return self.gone(link, &mut pending, Some(closed)).await;
                }
                ChannelWake::LineLost => {
                    let silence = Some(Err(lapin::ErrorKind::InvalidConnectionState(
                        lapin::ConnectionState::Error,
                    )
                    .into()));
                    return self.gone(link, &mut pending, silence).await;
                }
            }
            if leaving && closing.is_none() {
                closing = Some(Box::pin(close_channel(channel.clone())));
            }
        }
    }

    /// The channel is gone or closed: what was confirmed until then counts, and the rest fails.
    async fn gone(
        &self,
        link: &Arc<BrokerConnection>,
        pending: &mut PendingPublishes,
        closed: Option<lapin::Result<()>>,
    ) -> (LossCause, String) {
        let rest = async {
            while pending.has_work() {
                pending.polled().await;
            }
        };
        // What is still unresolved after that is unknown, which the loss reports.
        drop(tokio::time::timeout(FAIL_TIMEOUT, rest).await);
        let ended = pending.take();
        if !ended.is_empty() {
            self.tell(ChannelEvent::AttemptsEnded(ended)).await;
        }
        let connected = link.connected();
        let mut cause = match &closed {
            Some(Ok(())) => LossCause::Channel(None),
            Some(Err(error)) => LossCause::of(error.kind(), connected),
            None => LossCause::Channel(None),
        };
        let mut why = closed
            .and_then(Result::err)
            .map_or_else(|| "the channel was closed".to_owned(), |e| chain(&e));
        for error in pending
            .failure
            .take()
            .into_iter()
            .chain(pending.failures.drain(..))
        {
            let other = LossCause::of(error.kind(), connected);
            if cause.or(other) != cause {
                why = chain(&error);
            }
            cause = cause.or(other);
        }
        (cause, why)
    }
}

enum ChannelWake {
    Orders,
    Polled,
    Closed(lapin::Result<()>),
    Leave,
    LineLost,
}

type Closing = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

fn close(channel: Channel) -> Closing {
    Box::pin(async move { channel.close(200, "stalled".into()).await })
}

/// Closing at the end waits only briefly: what is not answered then is resent by the next process.
async fn close_channel(channel: Channel) -> lapin::Result<()> {
    tokio::time::timeout(CLOSE_TIMEOUT, channel.close(200, "OK".into()))
        .await
        .unwrap_or_else(|_| {
            Err(lapin::ErrorKind::InvalidConnectionState(lapin::ConnectionState::Closing).into())
        })
}

async fn poll_closing(closing: &mut Option<Closing>) -> lapin::Result<()> {
    match closing {
        Some(closing) => closing.await,
        None => std::future::pending().await,
    }
}

type Publication = Pin<Box<dyn Future<Output = PublishEnd> + Send>>;

/// The publishes of one opening of a channel.
///
/// They are polled all together, in rounds, and not individually when woken: only then is it known which returns were
/// queued when a confirmation resolved (see [`UnconfirmedPublishes`]).
#[derive(Default)]
struct PendingPublishes {
    publications: Vec<(AttemptId, Publication)>,
    outstanding: UnconfirmedPublishes,
    /// The durations of publishes that the broker answered and that are not attributed yet.
    answered: HashMap<AttemptId, Duration>,
    ended: Vec<EndedAttempt>,
    failure: Option<lapin::Error>,
    failures: Vec<lapin::Error>,
}

impl PendingPublishes {
    fn add(&mut self, attempt: AttemptId, publication: Publication) {
        self.outstanding.sent(attempt);
        self.publications.push((attempt, publication));
    }

    fn has_work(&self) -> bool {
        !self.publications.is_empty()
    }

    /// Waits until at least one publish has ended or failed.
    ///
    /// # Cancel safety
    /// Resolved confirmations are kept; dropping the future loses nothing.
    async fn polled(&mut self) {
        poll_fn(|context| {
            let mut news = false;
            loop {
                let (again, resolved) = self.round(context);
                news |= resolved;
                if !again && !resolved {
                    break;
                }
            }
            if news { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Polls every outstanding publish once. Returns whether another round would find more, and whether this one found
    /// anything.
    fn round(&mut self, context: &mut std::task::Context<'_>) -> (bool, bool) {
        let mut resolved = false;
        let mut certain = Vec::new();
        let mut index = 0;
        while let Some((attempt, publication)) = self.publications.get_mut(index) {
            let attempt = *attempt;
            let Poll::Ready(ending) = publication.as_mut().poll(context) else {
                index += 1;
                continue;
            };
            drop(self.publications.swap_remove(index));
            resolved = true;
            match ending {
                PublishEnd::Answered {
                    verdict,
                    attached,
                    took,
                } => {
                    self.answered.insert(attempt, took);
                    self.outstanding
                        .resolved(attempt, verdict, attached, &mut certain);
                }
                PublishEnd::NotSent(why) => {
                    self.outstanding.not_sent(attempt);
                    self.ended.push(EndedAttempt {
                        attempt,
                        how: AttemptEnd::NotSent(why),
                        took: Duration::ZERO,
                    });
                }
                PublishEnd::Failed(error) => {
                    self.outstanding.failed(attempt);
                    if self.failure.is_none() {
                        self.failure = Some(error);
                    } else {
                        self.failures.push(error);
                    }
                }
            }
        }
        let again = self.outstanding.round_over(&mut certain);
        for (attempt, outcome) in certain {
            let took = self.answered.remove(&attempt).unwrap_or_default();
            self.ended.push(EndedAttempt {
                attempt,
                how: AttemptEnd::PublishOutcome(outcome),
                took,
            });
        }
        (again, resolved)
    }

    fn take(&mut self) -> Vec<EndedAttempt> {
        std::mem::take(&mut self.ended)
    }
}
