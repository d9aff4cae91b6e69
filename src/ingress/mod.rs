//! The public listener: callbacks in, answers out (docs/src/sender/answers.md). What happens to a callback between its
//! bytes and the journal is in [`Pipeline`], without HTTP.

mod answer;
pub(crate) mod arrival;
mod body;
mod callback;
mod error;
mod handshake;
mod head;
mod listener;
mod metrics;
mod passthrough;
mod pipeline;
mod rate_limits;
mod settings;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use answer::{Accepted, Kept};
pub use body::BodyError;
pub use error::IngressError;
pub use handshake::HandshakeError;
pub use head::HeadError;
pub use listener::{Ingress, serve};
pub use metrics::{CallbackOutcome, IngressMetrics, RejectReason};
pub use passthrough::PassthroughError;
pub use pipeline::{Pipeline, Rejection, RequestFacts};
pub use settings::IngressSettings;
