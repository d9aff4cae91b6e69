//! Confirm mode, the graceful stop, and starts that must fail.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Node, Receiver, Scraper, call_events, connect, delete, eventually, post, post_until_accepted,
    shared_amqp_url, take_all, unique,
};

fn config(url: &str, delivery: &str, queue: &str) -> String {
    format!(
        "[delivery]\n{delivery}\n\n[broker]\nurl = \"{url}\"\n\n[[apps]]\nname = \"it\"\nauth = \"none\"\n\n[[routes]]\nname = \"all\"\nqueue = \"{queue}\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirm_mode_answers_503_without_a_broker_and_202_only_after_its_confirm() {
    let node = Node::start();
    let queue = unique("confirm");
    let mut receiver = Receiver::new(&config(
        node.url(),
        "accept_after = \"confirm\"\nconfirm_timeout = \"1s\"",
        &queue,
    ));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let client = reqwest::Client::new();
    let events = call_events("call-1", 4);
    let answer = post(&client, &receiver.callback_url("it"), &events[0].1)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);

    node.stop();
    let answer = post(&client, &receiver.callback_url("it"), &events[1].1)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let ready_url = format!("http://127.0.0.1:{}/readyz", receiver.admin_port);
    eventually(
        "readiness follows the broker",
        Duration::from_secs(30),
        || async { (reqwest::get(&ready_url).await.ok()?.status() == 503).then_some(()) },
    )
    .await;

    node.start_again();
    for (_, body) in &events[1..] {
        post_until_accepted(&client, &receiver.callback_url("it"), body).await;
    }
    let answer = post(&client, &receiver.callback_url("it"), &events[3].1)
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["duplicates"], 1);
    scraper.finish().await;
    let taken = take_all(node.url(), &queue, Duration::from_secs(2), |_| false).await;
    let mut ids: Vec<&str> = taken.iter().map(|message| message.id.as_str()).collect();
    // A sent message may have arrived although its callback was answered 503: then the resend repeats it in a row.
    ids.dedup();
    assert_eq!(
        ids,
        events.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>()
    );
    assert!(taken.iter().all(|message| message.sequence.is_none()));
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_what_it_holds_and_loses_nothing() {
    let url = shared_amqp_url();
    let queue = unique("stop");
    let mut receiver = Receiver::new(&config(&url, "", &queue));
    receiver.start().await;
    let callback_url = receiver.callback_url("it");
    let events = call_events("call-1", 400);
    let sending = async {
        let client = reqwest::Client::new();
        for (_, body) in &events {
            post_until_accepted(&client, &callback_url, body).await;
        }
    };
    let stopping = async {
        let metrics = receiver.metrics_url();
        eventually("some are accepted", Duration::from_secs(30), || async {
            let text = reqwest::get(&metrics).await.ok()?.text().await.ok()?;
            let accepted: f64 = text
                .lines()
                .find_map(|line| {
                    line.strip_prefix("hookswitch_events_total{outcome=\"accepted\"} ")
                })?
                .parse()
                .ok()?;
            (accepted > 50.0).then_some(())
        })
        .await;
        assert_eq!(receiver.stop_under_load().await, Some(0));
        receiver.start().await;
    };
    tokio::join!(sending, stopping);
    let taken = take_all(&url, &queue, Duration::from_secs(3), |taken| {
        taken
            .last()
            .is_some_and(|message| message.id == events[399].0)
    })
    .await;
    let mut ids: Vec<&str> = taken.iter().map(|message| message.id.as_str()).collect();
    ids.dedup();
    assert_eq!(
        ids,
        events.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>()
    );
    delete(&connect(&url).await, &queue).await;
}

