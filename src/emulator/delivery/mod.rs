//! Posts callbacks.

/// Rates of misbehaviour.
#[derive(Clone, Debug, Default)]
pub struct Misbehaviour {}
