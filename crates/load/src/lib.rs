//! The load generator and its verifier: sends the events of many calls as the service would, reads the queues, and
//! proves that nothing was lost, changed or reordered.
//!
//! It uses nothing of the receiver's code: programs that share a decoder share its mistakes. What it needs of a
//! configuration is passed in as a [`Plan`]. `generator` makes the callbacks, `send_queue` and `pace` say when each is
//! due, `send` posts them over `http_connection`s, `sent_events` keeps what was sent, `consume` reads the queues and
//! `verifier` compares; `summary` is the line of JSON at the end.

#![warn(missing_docs)]

mod clock;
mod consume;
mod error;
mod form;
mod generation;
mod generator;
mod http_connection;
mod human_summary;
mod identity;
mod lane;
mod latency;
mod ledger;
mod pace;
mod plan;
mod redelivery;
mod run;
mod send;
mod send_queue;
mod sent_events;
mod shapes;
mod state;
mod summary;
mod template;
#[cfg(test)]
mod tests;
mod verifier;

pub use error::LoadError;
pub use generation::Generation;
pub use generator::Content;
pub use http_connection::Target;
pub use human_summary::describe;
pub use identity::RunId;
pub use latency::Percentiles;
pub use plan::{BrokerTls, ConsumePlan, Plan, SendSchedule, Source, Traffic};
pub use run::{Progress, run};
pub use summary::Summary;
pub use verifier::WatchedQueue;
