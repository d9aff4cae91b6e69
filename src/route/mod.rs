//! Event to destinations: routes, filters, the partition hash. Pure: no I/O, no clock.

mod destination;
mod filter;
mod rule;
mod template;

pub use destination::{Address, Destination, DestinationId, QueueType, Target};
pub use filter::Filter;
pub use rule::{Route, Sink};
pub use template::Template;
