//! The admin listener (docs/src/reference/http-api.md, "The admin listener"): probes, metrics, version, live feed,
//! drift, the OpenAPI document. Never on the public port, GET only.

mod follow;
mod probe;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use actix_web::{
    App, HttpRequest, HttpResponse,
    http::{ConnectionType, Method, StatusCode, header},
    web,
};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    http::{
        self, Certificate, ConnectionLimits, ConnectionMetrics, Listener, ListenerName, Listening,
        Problem, RequestGuard,
    },
    status::{DriftCounts, Health, LiveFeed},
};

use self::{
    follow::{FeedFilter, follow},
    probe::{livez, readyz, startupz},
};

pub use probe::Probe;

/// `Content-Type` of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Probes, one or two scrapers, a few people. Several of them may come from one address, so there is no limit per peer.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 128,
    connections_per_peer: 128,
    head_bytes: 16_384,
    head_timeout: Duration::from_secs(5),
    // Longer than scrapers keep theirs between two scrapes.
    idle_timeout: Duration::from_secs(75),
    answer_timeout: Duration::from_secs(15),
    // A probe can connect whatever other connections there are: handlers answer at once, and followers of the live feed
    // are few.
    evicts_idle: true,
};

/// Clients of the live feed at once, so that they never crowd out the probes.
const FOLLOWERS: usize = 32;

/// How often the executor shows that it makes progress.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Without a heartbeat for this long the executor counts as stalled. Far beyond what a busy machine causes: restarting
/// a slow process makes it slower.
const STALLED: Duration = Duration::from_secs(60);

/// The description of both listeners (OpenAPI 3.1), as in the repository.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Probes.
    pub health: Arc<Health>,
    /// `/drift`.
    pub drift: Arc<DriftCounts>,
    /// `/live`.
    pub live: LiveFeed,
    /// `/metrics`.
    pub registry: Registry,
    pub connection_metrics: ConnectionMetrics,
    /// Its certificate; without one it does not use TLS.
    pub identity: Option<Arc<Certificate>>,
    /// Name of this instance, for `/version`.
    pub instance: String,
    /// The journal's UUID, for `/version`, as soon as it is known: this listener runs before the journal is open.
    pub journal: Arc<OnceLock<Uuid>>,
}

/// Serves `admin` on `listener`, which is bound already.
///
/// # Errors
/// If the listener cannot be made non-blocking or its threads cannot be started.
pub fn serve(listener: TcpListener, admin: Admin) -> io::Result<Listening> {
    serve_with_heart(listener, admin, ExecutorHeartbeat::default())
}

fn serve_with_heart(
    listener: TcpListener,
    admin: Admin,
    heartbeat: ExecutorHeartbeat,
) -> io::Result<Listening> {
    let address = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let options = Listener {
        name: ListenerName::Admin,
        limits: LIMITS,
        identity: admin.identity.clone(),
        threads: 1,
        metrics: admin.connection_metrics.clone(),
        stopping: stopping.clone(),
    };
    let state = web::Data::new(AdminState {
        admin,
        heartbeat: heartbeat.clone(),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        stopping: stopping.clone(),
    });
    let server = http::serve(listener, options, move || {
        App::new()
            .app_data(state.clone())
            .default_service(web::to(answer))
    })?;
    let mut listening = Listening::start(address, server, stopping);
    listening.beside(async move { heartbeat.beat().await });
    Ok(listening)
}

/// Beats on the process's main executor, and is checked from the admin listener's own thread.
#[derive(Clone, Debug)]
struct ExecutorHeartbeat(Arc<std::sync::Mutex<Instant>>);

impl Default for ExecutorHeartbeat {
    fn default() -> Self {
        Self(Arc::new(std::sync::Mutex::new(Instant::now())))
    }
}

impl ExecutorHeartbeat {
    async fn beat(&self) {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        loop {
            ticks.tick().await;
            *self.last() = Instant::now();
        }
    }

