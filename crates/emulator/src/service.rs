//! The running emulator: the world on a real clock, its listeners, and its deliveries.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, broadcast},
    task::{JoinError, JoinSet},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    activity::{ActivityFeed, AnsweredRequest},
    api_error::ApiError,
    delivery::{Deliveries, EventTarget, Form, Options, RetryDelays, StartError, Summary},
    event::{GridNotice, Notice},
    rest::{self, Backend, Documents, RestApi, ServerCertificate, TlsError},
    settings::Settings,
    wire::{self, Body, GridSchema, Rendered, Resource},
    world::{QueuedNotice, Setup, World},
};

#[cfg(test)]
mod tests;

/// Requests to the API are few: one thread serves them.
const THREADS: usize = 1;
/// How many requests a slow reader of the feed may fall behind before it misses some.
const NEWS: usize = 1_024;

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The access key has nothing in it.
    #[error(
        "the access key is empty: leave it out for a public default, or give --no-auth to turn authentication off"
    )]
    NoAccessKey,
    /// The access key is not base64.
    #[error("the access key is not base64 with padding, and no SDK takes it then")]
    AccessKey(#[source] base64::DecodeError),
    /// Nothing can be served there.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate, or it cannot be written.
    #[error("cannot serve https")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Callbacks cannot be posted.
    #[error("cannot deliver callbacks")]
    Deliveries(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The clock of the calls or the listeners failed: a bug.
    #[error("a part of the emulator broke down")]
    Broken(#[source] JoinError),
    /// The listeners.
    #[error("the listeners ended by themselves")]
    Ended(#[source] io::Error),
}

impl From<TlsError> for EmulatorError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error.into())
    }
}

impl From<StartError> for EmulatorError {
    fn from(error: StartError) -> Self {
        Self::Deliveries(error.into())
    }
}

/// A running emulator. Dropping it stops it without delivering what is left.
pub struct Emulator {
    service: Service,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    server: ServerHandle,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator")
            .field("address", &self.address)
            .field("tls_address", &self.tls_address)
            .finish_non_exhaustive()
    }
}

/// The world behind the listeners.
#[derive(Clone)]
pub(super) struct Service(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    started: Instant,
    epoch: Timestamp,
    speed: f64,
    /// Something new may be planned.
    planned: Notify,
    deliveries: Deliveries,
    access_key: Option<Vec<u8>>,
    documents: Documents,
    requests: broadcast::Sender<Arc<AnsweredRequest>>,
}

impl Service {
    /// How much call time has passed since the start: real time multiplied by the speed.
    fn now(&self) -> Duration {
        self.0.started.elapsed().mul_f64(self.0.speed)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0
            .world
            .lock()
            .expect("changing the world does not panic")
    }

    /// Runs what is due. Events are sent off under the lock, so in the order in which they happened.
    fn advance(&self) -> Option<Duration> {
        let mut world = self.lock();
        world.advance(self.now());
        self.send_off(&mut world);
        world.next_due()
    }

    fn send_off(&self, world: &mut World) {
        let at = Timestamp::now().max(self.0.epoch);
        for told in world.take() {
            match told {
                QueuedNotice::Call(notice) => self.0.deliveries.tell(&notice, at),
                QueuedNotice::Grid(notice) => self.0.deliveries.tell_grid(&notice, at),
            }
        }
    }

    async fn run(self) {
        loop {
            match self.advance() {
                Some(due) => {
                    let wait = due.saturating_sub(self.now()).div_f64(self.0.speed);
                    tokio::select! {
                        () = sleep_until(tokio::time::Instant::now() + wait) => {}
                        () = self.0.planned.notified() => {}
                    }
                }
                None => self.0.planned.notified().await,
            }
        }
    }

    fn summary(&self) -> Summary {
        let calls = self.lock().calls();
        Summary {
            calls,
            ..self.0.deliveries.summary()
        }
    }
}

/// Wakes the clock when it is dropped.
struct Planned<'a>(&'a Notify);

impl Drop for Planned<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Backend for Service {
    fn ask<T>(
        &self,
        request: impl FnOnce(&mut World) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        // Also if this panics: then the clock finds the world's lock poisoned, and the emulator ends.
        let _planned = Planned(&self.0.planned);
        let mut world = self.lock();
        world.advance(self.now());
        let answer = request(&mut world);
        self.send_off(&mut world);
        answer
    }

    fn access_key(&self) -> Option<&[u8]> {
        self.0.access_key.as_deref()
    }

    fn public_documents(&self) -> &Documents {
        &self.0.documents
    }

    fn callbacks(&self) -> Value {
        json!(self.0.deliveries.log().attempts())
    }

    fn summary(&self) -> Value {
        let over = self.lock().is_over();
        let summary = Self::summary(self);
        let quiet = over && summary.left() == 0;
        let mut shown = json!(summary);
        if let Some(members) = shown.as_object_mut() {
            members.insert("quiet".to_owned(), json!(quiet));
        }
        shown
    }

    fn consent(&self, code: &str) -> bool {
        self.0.deliveries.consent(code)
    }

    fn answered(&self, method: &str, path: &str, status: u16) {
        let request = AnsweredRequest {
            time: Timestamp::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            status,
        };
        // There may be no listener.
        drop(self.0.requests.send(Arc::new(request)));
    }
}

