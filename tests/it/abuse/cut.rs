//! Senders that disconnect in the middle of a callback, at every byte of it.

use std::time::Duration;

use crate::support::{Scraper, call_events, take_all, unique};

use super::{
    OPEN, Stage,
    client::{Client, callback, chunked_head},
};

/// How a sender stops.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// It closes the connection.
    HangUp,
    /// It sends no more, and reads the answer.
    FallSilent,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_cut_at_any_byte_leaves_nothing_behind() {
    let stage = Stage::start("", OPEN).await;
    let files = stage.open_files().await;
    let scraper = Scraper::start(stage.receiver.metrics_url());
    let call = unique("call");
    let (id, body) = call_events(&call, 1).remove(0);
    // Two chunks, so that one ends in the middle.
    let (first, second) = body.split_at(200);
    let in_chunks = format!(
        "{}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        chunked_head("it"),
        first.len(),
        second.len()
    );
    let mut cuts = 0;
    for whole in [callback("it", &body), in_chunks] {
        for leave in [Leave::HangUp, Leave::FallSilent] {
            for end in 0..whole.len() {
                let mut client = Client::open(stage.port()).await;
                client.say(whole.as_bytes().split_at(end).0).await;
                cuts += 1;
                if let Leave::FallSilent = leave {
                    client.falls_silent().await;
                    let told = client.rest().await;
                    assert!(
                        told.is_empty() || told.starts_with("HTTP/1.1 4"),
                        "{leave:?} after {end} bytes: {told}"
                    );
                }
            }
        }
    }
    stage.is_left_by_all(files).await;
    let metric = async |name: &str| stage.receiver.metric(name).await.expect("it is there");
    assert_eq!(metric("hookswitch_events_received_total").await, 0.0);
    assert_eq!(metric("hookswitch_journal_records").await, 0.0);
    assert_eq!(
        metric("hookswitch_callbacks_total{outcome=\"accepted\"}").await,
        0.0
    );
    let mut seen = 0.0;
    for outcome in ["abandoned", "bad_request"] {
        seen += metric(&format!(
            "hookswitch_callbacks_total{{outcome=\"{outcome}\"}}"
        ))
        .await;
    }
    // All callbacks that were cut within the body.
    assert!(seen >= 2.0 * body.len() as f64, "{seen} begun callbacks");

    // Nothing in the duplicate window either.
    let mut client = Client::open(stage.port()).await;
    client.say(callback("it", &body)).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 202);
    assert!(answer.body.contains("\"accepted\":1"), "{answer:?}");
    stage.receiver.until_nothing_pending().await;
    scraper.finish().await;
    let taken = take_all(&stage.amqp, &stage.queue, Duration::from_secs(1), |_| false).await;
    let ids: Vec<&str> = taken.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, [id]);
    println!("a callback cut {cuts} times, at every byte: nothing of it was kept");
    stage.end().await;
}
