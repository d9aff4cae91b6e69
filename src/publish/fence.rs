//! The fence: an exclusive queue that only one connection can hold. A connection that declares it proves that its
//! previous holder is gone at the broker, and that nothing sent on that connection can arrive any more.
//!
//! When a node of a cluster dies, RabbitMQ from 4.2 on keeps the records of its exclusive queues until it is back. So
//! the wait for a fence is bounded: one that is not released is passed over, and the connection takes the next name. A
//! copy from the previous connection may then arrive late. It is a repeat of an event that was sent again, and a
//! consumer that drops what is not above the last `hookswitch-sequence` of its call drops it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    Channel, ErrorKind,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use prometheus::IntCounter;
use tokio::{net::TcpStream, time::Instant};

use super::{
    PublishError,
    backoff::Backoff,
    connection::{BrokerConnection, HEARTBEAT_SECONDS},
};

/// Names for each kind of connection. A name is used up while the node that its holder was connected to is away; a
/// cluster of seven still works without three of its nodes.
const NAMES_EACH: u8 = 4;
/// Connections that hold a fence: the publishing one, and the one for isolated messages.
const KINDS: u8 = 2;

/// Opening a channel, declaring, deleting. A node without a majority for its metadata does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A check whether an address refuses connections.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for a fence, by what is known of its holder.
#[derive(Clone, Copy, Debug)]
struct FenceTimeouts {
    /// The address that the holder was connected to refuses connections: the broker's process is gone, and so is
    /// everything that it had not passed on to other nodes. What it had passed on is in their sockets.
    refused: Duration,
    /// Its node does not say that the queue is held, although the broker answers everything else: the node was killed,
    /// is frozen or disconnected.
    silent: Duration,
    /// Anything else. The broker notices a dead TCP connection after at most three heartbeats.
    any: Duration,
}

const FENCE_TIMEOUTS: FenceTimeouts = FenceTimeouts {
    refused: Duration::from_millis(1_500),
    silent: Duration::from_secs(10),
    any: Duration::from_secs(3 * HEARTBEAT_SECONDS as u64 + 5),
};

/// The fences of one instance, and which of them were passed over.
#[derive(Clone, Debug)]
pub(super) struct Fences {
    instance: Arc<str>,
    /// Not waited for again until they are found free.
    passed: Arc<Mutex<BTreeSet<u8>>>,
    counter: IntCounter,
}

impl Fences {
    pub(super) fn new(instance: &str, counter: IntCounter) -> Self {
        Self {
            instance: instance.into(),
            passed: Arc::default(),
            counter,
        }
    }

    /// The fence of the publishing connection. An earlier process may have left any of the names held, by a connection
    /// on which copies are still in flight.
    pub(super) fn publishing(&self) -> Fence {
        Fence::new(self, 0, names(0).skip(1).chain(names(1)).collect())
    }

    /// The fence of the connection for isolated messages; it is used only after the publishing connection has its own.
    pub(super) fn single_messages(&self) -> Fence {
        Fence::new(self, 1, Vec::new())
    }

    fn name(&self, n: u8) -> String {
        format!("hookswitch.fence.{}.{n}", self.instance)
    }

    fn is_passed(&self, n: u8) -> bool {
        self.with_passed(|passed| passed.contains(&n))
    }

