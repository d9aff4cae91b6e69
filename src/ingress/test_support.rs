//! Helpers of this module's tests: a small catalogue of its own, an app, a listener on a port of its own.

use std::{
    net::TcpListener,
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};

use crate::{
    auth::Authenticators,
    catalog::Catalog,
    config::{
        App, Audience, Auth, EventGrid, Jwt, KeySource, Methods, OnInvalid, OnUnknown, Rate,
        SecretPlace, ServerLimits, SharedSecret,
    },
    event::AppName,
    http::{Certificate, ConnectionMetrics, Listening},
    journal::{
        Callback,
        fake::{FakeJournal, OfferedCallback},
    },
    route::{QueueType, Route, Sink},
    status::{DriftCounts, Health, Ledger, LedgerCollector, new_registry},
};

use super::{Ingress, IngressMetrics, IngressSettings, Pipeline, serve};

/// The one type that the test catalogue has besides the built-in ones.
pub(super) const RANG: &str = "Example.Calling.BellRang";

/// Compiled once: all of the built-in schemas are in it.
static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(catalog()));

fn catalog() -> Catalog {
    let directory = tempfile::tempdir().unwrap();
    let table = json!({
        "ids": {
            "default": {},
            "bell": { "connection": ["/callConnectionId"], "correlation": ["/correlationId"] },
        },
        "events": [{
            "type": RANG, "generation": "test", "kind": "CallState",
            "schema": "test/BellRang.schema.json", "ids": "bell",
        }],
    });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "callConnectionId": { "type": "string" },
            "correlationId": { "type": "string" },
        },
        "required": ["callConnectionId"],
    });
    std::fs::create_dir(directory.path().join("test")).unwrap();
    std::fs::write(directory.path().join("catalog.json"), table.to_string()).unwrap();
    std::fs::write(
        directory.path().join("test/BellRang.schema.json"),
        schema.to_string(),
    )
    .unwrap();
    Catalog::with_directory(directory.path()).unwrap()
}

pub(super) fn app(name: &str) -> App {
    App {
        name: AppName::try_from(name.to_owned()).unwrap(),
        call_key_from_path: false,
        on_invalid: OnInvalid::Quarantine,
        on_unknown: OnUnknown::Route,
        pass_query: vec!["callerId".to_owned()],
        event_grid: EventGrid::Off,
        allowed_origins: Vec::new(),
        allowed_rate: None,
        rate: None,
        auth: Auth::None,
    }
}

/// The secret of the app `guarded`.
pub(super) const SECRET: &str = "planted-secret-of-guarded";

static SECRET_FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    file
});

fn guarded() -> Methods {
    let secret = |place| SharedSecret {
        place,
        value_file: SECRET_FILE.path().to_owned(),
    };
    Methods {
        shared_secret: vec![
            secret(SecretPlace::Query("code".to_owned())),
            secret(SecretPlace::Header("x-callback-key".to_owned())),
        ],
        ..Methods::default()
    }
}

fn both() -> Auth {
    Auth::Any(Methods {
        jwt: signed().jwt,
        ..guarded()
    })
}

/// Keys are not fetched in these tests.
fn signed() -> Methods {
    Methods {
        jwt: vec![Jwt {
            issuer: "https://issuer.example".to_owned(),
            audience: vec![Audience::Exact("contoso".to_owned())],
            keys: KeySource::Url("https://issuer.example/keys".parse().unwrap()),
            algorithms: vec![jsonwebtoken::Algorithm::RS256],
            leeway: Duration::ZERO,
            claims: vec![],
        }],
        ..Methods::default()
    }
}

/// Apps by name: `contoso` with every default, `strict` that rejects, `careful` that quarantines unknown types, `path`
/// with the path as call key, `grid` that answers both handshakes, `open` that consents to every origin, `guarded` with
/// a shared secret, `signed` with an issuer, `rated` with a burst of two callbacks; `closed-grid` and `open-grid` with
/// a shared secret and an issuer, of which only `open-grid` answers Event Grid's validation request without
/// credentials.
fn apps() -> Vec<App> {
    vec![
        app("contoso"),
        App {
            on_invalid: OnInvalid::Reject,
            on_unknown: OnUnknown::Reject,
            ..app("strict")
        },
        App {
            on_unknown: OnUnknown::Quarantine,
            ..app("careful")
        },
        App {
            call_key_from_path: true,
            ..app("path")
        },
        App {
            event_grid: EventGrid::Authenticated,
            allowed_origins: vec!["eventgrid.azure.net".to_owned(), "other.example".to_owned()],
            allowed_rate: NonZeroU32::new(600),
            ..app("grid")
        },
        App {
            allowed_origins: vec!["*".to_owned()],
            ..app("open")
        },
        App {
            rate: Some(Rate {
                per_second: NonZeroU32::MIN,
                burst: NonZeroU32::new(2).unwrap(),
            }),
            ..app("rated")
        },
        App {
            auth: Auth::Any(guarded()),
            ..app("guarded")
        },
        App {
            event_grid: EventGrid::Authenticated,
            auth: both(),
            ..app("closed-grid")
        },
        App {
            event_grid: EventGrid::Open,
            auth: both(),
            ..app("open-grid")
        },
        App {
            auth: Auth::Any(signed()),
            ..app("signed")
        },
    ]
}

/// Their authenticators; the registry is that of `/metrics`.
pub(super) fn authenticators(registry: &Registry) -> Arc<Authenticators> {
    let (authenticators, _refresher) =
        Authenticators::new(&apps(), registry, Arc::new(Health::default())).unwrap();
    Arc::new(authenticators)
}

