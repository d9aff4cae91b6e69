//! The tests of this module by subject.

mod authenticator;
mod key_server;
