//! Accepts connections, and puts a listener together.

use std::{fmt, io, net::SocketAddr, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_http::{
    HttpService, KeepAlive, Protocol, Request, Response, body::MessageBody, error::DispatchError,
};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::dev::{AppConfig, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Certificate, ConnectionMetrics, ListenerName,
    connection::Connection,
    connection_permits::ConnectionPermits,
    connection_state::ConnectionState,
    connections::{ConnectionLimits, Connections},
    lingering_close::LINGER_TIMEOUT,
    metrics::{ConnectionCounts, ConnectionLimitReached, CutReason},
    refusal::ConnectionRefusal,
    stream::Stream,
};

/// Connections of one thread that are being refused with a 503, at once. Further ones are closed without an answer:
/// refusing connections must not itself use up the connections.
const REJECTIONS_AT_ONCE: usize = 64;

/// How long such a connection may take to read the answer.
const REJECTION_TIMEOUT: Duration = Duration::from_millis(500);

/// What actix may hold beyond our own limit: connections that are being refused, and those that have ended except for
/// their task. At its own limit it would leave connections in the kernel's queue, where they are neither answered nor
/// counted.
const SLACK: usize = 256;

/// The parts of a listener, except its handlers.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: ListenerName,
    pub limits: ConnectionLimits,
    /// Its certificate; without one it does not use TLS.
    pub identity: Option<Arc<Certificate>>,
    /// Threads that serve it.
    pub threads: usize,
    pub metrics: ConnectionMetrics,
    /// Cancelled when it is to stop: connections end when none of their handlers is at work.
    pub stopping: CancellationToken,
}

/// Serves `app` on `listener`, which is already bound. `app` is called once on each thread.
///
/// This is what `HttpServer::listen` builds, with connections and time limits of our own.
///
/// # Errors
/// If the listener cannot be made non-blocking.
pub fn serve<F, I, S, B>(listener: TcpListener, options: Listener, app: F) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    let Listener {
        name,
        limits,
        identity,
        threads,
        metrics,
        stopping,
    } = options;
    let counts = metrics.of(name);
    let tls = identity.as_ref().map(Certificate::acceptor);
    if let Some(identity) = &identity {
        metrics.expires(name, identity.expires());
    }
    let permits = Arc::new(ConnectionPermits::new(
        limits.connections,
        limits.connections_per_peer,
        counts.clone(),
    ));
    let service = move || {
        let connections = Rc::new(Connections::new(limits, counts.clone()));
        let (closing, stop) = (connections.clone(), stopping.clone());
        actix_web::rt::spawn(async move {
            stop.cancelled().await;
            closing.close();
        });
        let acceptor = Rc::new(Acceptor {
            connections,
            permits: permits.clone(),
            counts: counts.clone(),
            tls: tls.clone(),
            stopping: stopping.clone(),
            rejections: Semaphore::new(REJECTIONS_AT_ONCE),
        });
        let http = HttpService::build()
            // Ours: see `Connection`.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            // What is left of a body with a length after an early answer.
            .client_disconnect_timeout(LINGER_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.shared());
            })
            .finish(map_config(
                app()
                    .into_factory()
                    .map_err(|error| error.into().error_response()),
                |_| AppConfig::default(),
            ));
        fn_service(move |tcp| {
            let acceptor = acceptor.clone();
            async move { acceptor.admit(tcp).await.map_err(DispatchError::Io) }
        })
        .and_then(http)
    };
    let server = Server::build()
        .workers(threads)
        .max_concurrent_connections(limits.connections.saturating_add(SLACK))
        .disable_signals()
        // `Listening::stop` has the deadline; this one must not fire before it.
        .shutdown_timeout(3_600)
        .listen(name.as_str(), listener, service)?
        .run();
    Ok(server)
}

/// Accepts the connections of one thread.
struct Acceptor {
    connections: Rc<Connections>,
    permits: Arc<ConnectionPermits>,
    counts: Arc<ConnectionCounts>,
    tls: Option<TlsAcceptor>,
    stopping: CancellationToken,
    rejections: Semaphore,
}

type AcceptedConnection = (Connection, Protocol, Option<SocketAddr>);

impl Acceptor {
    async fn admit(&self, tcp: TcpStream) -> io::Result<AcceptedConnection> {
        let peer = tcp.peer_addr()?;
        // An answer is written in one piece: there is nothing to coalesce.
        tcp.set_nodelay(true)?;
        let place = match self.permits.take(peer.ip()) {
            Ok(place) => place,
            Err(_)
                if self.connections.limits.evicts_idle && self.connections.evict_longest_idle() =>
            {
                self.permits.take_over(peer.ip())
            }
            Err(full) => {
                self.reject(tcp, full).await;
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
        };
        let stream = match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => self.shake_hands(tls, tcp).await?,
        };
        let state = Rc::new(ConnectionState::new(Instant::now()));
        let guard = self.connections.enter(state.clone());
        let connection = Connection::new(stream, state, guard, place);
        Ok((connection, Protocol::Http1, Some(peer)))
    }

    async fn shake_hands(&self, tls: &TlsAcceptor, tcp: TcpStream) -> io::Result<Stream> {
        let handshake = timeout(self.connections.limits.head_timeout, tls.accept(tcp));
        let Some(done) = self.stopping.run_until_cancelled(handshake).await else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let done = done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match done {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => {
                self.counts.cut(CutReason::Handshake);
                tracing::debug!(%error, "a TLS handshake failed");
                Err(error)
            }
        }
    }

    async fn reject(&self, mut tcp: TcpStream, full: ConnectionLimitReached) {
        self.counts.refused(full);
        // An answer would need a handshake, which costs more than everything that is refused here.
        if self.tls.is_some() {
            return;
        }
        let Ok(_one) = self.rejections.try_acquire() else {
            return;
        };
        let goodbye = async {
            tcp.write_all(&ConnectionRefusal::ConnectionLimitReached.to_response_bytes())
                .await?;
            tcp.shutdown().await?;
            // As in `LingeringClose`: closing with unread bytes would take the answer from the peer.
            let mut scratch = [0; 1_024];
            while tcp.read(&mut scratch).await? > 0 {}
            io::Result::Ok(())
        };
        // A peer that has gone, or does not go, loses nothing that it is entitled to.
        drop(timeout(REJECTION_TIMEOUT, goodbye).await);
    }
}
