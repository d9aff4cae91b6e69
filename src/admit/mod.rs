//! Admission: in order of arrival, is this event a duplicate, of which call is it, which sequence and partition does
//! it get? Pure: the journal calls it and stores what it decides in the same transaction.

mod admission;
mod changes;
mod digest;
mod duplicate_window;
mod lru_table;
mod offer;
#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

pub use admission::{
    Admission, AdmissionDecision, AdmissionLimits, PlacedDelivery, SequencePlace, StagePoint,
};
pub use changes::{BindingRow, CallRow, Changes, DuplicateRow, DuplicateWindowName, SequenceRow};
pub(crate) use digest::Digester;
pub use lru_table::LruSlot;
pub(crate) use lru_table::LruTable;
pub use offer::{
    CallRule, ERRORS_LIMIT_BYTES, EventFacts, EventIdentity, Offer, Quarantine, QuarantineReason,
};
