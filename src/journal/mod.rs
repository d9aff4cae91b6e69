//! The journal: durable records, admission in order of arrival, group commit, recovery (docs/src/internals/journal.md).
//!
//! Two stores speak the same four handles: [`open`] keeps everything in SQLite, [`volatile`] (for `confirm` mode)
//! keeps it in memory until the broker has confirmed. Neither ingress nor publish can tell which one it talks to.

mod cache;
mod clock;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod damage_tests;
mod directory;
mod doors;
#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod fault;
mod file_limit;
mod handles;
mod header;
mod index;
mod inspect;
mod load;
mod log;
mod mark;
mod metrics;
mod open;
mod poison;
mod private;
#[cfg(test)]
mod private_tests;
mod reader;
#[cfg(test)]
mod recovery_tests;
mod reply;
mod routing_keys;
mod salvage;
mod stage;
#[cfg(test)]
mod stall_tests;
#[cfg(test)]
pub(crate) mod stand_in;
mod store;
#[cfg(test)]
mod testing;
mod trouble;
mod volatile;
#[cfg(test)]
mod volatile_tests;
mod watch;
mod writer;

pub use doors::{Closer, Destinations, Feed, FeedItem, Intake, NoParcel, Opened, Parcels, Settle};
pub use handles::{
    Admitted, Boards, Bound, Callback, Facts, JournalError, Parcel, Receipt, Record, Refusal,
    Settlement,
};
pub use open::open;
pub use reply::Mailbox;
pub use volatile::volatile;
