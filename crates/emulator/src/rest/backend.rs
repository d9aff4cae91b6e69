//! The service behind the API, as every route of the listener has it.

use actix_web::HttpRequest;
use serde_json::Value;

use super::repeat::Repeats;
use crate::{api_error::ApiError, world::World};

/// What the API needs of the service behind it.
pub(crate) trait Backend: 'static {
    /// Runs a request against the world at the present moment, and sends off the resulting events.
    ///
    /// # Errors
    /// The errors of the request.
    fn ask<T>(
        &self,
        request: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError>;

    /// The access key, decoded; `None` turns authentication off.
    fn access_key(&self) -> Option<&[u8]>;

    /// The documents by which receivers check the tokens of callbacks.
    fn public_documents(&self) -> &Documents;

    /// Every delivery with its answer, as JSON.
    fn callbacks(&self) -> Value;

    /// The counters so far, as JSON.
    fn summary(&self) -> Value;

    /// Event Grid's subscriber consents; returns whether `code` is the expected one.
    fn consent(&self, code: &str) -> bool;

    /// A request was answered; `path` without its query.
    fn answered(&self, method: &str, path: &str, status: u16);
}

/// The documents by which receivers check the tokens of callbacks.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    /// The OpenID configuration, whose `jwks_uri` is `/calling/keys` of this listener.
    pub(crate) openid: Value,
    /// The JSON Web Key Set.
    pub(crate) jwks: Value,
}

/// The service, and the requests that it has answered. One for all threads of all listeners.
pub(crate) struct RestApi<B> {
    pub(super) backend: B,
    pub(super) repeats: Repeats,
}

impl<B: Backend> RestApi<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self {
            backend,
            repeats: Repeats::default(),
        }
    }
}

/// As the client named it; HTTP/2 has it in the address.
pub(super) fn host(request: &HttpRequest) -> Option<&str> {
    header_of(request, "host").or_else(|| {
        request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
    })
}

pub(super) fn header_of<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}
