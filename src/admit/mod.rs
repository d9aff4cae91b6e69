//! Admission: in order of arrival, is this event a duplicate, of which call is it, which sequence and partition does
//! it get? Pure: the journal calls it and stores what it decides in the same transaction.

mod admission;
mod changes;
mod digest;
#[cfg(test)]
mod model;
mod offer;
#[cfg(test)]
mod recording_tests;
mod shelf;
mod window;

pub use admission::{Admission, Limits, Line, Mark, Placed, Verdict};
pub use changes::{BindingRow, CallRow, Changes, DuplicateRow, SequenceRow, WindowName};
pub(crate) use digest::Digester;
pub use offer::{CallRule, ERRORS_LIMIT_BYTES, Identity, Offer, Quarantine, QuarantineReason};
pub(crate) use shelf::Shelf;
pub use shelf::Slot;
