//! The event: what happened in a call, in our own types. No I/O, no JSON Schema, no HTTP.
//!
//! Every other module uses these types; this module uses none of the others.

mod fact;
mod ids;
mod kind;

pub use fact::{Attributes, EnvelopeForm, Event, Fault, Malformed};
pub use ids::{AppName, CallIds, CallKey, Generation, NameError, ServerCallKey};
pub use kind::Kind;
