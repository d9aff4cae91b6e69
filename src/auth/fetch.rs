//! Fetches an issuer's keys: over https, with a limit on time and bytes, and only from where the configuration says.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Deserialize;

use crate::config::{KeySet, KeySetError, KeySource, check_key_url};

/// The largest key set or discovery document.
const ANSWER_LIMIT_BYTES: usize = 262_144;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The client cannot be made, or the request failed.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// Another answer than 200; redirects are not followed.
    #[error("the answer is {0}, expected 200 (redirects are not followed)")]
    Status(StatusCode),
    /// It is too large.
    #[error("the answer is larger than {ANSWER_LIMIT_BYTES} bytes")]
    Large,
    /// It is not a key set.
    #[error("the answer is not a usable key set")]
    Keys(#[from] KeySetError),
    /// It is not a discovery document.
    #[error("the answer is not an OpenID discovery document")]
    Discovery(#[source] serde_json::Error),
    /// The document is of another issuer (OpenID Connect Discovery 1.0, 4.3).
    #[error("the discovery document is of issuer {found:?}, configured is {configured:?}")]
    Issuer { found: String, configured: String },
    /// It names a location that keys are not fetched from.
    #[error("the discovery document's jwks_uri {0}")]
    KeyUrl(String),
    /// Keys in a file cannot be fetched.
    #[error("the keys are in a file")]
    File,
}

/// Fetches keys.
#[derive(Clone, Debug)]
pub(super) struct Fetcher(Client);

impl Fetcher {
    /// `timeout` is for one complete answer, including its last byte.
    pub(super) fn new(timeout: Duration) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        // Without any, fetches over https fail and say why; the issuer may be on loopback.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .user_agent(concat!("hookswitch/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(FetchError::Request)
    }

    /// The keys of `issuer` as they are now.
    pub(super) async fn keys(
        &self,
        source: &KeySource,
        issuer: &str,
    ) -> Result<KeySet, FetchError> {
        let url = match source {
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery(url) => self.discover(url, issuer).await?,
            KeySource::File(_) => return Err(FetchError::File),
        };
        Ok(KeySet::parse(&self.get(&url).await?)?)
    }

    async fn discover(&self, url: &Url, issuer: &str) -> Result<Url, FetchError> {
        #[derive(Deserialize)]
        struct KeyDocument {
            issuer: String,
            jwks_uri: String,
        }
        let document: KeyDocument =
            serde_json::from_slice(&self.get(url).await?).map_err(FetchError::Discovery)?;
        if document.issuer != issuer {
            return Err(FetchError::Issuer {
                found: document.issuer,
                configured: issuer.to_owned(),
            });
        }
        let keys = check_key_url(&document.jwks_uri).map_err(FetchError::KeyUrl)?;
        // A foreign document must not lead to a port of this machine.
        if keys.scheme() != "https" && url.scheme() == "https" {
            return Err(FetchError::KeyUrl(
                "is http, the document is https".to_owned(),
            ));
        }
        Ok(keys)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Request(error.without_url());
        let mut answer = self.0.get(url.clone()).send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ANSWER_LIMIT_BYTES {
                return Err(FetchError::Large);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