/// Runs `serve` to its end and returns its exit code and output.
fn serve_fails(receiver: &Receiver) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .arg("serve")
        .arg("--config")
        .arg(receiver.config())
        .stdin(Stdio::null())
        .output()
        .expect("hookswitch runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn a_second_process_on_the_same_journal_is_refused() {
    let mut receiver = Receiver::new(&config(&shared_amqp_url(), "", &unique("lock")));
    receiver.start().await;
    let other = Receiver::new("");
    let text = std::fs::read_to_string(receiver.config())
        .expect("the configuration")
        .replace(&receiver.port.to_string(), &other.port.to_string())
        .replace(
            &receiver.admin_port.to_string(),
            &other.admin_port.to_string(),
        );
    std::fs::write(other.config(), text).expect("written");
    let (code, printed) = serve_fails(&other);
    assert_eq!(code, Some(78), "{printed}");
    assert!(printed.contains("in use by another process"), "{printed}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let receiver = Receiver::new(&config(&shared_amqp_url(), "", &unique("port")));
    let _taken = std::net::TcpListener::bind(("127.0.0.1", receiver.port)).expect("bound");
    let (code, printed) = serve_fails(&receiver);
    assert_eq!(code, Some(78), "{printed}");
    assert!(printed.contains(&receiver.port.to_string()), "{printed}");
}

#[tokio::test]
async fn a_changed_schema_directory_takes_effect_and_a_broken_one_does_not() {
    let url = shared_amqp_url();
    let queue = unique("reload");
    let mut receiver = Receiver::new(&config(&url, "", &queue));
    let schemas = receiver.dir().join("schemas");
    std::fs::create_dir_all(schemas.join("ga")).expect("made");
    let export = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["schemas", "export"])
        .arg(&schemas)
        .output()
        .expect("hookswitch runs");
    assert!(
        export.status.success(),
        "{}",
        String::from_utf8_lossy(&export.stderr)
    );
    let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
    std::fs::write(
        receiver.config(),
        format!("{text}\n[schemas]\npath = {:?}\n", schemas),
    )
    .expect("written");
    receiver.start().await;

    let file = schemas.join("ga/CallConnected.schema.json");
    let good = std::fs::read_to_string(&file).expect("exported");
    let mut stricter: Value = serde_json::from_str(&good).expect("JSON");
    stricter["required"] = serde_json::json!(["callConnectionId", "thisIsNew"]);
    std::fs::write(&file, stricter.to_string()).expect("written");
    let client = reqwest::Client::new();
    let verdict = |n: usize| {
        let client = client.clone();
        let url = receiver.callback_url("it");
        async move {
            let (_, body) = call_events(&format!("{n}-{}", unique("call")), 1).remove(0);
            let answer: Value = post(&client, &url, &body).await.ok()?.json().await.ok()?;
            Some(answer["quarantined"].as_array()?.len())
        }
    };
    eventually(
        "the new schema is in force",
        Duration::from_secs(20),
        || async { (verdict(1).await? == 1).then_some(()) },
    )
    .await;

    std::fs::write(&file, "{ broken").expect("written");
    let metrics = receiver.metrics_url();
    eventually(
        "the failure is counted",
        Duration::from_secs(20),
        || async {
            let text = reqwest::get(&metrics).await.ok()?.text().await.ok()?;
            text.lines()
                .any(|line| {
                    line.strip_prefix("hookswitch_schema_reload_failures_total ")
                        .is_some_and(|count| count != "0")
                })
                .then_some(())
        },
    )
    .await;
    assert_eq!(
        verdict(2).await,
        Some(1),
        "the previous schemas stay in force"
    );
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn a_route_takes_a_type_by_its_name_whether_the_catalogue_has_it_or_not() {
    const RANG: &str = "Contoso.Calling.BellRang";
    let url = shared_amqp_url();
    let queue = unique("named");
    let files = tempfile::tempdir().expect("a temporary directory");
    let table = |event_type: &str| {
        let table = serde_json::json!({
            "ids": { "bell": { "connection": ["/callConnectionId"] } },
            "events": [{
                "type": event_type, "generation": "test", "kind": "CallState",
                "schema": "test/BellRang.schema.json", "ids": "bell",
            }],
        });
        std::fs::write(files.path().join("catalog.json"), table.to_string()).expect("written");
    };
    std::fs::create_dir(files.path().join("test")).expect("made");
    std::fs::write(
        files.path().join("test/BellRang.schema.json"),
        r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}"#,
    )
    .expect("written");
    table(RANG);
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{url}\"\n[schemas]\npath = {:?}\n[[apps]]\nname = \"it\"\nauth = \"none\"\n\
         [[routes]]\nname = \"bell\"\nqueue = \"{queue}\"\ntypes = [\"{RANG}\", \"Contoso.Calling.NotYetKnown\"]\n",
        files.path()
    ));
    receiver.start().await;
    let client = reqwest::Client::new();
    let send = async |event_type: &str, id: &str| {
        let event = serde_json::json!({
            "specversion": "1.0", "id": id, "source": "s", "type": event_type, "data": { "callConnectionId": "c1" },
        });
        let answer = post(&client, &receiver.callback_url("it"), &event.to_string()).await;
        assert_eq!(answer.expect("an answer").status(), 202, "{id}");
    };
    let noticed = async |event_type: &str| {
        let (_, ready) = receiver.ready().await?;
        let words = format!(
            "route bell names type {event_type}, which is not in the catalogue: routed when it comes"
        );
        Some(ready.to_string().contains(&words))
    };
    assert_eq!(noticed(RANG).await, Some(false));
    assert_eq!(noticed("Contoso.Calling.NotYetKnown").await, Some(true));
    send(RANG, "1").await;
    send("Contoso.Calling.NotYetKnown", "2").await;

    table("Contoso.Calling.Other");
    eventually("the type is gone", Duration::from_secs(20), || async {
        noticed(RANG).await.filter(|noticed| *noticed)
    })
    .await;
    send(RANG, "3").await;
    receiver.until_nothing_pending().await;
    let taken = take_all(&url, &queue, Duration::from_secs(20), |taken| {
        taken.len() >= 3
    })
    .await;
    let kinds: Vec<(&str, Option<&str>)> = taken
        .iter()
        .map(|message| {
            let kind = message.headers.get("hookswitch-kind");
            (message.id.as_str(), kind.map(String::as_str))
        })
        .collect();
    let expected = [("1", "CallState"), ("2", "Unknown"), ("3", "Unknown")];
    assert_eq!(kinds, expected.map(|(id, kind)| (id, Some(kind))));
    delete(&connect(&url).await, &queue).await;
}
