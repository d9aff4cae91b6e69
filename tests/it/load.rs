//! `hookswitch load` against the receiver: a good run is reported as good, also while connections are cut, and errors are
//! detected.

use std::{path::Path, time::Duration};

use lapin::{BasicProperties, options::BasicPublishOptions};
use serde_json::Value;

use crate::support::{Node, Receiver, connect, take_all, unique};

/// Runs it with the receiver's configuration; returns the exit code and the line of JSON.
async fn load(receiver: &Receiver, more: &[&str]) -> (Option<i32>, Value) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["load", "--json", "--config"])
        .arg(receiver.config())
        .args(more)
        .output()
        .await
        .expect("hookswitch runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let error = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    (output.status.code(), json)
}

/// A receiver with a partitioned queue of all events and a second one of the digits, on a private node: quarantined and
/// unrouted events of other tests must not appear here.
async fn receiver(node: &Node) -> (Receiver, String) {
    let stem = unique("load");
    let mut receiver = Receiver::new(&format!(
        r#"
[broker]
url = "{}"

[[apps]]
name = "it"
auth = "none"

[[routes]]
name = "all"
queue = "{stem}.calls"
partitions = 3

[[routes]]
name = "digits"
kinds = ["DtmfReceived"]
queue = "{stem}.digits"
"#,
        node.url()
    ));
    receiver.start().await;
    (receiver, stem)
}

/// Checks that the run has no breach.
#[track_caller]
fn assert_good(code: Option<i32>, json: &Value, events: u64) {
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["ok"], true, "{json}");
    assert_eq!(json["accepted"], events, "{json}");
    assert_eq!(json["delivered"], events, "{json}");
    for member in [
        "lost",
        "unknown",
        "altered",
        "misplaced",
        "inverted",
        "repeats_apart",
        "sequence_gaps",
        "quarantined",
        "refused",
        "foreign",
    ] {
        assert_eq!(json[member], 0, "{member}: {json}");
    }
    assert_eq!(json["breaches"], serde_json::json!([]));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_run_of_all_generations_is_called_good() {
    let node = Node::start();
    let (mut receiver, stem) = receiver(&node).await;
    let twenty = ["--calls", "20", "--events", "20", "--generations", "all"];

    let (code, json) = load(&receiver, &twenty).await;
    assert_good(code, &json, 400);
    assert_eq!(json["answers"]["202"], 400);
    let digits = json["queues"][format!("{stem}.digits")]["messages"].as_u64();
    assert!(digits.is_some_and(|digits| digits > 0), "{json}");
    assert_eq!(json["messages"].as_u64(), digits.map(|digits| 400 + digits));

    // Arrays, on a schedule, and copies that the receiver must detect.
    let more = ["--batch", "6", "--rate", "200", "--duplicates", "0.3"];
    let (code, json) = load(&receiver, &[&twenty[..], &more].concat()).await;
    assert_good(code, &json, 400);
    assert_eq!(json["callbacks"], 80);
    assert!(json["duplicates"].as_u64() > Some(0), "{json}");
    assert_eq!(json["repeats"], 0, "{json}");

    // Sent now and verified later by another process, which has only the ledger.
    let ledger = receiver.dir().join("ledger");
    let (code, json) = load(
        &receiver,
        &[&twenty[..], &["--send-only", "--ledger", text(&ledger)]].concat(),
    )
    .await;
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["accepted"], 400);
    assert_eq!(json["messages"], Value::Null);
    receiver.until_nothing_pending().await;
    // A run does not start if it would consume messages that another run must verify.
    let refused = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["load", "--config", text(&receiver.config())])
        .output()
        .await
        .expect("hookswitch runs");
    assert_eq!(refused.status.code(), Some(1));
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("messages already"), "{error}");
    let (code, json) = load(&receiver, &["--verify-only", "--ledger", text(&ledger)]).await;
    assert_good(code, &json, 400);
    assert_eq!(json["answers"], Value::Null);
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_while_connections_are_cut_every_second_lose_and_invert_nothing() {
    let node = Node::start();
    let (mut receiver, _) = receiver(&node).await;
    let options = [
        "--calls",
        "200",
        "--events",
        "50",
        "--connections",
        "64",
        "--idle",
        "60s",
    ];
    // Closes the receiver's connections and the verifier's, but only after the verifier has inspected the queues, which it does
    // once: on a busy machine a second may be too short for that.
    let cutting = async {
        receiver
            .until_metric("hookswitch_publish_total{result=\"ack\"}", |acks| {
                acks > 0.0
            })
            .await;
        node.close_connections_every_second(120);
    };
    let ((code, json), ()) = tokio::join!(load(&receiver, &options), cutting);
    assert_good(code, &json, 10_000);
    println!(
        "connections cut every second: {} repeats in a row, {} redelivered by the broker, {} s",
        json["repeats"], json["redelivered"], json["seconds_total"]
    );
    assert_eq!(receiver.stop(), Some(0));
}

