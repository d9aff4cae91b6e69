//! A flood of refused callbacks on one app does not affect the others.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::support::{call_events, unique};

use super::{
    Stage,
    client::{Client, callback, head},
};

const SENDERS: usize = 32;

/// Sends each kind of bad request in turn until it is cancelled. Returns the number of answers by status; 0 if the
/// connection was closed without one.
async fn flood(number: usize, port: u16, over: &CancellationToken) -> BTreeMap<u16, usize> {
    let (_, body) = call_events(&unique("call"), 1).remove(0);
    let wrong = callback("hostile", &body).replacen("Host", "X-Callback-Key: wrong\r\nHost", 1);
    let large =
        head("POST /callbacks/hostile", "Content-Length: 1000000\r\n") + &" ".repeat(100_000);
    let mut statuses = BTreeMap::new();
    let mut client = None;
    for bytes in [callback("hostile", &body), wrong, large].iter().cycle() {
        if over.is_cancelled() {
            break;
        }
        let mut open = match client.take() {
            Some(open) => open,
            None => Client::from(number, port).await.expect("a connection"),
        };
        let answer = match open.try_say(bytes).await {
            Ok(()) => open.try_answer().await,
            Err(_) => None,
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        *statuses.entry(status).or_default() += 1;
        // Its body was not read, so the next request needs a new connection.
        let closes = |head: &str| head.to_ascii_lowercase().contains("connection: close");
        client = answer
            .is_some_and(|answer| !closes(&answer.head))
            .then_some(open);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_flood_does_not_stop_another_apps_callbacks() {
    let mut stage = Stage::prepare(
        "",
        "auth = { shared_secret = [{ header = \"x-callback-key\", value_file = \"SECRETS\" }] }",
    );
    let secrets = stage.receiver.dir().join("secrets");
    std::fs::write(&secrets, "secret-of-the-flood").expect("written");
    let text = std::fs::read_to_string(stage.receiver.config()).expect("the configuration");
    let text = text.replace("SECRETS", secrets.to_str().expect("UTF-8"));
    std::fs::write(stage.receiver.config(), text).expect("written");
    stage = stage.started().await;

    let normal = stage.normal();
    normal.window().await;
    let files = stage.open_files().await;
    let over = CancellationToken::new();
    let floods = join_all((0..SENDERS).map(|number| flood(number, stage.port(), &over)));
    let meanwhile = async {
        let p99 = normal.window().await;
        over.cancel();
        p99
    };
    let (floods, p99) = tokio::join!(floods, meanwhile);
    let mut statuses = BTreeMap::<u16, usize>::new();
    for (status, count) in floods.into_iter().flatten() {
        *statuses.entry(status).or_default() += count;
    }
    println!("a flood, by status {statuses:?}: p99 of normal callbacks {p99:.1} ms meanwhile");
    let refused = statuses.remove(&401).unwrap_or_default();
    assert!(refused > 500, "{refused} were 401");
    // A large one gets 401 before its body is read; if the sender goes on, the close may overtake the answer.
    let unheard = statuses.remove(&0).unwrap_or_default();
    assert!(statuses.is_empty(), "{statuses:?}");
    assert!(unheard <= refused / 2, "{unheard} heard nothing");
    stage.is_left_by_all(files).await;
    stage.end().await;
}
