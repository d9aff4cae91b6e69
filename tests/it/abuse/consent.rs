//! Storms of handshakes: from made-up origins, each with an address to be called, and validation requests without credentials.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::support::unique;

use super::{
    Stage,
    client::{Client, callback, head},
    process::Process,
};

const ALLOWED: &str = "eventgrid.azure.net";

/// Senders at once.
const SENDERS: usize = 8;

/// The growth that is allowed for another ten thousand handshakes: pages of the allocator, but no memory per handshake.
const GROWTH_KIB: u64 = 4 * 1_024;

/// A listener that must never be called.
struct UncalledListener {
    port: u16,
    called: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl UncalledListener {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let called = Arc::new(AtomicUsize::new(0));
        let count = called.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            port,
            called,
            _task: task,
        }
    }

    fn called(&self) -> usize {
        self.called.load(Ordering::Relaxed)
    }
}

/// Each sender makes `each` requests, one in ten for the allowed origin. Returns the number of granted ones.
async fn storm(stage: &Stage, uncalled: &UncalledListener, name: &str, each: usize) -> usize {
    let senders = (0..SENDERS).map(|sender| async move {
        let mut client = Client::from(sender, stage.port())
            .await
            .expect("a connection");
        let mut granted = 0;
        for number in 0..each {
            let made_up = format!("{name}-{sender}-{number}.example");
            let allowed = number % 10 == 0;
            let origin = if allowed { ALLOWED } else { &made_up };
            let port = uncalled.port;
            let asking = format!(
                "WebHook-Request-Origin: {origin}\r\nWebHook-Request-Rate: 120\r\n\
                 WebHook-Request-Callback: http://127.0.0.1:{port}/{made_up}\r\n"
            );
            client
                .say(head("OPTIONS /callbacks/hostile", &asking))
                .await;
            let answer = client.answer().await;
            assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{answer:?}");
            let consent = answer
                .head
                .to_ascii_lowercase()
                .contains("webhook-allowed-origin");
            assert_eq!(consent, allowed, "{answer:?}");
            granted += usize::from(allowed);
        }
        granted
    });
    join_all(senders).await.into_iter().sum()
}

async fn metrics(stage: &Stage) -> String {
    let answer = reqwest::get(stage.receiver.metrics_url()).await;
    answer.expect("an answer").text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_handshakes_is_answered_and_leaves_no_trace() {
    let asks = format!("auth = \"none\"\nevent_grid = true\nallowed_origins = [\"{ALLOWED}\"]");
    let stage = Stage::start("", &asks).await;
    let normal = stage.normal();
    let uncalled = UncalledListener::open().await;
    let name = unique("origin");
    let process = Process::of(&stage.receiver);
    normal.window().await;

    // Normal callbacks continue: each is answered 202 at its first attempt.
    let (granted, p99) = tokio::join!(storm(&stage, &uncalled, &name, 1_250), normal.window());
    let lines = metrics(&stage).await.lines().count();
    let before = process.resident_kib();
    let more = storm(&stage, &uncalled, &name, 1_250).await;
    let grown = process.resident_kib().saturating_sub(before);

    let text = metrics(&stage).await;
    assert_eq!(text.lines().count(), lines, "no series was added");
    assert!(!text.contains(&name), "no origin is a label");
    assert!(!stage.receiver.log().contains(&name), "no origin is logged");
    let asked = 2 * SENDERS * 1_250;
    for (outcome, count) in [
        ("granted", granted + more),
        ("refused", asked - granted - more),
    ] {
        let line = format!(
            "hookswitch_handshakes_total{{kind=\"cloud_events\",outcome=\"{outcome}\"}} {count}"
        );
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    println!(
        "{asked} handshakes: p99 of normal callbacks {p99:.1} ms meanwhile, {grown} KiB more memory for the second half"
    );
    assert!(grown < GROWTH_KIB, "{grown} KiB");
    assert_eq!(
        uncalled.called(),
        0,
        "an address named in a handshake was called"
    );
    stage.end().await;
}

/// Bodies without credentials, each with whether it is a validation request.
fn validation_requests() -> Vec<(bool, String)> {
    let validation = |subject: &str| {
        json!({
            "id": "1", "topic": "/subscriptions/x", "subject": subject, "eventTime": "2026-11-21T12:00:00Z",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "dataVersion": "2",
            "metadataVersion": "1", "data": { "validationCode": "a-code" },
        })
    };
    let (one, large) = (validation(""), validation(&"x".repeat(9_000)));
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": "Example.Type", "data": {},
    });
    vec![
        (true, json!([one]).to_string()),
        (false, json!([event]).to_string()),
        (false, json!([one, event]).to_string()),
        (false, json!([event, one]).to_string()),
        (false, json!([one, one]).to_string()),
        (false, one.to_string()),
        (false, json!([large]).to_string()),
        (false, "[".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_validation_requests_is_answered_a_few_times_and_stores_nothing() {
    let asks = "event_grid = { handshake = \"open\" }\n\
                auth = { acs = { resource_id = \"00000000-0000-4000-8000-000000009100\" } }";
    let stage = Stage::start("", asks).await;
    let normal = stage.normal();
    let begun = std::time::Instant::now();
    let storm = async {
        let senders = (0..SENDERS).map(|sender| {
            let stage = &stage;
            async move {
                let mut statuses = Vec::new();
                for _ in 0..25 {
                    for (is_validation, body) in validation_requests() {
                        // A large body closes its connection.
                        let mut client = Client::from(sender, stage.port())
                            .await
                            .expect("a connection");
                        client.say(callback("hostile", &body)).await;
                        let answer = client.answer().await;
                        assert!(
                            answer.status == 401
                                || is_validation && [200, 429].contains(&answer.status),
                            "{body}: {answer:?}"
                        );
                        statuses.push(answer.status);
                    }
                }
                statuses
            }
        });
        join_all(senders).await.concat()
    };
    let (statuses, p99) = tokio::join!(storm, normal.window());
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let (granted, too_often, refused) = (count(200), count(429), count(401));
    // Twelve at once and then one in ten seconds.
    let most = 13 + usize::try_from(begun.elapsed().as_secs() / 10).expect("a short while");
    assert!(
        (12..=most).contains(&granted),
        "{granted}, expected at most {most}"
    );
    assert_eq!(granted + too_often, SENDERS * 25);
    assert_eq!(refused, SENDERS * 25 * 7);
    let text = metrics(&stage).await;
    for line in [
        format!(
            "hookswitch_handshakes_total{{kind=\"event_grid_open\",outcome=\"granted\"}} {granted}"
        ),
        format!(
            "hookswitch_handshakes_total{{kind=\"event_grid_open\",outcome=\"refused\"}} {too_often}"
        ),
        format!("hookswitch_auth_refusals_total{{app=\"hostile\",class=\"missing\"}} {refused}"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Only the normal callbacks.
    assert!(
        text.lines()
            .any(|line| line == "hookswitch_events_received_total 500"),
        "{text}"
    );
    println!(
        "{} requests without credentials: {granted} consents, p99 of normal callbacks {p99:.1} ms meanwhile",
        statuses.len()
    );
    stage.end().await;
}