/// Sends without verifying, lets `meddle` change the queues, and returns the verifier's result.
async fn after_meddling(
    receiver: &Receiver,
    meddle: impl AsyncFnOnce(&Path),
) -> (Option<i32>, Value) {
    let ledger = receiver.dir().join("ledger");
    let options = ["--calls", "6", "--events", "10", "--send-only", "--ledger"];
    let (code, json) = load(receiver, &[&options[..], &[text(&ledger)]].concat()).await;
    assert_eq!(code, Some(0), "{json}");
    receiver.until_nothing_pending().await;
    meddle(&ledger).await;
    let options = ["--verify-only", "--idle", "2s", "--ledger", text(&ledger)];
    load(receiver, &options).await
}

/// Takes the first message out of the first queue of `stem` that has one.
async fn take_one(node: &Node, stem: &str) -> (String, Vec<u8>) {
    for queue in (0..3).map(|number| format!("{stem}.calls.{number}")) {
        let idle_timeout = Duration::from_secs(2);
        let taken = take_all(node.url(), &queue, idle_timeout, |taken| !taken.is_empty()).await;
        if let Some(first) = taken.into_iter().next() {
            return (queue, first.body);
        }
    }
    panic!("no queue of {stem} has a message");
}

async fn put(node: &Node, queue: &str, body: &[u8]) {
    let connection = connect(node.url()).await;
    let channel = connection.create_channel().await.expect("a channel");
    let confirmed = channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions::default(),
            body,
            BasicProperties::default(),
        )
        .await;
    confirmed.expect("published");
    // Closing returns after all earlier operations are done.
    connection.close(200, "done".into()).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_changed_and_extra_messages_are_reported() {
    let node = Node::start();
    let (mut receiver, stem) = receiver(&node).await;

    // The ledger has an event that was never sent.
    let (code, json) = after_meddling(&receiver, async |ledger: &Path| {
        let mut lines = std::fs::read_to_string(ledger).expect("the ledger");
        let last = lines.lines().last().expect("a line").to_owned();
        let more = last
            .replace("\"event\":9,", "\"event\":10,")
            .replace("00000009\"", "0000000a\"");
        assert_ne!(more, last);
        lines.push_str(&more);
        std::fs::write(ledger, lines).expect("written");
    })
    .await;
    assert_eq!(code, Some(1), "{json}");
    assert_eq!((&json["lost"], &json["delivered"]), (&1.into(), &60.into()));
    let said = json["breaches"][0].as_str().expect("a breach");
    assert!(said.starts_with("lost 1: call 5 event 10 "), "{said}");

    // A message is missing.
    let (code, json) = after_meddling(&receiver, async |_: &Path| {
        take_one(&node, &stem).await;
    })
    .await;
    assert_eq!(code, Some(1), "{json}");
    assert_eq!(json["lost"], 1, "{json}");
    assert_eq!(json["altered"], 0, "{json}");

    // A message was changed: one byte after its id.
    let (code, json) = after_meddling(&receiver, async |_: &Path| {
        let (queue, body) = take_one(&node, &stem).await;
        let text = String::from_utf8(body).expect("UTF-8");
        let changed = text.replacen("specversion\":\"1.0\"", "specversion\":\"1.1\"", 1);
        assert_ne!(changed, text);
        put(&node, &queue, changed.as_bytes()).await;
    })
    .await;
    assert_eq!(code, Some(1), "{json}");
    assert_eq!((&json["lost"], &json["altered"]), (&0.into(), &1.into()));

    // A message came twice, with others in between; another one is not in the ledger.
    let (code, json) = after_meddling(&receiver, async |ledger: &Path| {
        let (queue, body) = take_one(&node, &stem).await;
        put(&node, &queue, &body).await;
        put(&node, &queue, &body).await;
        let lines = std::fs::read_to_string(ledger).expect("the ledger");
        let without: Vec<&str> = lines.lines().take(59).collect();
        std::fs::write(ledger, without.join("\n")).expect("written");
    })
    .await;
    assert_eq!(code, Some(1), "{json}");
    assert_eq!(json["lost"], 0, "{json}");
    // After the end of its call the first event comes again, and once more directly after that.
    assert_eq!(json["inverted"], 1, "{json}");
    assert_eq!(json["repeats"], 1, "{json}");
    assert_eq!(json["unknown"], 1, "{json}");
    assert_eq!(receiver.stop(), Some(0));
}