    fn with_passed<T>(&self, act: impl FnOnce(&mut BTreeSet<u8>) -> T) -> T {
        act(&mut self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The numbers of one kind of connection, in the order in which they are used.
fn names(kind: u8) -> impl Iterator<Item = u8> {
    (0..NAMES_EACH).map(move |n| n * KINDS + kind)
}

/// The fence of one kind of connection, from one connection to the next.
#[derive(Debug)]
pub(super) struct Fence {
    fences: Fences,
    kind: u8,
    /// The number that the last connection held, or that the first one takes.
    number: u8,
    /// Fences of an earlier process that must be waited for.
    left_behind: Vec<u8>,
    /// The peer address of the holder.
    holder: Option<SocketAddr>,
    /// When the first connection after the last loss found the fence held.
    waiting_since: Option<Instant>,
    timeouts: FenceTimeouts,
}

/// How the wait for one fence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FenceWait {
    /// This connection holds it.
    Taken,
    /// It was passed over, now or before.
    Passed,
}

impl Fence {
    fn new(fences: &Fences, kind: u8, left_behind: Vec<u8>) -> Self {
        Self {
            fences: fences.clone(),
            kind,
            number: kind,
            left_behind,
            holder: None,
            waiting_since: None,
            timeouts: FENCE_TIMEOUTS,
        }
    }

    /// Waits until `link` holds a fence, and until every fence before it was released or passed over.
    ///
    /// # Errors
    /// If the broker answers anything but "locked", or nothing: no permission, no majority, or the connection is gone.
    ///
    /// # Cancel safety
    /// Dropping it leaves at most a channel that closes by itself, and perhaps a fence held by this connection. The
    /// time already waited is kept, so that the next call waits for the rest only.
    pub(super) async fn take(&mut self, link: &BrokerConnection) -> Result<(), PublishError> {
        self.skip_free(link).await?;
        while let Some(n) = self.left_behind.last().copied() {
            if self.wait(link, n).await? == FenceWait::Taken {
                self.release(link, n).await?;
            }
            self.left_behind.pop();
        }
        let mut tried = 0;
        while self.wait(link, self.number).await? == FenceWait::Passed {
            self.number = next(self.kind, self.number);
            tried += 1;
            if tried % NAMES_EACH == 0 {
                // All were passed over before and are still held, so there was no wait.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        self.holder = link.peer();
        self.waiting_since = None;
        Ok(())
    }

    /// Removes the names that are free, usually all of them: one request each on one channel, so that a process whose
    /// connections do not last still gets to publish.
    async fn skip_free(&mut self, link: &BrokerConnection) -> Result<(), PublishError> {
        if self.left_behind.is_empty() {
            return Ok(());
        }
        let channel = open(link, "declare the fence queue").await?;
        while let Some(n) = self.left_behind.last().copied() {
            let name = self.fences.name(n);
            if !declare_on(&channel, &name).await? {
                // That closed the channel, too.
                return Ok(());
            }
            let doing = "give the fence queue up";
            let options = QueueDeleteOptions {
                nowait: true,
                ..QueueDeleteOptions::default()
            };
            within(doing, channel.queue_delete(name.into(), options))
                .await?
                .map_err(|source| PublishError::broker(doing, source))?;
            self.left_behind.pop();
        }
        close(&channel).await;
        Ok(())
    }

    async fn wait(&mut self, link: &BrokerConnection, n: u8) -> Result<FenceWait, PublishError> {
        let name = self.fences.name(n);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
        let mut refused_since = None;
        let mut silent_since: Option<Instant> = None;
        let mut question: Option<FenceProbe> = None;
        let mut logged = false;
        let ended = loop {
            if declare(link, &name).await? {
                self.fences.with_passed(|passed| passed.remove(&n));
                break FenceWait::Taken;
            }
            if self.fences.is_passed(n) {
                break FenceWait::Passed;
            }
            if !std::mem::replace(&mut logged, true) {
                tracing::warn!(
                    fence = name,
                    "the broker still holds the connection before this one: waiting for its fence"
                );
            }
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            refused_since = match self.holder {
                // While its node answers, there is no need to probe it.
                Some(holder) if silent_since.is_some() && refuses(holder).await => {
                    refused_since.or(Some(Instant::now()))
                }
                _ => None,
            };
            let mut asked = match question.take() {
                Some(asked) => asked,
                None => FenceProbe::ask(link, name.clone()).await?,
            };
            let pause = tokio::time::sleep(backoff.wait());
            tokio::pin!(pause);
            let alive = tokio::select! {
                biased;
                alive = &mut asked.answered => {
                    pause.await;
                    alive
                }
                () = &mut pause => {
                    question = Some(asked);
                    false
                }
            };
            silent_since = if alive {
                None
            } else {
                silent_since.or(Some(Instant::now()))
            };
            let waited = HolderSilence {
                refused: refused_since.map(|since| since.elapsed()),
                silent: silent_since.map(|since| since.elapsed()),
                any: since.elapsed(),
            };
            if let Some(why) = self.timeouts.ends(waited) {
                self.pass(n, &name, why, since);
                break FenceWait::Passed;
            }
        };
        if let Some(question) = question {
            link.keep(question.channel);
        }
        Ok(ended)
    }

    fn pass(&self, n: u8, name: &str, why: &'static str, since: Instant) {
        self.fences.with_passed(|passed| passed.insert(n));
        self.fences.counter.inc();
        tracing::warn!(
            fence = name,
            waited_seconds = since.elapsed().as_secs(),
            why,
            "passed by the fence of a lost connection: copies of events that it had not confirmed may arrive after \
             newer events of the same calls; consumers that drop what is not above the last hookswitch-sequence of a \
             call are not affected"
        );
    }

    /// Releases a fence for the next connection that needs it.
    async fn release(&self, link: &BrokerConnection, n: u8) -> Result<(), PublishError> {
        let doing = "give the fence queue up";
        let channel = open(link, doing).await?;
        let deleting =
            channel.queue_delete(self.fences.name(n).into(), QueueDeleteOptions::default());
        within(doing, deleting)
            .await?
            .map_err(|source| PublishError::broker(doing, source))?;
        close(&channel).await;
        Ok(())
    }
}

/// The name after `n` of the same kind.
fn next(kind: u8, n: u8) -> u8 {
    let after = n + KINDS;
    if after < NAMES_EACH * KINDS {
        after
    } else {
        kind
    }
}

/// How long the holder has been in this state.
#[derive(Clone, Copy, Debug)]
struct HolderSilence {
    /// The holder's address refuses connections.
    refused: Option<Duration>,
    /// The holder's node does not say that the fence is held.
    silent: Option<Duration>,
    /// The fence is held.
    any: Duration,
}

impl FenceTimeouts {
    /// Why the wait for a fence ends, if it does.
    fn ends(&self, waited: HolderSilence) -> Option<&'static str> {
        if waited.refused.is_some_and(|time| time >= self.refused) {
            Some("the address of its broker node refuses connections")
        } else if waited.silent.is_some_and(|time| time >= self.silent) {
            Some("its broker node does not answer")
        } else if waited.any >= self.any {
            Some("the broker did not release it in time")
        } else {
            None
        }
    }
}

/// A passive declare of a fence that another connection holds. The node of that connection has to answer it, which is
/// immediate if it is alive; otherwise the broker tries for a minute.
struct FenceProbe {
    channel: Channel,
    /// Whether the node says that the queue is held.
    answered: Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl FenceProbe {
    async fn ask(link: &BrokerConnection, name: String) -> Result<Self, PublishError> {
        let channel = open(link, "ask for the fence queue").await?;
        let asked = channel.clone();
        let answered = async move {
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let asking = asked.queue_declare(name.into(), options, FieldTable::default());
            match asking.await {
                Ok(_) => false,
                Err(error) => is_locked(&error),
            }
        };
        Ok(Self {
            channel,
            answered: Box::pin(answered),
        })
    }
}

/// Whether nothing listens at the peer address of a lost connection.
async fn refuses(address: SocketAddr) -> bool {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    matches!(connecting, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Declares a fence; false if another connection holds it.
async fn declare(link: &BrokerConnection, name: &str) -> Result<bool, PublishError> {
    let channel = open(link, "declare the fence queue").await?;
    let held = declare_on(&channel, name).await?;
    if held {
        close(&channel).await;
    }
    Ok(held)
}

/// The same on an open channel. If the fence is held, the broker closes the channel.
async fn declare_on(channel: &Channel, name: &str) -> Result<bool, PublishError> {
    let doing = "declare the fence queue";
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declaring = channel.queue_declare(name.into(), options, FieldTable::default());
    match within(doing, declaring).await? {
        Ok(_) => Ok(true),
        Err(error) if is_locked(&error) => Ok(false),
        Err(error) => Err(PublishError::broker(doing, error)),
    }
}

async fn open(link: &BrokerConnection, doing: &'static str) -> Result<Channel, PublishError> {
    within(doing, link.connection.create_channel())
        .await?
        .map_err(|source| PublishError::broker(doing, source))
}

async fn close(channel: &Channel) {
    let closing = channel.close(200, "OK".into());
    match tokio::time::timeout(ANSWER_TIMEOUT, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "closing the fence's channel failed"),
        Err(_) => tracing::debug!("the broker did not close the fence's channel in time"),
    }
}

async fn within<T>(
    doing: &'static str,
    answer: impl Future<Output = T>,
) -> Result<T, PublishError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .map_err(|_| PublishError::Unanswered {
            doing,
            after: ANSWER_TIMEOUT,
        })
}

fn is_locked(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if matches!(said.kind(), AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_connection_goes_round_its_own_names() {
        let check = |kind, expected: [u8; 5]| {
            let mut n = kind;
            let mut taken = Vec::new();
            for _ in 0..5 {
                taken.push(n);
                n = next(kind, n);
            }
            assert_eq!(taken, expected);
            assert_eq!(names(kind).collect::<Vec<_>>(), expected[..4]);
        };
        check(0, [0, 2, 4, 6, 0]);
        check(1, [1, 3, 5, 7, 1]);
    }

    #[test]
    fn the_first_connection_of_a_process_waits_for_every_name_of_an_earlier_one() {
        let fences = Fences::new("i", IntCounter::new("a", "b").unwrap());
        let fence = fences.publishing();
        let mut all = fence.left_behind.clone();
        all.push(fence.number);
        all.sort_unstable();
        assert_eq!(all, (0..KINDS * NAMES_EACH).collect::<Vec<_>>());
        assert!(fences.single_messages().left_behind.is_empty());
    }

    #[test]
    fn a_fence_is_waited_for_as_long_as_its_holder_may_live() {
        let seconds = Duration::from_secs;
        let check = |refused, silent, any, passed| {
            let waited = HolderSilence {
                refused,
                silent,
                any,
            };
            assert_eq!(FENCE_TIMEOUTS.ends(waited).is_some(), passed, "{waited:?}");
        };
        check(None, None, seconds(0), false);
        check(Some(seconds(1)), None, seconds(9), false);
        check(Some(seconds(2)), None, seconds(2), true);
        check(None, Some(seconds(9)), seconds(9), false);
        check(None, Some(seconds(10)), seconds(10), true);
        // The broker notices a silently dead TCP connection within three heartbeats.
        check(None, None, seconds(30), false);
        check(None, None, seconds(35), true);
    }
}
