//! Traffic with all kinds of misbehaviour, through the receiver into a queue.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{
    Emulator, Expected, Receiver, check_calls, connect, delete, eventually, shared_amqp_url,
    take_all, unique,
};

const CALLS: usize = 300;

/// Different in each run; printed, so that a run can be repeated.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration file"
)]
fn seed() -> u64 {
    std::env::var("HOOKSWITCH_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random)
}

/// Half of the callees press keys; all hang up, some during a prompt.
const SCENARIO: &str = r#"
[[callee]]
match = "+15550?0?"
answer = "busy"

[[callee]]
match = "*5"
after = "500ms"
press = "1 2 3 4 #"
hang_up_after = "20s"

[[callee]]
match = "*"
after = "1s"
press = "7 *"
hang_up_after = "12s"
"#;

/// One line of `GET /_emulator/callbacks`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    connection: String,
    types: Vec<String>,
    ids: Vec<String>,
    outcome: String,
    misbehaviour: Vec<String>,
}

/// The text at a JSON Pointer.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

struct Api {
    client: reqwest::Client,
    base: String,
    callback: String,
}

impl Api {
    /// Refusals are part of the traffic: a call may have ended before a request for it arrives.
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self
            .client
            .post(format!("{}{path}", self.base))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        assert!(status < 500, "{path}: {status}");
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Makes a call of one of the generations and sends requests for it.
    async fn call(&self, number: usize) {
        let target = json!([{"phoneNumber": {"value": format!("+15550{number:03}")}}]);
        let caller = json!({"value": "+15559999"});
        let source = json!({"communicationUser": {"id": "8:acs:app"}});
        match number % 3 {
            0 => {
                let body = json!({
                    "targets": target, "source": source, "alternateCallerId": caller, "callbackUri": self.callback,
                    "requestedModalities": ["audio"], "requestedCallEvents": ["participantsUpdated", "dtmfReceived"],
                });
                let (status, made) = self.post("/calls", body).await;
                assert_eq!(status, 200, "{made}");
                let id = text(&made, "/callLegId");
                self.until_connected(id).await;
                let prompt = json!({"audioFileUri": "https://example.com/a.wav", "loop": false, "operationContext": "greeting"});
                self.post(&format!("/calls/{id}/PlayAudio"), prompt).await;
            }
            1 => {
                let body = json!({
                    "targets": target, "source": source, "alternateCallerId": caller, "callbackUri": self.callback,
                    "requestedMediaTypes": ["audio"], "requestedCallEvents": ["participantsUpdated", "dtmfReceived"],
                });
                let path = "/calling/callConnections?api-version=2021-08-30-preview";
                let (status, made) = self.post(path, body).await;
                assert_eq!(status, 201, "{made}");
                let id = text(&made, "/callConnectionId");
                self.until_connected(id).await;
                let who = json!({"participant": {"communicationUser": {"id": "8:acs:guest"}}, "operationContext": "guest"});
                let path = format!(
                    "/calling/callConnections/{id}/participants?api-version=2021-08-30-preview"
                );
                self.post(&path, who).await;
            }
            _ => {
                let body = json!({
                    "targets": target, "sourceCallerIdNumber": caller, "callbackUri": self.callback, "operationContext": "outbound",
                });
                let version = "api-version=2026-03-12";
                let (status, made) = self
                    .post(&format!("/calling/callConnections?{version}"), body)
                    .await;
                assert_eq!(status, 201, "{made}");
                let id = text(&made, "/callConnectionId");
                self.until_connected(id).await;
                let play = json!({"playSources": [{"kind": "text", "text": {"text": "good morning and welcome"}}], "operationContext": "hello"});
                self.post(
                    &format!("/calling/callConnections/{id}:play?{version}"),
                    play,
                )
                .await;
                let recording =
                    json!({"callConnectionId": id, "recordingStateCallbackUri": self.callback});
                self.post(&format!("/calling/recordings?{version}"), recording)
                    .await;
                let tones =
                    json!({"targetParticipant": target.get(0), "operationContext": "tones"});
                let path = format!(
                    "/calling/callConnections/{id}:startContinuousDtmfRecognition?{version}"
                );
                self.post(&path, tones).await;
            }
        }
    }

    /// Answered or not.
    async fn until_connected(&self, id: &str) {
        eventually(
            "the call is answered or not",
            Duration::from_secs(30),
            || async {
                let answer = self
                    .client
                    .get(format!("{}/_emulator/calls", self.base))
                    .send()
                    .await
                    .ok()?;
                let shown: Value = answer.json().await.ok()?;
                let calls = shown.get("calls")?.as_array()?;
                let mut legs = calls
                    .iter()
                    .filter_map(|call| call.get("legs")?.as_array())
                    .flatten()
                    .filter(|leg| text(leg, "/connectionId") == id);
                legs.any(|leg| text(leg, "/state") != "connecting")
                    .then_some(())
            },
        )
        .await;
    }

