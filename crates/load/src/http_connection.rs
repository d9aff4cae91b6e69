//! One keep-alive HTTP/1.1 connection to a receiver.

use std::{io, pin::Pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Uri,
    client::conn::http1::{Connection, SendRequest},
    header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::LoadError;

/// An answer that takes longer counts as a lost connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where callbacks are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: Uri,
}

impl Target {
    /// Reads a URL; plain http only.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let refuse = || LoadError::Target {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| refuse())?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse());
        }
        let authority = uri.authority().ok_or_else(refuse)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .parse()
            .map_err(|_| refuse())?;
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| refuse())?,
            path,
        })
    }

    /// Host, port and path, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("http://{}:{}{}", self.host, self.port, self.path)
    }

    /// A TCP connection.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The answer of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// The connection cannot be used any more; whether the callback arrived is not known.
#[derive(Debug)]
pub(super) struct ConnectionLost;

/// The connection is driven by the task that uses it: no other task has to wake up for an exchange.
pub(super) struct HttpConnection {
    requests: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    authority: HeaderValue,
    path: Uri,
    over: bool,
}

impl HttpConnection {
    pub(super) async fn open(target: &Target) -> Result<Self, ConnectionLost> {
        let stream = target.connect().await.map_err(|_| ConnectionLost)?;
        let (requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ConnectionLost)?;
        Ok(Self {
            requests,
            connection: Box::pin(connection),
            authority: target.authority.clone(),
            path: target.path.clone(),
            over: false,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.over || self.requests.is_closed()
    }

    /// Waits until the peer closes it.
    pub(super) async fn until_over(&mut self) {
        if !self.over {
            drop(self.connection.as_mut().await);
            self.over = true;
        }
    }

    /// Posts a callback and reads its answer to the end.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<HttpAnswer, ConnectionLost> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let exchange = exchange(&mut self.requests, request);
        let driven = async {
            tokio::pin!(exchange);
            tokio::select! {
                biased;
                answer = &mut exchange => answer,
                _ = self.connection.as_mut() => {
                    // It was closed in order after the answer (`connection: close`), or it failed: the exchange knows
                    // which.
                    self.over = true;
                    exchange.await
                }
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, driven).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => {
                self.over = true;
                Err(ConnectionLost)
            }
        }
    }
}

async fn exchange(
    requests: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<HttpAnswer> {
    // After the previous exchange, the connection has to be polled once before it takes the next.
    requests.ready().await?;
    let response = requests.send_request(request).await?;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let mut body = response.into_body();
    // Read to the end, or the connection could not be used again.
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    Ok(HttpAnswer {
        status,
        retry_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_plain_http() {
        let target = Target::parse("http://127.0.0.1:8080/callbacks/dev?a=b").unwrap();
        assert_eq!(target.describe(), "http://127.0.0.1:8080/callbacks/dev?a=b");
        assert_eq!(Target::parse("http://host/x").unwrap().port, 80);
        assert_eq!(Target::parse("http://[::1]:9/x").unwrap().host, "::1");
        for wrong in ["https://host/x", "host/x", "", "ftp://host"] {
            let error = Target::parse(wrong).unwrap_err();
            assert!(error.to_string().contains("is not a target"), "{error}");
        }
    }
}
