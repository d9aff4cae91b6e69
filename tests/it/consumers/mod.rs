//! The consumers of `examples/`: they handle each event once and each call in order, even if they are killed.

mod killed;
mod program;
mod repeats;
mod store;
