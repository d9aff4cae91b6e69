//! The tests of this module by subject.

mod verifier;
