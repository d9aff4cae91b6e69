//! A route: which events it matches and where they go.

use std::num::NonZeroU32;

use serde::Serialize;

use crate::event::{AppName, Generation, Kind};

use super::{Filter, QueueType, Template};

/// `[[routes]]`, checked. An event matches when every part that is given matches; parts left out match everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// For logs and `explain`.
    pub name: String,
    /// `None`: every app.
    pub app: Option<AppName>,
    /// Empty: every kind.
    pub kinds: Vec<Kind>,
    /// Short (`PlayFailed`) or full wire types; empty: every type.
    pub types: Vec<String>,
    /// Empty: every generation.
    pub generations: Vec<Generation>,
    /// All must match (CloudEvents Subscriptions API 1.0, section 3.2.4).
    #[serde(rename = "filter")]
    pub filters: Vec<Filter>,
    /// Where matching events go.
    #[serde(flatten)]
    pub sink: Sink,
}

/// The destination part of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Sink {
    /// `queue`, `partitions`, `queue_type`.
    Queue {
        /// Name, or prefix of the partitions' names.
        #[serde(rename = "queue")]
        name: String,
        /// `None`: one queue called `name`.
        partitions: Option<NonZeroU32>,
        queue_type: QueueType,
    },
    /// `exchange`, `routing_key`.
    Exchange {
        exchange: String,
        /// Rendered for each event.
        routing_key: Template,
    },
}
