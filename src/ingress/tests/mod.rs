//! The tests of this module by subject.

mod auth;
mod endings;
mod framing;
mod handshake;
mod journal;
mod json_table;
mod limits;
mod listener;
mod pipeline;
