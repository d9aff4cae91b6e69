//! The journal: durable records, admission in order of arrival, group commit, recovery (docs/src/internals/journal.md).
//!
//! Two stores have the same four handles: [`open`] keeps everything in SQLite, [`volatile`] (for `confirm` mode) keeps
//! it in memory until the broker has confirmed. Neither ingress nor publish can tell which one it uses.

mod cache;
mod clock;
mod commit;
mod commit_log;
mod confirm_store;
mod directory;
mod disk_state;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fault_injection;
mod file_limit;
mod file_watch;
mod handles;
mod header;
mod high_water_mark;
mod index;
mod inspect;
mod load;
mod metrics;
mod open;
mod private;
mod quarantine;
mod reader;
mod reply;
mod routing_keys;
mod rows;
mod salvage;
mod stage;
mod store;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
mod types;
mod wal;
mod writer;

pub use confirm_store::volatile;
pub use handles::{
    Destinations, Feed, FeedItem, Intake, JournalCloser, OpenJournal, PayloadSource,
    PayloadUnavailable, SettlementSender,
};
pub use open::open;
pub use reply::ReplyReceiver;
pub use types::{
    Admitted, Callback, DeliveryPayload, JournalError, JournalRefusal, LimitReached, Receipt,
    Record, Settlement, StatusHandles,
};
