//! What the emulator does, as it does it, for whoever looks on.

use std::sync::Arc;

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

    /// The next one; `None` when the emulator is gone. Whoever is too slow misses some.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            let item = tokio::select! {
                request = self.requests.recv() => request.map(Item::Request),
                attempt = self.attempts.recv() => attempt.map(Item::Delivery),
            };
            match item {
                Ok(item) => return Some(item),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
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
