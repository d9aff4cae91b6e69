//! From deliveries to confirmed messages: connections, channels, topology (docs/src/internals/delivery.md).
//!
//! One engine owns the dispatcher. Each destination has a task of its own that owns its channel; the publishing
//! connection, the topology connection and the connection for isolated messages are three more. With `stdout:` these tasks
//! print instead, and one printer takes the place of the connections. Of the earlier modules this one knows only the
//! journal's handles.

mod backoff;
mod broker_object;
mod channel;
mod channel_slots;
mod channel_status;
mod compare;
mod connection;
mod destination_status;
mod engine;
mod engine_parts;
mod error;
mod fence;
mod isolated;
mod loss;
mod message;
mod metrics;
mod ndjson_body;
mod publish_request;
mod run;
mod stdout;
mod supervisor;
mod take;
mod tls;
mod topology;
mod topology_checker;

pub use compare::{TopologyFinding, TopologyStatus, compare};
pub use error::PublishError;
pub use ndjson_body::NdjsonBody;
pub use run::{Publisher, run};
pub use take::{TakeLimit, TakenEvent, take};
