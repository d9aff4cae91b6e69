//! The tests of this module by subject.

mod auth;
mod body;
mod ga;
mod http;
mod previews;
