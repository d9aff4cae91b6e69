//! What the emulator does, as it does it, for observers.

use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::delivery::{Attempt, AttemptOutcome};

/// Requests and deliveries, in the order in which they ended.
#[derive(Debug)]
pub struct ActivityFeed {
    requests: Receiver<Arc<AnsweredRequest>>,
    attempts: Receiver<Arc<Attempt>>,
}

/// Something that the emulator did.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Activity {
    /// It answered a request.
    Request(Arc<AnsweredRequest>),
    /// It posted events.
    Delivery(Arc<Attempt>),
    /// The observer was too slow and missed this many of the above.
    Missed(MissedActivity),
}

/// Requests or deliveries that an observer missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MissedActivity {
    /// How many.
    pub count: u64,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnsweredRequest {
    /// When.
    pub time: Timestamp,
    /// `POST`.
    pub method: String,
    /// Without its query.
    pub path: String,
    /// Of the answer.
    pub status: u16,
}

impl ActivityFeed {
    pub(super) fn new(
        requests: Receiver<Arc<AnsweredRequest>>,
        attempts: Receiver<Arc<Attempt>>,
    ) -> Self {
        Self { requests, attempts }
    }

    /// The next one; `None` when the emulator is gone. A slow observer misses some, and is told how many.
    pub async fn next(&mut self) -> Option<Activity> {
        let item = tokio::select! {
            request = self.requests.recv() => request.map(Activity::Request),
            attempt = self.attempts.recv() => attempt.map(Activity::Delivery),
        };
        match item {
            Ok(item) => Some(item),
            Err(RecvError::Lagged(count)) => Some(Activity::Missed(MissedActivity { count })),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next one, if there already is one.
    pub fn ready(&mut self) -> Option<Activity> {
        self.next().now_or_never().flatten()
    }
}

impl Attempt {
    /// Whether the receiver accepted the events.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.outcome == AttemptOutcome::Accepted
    }

    /// Whether they were not accepted and will not be posted again.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.outcome == AttemptOutcome::GivenUp
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[test]
    fn a_slow_follower_is_told_how_much_it_missed() {
        let (requests, attempts) = (broadcast::Sender::new(2), broadcast::Sender::new(2));
        let mut news = ActivityFeed::new(requests.subscribe(), attempts.subscribe());
        for status in 200..205 {
            let request = AnsweredRequest {
                time: Timestamp::UNIX_EPOCH,
                method: "GET".to_owned(),
                path: "/".to_owned(),
                status,
            };
            requests.send(Arc::new(request)).expect("the feed is open");
        }
        let told: Vec<_> = std::iter::from_fn(|| news.ready())
            .map(|item| serde_json::to_value(item).expect("JSON"))
            .collect();
        assert_eq!(told[0], serde_json::json!({"what": "missed", "count": 3}));
        let statuses: Vec<_> = told.iter().map(|item| item["status"].as_u64()).collect();
        assert_eq!(statuses, [None, Some(203), Some(204)]);
    }
}