impl Emulator {
    /// Listens and begins. The feed starts with the first request.
    ///
    /// # Errors
    /// Those of [`EmulatorError`]; nothing runs then.
    pub async fn start(settings: Settings) -> Result<(Self, ActivityFeed), EmulatorError> {
        if settings.access_key.as_deref() == Some("") {
            return Err(EmulatorError::NoAccessKey);
        }
        let access_key = settings
            .access_key
            .as_ref()
            .map(|key| BASE64_STANDARD.decode(key))
            .transpose()
            .map_err(EmulatorError::AccessKey)?;
        let (listener, address) = listen(settings.listen)?;
        let tls = settings
            .tls_listen
            .map(|wanted| secure(wanted, settings.ca_out.as_deref()))
            .transpose()?;
        let tls_address = tls.as_ref().map(|(_, address, _)| *address);
        let resource = Resource::new(&settings.resource_id);
        let base = reachable(address);
        let inactive_first = settings.misbehave.inactive_first();
        let deliveries = Deliveries::start(
            Options {
                seed: settings.seed,
                speed: settings.speed,
                misbehave: settings.misbehave,
                waits: RetryDelays::with(settings.retries),
                resource_id: settings.resource_id.clone(),
                event_grid: settings.event_grid,
                topic: resource.topic().to_owned(),
                consent_url: Some(format!("{base}/_emulator/consent")),
                callback_ca: settings.callback_ca,
            },
            Wire { resource },
            &tokio::runtime::Handle::current(),
        )?;
        let documents = Documents {
            openid: deliveries.signer().openid_configuration(&base),
            jwks: deliveries.signer().keys(),
        };
        let requests = broadcast::Sender::new(NEWS);
        let news = ActivityFeed::new(requests.subscribe(), deliveries.log().follow());
        let epoch = Timestamp::now();
        let service = Service(Arc::new(Inner {
            world: Mutex::new(World::new(Setup {
                scenario: settings.scenario,
                seed: settings.seed,
                resource_id: settings.resource_id,
                epoch,
                speed: settings.speed,
                inactive_first,
            })),
            started: Instant::now(),
            epoch,
            speed: settings.speed,
            planned: Notify::new(),
            deliveries,
            access_key,
            documents,
            requests,
        }));

        let api = web::Data::new(RestApi::new(service.clone()));
        let failed = |source| EmulatorError::Listen { address, source };
        let mut server =
            HttpServer::new(move || App::new().configure(rest::configure(api.clone())))
                .workers(THREADS)
                .disable_signals()
                .listen(listener)
                .map_err(failed)?;
        if let Some((listener, _, config)) = tls {
            server = server
                .listen_rustls_0_23(listener, config)
                .map_err(failed)?;
        }
        let server = server.run();
        let handle = server.handle();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(server);
        let stopping = stop.clone();
        let running = service.clone();
        tasks.spawn(async move {
            // `None`: it was stopped.
            stopping.run_until_cancelled_owned(running.run()).await;
            Ok(())
        });
        let emulator = Self {
            service,
            address,
            tls_address,
            server: handle,
            stop,
            tasks,
        };
        Ok((emulator, news))
    }

    /// Where it listens over http.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens over https.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// A URL at which clients on this machine reach it.
    #[must_use]
    pub fn url(&self) -> String {
        reachable(self.address)
    }

    /// Returns when a part of it has ended, which none does before it is stopped: nothing more would happen.
    pub async fn failed(&mut self) -> EmulatorError {
        match self.tasks.join_next().await {
            Some(Err(error)) => EmulatorError::Broken(error),
            Some(Ok(Err(error))) => EmulatorError::Ended(error),
            Some(Ok(Ok(()))) => EmulatorError::Ended(io::ErrorKind::BrokenPipe.into()),
            None => std::future::pending().await,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.service.summary()
    }

    /// Takes no more requests, stops the calls, and delivers what is left for at most `within`.
    pub async fn stop(mut self, within: Duration) -> Summary {
        self.stop.cancel();
        self.server.stop(false).await;
        self.service.0.deliveries.close(within).await;
        while self.tasks.join_next().await.is_some() {}
        self.service.summary()
    }
}

/// Events in the form of their generation.
struct Wire {
    resource: Resource,
}

impl Form for Wire {
    fn callback(&self, notice: &Notice, id: Uuid, at: Timestamp) -> Option<Rendered> {
        wire::render(notice, id, at)
    }

    fn grid(&self, notice: &GridNotice, id: Uuid, at: Timestamp, schema: GridSchema) -> Rendered {
        wire::render_grid(notice, id, at, &self.resource, schema)
    }

    fn body(&self, dress: EventTarget, events: &[&Rendered]) -> Body {
        match dress {
            EventTarget::Callback(generation) => wire::body(generation, events),
            EventTarget::Grid(schema) => wire::grid_body(schema, events),
        }
    }
}

/// The URL of a listener; the unspecified address is not one to connect to.
fn reachable(mut address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EmulatorError> {
    let failed = |source| EmulatorError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// A listener for https with a certificate of its own authority.
fn secure(
    wanted: SocketAddr,
    ca_out: Option<&Path>,
) -> Result<(TcpListener, SocketAddr, ServerConfig), EmulatorError> {
    // The listener comes first: another emulator may be running, whose authority is in the file.
    let (listener, address) = listen(wanted)?;
    let identity = ServerCertificate::make(wanted.ip())?;
    if let Some(path) = ca_out {
        identity.write_ca(path)?;
    }
    Ok((listener, address, identity.server))
}
