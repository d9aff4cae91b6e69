//! The tests of this module by subject.

mod clock;
mod commit_log;
mod confirm_store;
mod damage;
mod disk_faults;
mod durable;
mod private;
mod recovery;
mod stall;
