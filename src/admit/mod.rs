//! Admission: in order of arrival, is this event a duplicate, of which call is it, which sequence and partition does
//! it get? Pure (design 5, "Admission"): the journal calls it and stores what it decides in the same transaction.

mod offer;

pub use offer::{CallRule, Identity, Offer, Quarantine, QuarantineReason};
