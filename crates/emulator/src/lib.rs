//! The emulator: the calling service on a laptop (docs/src/tools/emulator.md).
//!
//! `world` knows the calls and what happens to them, without I/O and with the time passed in. `rest` is its API for
//! applications, `wire` gives events the form that the service gives them, `delivery` posts them, and `service` runs it
//! all. The crate shares no code with the receiver: programs that share a decoder share its mistakes.

#![warn(missing_docs)]

mod activity;
mod api_error;
mod delivery;
mod event;
mod identity;
mod rest;
mod scenario;
mod service;
mod settings;
mod wire;
mod world;

pub use activity::{Activity, ActivityFeed, AnsweredRequest, MissedActivity};
pub use delivery::{Attempt, AttemptOutcome, EventGrid, Misbehaviour, MisbehaviourError, Summary};
pub use scenario::Scenario;
pub use service::{Emulator, EmulatorError};
pub use settings::{DEFAULT_ACCESS_KEY, Settings, default_retries};
pub use wire::GridSchema;
