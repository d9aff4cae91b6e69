//! The load generator and its verifier: sends the events of many calls as the service would, reads the queues, and
//! proves that nothing was lost, changed or turned round.
//!
//! It uses no other room but `report`, and decodes with none of the receiver's code: programs that share a decoder share
//! its mistakes. What it needs of a configuration comes as a [`Plan`]. `generator` makes the callbacks, `desk` and `pace`
//! say when each is due, `send` posts them over `line`s, `book` keeps what was sent, `consume` reads the queues and
//! `judge` compares; `summary` is the line of JSON at the end.

mod book;
mod clock;
mod consume;
mod desk;
mod error;
mod form;
mod generation;
mod generator;
mod identity;
mod judge;
#[cfg(test)]
mod judge_tests;
mod lane;
mod latency;
mod ledger;
mod line;
mod pace;
mod people;
mod plan;
mod redelivery;
mod run;
mod send;
mod shapes;
mod state;
mod summary;
mod template;

pub use error::LoadError;
pub use generation::Generation;
pub use generator::Content;
pub use identity::RunId;
pub use judge::Watched;
pub use latency::Percentiles;
pub use line::Target;
pub use people::describe;
pub use plan::{BrokerTls, Pace, Plan, Source, Traffic, Watch};
pub use run::{Progress, run};
pub use summary::Summary;