pub(super) fn pipeline() -> Pipeline {
    let route = Route {
        name: "calls".into(),
        app: None,
        kinds: vec![crate::event::Kind::CallState],
        types: vec![],
        generations: vec![],
        filters: vec![],
        sink: Sink::Queue {
            name: "calls".into(),
            partitions: None,
            queue_type: QueueType::Quorum,
        },
    };
    let catalog = Arc::new(ArcSwap::new(CATALOG.clone()));
    Pipeline::new(apps(), vec![route], 10, catalog)
}

/// A valid event.
pub(super) fn rang(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "calling/callConnections/c1", "type": RANG,
        "data": { "callConnectionId": "c1", "correlationId": "r1" },
    })
}

/// An event without a member that its type requires.
pub(super) fn broken(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "s", "type": RANG, "data": { "correlationId": 7 },
    })
}

/// An event of a type without a row.
pub(super) fn strange(id: &str) -> Value {
    json!({ "specversion": "1.0", "id": id, "source": "s", "type": "Example.New", "data": {} })
}

pub(super) fn settings() -> IngressSettings {
    IngressSettings {
        limits: ServerLimits {
            body_limit_bytes: 4_096,
            request_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(20),
            header_limit: 64,
            head_limit_bytes: 16 * 1_024,
            connection_limit: 64,
            peer_connection_limit: 64,
            in_flight_limit: 16,
        },
        body_memory_bytes: 64 * 1_024,
        store_timeout: Duration::from_secs(20),
    }
}

/// [`settings`] with something else in it.
pub(super) fn settings_with(change: impl FnOnce(&mut IngressSettings)) -> IngressSettings {
    let mut settings = settings();
    change(&mut settings);
    settings
}

/// A public listener, and the other side of everything that it touches.
pub(super) struct Listener {
    pub(super) listening: Listening,
    pub(super) journal: FakeJournal,
    pub(super) ledger: Arc<Ledger>,
    pub(super) drift: Arc<DriftCounts>,
    pub(super) client: reqwest::Client,
    pub(super) callbacks: IngressMetrics,
    registry: Registry,
}

impl Listener {
    pub(super) fn open(settings: IngressSettings) -> Self {
        Self::listen(settings, None)
    }

    /// One with TLS.
    pub(super) fn with_identity(settings: IngressSettings, identity: Arc<Certificate>) -> Self {
        Self::listen(settings, Some(identity))
    }

    fn listen(settings: IngressSettings, identity: Option<Arc<Certificate>>) -> Self {
        let registry = new_registry().unwrap();
        let ledger = Arc::new(Ledger::default());
        let (intake, journal) = FakeJournal::open(ledger.clone());
        registry
            .register(Box::new(LedgerCollector::new(ledger.clone()).unwrap()))
            .unwrap();
        let drift = Arc::new(DriftCounts::default());
        let callbacks = IngressMetrics::register(&registry).unwrap();
        let ingress = Ingress {
            settings,
            authenticators: authenticators(&registry),
            pipeline: Arc::new(pipeline()),
            intake,
            ledger: ledger.clone(),
            drift: drift.clone(),
            metrics: callbacks.clone(),
            connection_metrics: ConnectionMetrics::register(&registry).unwrap(),
            identity,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            listening: serve(listener, ingress).unwrap(),
            journal,
            ledger,
            drift,
            client: reqwest::Client::new(),
            callbacks,
            registry,
        }
    }

    pub(super) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        self.client
            .post(format!("http://{}{path}", self.listening.address()))
            .header("content-type", "application/json")
            .body(body)
    }

    /// Sends `request` while the journal keeps what it is offered.
    pub(super) async fn kept(
        &mut self,
        request: reqwest::RequestBuilder,
    ) -> (reqwest::Response, Arc<Callback>) {
        let (response, waiting) = tokio::join!(request.send(), async {
            self.journal.next().await.unwrap().keep()
        });
        (response.unwrap(), waiting)
    }

    /// Sends `request` while `decide` determines the journal's answer.
    pub(super) async fn decided(
        &mut self,
        request: reqwest::RequestBuilder,
        decide: impl FnOnce(OfferedCallback),
    ) -> reqwest::Response {
        let (response, ()) = tokio::join!(request.send(), async {
            decide(self.journal.next().await.unwrap());
        });
        response.unwrap()
    }

    /// Sends `request`, expects a problem of this status that never reached the journal, and returns it.
    pub(super) async fn problem(&mut self, request: reqwest::RequestBuilder, status: u16) -> Value {
        let sent = request.send();
        let response = tokio::select! {
            response = sent => response.unwrap(),
            offered = self.journal.next() => panic!("offered to the journal: {offered:?}"),
        };
        problem_in(response, status).await
    }

    pub(super) fn metrics(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap()
    }

    /// Waits until `/metrics` has this line: some things are counted after the answer was sent.
    pub(super) async fn counted(&self, line: &str) {
        let found = tokio::time::timeout(Duration::from_secs(5), async {
            while !self.metrics().lines().any(|found| found == line) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(
            found.await.is_ok(),
            "{line} did not appear in\n{}",
            self.metrics()
        );
    }
}

/// Checks that `response` is a well-formed problem document and returns it.
pub(super) async fn problem_in(response: reqwest::Response, status: u16) -> Value {
    let found = response.status().as_u16();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let retry_after = response
        .headers()
        .get("retry-after")
        .map(|seconds| seconds.to_str().unwrap().parse::<u32>().unwrap());
    let problem: Value = response.json().await.unwrap();
    assert_eq!(found, status, "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    for member in ["type", "title", "detail"] {
        let text = problem[member].as_str().unwrap();
        assert!(!text.is_empty(), "{member} of {problem}");
    }
    assert!(problem["errors"].is_array(), "{problem}");
    let passes = matches!(status, 429 | 503);
    assert_eq!(retry_after.is_some(), passes, "{problem}");
    problem
}
