//! Who may speak for an app (P6). The check is pure: a request's head against secrets and keys that are loaded
//! already ([`Gates`]). A [`Keeper`] beside it reads the files and fetches the keys; nothing that a request says is fetched,
//! it can only bring the next fetch forward.

mod bearer;
mod error;
mod fetch;
mod gate;
mod keeper;
mod metrics;
mod secrets;
mod source;

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod key_server_tests;
#[cfg(test)]
mod testing;

pub use error::{AuthError, Challenge, Refusal};
pub use fetch::FetchError;
pub use gate::{Gates, Head};
pub use keeper::Keeper;
