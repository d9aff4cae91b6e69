//! The running emulator: the world on a real clock, its listeners, and its deliveries.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
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
    task::JoinSet,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    delivery::{Deliveries, Dress, Form, Options, StartError},
    event::{GridNotice, Notice},
    fault::Fault,
    news::{News, Request},
    rest::{self, Backend, Documents, Door, Identity, TlsError},
    settings::{GridSchema, Settings, Summary},
    wire::{self, Body, Rendered, Resource},
    world::{Setup, Told, World},
};

/// Requests to the API are few: one thread serves them.
const THREADS: usize = 1;

/// Why an emulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The access key is not base64.
    #[error("the access key is no base64 with padding, and no SDK takes it then")]
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

/// A running emulator. Dropping it stops it without telling what is left.
pub struct Emulator {
    service: Service,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    server: ServerHandle,
    stop: CancellationToken,
    tasks: JoinSet<()>,
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
    requests: broadcast::Sender<Arc<Request>>,
}

impl Service {
    /// How far the calls are: the time since the start, faster by the speed.
    fn now(&self) -> Duration {
        self.0.started.elapsed().mul_f64(self.0.speed)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0
            .world
            .lock()
            .expect("nobody panics while changing the world")
    }

    /// Lets happen what is due. What is told goes out under the lock: in the order in which it happened.
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
                Told::Call(notice) => self.0.deliveries.tell(&notice, at),
                Told::Grid(notice) => self.0.deliveries.tell_grid(&notice, at),
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

impl Backend for Service {
    fn ask<T>(&self, request: impl FnOnce(&mut World) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut world = self.lock();
        world.advance(self.now());
        let answer = request(&mut world);
        self.send_off(&mut world);
        drop(world);
        self.0.planned.notify_one();
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
        let request = Request {
            time: Timestamp::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            status,
        };
        // Nobody has to listen.
        drop(self.0.requests.send(Arc::new(request)));
    }
}

impl Emulator {
    /// Listens and begins.
    ///
    /// # Errors
    /// Those of [`EmulatorError`]; nothing runs then.
    pub async fn start(settings: Settings) -> Result<Self, EmulatorError> {
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
        let base = format!("http://{address}");
        let deliveries = Deliveries::start(
            Options {
                seed: settings.seed,
                speed: settings.speed,
                misbehave: settings.misbehave,
                retries: settings.retries,
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
        let epoch = Timestamp::now();
        let service = Service(Arc::new(Inner {
            world: Mutex::new(World::new(Setup {
                scenario: settings.scenario,
                seed: settings.seed,
                resource_id: settings.resource_id,
                epoch,
                speed: settings.speed,
            })),
            started: Instant::now(),
            epoch,
            speed: settings.speed,
            planned: Notify::new(),
            deliveries,
            access_key,
            documents,
            requests: broadcast::Sender::new(1_024),
        }));

        let door = web::Data::new(Door::new(service.clone()));
        let failed = |source| EmulatorError::Listen { address, source };
        let mut server =
            HttpServer::new(move || App::new().configure(rest::configure(door.clone())))
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
        // How a listener ends that was told to is no news.
        tasks.spawn(async move { drop(server.await) });
        let stopping = stop.clone();
        let running = service.clone();
        tasks.spawn(async move {
            // `None`: it was stopped.
            stopping.run_until_cancelled_owned(running.run()).await;
        });
        Ok(Self {
            service,
            address,
            tls_address,
            server: handle,
            stop,
            tasks,
        })
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

    /// Requests and deliveries from now on.
    #[must_use]
    pub fn news(&self) -> News {
        News::new(
            self.service.0.requests.subscribe(),
            self.service.0.deliveries.log().follow(),
        )
    }

    /// What was counted so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.service.summary()
    }

    /// Takes no more requests, lets nothing more happen, and delivers what is left for at most `within`.
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

    fn body(&self, dress: Dress, events: &[&Rendered]) -> Body {
        match dress {
            Dress::Callback(generation) => wire::body(generation, events),
            Dress::Grid(schema) => wire::grid_body(schema, events),
        }
    }
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
    let identity = Identity::make(wanted.ip())?;
    if let Some(path) = ca_out {
        identity.write_ca(path)?;
    }
    let (listener, address) = listen(wanted)?;
    Ok((listener, address, identity.server))
}
