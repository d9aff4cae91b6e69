//! The contract with consumers (docs/src/consumer/messages.md, "Queues, properties, headers"), from the request to the
//! message.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions},
    types::FieldTable,
};
use serde_json::{Value, json};

use crate::support::{
    Receiver, Taken, call_events, connect, declare, delete, eventually, post, shared_amqp_url,
    take_all, unique,
};

/// The receiver with one app `it`; `routes` in TOML.
fn config(url: &str, app: &str, routes: &str) -> String {
    format!(
        "[broker]\nurl = \"{url}\"\n\n[[apps]]\nname = \"it\"\nauth = \"none\"\n{app}\n\n{routes}"
    )
}

/// A running receiver that routes everything to one queue.
async fn to_one_queue(url: &str, queue: &str) -> Receiver {
    let route = format!("[[routes]]\nname = \"all\"\nqueue = \"{queue}\"");
    let mut receiver = Receiver::new(&config(url, "", &route));
    receiver.start().await;
    receiver
}

async fn take(url: &str, queue: &str, count: usize) -> Vec<Taken> {
    let taken = take_all(url, queue, Duration::from_secs(10), |taken| {
        taken.len() >= count
    })
    .await;
    assert_eq!(taken.len(), count, "messages in {queue}");
    taken
}

/// All tests of a run share the quarantine and the unrouted queue: takes only its own messages, by event id.
async fn take_own(url: &str, queue: &str, id: &str) -> Taken {
    let own =
        |message: &Taken| message.id == id || String::from_utf8_lossy(&message.body).contains(id);
    let mut taken = take_all(url, queue, Duration::from_secs(10), |taken| {
        taken.iter().any(own)
    })
    .await;
    let index = taken
        .iter()
        .position(own)
        .unwrap_or_else(|| panic!("{id} is not in {queue}"));
    taken.swap_remove(index)
}

