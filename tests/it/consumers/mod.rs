//! The consumers of `examples/`: each event handled once and each call in order, whatever is killed when (issue "Prove it
//! and pack it", must show 6).

mod fire;
mod program;
mod repeats;
mod store;
