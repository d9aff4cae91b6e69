//! One AMQP connection: how it is opened, watched and cut.

use std::{
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties,
    tcp::RustlsConnector,
    uri::{AMQPScheme, AMQPUri},
};
use tokio_util::sync::CancellationToken;

use crate::config::{Broker, BrokerEndpoint, Secret, read_broker_urls};

use super::{PublishError, tls};

/// Seconds: a dead peer is noticed after two missed heartbeats.
pub(super) const HEARTBEAT_SECONDS: u16 = 10;
/// TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP, TLS and the AMQP handshake together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Close-Ok of a regular close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct BrokerConnection {
    pub(super) connection: Connection,
    /// The number of the connection within its kind: later ones have higher numbers.
    pub(super) number: u64,
    /// Cancelled once the connection is known to be gone.
    pub(super) lost: CancellationToken,
    socket: Socket,
    /// See [`BrokerConnection::keep`].
    kept: Mutex<Vec<Channel>>,
}

/// A second handle of the connection's socket. The library cannot drop a connection whose peer is silent; shutting down
/// the socket under it does, with or without TLS on top.
type Socket = Arc<Mutex<Option<TcpStream>>>;

impl BrokerConnection {
    /// Whether the library considers it connected.
    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// The peer's address, unless the connection was cut.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.as_ref()?.peer_addr().ok()
    }

    /// Keeps a channel on which an answer of the broker is outstanding that is not needed any more. Dropping it would
    /// close it, and if the broker closes it at the same time, as its answer, the library gives up the whole
    /// connection.
    pub(super) fn keep(&self, channel: Channel) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(channel);
    }

    /// Drops the TCP connection, now.
    pub(super) fn cut(&self) {
        cut(&self.socket);
    }

    /// Closes regularly, and cuts if the broker does not answer.
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
        // It fails only if the connection is already gone, which is the goal.
        drop(socket.shutdown(Shutdown::Both));
    }
}

/// Opens connections to one broker or cluster, one after the other, each to the next URL.
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

    /// Tries the next URL, once. Files are read again each time, so that a rotated password is used.
    ///
    /// # Errors
    /// Unreadable files and URLs, and any error of the broker or the network.
    pub(super) async fn dial(&mut self) -> Result<BrokerConnection, PublishError> {
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
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(tls::connector(&self.broker.tls).await?),
        };
        self.number += 1;
        let shown_nothing = tls.is_some() && self.broker.tls.cert_file.is_none();
        open(uri, tls, &self.name, self.number)
            .await
            .map_err(|error| match error {
                PublishError::Connect { host, source }
                    if shown_nothing && is_end_of_line(&source) =>
                {
                    PublishError::NoIdentity { host, source }
                }
                error => error,
            })
    }

    /// Tries every URL once, in turn, for callers that do not retry later.
    ///
    /// # Errors
    /// The error of the last one.
    pub(super) async fn dial_any(&mut self) -> Result<BrokerConnection, PublishError> {
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
    tls: Option<RustlsConnector>,
    name: &str,
    number: u64,
) -> Result<BrokerConnection, PublishError> {
    let host = format!("{}:{}", uri.authority.host, uri.authority.port);
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
                match &tls {
                    None => Ok(stream),
                    Some(tls) => stream.into_rustls(tls, &uri.authority.host).await,
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
        Ok(Ok(connection)) => Ok(BrokerConnection {
            connection,
            number,
            lost: CancellationToken::new(),
            socket,
            kept: Mutex::default(),
        }),
        Ok(Err(source)) => {
            cut(&socket);
            Err(PublishError::Connect {
                host,
                source: Box::new(source),
            })
        }
        Err(_) => {
            // Otherwise the library's thread would wait for the handshake without end.
            cut(&socket);
            Err(PublishError::Silent {
                host,
                after: OPEN_TIMEOUT,
            })
        }
    }
}

/// Whether the peer closed the connection without an error.
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
                .map_err(|_| PublishError::PartEnded {
                    part: "reader of broker.url_file",
                })?
                .map_err(PublishError::UrlFile)
        }
        BrokerEndpoint::Stdout => Ok(Vec::new()),
    }
}
