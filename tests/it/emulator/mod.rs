//! The emulator, driven by clients of others: the official SDKs.

mod handshake;
mod misbehave;
mod sdk;
mod snippets;
mod stage;
