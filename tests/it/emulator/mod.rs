//! The emulator, driven by clients that no one here wrote: the official SDKs (issue "The emulator").

mod handshake;
mod misbehave;
mod sdk;
mod snippets;
mod stage;
