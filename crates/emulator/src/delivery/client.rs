//! The HTTP client as the service behaves: connections are kept alive, redirects are not followed, certificates are
//! checked.

use std::{io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{Client, Method, Url, header::HeaderMap, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::oneshot, time::timeout};

use super::misbehave::ConnectionDrop;

/// How long a connection that is to be dropped after the answer waits for that answer.
const ANSWERED: Duration = Duration::from_secs(1);
/// Over TLS, how long the last bytes of a request may take to leave before the connection is dropped.
const SENT: Duration = Duration::from_millis(50);

/// Why there is no client for callbacks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot read the certificates in {path}")]
    Authority {
        path: PathBuf,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    #[error("{path} has no certificate in it: it should be PEM with BEGIN CERTIFICATE")]
    NoAuthority { path: PathBuf },
    #[error("a certificate in {path} is not an authority's")]
    BadAuthority {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("cannot set up TLS for callbacks")]
    Tls(#[source] rustls::Error),
    #[error("cannot make an HTTP client for callbacks")]
    Http(#[source] reqwest::Error),
}

/// A client that trusts the machine's authorities, and those in `extra`.
pub(super) fn client(extra: Option<&Path>) -> Result<Client, ClientError> {
    let mut roots = RootCertStore::empty();
    // A machine without any (a small container) can still post to http and to the extra authority.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = extra {
        add(&mut roots, path)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("hookswitch-emulator/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(ClientError::Http)
}

/// An error with its causes. Without the URL, which may hold a secret in its query.
pub(super) fn chain(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), ClientError> {
    let unreadable = |source| ClientError::Authority {
        path: path.to_owned(),
        source,
    };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        roots
            .add(certificate.map_err(unreadable)?)
            .map_err(|source| ClientError::BadAuthority {
                path: path.to_owned(),
                source,
            })?;
        found = true;
    }
    found.then_some(()).ok_or_else(|| ClientError::NoAuthority {
        path: path.to_owned(),
    })
}

/// Sends a POST and drops its connection without reading the answer. The receiver may have taken the events or not.
///
/// Over http the bytes are written by hand, so that the whole request is known to be sent. Over https the request is
/// given up shortly after its body was handed to TLS, or when the answer comes.
pub(super) async fn cut(
    client: &Client,
    url: &Url,
    headers: &HeaderMap,
    body: Bytes,
    how: ConnectionDrop,
) -> io::Result<()> {
    if url.scheme() != "http" {
        return cut_tls(client, url, headers, body, how).await;
    }
    // An IPv6 address is in brackets in a URL.
    let host = url.host_str().unwrap_or_default();
    let address = (
        host.trim_matches(['[', ']']),
        url.port_or_known_default().unwrap_or(80),
    );
    let mut stream = TcpStream::connect(address).await?;
    let port = url.port().map(|port| format!(":{port}"));
    let query = url.query().map(|query| format!("?{query}"));
    let mut request = format!(
        "POST {}{} HTTP/1.1\r\nhost: {host}{}\r\ncontent-length: {}\r\n",
        url.path(),
        query.unwrap_or_default(),
        port.unwrap_or_default(),
        body.len(),
    )
    .into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(&body);
    stream.write_all(&request).await?;
    stream.flush().await?;
    if how == ConnectionDrop::WhenAnswered {
        // Whether it is answered in time makes no difference: nothing is read either way.
        drop(timeout(ANSWERED, stream.readable()).await);
    }
    Ok(())
}

async fn cut_tls(
    client: &Client,
    url: &Url,
    headers: &HeaderMap,
    body: Bytes,
    how: ConnectionDrop,
) -> io::Result<()> {
    let (handed_over, sent) = oneshot::channel();
    let length = body.len();
    let whole = futures_util::stream::once(async move {
        // The receiver is gone if the request has been given up already.
        handed_over.send(()).ok();
        Ok::<_, io::Error>(body)
    });
    let posting = client
        .request(Method::POST, url.clone())
        .headers(headers.clone())
        .header(reqwest::header::CONTENT_LENGTH, length)
        .body(reqwest::Body::wrap_stream(whole))
        .send();
    let delay = match how {
        ConnectionDrop::AtOnce => SENT,
        ConnectionDrop::WhenAnswered => ANSWERED,
    };
    let given_up = async {
        match sent.await {
            Ok(()) => tokio::time::sleep(delay).await,
            // The request ended before its body was read: its error is the answer.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // A URL may hold a secret in its query.
        answered = posting => answered
            .map(drop)
            .map_err(|error| io::Error::other(error.without_url())),
        () = given_up => Ok(()),
    }
}
