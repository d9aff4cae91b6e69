//! Pipelined requests, interim answers, and senders that fall silent.

use std::time::Duration;

use crate::support::{call_events, check_calls, take_all, unique};

use super::{
    OPEN, Stage,
    client::{Client, callback, head},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_each_once_and_their_events_stay_in_order() {
    let stage = Stage::start("", OPEN).await;
    let call = unique("call");
    let events = call_events(&call, 60);
    let (mut breath, mut expected) = (String::new(), Vec::new());
    for (number, (_, body)) in events.iter().enumerate() {
        breath += &callback("it", body);
        expected.push((202, "\"accepted\":1"));
        match number % 4 {
            0 => {
                breath += &callback("it", body);
                expected.push((202, "\"duplicates\":1"));
            }
            1 => {
                breath += &callback("it", "{");
                expected.push((400, "not-a-callback"));
            }
            2 => {
                breath += &head("GET /callbacks/it", "");
                expected.push((405, "POST"));
            }
            _ => {}
        }
    }
    let mut client = Client::open(stage.port()).await;
    client.say(&breath).await;
    for (number, (status, word)) in expected.iter().enumerate() {
        let answer = client.answer().await;
        assert_eq!(answer.status, *status, "answer {number}: {answer:?}");
        assert!(answer.body.contains(word), "answer {number}: {answer:?}");
    }
    client.falls_silent().await;
    assert_eq!(client.rest().await, "", "each is answered once");
    let idle_timeout = Duration::from_secs(10);
    let taken = take_all(&stage.amqp, &stage.queue, idle_timeout, |taken| {
        taken.len() >= 60
    })
    .await;
    let ids = events.iter().map(|(id, _)| id.clone()).collect();
    let sent = [(call, ids)].into_iter().collect();
    assert_eq!(check_calls(&stage.queue, &[taken], &sent), 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_waits_for_100_is_told_to_go_on_and_then_answered() {
    let stage = Stage::start("", OPEN).await;
    let (_, body) = call_events(&unique("call"), 1).remove(0);
    let whole = callback("it", &body).replacen("Host", "Expect: 100-continue\r\nHost", 1);
    let (head, body) = whole.split_once("\r\n\r\n").expect("a head");
    let mut client = Client::open(stage.port()).await;
    client.say(format!("{head}\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.say(body).await;
    assert_eq!(client.answer().await.status, 202);
    // Without waiting, and the connection stays usable.
    client.say(whole).await;
    assert_eq!(client.answer().await.status, 100);
    let answer = client.answer().await;
    assert_eq!(answer.status, 202);
    assert!(answer.body.contains("\"duplicates\":1"), "{answer:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_falls_silent_after_whole_requests_is_still_answered() {
    let stage = Stage::start("", OPEN).await;
    let call = unique("call");
    let events = call_events(&call, 3);
    let mut client = Client::open(stage.port()).await;
    let breath: String = events
        .iter()
        .map(|(_, body)| callback("it", body))
        .collect();
    client.say(breath).await;
    client.falls_silent().await;
    for _ in &events {
        assert_eq!(client.answer().await.status, 202);
    }
    assert_eq!(client.rest().await, "");
    let idle_timeout = Duration::from_secs(10);
    let taken = take_all(&stage.amqp, &stage.queue, idle_timeout, |taken| {
        taken.len() >= 3
    })
    .await;
    let ids = events.iter().map(|(id, _)| id.clone()).collect();
    let sent = [(call, ids)].into_iter().collect();
    assert_eq!(check_calls(&stage.queue, &[taken], &sent), 0);
    stage.end().await;
}
