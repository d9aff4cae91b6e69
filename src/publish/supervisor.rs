//! The publishing connection: reopened whenever it is lost, and handed out only once it holds the fence.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::Event;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    PublishError,
    backoff::Backoff,
    connection::{BrokerConnection, Dialer},
    error::chain,
    fence::Fence,
};

/// How often a silent connection is checked: the library does not announce every end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An event of the publishing connection.
#[derive(Clone, Debug)]
pub(super) enum ConnectionEvent {
    /// The connection with this number is open and holds the fence: nothing sent on an earlier one can arrive any more.
    Fenced(u64),
    /// It is gone.
    Lost(String),
    /// A connection attempt failed, or the fence is not available yet.
    Trouble(String),
    /// `connection.blocked` (with the broker's reason) or `unblocked`.
    Blocked(Option<String>),
}

/// Publishing tasks wait here for the connection.
pub(super) type ConnectionWatch = watch::Receiver<Option<Arc<BrokerConnection>>>;

/// Keeps the connection up until `halt`, then closes it.
///
/// Nothing is published on a connection before it holds the fence. If something were, and the connection were lost
/// before that, the next fence would prove nothing about it.
pub(super) async fn hold(
    mut dialer: Dialer,
    mut fence: Fence,
    line: watch::Sender<Option<Arc<BrokerConnection>>>,
    news: mpsc::Sender<ConnectionEvent>,
    halt: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    // The engine lives longer than this task, so events always have a reader; a failed send only means that it is over.
    while !halt.is_cancelled() {
        let attempt = async {
            let link = Arc::new(dialer.dial().await?);
            let taken = tokio::select! {
                taken = fence.take(&link) => taken,
                () = until_gone(&link) => Err(PublishError::PartEnded { part: "connection" }),
                () = halt.cancelled() => Ok(()),
            };
            if let Err(error) = taken {
                link.cut();
                return Err(error);
            }
            Ok(link)
        };
        let outcome = tokio::select! {
            outcome = attempt => outcome,
            () = halt.cancelled() => return,
        };
        let link = match outcome {
            Ok(link) => link,
            Err(error) => {
                let why = chain(&error);
                tracing::warn!(error = %why, "no publishing connection to the broker");
                drop(news.send(ConnectionEvent::Trouble(why)).await);
                pause(&mut backoff, &halt).await;
                continue;
            }
        };
        backoff.reset();
        let mut events = link.connection.events_listener();
        tracing::info!(connection = link.number, "connected to the broker");
        drop(news.send(ConnectionEvent::Fenced(link.number)).await);
        line.send_replace(Some(link.clone()));
        let mut why = String::from("the connection was lost");
        loop {
            tokio::select! {
                () = halt.cancelled() => {
                    line.send_replace(None);
                    link.close().await;
                    return;
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(reason, "the broker blocks publishing");
                        drop(news.send(ConnectionEvent::Blocked(Some(reason))).await);
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker accepts messages again");
                        drop(news.send(ConnectionEvent::Blocked(None)).await);
                    }
                    Some(Event::Error(error)) => why = chain(&error),
                    Some(_) => {}
                    None => break,
                },
                () = until_gone(&link) => break,
            }
            if !link.connected() {
                break;
            }
        }
        line.send_replace(None);
        link.lost.cancel();
        // The library may have given up the connection while the broker has not: the sooner the broker notices, the
        // sooner the fence is free.
        link.cut();
        tracing::warn!(connection = link.number, error = %why, "the publishing connection is lost");
        drop(news.send(ConnectionEvent::Lost(why)).await);
        pause(&mut backoff, &halt).await;
    }
}

/// Waits until the library knows that the connection is gone.
pub(super) async fn until_gone(link: &BrokerConnection) {
    while link.connected() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for the next attempt, or for the end.
pub(super) async fn pause(backoff: &mut Backoff, halt: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(backoff.wait()) => {}
        () = halt.cancelled() => {}
    }
}
