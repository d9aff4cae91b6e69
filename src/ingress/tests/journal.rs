//! The public listener in front of a real journal: the answers, the durable events and the counters agree.

use std::{net::TcpListener, sync::Arc, time::Duration};

use prometheus::TextEncoder;
use serde_json::{Value, json};

use crate::{
    config,
    journal::{self, FeedItem, StatusHandles},
    status::{DriftCounts, Health, Ledger, LedgerCollector, LedgerCounts, LiveFeed, new_registry},
};

use crate::ingress::{
    Ingress, IngressMetrics, serve,
    test_support::{authenticators, broken, pipeline, rang, settings, strange},
};

#[tokio::test]
async fn the_law_of_received_events_holds_with_a_real_journal() {
    let directory = tempfile::tempdir().unwrap();
    let registry = new_registry().unwrap();
    let ledger = Arc::new(Ledger::default());
    let collector = LedgerCollector::new(ledger.clone()).unwrap();
    registry.register(Box::new(collector)).unwrap();
    let handles = StatusHandles {
        ledger: ledger.clone(),
        health: Arc::new(Health::default()),
        live: LiveFeed::default(),
        registry: registry.clone(),
    };
    let limits = config::Journal {
        path: directory.path().join("journal"),
        limit_bytes: 1_024 * 1_024,
        destination_share: 1.0,
        limit_deliveries: 5,
        stall_timeout: Duration::from_secs(3),
        liveness_timeout: Duration::from_secs(60),
    };
    let opened = tokio::task::spawn_blocking(move || journal::open(&limits, &handles).unwrap())
        .await
        .unwrap();
    let ingress = Ingress {
        settings: settings(),
        authenticators: authenticators(&registry),
        pipeline: Arc::new(pipeline()),
        intake: opened.intake,
        ledger: ledger.clone(),
        drift: Arc::new(DriftCounts::default()),
        metrics: IngressMetrics::register(&registry).unwrap(),
        connection_metrics: crate::http::ConnectionMetrics::register(&registry).unwrap(),
        identity: None,
    };
    let listening = serve(TcpListener::bind("127.0.0.1:0").unwrap(), ingress).unwrap();
    let client = reqwest::Client::new();
    let post = async |app: &str, body: Value| {
        let url = format!("http://{}/callbacks/{app}", listening.address());
        let response = client
            .post(url)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };

    let first = json!([rang("1"), rang("1"), broken("2"), strange("3")]);
    let (status, answer) = post("contoso", first.clone()).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(answer["quarantined"][0]["index"], 2);
    let (status, answer) = post("contoso", first).await;
    assert_eq!(
        (status, answer),
        (
            202,
            json!({ "accepted": 0, "duplicates": 4, "quarantined": [] })
        )
    );
    let (status, _) = post("strict", json!([rang("4"), broken("5")])).await;
    assert_eq!(status, 422);
    let more: Vec<Value> = (6..10).map(|n| rang(&n.to_string())).collect();
    let (status, answer) = post("contoso", Value::from(more)).await;
    assert_eq!(status, 503, "{answer}");
    let (status, _) = post("contoso", json!([])).await;
    assert_eq!(status, 400);

    let counts = ledger.snapshot();
    assert_eq!(
        counts,
        LedgerCounts {
            received: 14,
            accepted: 2,
            duplicate: 5,
            quarantined: 1,
            refused: 6,
            owed: 3,
            pending: 3,
            ..LedgerCounts::default()
        }
    );
    let text = TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for line in [
        "hookswitch_events_received_total 14",
        "hookswitch_events_rejected_total{reason=\"invalid\"} 2",
        "hookswitch_events_rejected_total{reason=\"journal_full\"} 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let mut owed = 0;
    let mut feed = opened.feed;
    while let Ok(FeedItem::Pending(deliveries)) = feed.try_recv() {
        owed += deliveries.len();
    }
    assert_eq!(owed, 3);
    assert!(listening.stop(Duration::from_secs(10)).await);
    tokio::task::spawn_blocking(move || opened.closer.close())
        .await
        .unwrap();
}