    /// The server call id of each connection.
    async fn server_calls(&self) -> BTreeMap<String, String> {
        let shown = self.get("/_emulator/calls").await;
        let list = |value: &Value, name: &str| {
            let list = value.get(name).and_then(Value::as_array);
            list.unwrap_or_else(|| panic!("no {name} in {value}"))
                .clone()
        };
        let calls = list(&shown, "calls").into_iter();
        calls
            .flat_map(|call| {
                let legs = list(&call, "legs").into_iter();
                legs.map(move |leg| {
                    let connection = text(&leg, "/connectionId").to_owned();
                    (connection, text(&call, "/serverCallId").to_owned())
                })
            })
            .collect()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        let answer = answer.expect("an answer");
        answer.json().await.expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_300_calls_with_all_misbehaviour_nothing_is_lost_repeated_or_reordered() {
    let amqp = shared_amqp_url();
    let queue = unique("misbehave");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{amqp}\"\n\n[[apps]]\nname = \"dev\"\nauth = \"none\"\n\n[[routes]]\nname = \"dev\"\nqueue = \"{queue}\"\n"
    ));
    receiver.start().await;
    let files = tempfile::tempdir().expect("a temporary directory");
    let scenario = files.path().join("scenario.toml");
    std::fs::write(&scenario, SCENARIO).expect("written");
    let seed = seed();
    println!("seed {seed}");
    let emulator = Emulator::paced(
        &scenario,
        &[
            "--no-auth",
            "--speed",
            "50",
            "--seed",
            &seed.to_string(),
            "--misbehave",
            // Recordings are fewer than events.
            "all=0.1,inactive=0.4",
        ],
    )
    .await;
    let api = Api {
        client: reqwest::Client::new(),
        base: emulator.http(),
        callback: receiver.callback_url("dev"),
    };

    stream::iter(0..CALLS)
        .for_each_concurrent(16, |number| api.call(number))
        .await;
    let summary = eventually(
        "all events are delivered",
        Duration::from_secs(120),
        || async {
            let summary = api.get("/_emulator/summary").await;
            (summary["quiet"] == true).then_some(summary)
        },
    )
    .await;
    receiver.until_nothing_pending().await;

    // The events of each call, in the order of their first acceptance. An event whose connection was dropped may have been
    // accepted then or when it was posted again: no other event of its call is posted in between.
    let attempts: Vec<Attempt> =
        serde_json::from_value(api.get("/_emulator/callbacks").await).expect("attempts");
    let server_calls = api.server_calls().await;
    let mut connections = HashSet::new();
    let mut expected = Expected::new();
    let mut posted_again = 0;
    let mut known = HashSet::new();
    let mut made: BTreeMap<String, u32> = BTreeMap::new();
    for attempt in &attempts {
        assert_ne!(
            attempt.outcome, "given_up",
            "every event is accepted in the end"
        );
        for name in &attempt.misbehaviour {
            *made.entry(name.clone()).or_default() += 1;
        }
        if attempt.outcome != "accepted" {
            continue;
        }
        for (id, kind) in attempt.ids.iter().zip(&attempt.types) {
            if known.insert(id.clone()) {
                // A recording is assigned to its call once the receiver knows that call; before, only to its server call.
                let connection = &attempt.connection;
                let is_recording = kind.ends_with(".RecordingStateChanged");
                let key = if is_recording && !connections.contains(connection) {
                    server_calls.get(connection).expect("a call")
                } else {
                    connections.insert(connection.clone());
                    connection
                };
                let events = expected.entry(key.clone()).or_default();
                events.push(format!("{kind} {id}"));
            } else {
                posted_again += 1;
            }
        }
    }
    for name in [
        "reorder",
        "duplicate",
        "batch",
        "late",
        "delay",
        "drop",
        "inactive",
    ] {
        assert!(made.contains_key(name), "no {name} in {made:?}");
    }
    assert_eq!(connections.len(), CALLS, "each call had events");

    // Events of the private preview have no ids, so the receiver creates them: the emulator's id is used by position.
    let mut taken = take_all(&amqp, &queue, Duration::from_secs(2), |_| false).await;
    let ids: HashSet<_> = taken.iter().map(|message| message.id.clone()).collect();
    assert_eq!(ids.len(), taken.len(), "an event was delivered twice");
    assert_eq!(taken.len(), known.len(), "as many as were accepted");
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for message in &mut taken {
        assert!(
            !message.headers.contains_key("hookswitch-reason"),
            "quarantined: {message:?}"
        );
        let call = message.call.clone().expect("every event has a call");
        let place = places.entry(call.clone()).or_default();
        let there = expected.get(&call).and_then(|events| events.get(*place));
        *place += 1;
        let (kind, id) = there
            .and_then(|event| event.split_once(' '))
            .unwrap_or_else(|| panic!("more of call {call} than was accepted"));
        let delivered = message.properties.kind().as_ref().map(ToString::to_string);
        assert_eq!(delivered.as_deref(), Some(kind), "the order of call {call}");
        if message
            .headers
            .get("hookswitch-generation")
            .map(String::as_str)
            == Some("2021-private")
        {
            id.clone_into(&mut message.id);
        }
        message.id = format!("{kind} {}", message.id);
    }
    assert_eq!(
        check_calls(&queue, &[taken], &expected),
        0,
        "nothing was redelivered"
    );
    assert_eq!(
        receiver
            .metric("hookswitch_events_total{outcome=\"quarantined\"}")
            .await,
        Some(0.0)
    );
    println!(
        "seed {seed}: {CALLS} calls of three generations, {} events in {} posts, {posted_again} posted again, {} pairs out of order, \
         misbehaviour {made:?}: 0 lost, 0 delivered twice, 0 calls out of the order of acceptance",
        known.len(),
        attempts.len(),
        summary["outOfOrder"],
    );
    drop(emulator);
    delete(&connect(&amqp).await, &queue).await;
}
