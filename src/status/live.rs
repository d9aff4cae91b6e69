//! The live feed behind `/live` and `hookswitch tail`: one line per step of an event, dropped when there is no reader.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// A step of an event that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveStage {
    /// Durable.
    Accepted,
    /// Confirmed by the broker.
    Delivered,
    /// Kept in quarantine, on receipt or later.
    Quarantined,
}

/// One line of the feed. No bodies, no query strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEvent {
    pub stage: LiveStage,
    pub at: jiff::Timestamp,
    pub app: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    pub kind: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub id: String,
    /// Queue, or exchange and routing key; absent at `accepted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
}

/// Hands lines to listeners; a slow listener loses lines and is told how many. Sending never waits for a listener.
#[derive(Clone, Debug)]
pub struct LiveFeed(broadcast::Sender<Arc<LiveEvent>>);

impl Default for LiveFeed {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl LiveFeed {
    /// Builds and sends a line if there is a listener; otherwise `line` is not even called.
    pub fn send(&self, line: impl FnOnce() -> LiveEvent) {
        if self.0.receiver_count() > 0 {
            // An error means that the last listener has just left.
            drop(self.0.send(Arc::new(line())));
        }
    }

    /// Whether there is a listener: for callers that need more than a closure to make a line.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// A listener to all lines from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.0.subscribe()
    }
}