#[tokio::test]
async fn a_cloud_event_arrives_byte_for_byte_with_every_property_and_header() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let mut receiver = Receiver::new(&config(
        &url,
        "pass_query = [\"callerId\"]",
        &format!("[[routes]]\nname = \"all\"\nqueue = \"{queue}\""),
    ));
    receiver.start().await;
    let (id, body) = call_events("call-1", 1).remove(0);
    let answer = reqwest::Client::new()
        .post(format!(
            "{}/tenant/7?callerId=42&code=secret",
            receiver.callback_url("it")
        ))
        .header("content-type", "application/json; charset=utf-8")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .header("tracestate", "vendor=1")
        .body(body.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(
        answer,
        json!({"accepted": 1, "duplicates": 0, "quarantined": []})
    );

    let message = take(&url, &queue, 1).await.remove(0);
    let event = body
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .expect("an array of one");
    assert_eq!(
        String::from_utf8_lossy(&message.body),
        event,
        "byte for byte"
    );
    assert_eq!(message.id, id);
    let header = |name: &str| message.headers.get(name).map(String::as_str);
    assert_eq!(header("hookswitch-call"), Some("call-1"));
    assert_eq!(message.sequence, Some(1));
    assert_eq!(header("hookswitch-app"), Some("it"));
    assert_eq!(header("hookswitch-kind"), Some("CallState"));
    assert_eq!(header("hookswitch-generation"), Some("ga"));
    assert_eq!(header("hookswitch-path"), Some("tenant/7"));
    assert_eq!(header("hookswitch-query"), Some("callerId=42"));
    assert_eq!(
        header("traceparent"),
        Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    );
    assert_eq!(header("tracestate"), Some("vendor=1"));
    for name in [
        "hookswitch-instance",
        "hookswitch-delivery",
        "hookswitch-received",
        "hookswitch-attempt",
    ] {
        assert!(header(name).is_some(), "{name}");
    }
    assert_eq!(
        message
            .properties
            .content_type()
            .as_ref()
            .map(|s| s.as_str()),
        Some("application/cloudevents+json")
    );
    assert_eq!(
        message.properties.kind().as_ref().map(|s| s.as_str()),
        Some("Microsoft.Communication.CallConnected")
    );
    assert_eq!(
        message.properties.app_id().as_ref().map(|s| s.as_str()),
        Some("it")
    );
    assert_eq!(
        message
            .properties
            .correlation_id()
            .as_ref()
            .map(|s| s.as_str()),
        Some("correlation-call-1")
    );
    assert_eq!(*message.properties.delivery_mode(), Some(2));
    assert!(message.properties.timestamp().is_some());
    assert!(
        !receiver.log().contains("secret"),
        "no query string in the log"
    );
    assert_eq!(receiver.stop(), Some(0));
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn a_repeated_event_is_answered_202_and_delivered_once() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let mut receiver = to_one_queue(&url, &queue).await;
    let client = reqwest::Client::new();
    let events = call_events("call-2", 2);
    for (_, body) in [&events[0], &events[0], &events[1]] {
        let answer = post(&client, &receiver.callback_url("it"), body)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    // The window is stored with the journal, so a restart keeps it.
    assert_eq!(receiver.stop(), Some(0));
    receiver.start().await;
    let answer = post(&client, &receiver.callback_url("it"), &events[1].1)
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["duplicates"], 1);
    let taken = take_all(&url, &queue, Duration::from_secs(2), |_| false).await;
    let ids: Vec<&str> = taken.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, [&events[0].0, &events[1].0]);
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn a_private_preview_event_is_mapped_with_its_data_untouched() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let receiver = to_one_queue(&url, &queue).await;
    let data = r#"{ "ToneInfo": {"SequenceId":1, "Tone":"Tone1"},  "CallLegId":"leg-9" }"#;
    let body = format!(
        r#"{{"id":null,"topic":null,"subject":"callLeg/leg-9/dtmf","data":{data},"eventType":"Microsoft.Communication.DtmfReceived","eventTime":"2021-05-01T10:00:00.0000000Z","metadataVersion":null,"dataVersion":null}}"#
    );
    let answer = post(&reqwest::Client::new(), &receiver.callback_url("it"), &body)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    let message = take(&url, &queue, 1).await.remove(0);
    let text = String::from_utf8(message.body.clone()).expect("UTF-8");
    assert!(text.contains(data), "data untouched in {text}");
    let event: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "Microsoft.Communication.DtmfReceived");
    assert_eq!(
        event["id"].as_str(),
        Some(message.id.as_str()),
        "an id made from content"
    );
    assert_eq!(message.headers["hookswitch-generation"], "2021-private");
    assert_eq!(message.headers["hookswitch-kind"], "DtmfReceived");
    assert_eq!(message.call.as_deref(), Some("leg-9"));
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn an_invalid_event_is_in_quarantine_as_received_and_its_neighbours_go_on() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let receiver = to_one_queue(&url, &queue).await;
    let bad_id = unique("bad");
    let strip = |body: &str| {
        body.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned()
    };
    let good = strip(&call_events("call-3", 1)[0].1);
    let bad = strip(&call_events("call-3", 1)[0].1)
        .replace("call-3/0", &bad_id)
        .replace("\"callConnectionId\":\"call-3\"", "\"callConnectionId\":17");
    let answer = post(
        &reqwest::Client::new(),
        &receiver.callback_url("it"),
        &format!("[{good}, {bad} ]"),
    )
    .await
    .expect("an answer");
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["accepted"], 1);
    assert_eq!(answer["quarantined"][0]["index"], 1);
    assert_eq!(answer["quarantined"][0]["id"], bad_id.as_str());
    assert_eq!(
        answer["quarantined"][0]["errors"][0]["pointer"],
        "/data/callConnectionId"
    );

    let message = take(&url, &queue, 1).await.remove(0);
    assert_eq!(
        message.sequence,
        Some(1),
        "a quarantined event takes no sequence number"
    );
    let kept = take_own(&url, "hookswitch.quarantine", &bad_id).await;
    assert_eq!(String::from_utf8_lossy(&kept.body), bad, "as received");
    assert_eq!(kept.headers["hookswitch-reason"], "invalid");
    let errors: Value = serde_json::from_str(&kept.headers["hookswitch-errors"]).expect("JSON");
    assert_eq!(errors[0]["pointer"], "/data/callConnectionId");
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn an_event_that_no_route_takes_is_in_the_unrouted_queue() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let mut receiver = Receiver::new(&config(
        &url,
        "",
        &format!("[[routes]]\nname = \"digits\"\nkinds = [\"DtmfReceived\"]\nqueue = \"{queue}\""),
    ));
    receiver.start().await;
    let call = unique("call");
    let (id, body) = call_events(&call, 1).remove(0);
    let answer = post(&reqwest::Client::new(), &receiver.callback_url("it"), &body)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    let message = take_own(&url, "hookswitch.unrouted", &id).await;
    assert_eq!(message.call.as_deref(), Some(call.as_str()));
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test]
async fn an_exchange_destination_gets_the_rendered_routing_key() {
    let url = shared_amqp_url();
    let (exchange, queue) = (unique("calls"), unique("bound"));
    let connection = connect(&url).await;
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions {
                durable: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await
        .expect("the exchange");
    declare(&connection, &queue, "quorum").await;
    channel
        .queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "it.PlayAudioResult.PlayCompleted".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("bound");
    let mut receiver = Receiver::new(&config(
        &url,
        "",
        &format!(
            "[[routes]]\nname = \"all\"\nkinds = [\"PlayAudioResult\"]\nexchange = \"{exchange}\"\nrouting_key = \"{{app}}.{{kind}}.{{event}}\""
        ),
    ));
    receiver.start().await;
    for (_, body) in call_events("call-5", 5) {
        let answer = post(&reqwest::Client::new(), &receiver.callback_url("it"), &body)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    let message = take(&url, &queue, 1).await.remove(0);
    assert_eq!(message.id, "call-5/3");
    delete(&connection, &queue).await;
}

#[tokio::test]
async fn a_call_whose_partition_count_changed_keeps_its_order() {
    let url = shared_amqp_url();
    let queue = unique("contract");
    let route = |partitions: usize| {
        config(
            &url,
            "",
            &format!("[[routes]]\nname = \"all\"\nqueue = \"{queue}\"\npartitions = {partitions}"),
        )
    };
    let mut receiver = Receiver::new(&route(2));
    receiver.start().await;
    let client = reqwest::Client::new();
    let calls: Vec<String> = (0..12).map(|_| unique("call")).collect();
    for call in &calls {
        for (_, body) in &call_events(call, 6)[..3] {
            post(&client, &receiver.callback_url("it"), body)
                .await
                .expect("an answer");
        }
    }
    assert_eq!(receiver.stop(), Some(0));
    let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
    std::fs::write(
        receiver.config(),
        text.replace("partitions = 2", "partitions = 5"),
    )
    .expect("written");
    receiver.start().await;
    for call in &calls {
        for (_, body) in &call_events(call, 6)[3..] {
            post(&client, &receiver.callback_url("it"), body)
                .await
                .expect("an answer");
        }
    }
    let mut taken = Vec::new();
    for n in 0..5 {
        taken.extend(
            take_all(
                &url,
                &format!("{queue}.{n}"),
                Duration::from_secs(2),
                |_| false,
            )
            .await,
        );
    }
    // The partitions have no common order, so only the events of each call in each queue can be compared.
    assert_eq!(taken.len(), calls.len() * 6);
    for call in &calls {
        let numbers: Vec<usize> = taken
            .iter()
            .filter(|message| message.call.as_deref() == Some(call))
            .filter_map(|message| message.id.rsplit('/').next()?.parse().ok())
            .collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5], "call {call}");
    }
    let admin = connect(&url).await;
    for n in 0..5 {
        delete(&admin, &format!("{queue}.{n}")).await;
    }
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_mismatched_and_holds_only_itself() {
    let url = shared_amqp_url();
    let (wrong, good) = (unique("wrong"), unique("good"));
    let admin = connect(&url).await;
    declare(&admin, &wrong, "classic").await;
    let mut receiver = Receiver::new(&config(
        &url,
        "",
        &format!(
            "[[routes]]\nname = \"a\"\nqueue = \"{wrong}\"\n\n[[routes]]\nname = \"b\"\nqueue = \"{good}\""
        ),
    ));
    receiver.start().await;
    let (id, body) = call_events("call-7", 1).remove(0);
    let answer = post(&reqwest::Client::new(), &receiver.callback_url("it"), &body)
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    assert_eq!(take(&url, &good, 1).await[0].id, id);
    let ready_url = format!("http://127.0.0.1:{}/readyz", receiver.admin_port);
    eventually(
        "the mismatch is listed",
        Duration::from_secs(10),
        || async {
            let answer = reqwest::get(&ready_url).await.ok()?;
            assert_eq!(answer.status(), 200);
            answer
                .text()
                .await
                .ok()?
                .contains("mismatched")
                .then_some(())
        },
    )
    .await;
    // The operator fixes it: the queue is declared as the configuration says, and the pending events arrive.
    delete(&admin, &wrong).await;
    declare(&admin, &wrong, "quorum").await;
    assert_eq!(take(&url, &wrong, 1).await[0].id, id);
    delete(&admin, &wrong).await;
    delete(&admin, &good).await;
}
