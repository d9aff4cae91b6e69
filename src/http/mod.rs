//! What lies between a socket and a handler, the same for both listeners (docs/src/operator/limits.md): connection
//! permits, deadlines of the peer, and the answers that need no handler.
//!
//! actix-http reads and writes the requests. It times the head of a connection's first request only, refuses without a
//! body, and reads a body that is not needed any more for as long as its sender likes; so it is given connections of
//! our own (`connection`), which know which side they wait for (`connection_state`) and end what takes too long
//! (`lingering_close`). TLS is below all that (`certificate`, `stream`).

mod bind;
mod certificate;
mod certificate_watcher;
mod connection;
mod connection_permits;
mod connection_state;
mod connections;
mod frame;
mod lingering_close;
mod listener;
mod metrics;
mod peer;
mod problem;
mod refusal;
mod server;
mod stream;

pub use bind::bind;
pub use certificate::{Certificate, CertificateError};
pub use certificate_watcher::watch_certificates;
pub use connection_state::RequestGuard;
pub use connections::ConnectionLimits;
pub use listener::{Listening, threads_for_two_cores};
pub use metrics::{ConnectionMetrics, ListenerName};
pub use problem::{Problem, ProblemError};
pub use server::{Listener, serve};
