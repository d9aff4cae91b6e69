//! Authentication of the senders of an app (P6). The check is pure: a request's head against secrets and keys that are
//! already loaded ([`Authenticators`]). Beside it, a [`KeyRefresher`] reads the files and fetches the keys; no address
//! is taken from a request, it can only bring the next fetch forward.

mod authenticator;
mod bearer;
mod error;
mod fetch;
mod key_refresher;
mod key_source;
mod metrics;
mod secrets;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use authenticator::{Authenticators, RequestHead};
pub use error::{AuthChallenge, AuthError, AuthRefusal};
pub use fetch::FetchError;
pub use key_refresher::KeyRefresher;
