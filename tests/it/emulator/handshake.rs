//! Event Grid asks the receiver for consent before it delivers, in both schemas.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Emulator, Receiver, connect, delete, eventually, file, shared_amqp_url, take_all, unique,
};

const INCOMING: &str = "Microsoft.Communication.IncomingCall";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_grid_is_given_consent_in_both_schemas_and_its_calls_reach_the_queue() {
    let amqp = shared_amqp_url();
    let broker = connect(&amqp).await;
    for (schema, setting, kind) in [
        ("event-grid", "event_grid = true", "event_grid"),
        (
            "cloud-events",
            "allowed_origins = [\"eventgrid.azure.net\"]\nallowed_rate = 600",
            "cloud_events",
        ),
    ] {
        let queue = unique("handshake");
        let mut receiver = Receiver::new(&format!(
            "[broker]\nurl = \"{amqp}\"\n\n[[apps]]\nname = \"grid\"\nauth = \"none\"\n{setting}\n\n\
             [[routes]]\nname = \"grid\"\napp = \"grid\"\nqueue = \"{queue}\"\n"
        ));
        receiver.start().await;
        let url = receiver.callback_url("grid");
        let options = [
            "--event-grid",
            &url,
            "--event-grid-schema",
            schema,
            "--event-grid-handshake",
            "ask",
        ];
        let emulator = Emulator::start(&file("tests/sdk/scenario.toml"), &options).await;
        let client = reqwest::Client::new();
        let call = client
            .post(format!("{}/_emulator/incoming", emulator.http()))
            .json(&json!({"from": "+15550300", "to": "+15550200"}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(call.status(), 201, "{schema}");

        let taken = take_all(&amqp, &queue, Duration::from_secs(20), |taken| {
            !taken.is_empty()
        })
        .await;
        let event: Value =
            serde_json::from_slice(&taken.first().expect("an event").body).expect("a CloudEvent");
        assert_eq!(event["type"], INCOMING, "{schema}: {event}");
        let granted = format!("hookswitch_handshakes_total{{kind=\"{kind}\",outcome=\"granted\"}}");
        receiver.until_metric(&granted, |count| count == 1.0).await;

        // As the emulator saw it: it asked once, got 200, and only then delivered.
        let attempts = format!("{}/_emulator/callbacks", emulator.http());
        let seen = eventually(
            "the delivery is listed",
            Duration::from_secs(10),
            || async {
                let seen: Value = client.get(&attempts).send().await.ok()?.json().await.ok()?;
                (seen.as_array()?.len() >= 2).then_some(seen)
            },
        )
        .await;
        assert_eq!(seen[0]["status"], 200, "{schema}: {seen}");
        assert_eq!(seen[1]["types"][0], INCOMING, "{schema}: {seen}");
        assert_eq!(seen[1]["status"], 202, "{schema}: {seen}");
        delete(&broker, &queue).await;
    }
}
