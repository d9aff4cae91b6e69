//! The consumers of `examples/`: each event handled once and each call in order, whatever is killed when.

mod fire;
mod program;
mod repeats;
mod store;
