//! The tests of this module by subject.

mod directory;
mod drift;
mod events;
mod payload;
