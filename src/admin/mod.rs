//! The admin listener (docs/src/reference/http-api.md, "The admin listener"): probes, metrics, version, live feed,
//! drift, the OpenAPI document. Never on the public port, GET only.

mod follow;
mod probe;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use strum::VariantArray as _;

    use super::*;
    use crate::{
        event::Kind,
        status::{DestinationState, JournalState, LiveEvent, LiveStage, new_registry},
    };

    fn admin() -> Admin {
        let registry = new_registry().unwrap();
        Admin {
            connection_metrics: ConnectionMetrics::register(&registry).unwrap(),
            identity: None,
            health: Arc::default(),
            drift: Arc::default(),
            live: LiveFeed::default(),
            registry,
            instance: "hookswitch-0".into(),
            journal: Arc::default(),
        }
    }

    fn start(admin: &Admin) -> Listening {
        serve(TcpListener::bind("127.0.0.1:0").unwrap(), admin.clone()).unwrap()
    }

    async fn get(listening: &Listening, path: &str) -> reqwest::Response {
        reqwest::get(format!("http://{}{path}", listening.address()))
            .await
            .unwrap()
    }

    async fn check(listening: &Listening, path: &str, status: u16) -> Value {
        let response = get(listening, path).await;
        assert_eq!(response.status(), status, "{path}");
        response.json().await.unwrap()
    }

    #[tokio::test]
    async fn the_probes_follow_the_health_state() {
        let admin = admin();
        let listening = start(&admin);
        check(&listening, "/livez", 200).await;
        let body = check(&listening, "/startupz", 503).await;
        assert_eq!(
            body["reasons"][0],
            "the journal is being opened or recovered"
        );
        check(&listening, "/readyz", 503).await;
        admin.health.update(|view| {
            view.started = true;
            view.journal = JournalState::Writable;
        });
        admin
            .health
            .destination("queue q", DestinationState::Missing, None);
        check(&listening, "/startupz", 200).await;
        let body = check(&listening, "/readyz", 200).await;
        assert_eq!(body["ok"], true);
        assert_eq!(body["destinations"][0]["state"], "missing");
        admin
            .health
            .update(|view| view.journal = JournalState::Failed);
        check(&listening, "/livez", 503).await;
        assert!(listening.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_probe_gets_a_connection_beside_any_number_of_idle_ones() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let admin = admin();
        admin.health.update(|view| {
            view.started = true;
            view.journal = JournalState::Writable;
        });
        let listening = start(&admin);
        let mut idle = Vec::new();
        for n in 0..2 * LIMITS.connections {
            let mut connection = tokio::net::TcpStream::connect(listening.address())
                .await
                .unwrap();
            match n % 3 {
                0 => {}
                1 => connection.write_all(b"GET /livez HT").await.unwrap(),
                _ => {
                    let request = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
                    connection.write_all(request).await.unwrap();
                    let mut answer = [0; 512];
                    let read = connection.read(&mut answer).await.unwrap();
                    assert!(answer.get(..read).unwrap().starts_with(b"HTTP/1.1 200"));
                }
            }
            idle.push(connection);
        }
        for path in ["/livez", "/readyz", "/livez"] {
            check(&listening, path, 200).await;
        }
        let metrics = get(&listening, "/metrics").await.text().await.unwrap();
        let evicted = metrics
            .lines()
            .find_map(|line| {
                line.strip_prefix(
                    "hookswitch_connections_cut_total{listener=\"admin\",reason=\"evicted\"} ",
                )
            })
            .unwrap();
        assert!(evicted.parse::<usize>().unwrap() >= LIMITS.connections);
        // The first connection has been idle the longest.
        assert_eq!(idle.first_mut().unwrap().read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_stalled_executor_fails_liveness_only() {
        let Some(long_ago) = Instant::now().checked_sub(STALLED * 2) else {
            return; // the machine started a minute ago
        };
        let heartbeat = ExecutorHeartbeat::default();
        *heartbeat.last() = long_ago;
        assert!(heartbeat.stalled(Instant::now()));
        assert!(!ExecutorHeartbeat::default().stalled(Instant::now()));
        // Served by a runtime that makes progress, it recovers with the first beat.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = serve_with_heart(listener, admin(), heartbeat.clone()).unwrap();
        tokio::time::timeout(Duration::from_secs(5), async {
            while heartbeat.stalled(Instant::now()) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the heart beats");
        check(&listening, "/livez", 200).await;
    }

    #[tokio::test]
    async fn version_names_the_journal_as_soon_as_it_is_open() {
        let admin = admin();
        let listening = start(&admin);
        assert_eq!(
            check(&listening, "/version", 200).await["journal"],
            Value::Null
        );
        let journal = Uuid::new_v4();
        admin.journal.set(journal).unwrap();
        let body = check(&listening, "/version", 200).await;
        assert_eq!(body["journal"], journal.to_string());
        assert_eq!(body["instance"], "hookswitch-0");
        assert_eq!(body["name"], "hookswitch");
    }

    #[tokio::test]
    async fn drift_and_metrics_are_shown() {
        let admin = admin();
        admin.drift.note("T", "/data/new");
        let listening = start(&admin);
        let body = check(&listening, "/drift", 200).await;
        assert_eq!(body["series"]["T"]["/data/new"], 1);
        let response = get(&listening, "/metrics").await;
        assert_eq!(response.headers()["content-type"], TEXT_FORMAT);
        let text = response.text().await.unwrap();
        assert!(text.contains("hookswitch_build_info{"), "{text}");
    }

    #[tokio::test]
    async fn the_openapi_document_describes_every_page_and_no_other() {
        let admin = admin();
        let listening = start(&admin);
        let document = check(&listening, "/openapi.json", 200).await;
        let described: BTreeSet<&str> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, item)| item["get"]["tags"][0] == "admin")
            .map(|(path, _)| path.as_str())
            .collect();
        assert_eq!(described, PAGES.iter().map(|(path, _)| *path).collect());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let nowhere = check(&listening, "/nowhere", 404).await;
        for page in described {
            let detail = nowhere["detail"].as_str().unwrap();
            assert!(detail.contains(page), "{page} is not in {detail}");
        }
    }

    #[test]
    fn the_openapi_document_lists_every_state() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let words = |pointer: &str| -> Vec<String> {
            let words = document.pointer(pointer).unwrap_or(&Value::Null);
            serde_json::from_value(words.clone())
                .unwrap_or_else(|_| panic!("no description at {pointer}"))
        };
        let kinds: Vec<_> = Kind::VARIANTS.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(words("/paths/~1live/get/parameters/2/schema/enum"), kinds);
        let schemas = "/components/schemas";
        assert_eq!(
            words(&format!("{schemas}/LiveEvent/properties/kind/enum")),
            kinds
        );
        let detail = format!("{schemas}/Readiness/allOf/1/properties");
        let states = format!("{detail}/destinations/items/properties/state/enum");
        assert_eq!(
            words(&states),
            DestinationState::VARIANTS
                .iter()
                .map(|state| state.as_str())
                .collect::<Vec<_>>()
        );
        let journal = [
            JournalState::Opening,
            JournalState::Writable,
            JournalState::Full,
            JournalState::DiskFull,
            JournalState::Stalled,
            JournalState::FilesGone,
            JournalState::Failed,
        ];
        let written = journal.map(|state| serde_json::to_value(state).unwrap());
        assert_eq!(words(&format!("{detail}/journal/enum")), written);
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_problems() {
        let listening = start(&admin());
        let body = check(&listening, "/callbacks/dev", 404).await;
        assert_eq!(body["status"], 404);
        let body = check(&listening, "/live?queue=a&size=3", 400).await;
        assert!(body["detail"].as_str().unwrap().contains("size"), "{body}");
        check(&listening, "/live?kind=callstate", 400).await;
        let response = reqwest::Client::new()
            .post(format!("http://{}/metrics", listening.address()))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }

    #[tokio::test]
    async fn the_live_feed_is_filtered_and_ends_with_the_listener() {
        let admin = admin();
        let listening = start(&admin);
        let mut response = get(&listening, "/live?app=a").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.chunk().await.unwrap().unwrap(), ": following\n\n");
        for app in ["b", "a"] {
            admin.live.send(|| LiveEvent {
                stage: LiveStage::Accepted,
                at: jiff::Timestamp::UNIX_EPOCH,
                app: app.into(),
                call: None,
                kind: Kind::CallState.as_str().into(),
                event_type: "T".into(),
                id: format!("of {app}"),
                destination: None,
                sequence: None,
            });
        }
        let chunk = response.chunk().await.unwrap().unwrap();
        let chunk = std::str::from_utf8(&chunk).unwrap();
        assert!(chunk.starts_with("event: line\ndata: {"), "{chunk}");
        assert!(chunk.contains("of a") && !chunk.contains("of b"), "{chunk}");
        assert!(listening.stop(Duration::from_secs(5)).await);
        assert_eq!(response.chunk().await.unwrap(), None);
    }

    #[tokio::test]
    async fn followers_never_crowd_out_the_probes() {
        let listening = start(&admin());
        let mut followers = Vec::new();
        for _ in 0..FOLLOWERS {
            let response = get(&listening, "/live").await;
            assert_eq!(response.status(), 200);
            followers.push(response);
        }
        let refused = get(&listening, "/live").await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        check(&listening, "/livez", 200).await;
    }
}
