//! Event to destinations: routes, filters, the partition hash. Pure: no I/O, no clock.

mod destination;
mod filter;
mod rule;
mod template;

pub use destination::{
    Address, Destination, DestinationId, QUARANTINE, QueueType, Target, UNROUTED,
};
pub use filter::Filter;
pub use rule::{Route, Sink};
pub use template::Template;
