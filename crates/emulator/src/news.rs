//! What the emulator does, as it does it, for whoever looks on.

use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::delivery::{Attempt, Outcome};

/// Requests and deliveries, in the order in which they ended.
#[derive(Debug)]
pub struct News {
    requests: Receiver<Arc<Request>>,
    attempts: Receiver<Arc<Attempt>>,
}

/// Something that the emulator did.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Item {
    /// It answered a request.
    Request(Arc<Request>),
    /// It posted events.
    Delivery(Arc<Attempt>),
    /// Whoever looks on was too slow for so many of the above.
    Missed(Missed),
}

/// Requests or deliveries that nobody was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missed {
    /// How many.
    pub count: u64,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// When.
    pub time: Timestamp,
    /// `POST`.
    pub method: String,
    /// Without its query.
    pub path: String,
    /// Of the answer.
    pub status: u16,
}

impl News {
    pub(super) fn new(requests: Receiver<Arc<Request>>, attempts: Receiver<Arc<Attempt>>) -> Self {
        Self { requests, attempts }
    }

    /// The next one; `None` when the emulator is gone. Whoever is too slow misses some, and is told how many.
    pub async fn next(&mut self) -> Option<Item> {
        let item = tokio::select! {
            request = self.requests.recv() => request.map(Item::Request),
            attempt = self.attempts.recv() => attempt.map(Item::Delivery),
        };
        match item {
            Ok(item) => Some(item),
            Err(RecvError::Lagged(count)) => Some(Item::Missed(Missed { count })),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next one, if there is one already.
    pub fn ready(&mut self) -> Option<Item> {
        self.next().now_or_never().flatten()
    }
}

impl Attempt {
    /// Whether the events were taken.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// Whether they will not be posted again though nobody took them.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.outcome == Outcome::GivenUp
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[test]
    fn whoever_is_too_slow_is_told_how_much_was_missed() {
        let (requests, attempts) = (broadcast::Sender::new(2), broadcast::Sender::new(2));
        let mut news = News::new(requests.subscribe(), attempts.subscribe());
        for status in 200..205 {
            let request = Request {
                time: Timestamp::UNIX_EPOCH,
                method: "GET".to_owned(),
                path: "/".to_owned(),
                status,
            };
            requests.send(Arc::new(request)).expect("somebody looks on");
        }
        let told: Vec<_> = std::iter::from_fn(|| news.ready())
            .map(|item| serde_json::to_value(item).expect("JSON"))
            .collect();
        assert_eq!(told[0], serde_json::json!({"what": "missed", "count": 3}));
        let statuses: Vec<_> = told.iter().map(|item| item["status"].as_u64()).collect();
        assert_eq!(statuses, [None, Some(203), Some(204)]);
    }
}