    fn stalled(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.last()) > STALLED
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct AdminState {
    admin: Admin,
    heartbeat: ExecutorHeartbeat,
    followers: Arc<Semaphore>,
    stopping: CancellationToken,
}

#[derive(Serialize)]
struct Version<'a> {
    name: &'static str,
    version: &'static str,
    instance: &'a str,
    journal: Option<&'a Uuid>,
}

type Page = fn(&AdminState, &HttpRequest) -> HttpResponse;

const PAGES: [(&str, Page); 8] = [
    ("/livez", AdminState::livez),
    ("/readyz", AdminState::readyz),
    ("/startupz", AdminState::startupz),
    ("/metrics", AdminState::metrics),
    ("/version", AdminState::version),
    ("/live", AdminState::live),
    ("/drift", AdminState::drift),
    ("/openapi.json", AdminState::openapi),
];

async fn answer(request: HttpRequest, state: web::Data<AdminState>) -> HttpResponse {
    let turn = RequestGuard::take(&request);
    let mut response = match turn {
        Some(_) => state.answer(&request),
        None => last_was_before(),
    };
    if turn.as_ref().is_none_or(RequestGuard::is_early) {
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    response
}

impl AdminState {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let Some((_, page)) = PAGES.iter().find(|(path, _)| *path == request.path()) else {
            return Problem::new(
                StatusCode::NOT_FOUND,
                "about:blank",
                "Not Found",
                format!(
                    "the admin listener has {}",
                    PAGES.map(|(path, _)| path).join(", ")
                ),
            )
            .response();
        };
        if request.method() != Method::GET {
            let mut response = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "about:blank",
                "Method Not Allowed",
                "only GET is answered here",
            )
            .response();
            response
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static("GET"));
            return response;
        }
        page(self, request)
    }

    fn livez(&self, _: &HttpRequest) -> HttpResponse {
        probe(&livez(
            &self.admin.health.view(),
            self.heartbeat.stalled(Instant::now()),
        ))
    }

    fn readyz(&self, _: &HttpRequest) -> HttpResponse {
        let broker_counts = self.admin.health.broker_counts(Instant::now());
        probe(&readyz(&self.admin.health.view(), broker_counts))
    }

    fn startupz(&self, _: &HttpRequest) -> HttpResponse {
        probe(&startupz(&self.admin.health.view()))
    }

    fn metrics(&self, _: &HttpRequest) -> HttpResponse {
        match text(&self.admin.registry) {
            Ok(text) => HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, TEXT_FORMAT))
                .body(text),
            Err(error) => {
                tracing::error!(%error, "cannot write metrics");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "about:blank",
                    "Internal Server Error",
                    "the metrics cannot be written; the log says why",
                )
                .response()
            }
        }
    }

    fn openapi(&self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(OPENAPI)
    }

    fn version(&self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().json(Version {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            instance: &self.admin.instance,
            journal: self.admin.journal.get(),
        })
    }

    fn drift(&self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok().json(self.admin.drift.view())
    }

    fn live(&self, request: &HttpRequest) -> HttpResponse {
        let wanted = match web::Query::<FeedFilter>::from_query(request.query_string()) {
            Ok(wanted) => wanted.into_inner(),
            Err(error) => {
                return Problem::new(
                    StatusCode::BAD_REQUEST,
                    "about:blank",
                    "Bad Request",
                    format!("{error}; /live takes app, call, kind and queue, each once"),
                )
                .response();
            }
        };
        let Ok(place) = self.followers.clone().try_acquire_owned() else {
            let mut response = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "about:blank",
                "Service Unavailable",
                format!("{FOLLOWERS} others follow the live feed already"),
            )
            .response();
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            return response;
        };
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .streaming(follow(
                &self.admin.live,
                wanted,
                self.stopping.clone(),
                place,
            ))
    }
}

/// The answer to a request after one that announced the end of its connection.
fn last_was_before() -> HttpResponse {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "about:blank",
        "Bad Request",
        "the previous request announced the end of this connection",
    )
    .response()
}

/// Everything on `registry` in the text format. Each collector is asked once, so that related numbers (the counters of
/// P3) come from one snapshot.
fn text(registry: &Registry) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&registry.gather())
}

fn probe(probe: &Probe) -> HttpResponse {
    let status = if probe.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(probe)
}
