//! The pages of the admin listener, over HTTP.

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
