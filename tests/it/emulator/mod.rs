//! The emulator with the official SDKs as clients.

mod handshake;
mod misbehave;
mod sdk;
mod snippets;
mod stage;
