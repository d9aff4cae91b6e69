//! Event to destinations: routes, filters, the partition hash. Pure: no I/O, no clock.

mod destination;
mod filter;
mod partition;
mod router;
mod rule;
mod template;

pub use destination::{
    Address, Destination, DestinationId, QUARANTINE, QueueType, Target, UNROUTED,
};
pub use filter::{Filter, FilterError};
pub use partition::partition;
pub use router::{Explanation, RouteMatch, Router};
pub use rule::{Route, Sink};
pub use template::{Template, TemplateError};

/// The known word that a mistyped one most likely is.
fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    /// Below this similarity a suggestion confuses more than it helps.
    const ALIKE: f64 = 0.7;
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
