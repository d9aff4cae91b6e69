//! `/live`: the feed as server-sent events (WHATWG HTML, section 9.2), filtered, with a note about lost lines.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    event::Kind,
    status::{LiveEvent, LiveFeed},
};

/// After this much silence a comment shows that the connection is alive: proxies cut silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which lines a client wants: those that match everything given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedFilter {
    app: Option<String>,
    call: Option<String>,
    kind: Option<Kind>,
    /// Queue, with all its partitions, or one partition. Lines that have no destination yet do not match.
    queue: Option<String>,
}

impl FeedFilter {
    fn takes(&self, line: &LiveEvent) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        same(&self.app, Some(&line.app))
            && same(&self.call, line.call.as_deref())
            && self.kind.is_none_or(|kind| kind.as_str() == line.kind)
            && self.queue.as_deref().is_none_or(|queue| {
                line.destination
                    .as_deref()
                    .is_some_and(|destination| is_of_queue(destination, queue))
            })
    }
}

/// Whether `destination` is `queue` or one of its partitions.
fn is_of_queue(destination: &str, queue: &str) -> bool {
    destination.strip_prefix(queue).is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('.')
                .is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    })
}

struct FeedStream {
    lines: broadcast::Receiver<Arc<LiveEvent>>,
    wanted: FeedFilter,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// The body of `/live`: ends when the listener stops, holds `place` until then.
pub(super) fn follow(
    feed: &LiveFeed,
    wanted: FeedFilter,
    stopping: CancellationToken,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let following = FeedStream {
        lines: feed.subscribe(),
        wanted,
        stopping,
        _place: place,
    };
    // The immediate comment shows the client that it is connected, before anything happens.
    let hello = stream::iter([Ok(Bytes::from_static(b": following\n\n"))]);
    let lines = stream::unfold(following, |mut following| async move {
        let chunk = following.next().await?;
        Some((Ok(chunk), following))
    });
    stream::StreamExt::chain(hello, lines)
}

impl FeedStream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                received = tokio::time::timeout(KEEP_ALIVE, self.lines.recv()) => received,
            };
            match received {
                Err(_silence) => return Some(Bytes::from_static(b": keep-alive\n\n")),
                Ok(Ok(line)) if self.wanted.takes(&line) => return Some(event("line", &*line)),
                Ok(Ok(_)) => {}
                Ok(Err(broadcast::error::RecvError::Lagged(lost))) => {
                    return Some(event("lost", &serde_json::json!({ "lost": lost })));
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            }
        }
    }
}

/// One server-sent event. JSON is one line: its newlines are escaped.
fn event(name: &str, data: &impl serde::Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("strings and numbers are always written as JSON");
    format!("event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::status::LiveStage;

    fn line(app: &str, call: Option<&str>, kind: Kind, destination: Option<&str>) -> LiveEvent {
        LiveEvent {
            stage: LiveStage::Delivered,
            at: jiff::Timestamp::UNIX_EPOCH,
            app: app.into(),
            call: call.map(Into::into),
            kind: kind.as_str().into(),
            event_type: "Microsoft.Communication.CallConnected".into(),
            id: "1".into(),
            destination: destination.map(Into::into),
            sequence: Some(1),
        }
    }

    fn check(wanted: &FeedFilter, expected: &[bool]) {
        let lines = [
            line("a", Some("c"), Kind::CallState, Some("q.0")),
            line("a", None, Kind::Recording, Some("q")),
            line("b", Some("c"), Kind::CallState, Some("q.digits")),
            line("b", Some("d"), Kind::CallState, None),
        ];
        let found: Vec<_> = lines.iter().map(|line| wanted.takes(line)).collect();
        assert_eq!(found, expected, "{wanted:?}");
    }

    #[test]
    fn each_filter_takes_its_own_and_all_must_match() {
        let none = FeedFilter::default();
        check(&none, &[true, true, true, true]);
        let app = FeedFilter {
            app: Some("a".into()),
            ..none.clone()
        };
        check(&app, &[true, true, false, false]);
        let call = FeedFilter {
            call: Some("c".into()),
            ..none.clone()
        };
        check(&call, &[true, false, true, false]);
        let kind = FeedFilter {
            kind: Some(Kind::Recording),
            ..none.clone()
        };
        check(&kind, &[false, true, false, false]);
        let queue = FeedFilter {
            queue: Some("q".into()),
            ..none
        };
        check(&queue, &[true, true, false, false]);
        let both = FeedFilter {
            app: Some("b".into()),
            ..call
        };
        check(&both, &[false, false, true, false]);
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_lines_it_lost() {
        let feed = LiveFeed::default();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let stopping = CancellationToken::new();
        let mut body = std::pin::pin!(follow(
            &feed,
            FeedFilter::default(),
            stopping.clone(),
            place
        ));
        for _ in 0..1_030 {
            feed.send(|| line("a", None, Kind::CallState, None));
        }
        assert_eq!(body.next().await.unwrap().unwrap(), ": following\n\n");
        let lost = body.next().await.unwrap().unwrap();
        assert_eq!(lost, "event: lost\ndata: {\"lost\":6}\n\n");
        let next = body.next().await.unwrap().unwrap();
        assert!(next.starts_with(b"event: line\ndata: {"), "{next:?}");
        stopping.cancel();
        assert_eq!(body.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_feed_sends_comments() {
        let feed = LiveFeed::default();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut body = std::pin::pin!(follow(
            &feed,
            FeedFilter::default(),
            CancellationToken::new(),
            place
        ));
        body.next().await;
        assert_eq!(body.next().await.unwrap().unwrap(), ": keep-alive\n\n");
    }
}
