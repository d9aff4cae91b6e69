//! Ten thousand senders that keep their connections open after one answer.

use futures_util::future::join_all;

use crate::support::{call_events, skipped, unique};

use super::{
    OPEN, Stage,
    client::{Client, callback},
    process::{Process, may_open},
};

const IDLE: usize = 10_000;

/// Receiver memory allowed for each.
const KIB_EACH: u64 = 50;

/// Posts one callback from each of `count` senders, 64 at a time, and returns their connections.
async fn answered_once(port: u16, count: usize) -> Vec<Client> {
    const LANES: usize = 64;
    let run = unique("idle");
    let run = run.as_str();
    let lanes = (0..LANES).map(|lane| async move {
        let mut clients = Vec::new();
        for number in (lane..count).step_by(LANES) {
            let (_, body) = call_events(&format!("{run}-{number}"), 1).remove(0);
            let mut client = Client::from(number, port).await.expect("a connection");
            client.say(callback("hostile", &body)).await;
            assert_eq!(client.answer().await.status, 202);
            clients.push(client);
        }
        clients
    });
    join_all(lanes).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_take_at_most_50_kib_each() {
    // The receiver has its own limit.
    if !may_open(IDLE as u64 + 4_000) {
        skipped(&format!("this process may not open {} files", IDLE + 4_000));
        return;
    }
    let stage = Stage::start("connection_limit = 20000", OPEN).await;
    let normal = stage.normal();
    let process = Process::of(&stage.receiver);
    // Memory that any work needs is allocated before.
    normal.window().await;
    drop(answered_once(stage.port(), 500).await);
    let files = stage.open_files().await;
    stage.is_left_by_all(files).await;
    stage.receiver.until_nothing_pending().await;
    let before = process.resident_kib();

    let clients = answered_once(stage.port(), IDLE).await;
    stage.receiver.until_nothing_pending().await;
    let after = process.resident_kib();
    let open = process.open_files();
    assert!(open >= IDLE, "{open} files");
    let each = after.saturating_sub(before) as f64 / IDLE as f64;
    println!(
        "{IDLE} idle connections: {each:.1} KiB each, {} MiB before, {} MiB with them",
        before / 1_024,
        after / 1_024
    );
    assert!(after <= before + IDLE as u64 * KIB_EACH, "{each} KiB each");

    let p99 = normal.window().await;
    println!("normal callbacks beside them: p99 {p99:.1} ms");
    let quiet = clients.iter().filter(|client| client.is_quiet()).count();
    assert_eq!(quiet, IDLE, "no connection was evicted");
    drop(clients);
    stage.is_left_by_all(files).await;
    stage.end().await;
}
