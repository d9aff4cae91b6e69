//! Between a socket and a handler, the same for both listeners (docs/src/operator/limits.md): who may open one more
//! connection, how long a peer may take, and what is answered where no handler is asked.
//!
//! actix-http reads and writes the requests. It times the head of a connection's first request only, refuses without a body,
//! and reads a body that nobody wants for as long as its sender likes; so it is given connections of our own
//! (`connection`), which know whose turn it is (`turn`) and end what takes too long (`farewell`). TLS is below all that
//! (`identity`, `stream`).

mod bind;
mod connection;
mod farewell;
mod frame;
mod house;
mod identity;
mod keeper;
mod listener;
mod metrics;
mod peer;
mod places;
mod problem;
mod refusal;
mod server;
mod stream;
mod turn;

pub use bind::bind;
pub use identity::{Identity, IdentityError};
pub use keeper::keep_identities;
pub use listener::{Listening, threads_for_two_cores};
pub use metrics::{DoorMetrics, Name};
pub use problem::{Problem, ProblemError};
pub use server::{Door, Limits, serve};
pub use turn::Turn;
