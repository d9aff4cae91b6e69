//! From deliveries to confirmed messages: connections, channels, topology (docs/src/internals/delivery.md).
//!
//! One engine owns the dispatcher. Each destination has a task of its own that owns its channel; the publishing
//! connection, the topology connection and the connection for messages sent alone are three more. The journal's doors
//! are all that this room knows of what came before.

mod alone;
mod backoff;
mod board;
mod channel;
mod compare;
mod engine;
mod error;
mod fence;
mod line;
mod link;
mod loss;
mod message;
mod metrics;
mod one_line;
mod parts;
mod place;
mod publication;
mod run;
mod slots;
mod standing;
mod stdout;
mod surveyor;
mod tap;
mod tls;
mod topology;

pub use compare::{Standing, TopologyFinding, compare};
pub use error::PublishError;
pub use one_line::OneLine;
pub use run::{Publisher, run};
pub use tap::{Enough, Event, take};
