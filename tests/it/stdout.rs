//! `stdout:` in place of a broker.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    time::Duration,
};

use serde_json::Value;

use crate::support::{Calls, Receiver, call_events, post};

fn config(delivery: &str, broker: &str) -> String {
    format!(
        "[delivery]\n{delivery}\n\n[broker]\nurl = \"stdout:\"\n{broker}\n\n\
         [[apps]]\nname = \"it\"\nauth = \"none\"\n\n[[routes]]\nname = \"all\"\nqueue = \"q\"\n"
    )
}

/// Posts four calls with a hundred events each: far more than a pipe takes.
async fn fill_the_pipe(receiver: &Receiver) {
    let client = reqwest::Client::new();
    for call in 0..4 {
        let events: Vec<Value> = call_events(&format!("call-{call}"), 100)
            .iter()
            .flat_map(|(_, body)| serde_json::from_str::<Vec<Value>>(body).expect("an array"))
            .collect();
        let body = Value::from(events).to_string();
        post(&client, &receiver.callback_url("it"), &body)
            .await
            .expect("an answer");
    }
}

/// The event ids of these calls.
fn calls_of_the_pipe() -> BTreeMap<String, Vec<String>> {
    let calls = (0..4).map(|call| format!("call-{call}"));
    calls
        .map(|call| {
            let ids = call_events(&call, 100).into_iter().map(|(id, _)| id);
            let ids = ids.collect();
            (call, ids)
        })
        .collect()
}

/// The event ids of each call, in the order in which they were printed.
fn ids_by_call<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<String>> {
    let mut calls: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in lines {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |at: &str| {
            line.pointer(at)
                .and_then(Value::as_str)
                .expect(at)
                .to_owned()
        };
        assert_eq!(text("/queue"), "q");
        assert_eq!(text("/event/id"), text("/id"));
        calls.entry(text("/call")).or_default().push(text("/id"));
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_kill_each_call_goes_on_where_it_was() {
    let mut receiver = Receiver::new(&config("", ""));
    receiver.start().await;
    let mut calls = Calls::new(receiver.callback_url("it"), 5);
    for _ in 0..4 {
        calls.send(10).await;
        receiver.kill();
        receiver.start().await;
    }
    receiver.until_nothing_pending().await;
    assert_eq!(receiver.stop(), Some(0));
    let printed = receiver.printed();
    let mut printed = ids_by_call(printed.lines());
    // What was printed and not yet recorded when it was killed is printed again, right behind itself.
    printed.values_mut().for_each(Vec::dedup);
    assert_eq!(printed, calls.expected().into_iter().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_reads_again_gets_every_line_once() {
    let mut receiver = Receiver::new(&config("stall_timeout = \"1s\"", ""));
    receiver.leave_output_unread();
    receiver.start().await;
    fill_the_pipe(&receiver).await;
    let why = receiver.until_destination("queue q", "stalled").await;
    assert!(why.contains("stall_timeout"), "{why}");
    // Until a connection to a broker would have been cut.
    let age = "hookswitch_publish_oldest_unconfirmed_age_seconds";
    receiver.until_metric(age, |age| age > 2.5).await;

    let output = BufReader::new(receiver.output());
    let reading = tokio::task::spawn_blocking(move || {
        let lines = output.lines().take(401);
        lines.map(|line| line.expect("text")).collect::<Vec<_>>()
    });
    receiver.until_destination("queue q", "ready").await;
    receiver.until_nothing_pending().await;
    let mut after = Calls::new(receiver.callback_url("it"), 1);
    after.send(1).await;
    let lines = reading.await.expect("it reads");
    let printed = ids_by_call(lines.iter().map(String::as_str));
    let mut expected = calls_of_the_pipe();
    expected.extend(after.expected());
    assert_eq!(printed, expected);
    receiver.until_nothing_pending().await;
    assert_eq!(
        receiver
            .metric("hookswitch_publish_total{result=\"ack\"}")
            .await,
        Some(401.0)
    );
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_ends_is_the_end_of_the_receiver() {
    let mut receiver = Receiver::new(&config("", ""));
    receiver.leave_output_unread();
    receiver.start().await;
    drop(receiver.output());
    Calls::new(receiver.callback_url("it"), 1).send(1).await;
    assert_eq!(receiver.ended().await, Some(70));
    let log = receiver.log();
    assert!(
        log.contains("cannot write deliveries to standard output"),
        "{log}"
    );
    let why = std::io::Error::from_raw_os_error(rustix::io::Errno::PIPE.raw_os_error());
    assert!(log.contains(&why.to_string()), "{log}");
    // What was not printed is still there.
    receiver.read_output();
    receiver.start().await;
    receiver.until_nothing_pending().await;
    assert_eq!(receiver.printed().lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_would_not_be_sent_is_printed_from_quarantine() {
    let mut receiver = Receiver::new(&config("", "max_message_bytes = 2048"));
    receiver.start().await;
    let client = reqwest::Client::new();
    let url = receiver.callback_url("it");
    let events = call_events("call-1", 3);
    for (n, (_, body)) in events.iter().enumerate() {
        let mut body: Value = serde_json::from_str(body).expect("JSON");
        if n == 1 {
            body[0]["data"]["padding"] = "x".repeat(4_000).into();
        }
        let answer = post(&client, &url, &body.to_string())
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    receiver.until_nothing_pending().await;
    let printed = receiver.printed();
    let (kept, moved): (Vec<Value>, Vec<Value>) = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .partition(|line: &Value| line["queue"] == "q");
    let ids: Vec<_> = kept.iter().map(|line| line["id"].as_str()).collect();
    assert_eq!(ids, [Some(&*events[0].0), Some(&*events[2].0)]);
    let [moved] = moved.as_slice() else {
        panic!("{moved:?}")
    };
    assert_eq!(moved["queue"], "hookswitch.quarantine");
    assert_eq!(moved["id"], events[1].0);
    assert_eq!(moved["reason"], "unsendable");
    assert!(
        moved["errors"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("max_message_bytes")),
        "{moved}"
    );
    assert!(
        moved["body_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 4_000),
        "{moved}"
    );
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_although_nobody_reads_the_printed_deliveries() {
    for mode in ["journal", "confirm"] {
        let delivery = format!("accept_after = \"{mode}\"\nconfirm_timeout = \"1s\"");
        let mut receiver =
            Receiver::with_server(&config(&delivery, ""), "shutdown_timeout = \"2s\"");
        receiver.leave_output_unread();
        receiver.start().await;
        fill_the_pipe(&receiver).await;
        let mut output = receiver.output();
        let stopped = tokio::time::timeout(Duration::from_secs(60), receiver.stop_under_load());
        assert_eq!(stopped.await.expect("it ends"), Some(0), "{mode}");
        if mode == "confirm" {
            continue;
        }

        // The next start goes on where the pipe ends, perhaps with a last line that had been cut.
        let mut printed = String::new();
        output.read_to_string(&mut printed).expect("text");
        let whole = printed.rfind('\n').map_or(0, |end| end + 1);
        printed.truncate(whole);
        receiver.read_output();
        receiver.start().await;
        receiver.until_nothing_pending().await;
        printed += &receiver.printed();
        let mut printed = ids_by_call(printed.lines());
        printed.values_mut().for_each(Vec::dedup);
        assert_eq!(printed, calls_of_the_pipe());
    }
}
