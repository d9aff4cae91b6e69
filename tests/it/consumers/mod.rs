//! The consumers of `examples/`: each event handled once and each call in order, whatever is killed when.

mod killed;
mod program;
mod repeats;
mod store;
