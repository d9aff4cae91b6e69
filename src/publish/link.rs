//! One AMQP connection: how it is made, watched and cut.

use std::{
    net::{Shutdown, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties,
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};
use tokio_util::sync::CancellationToken;

use crate::config::{Broker, BrokerEndpoint, Secret, Tls, read_broker_urls};

use super::PublishError;

/// Seconds (design 7): a dead peer is noticed after two of them.
const HEARTBEAT_SECONDS: u16 = 10;
/// TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP, TLS and the AMQP handshake together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Close-Ok of a connection that is closed in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// An open connection.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// Which of its kind: later ones have higher numbers.
    pub(super) number: u64,
    /// Cancelled once the connection is known to be gone.
    pub(super) lost: CancellationToken,
    socket: Socket,
}

/// A second handle of the connection's socket. The library has no way to drop a connection whose peer is silent;
/// shutting the socket down under it is one, and it works whether or not TLS is on top.
type Socket = Arc<Mutex<Option<TcpStream>>>;

impl Link {
    /// Whether the library still thinks well of it.
    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Drops the TCP connection, now.
    pub(super) fn cut(&self) {
        cut(&self.socket);
    }

    /// Closes in order, and cuts if the broker does not answer.
    pub(super) async fn close(&self) {
        if self.connected() {
            let closing = self.connection.close(200, "OK".into());
            match tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "closing a broker connection failed"),
                Err(_) => tracing::debug!("the broker did not answer connection.close in time"),
            }
        }
        self.lost.cancel();
        self.cut();
    }
}

fn cut(socket: &Socket) {
    if let Some(socket) = socket.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // It fails only where the connection is gone already, which is what was wanted.
        drop(socket.shutdown(Shutdown::Both));
    }
}

/// Makes connections to one broker or cluster, one after the other, each to the next URL.
#[derive(Debug)]
pub(super) struct Dialer {
    broker: Broker,
    /// Shown in the broker's list of connections.
    name: String,
    turn: usize,
    number: u64,
}

impl Dialer {
    pub(super) fn new(broker: Broker, name: String) -> Self {
        Self {
            broker,
            name,
            turn: 0,
            number: 0,
        }
    }

    /// Tries the next URL, once. Files are read again each time, so that a rotated password is taken up.
    ///
    /// # Errors
    /// Unreadable files and URLs, and whatever the broker or the way to it says.
    pub(super) async fn dial(&mut self) -> Result<Link, PublishError> {
        let urls = urls(&self.broker.endpoint).await?;
        let count = urls.len().max(1);
        let number = self.turn % count + 1;
        self.turn = self.turn.wrapping_add(1);
        let url = urls.get(number - 1).map(Secret::expose).unwrap_or_default();
        let mut uri: AMQPUri = url
            .parse()
            .map_err(|reason| PublishError::Url { number, reason })?;
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => OwnedTLSConfig::default(),
            AMQPScheme::AMQPS => tls(&self.broker.tls).await?,
        };
        self.number += 1;
        open(uri, tls, &self.name, self.number).await
    }

    /// Tries every URL once, in turn, for those who do not come back later.
    ///
    /// # Errors
    /// That of the last one.
    pub(super) async fn dial_any(&mut self) -> Result<Link, PublishError> {
        let count = urls(&self.broker.endpoint).await?.len();
        for _ in 1..count {
            match self.dial().await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::warn!(error = %super::error::chain(&error), "trying the next broker")
                }
            }
        }
        self.dial().await
    }
}

async fn open(
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    name: &str,
    number: u64,
) -> Result<Link, PublishError> {
    let host = format!("{}:{}", uri.authority.host, uri.authority.port);
    let shown_nothing = uri.scheme == AMQPScheme::AMQPS && tls.identity.is_none();
    let socket = Socket::default();
    let kept = socket.clone();
    let runtime = lapin::runtime::default_runtime().map_err(|source| PublishError::Connect {
        host: host.clone(),
        source: Box::new(source),
    })?;
    let opening = Connection::connector(
        uri,
        runtime,
        async move |uri, runtime| {
            let connecting = async {
                let address = (uri.authority.host.clone(), uri.authority.port);
                let stream =
                    AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs(address)).await?;
                if let AsyncTcpStream::Plain(stream) = &stream {
                    stream.get_ref().set_nodelay(true)?;
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(second_handle(stream.get_ref())?);
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await,
                }
            };
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                .map_err(lapin::Error::from)
        },
        ConnectionProperties::default().with_connection_name(name.into()),
    );
    match tokio::time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(connection)) => Ok(Link {
            connection,
            number,
            lost: CancellationToken::new(),
            socket,
        }),
        Ok(Err(source)) => {
            cut(&socket);
            let ended = shown_nothing && is_end_of_line(&source);
            let source = Box::new(source);
            Err(if ended {
                PublishError::NoIdentity { host, source }
            } else {
                PublishError::Connect { host, source }
            })
        }
        Err(_) => {
            // The library's thread would otherwise wait for the handshake for ever.
            cut(&socket);
            Err(PublishError::Silent {
                host,
                after: OPEN_TIMEOUT,
            })
        }
    }
}

/// Whether the peer just went.
fn is_end_of_line(error: &lapin::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), lapin::ErrorKind::IOError(error)
        if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

#[cfg(unix)]
fn second_handle(stream: &tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    use std::os::fd::AsFd;
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn second_handle(stream: &tokio::net::TcpStream) -> std::io::Result<TcpStream> {
    use std::os::windows::io::AsSocket;
    Ok(stream.as_socket().try_clone_to_owned()?.into())
}

async fn urls(endpoint: &BrokerEndpoint) -> Result<Vec<Secret>, PublishError> {
    match endpoint {
        BrokerEndpoint::Amqp(urls) => Ok(urls.clone()),
        BrokerEndpoint::AmqpFile(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || read_broker_urls(&path))
                .await
                .map_err(|_| PublishError::Ended {
                    part: "reader of broker.url_file",
                })?
                .map_err(PublishError::UrlFile)
        }
        BrokerEndpoint::Stdout => Ok(Vec::new()),
    }
}

async fn tls(tls: &Tls) -> Result<OwnedTLSConfig, PublishError> {
    let cert_chain = match &tls.ca_file {
        Some(path) => Some(pem(path, CERTIFICATE).await?),
        None => None,
    };
    let identity = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: pem(cert, CERTIFICATE).await?.into_bytes(),
            key: pem(key, PRIVATE_KEY).await?.into_bytes(),
        }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(PublishError::HalfIdentity),
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain,
    })
}

/// What a PEM file must have in it: the word before the dashes of its first line, and for people. Keys come as
/// `PRIVATE KEY`, `RSA PRIVATE KEY` and `EC PRIVATE KEY`.
type Label = (&'static str, &'static str);
const CERTIFICATE: Label = ("CERTIFICATE-----", "certificate");
const PRIVATE_KEY: Label = ("PRIVATE KEY-----", "private key");

/// Reads a PEM file. The library passes over what it cannot read in one, and the broker would then be refused for a
/// reason that names no file.
async fn pem(path: &Path, (label, what): Label) -> Result<String, PublishError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| PublishError::File {
            path: path.to_owned(),
            source,
        })?;
    if text.contains(label) {
        Ok(text)
    } else {
        Err(PublishError::Pem {
            path: path.to_owned(),
            what,
        })
    }
}
