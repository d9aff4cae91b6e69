//! An app with `acs` auth accepts the signed callbacks of the emulator and no others.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::{
    Emulator, Issuer, Receiver, connect, delete, eventually, file, free_port, post,
    shared_amqp_url, take_all, unique,
};

/// The emulator's default.
const RESOURCE: &str = "00000000-0000-4000-8000-000000009100";

const SECRET: &str = "hscanary-secret-of-the-whole";

/// An app with `acs` auth and one with another resource, both with the keys of the emulator at `keys`.
fn receiver(amqp: &str, queue: &str, keys: &str) -> Receiver {
    let app = |name: &str, resource: &str| {
        format!(
            "[[apps]]\nname = \"{name}\"\n[apps.auth]\n\
             acs = {{ resource_id = \"{resource}\", keys_url = \"{keys}\" }}\n\
             shared_secret = [{{ query = \"code\", value_file = \"SECRETS\" }}]\n\n\
             [[routes]]\nname = \"{name}\"\napp = \"{name}\"\nqueue = \"{queue}\"\n\n"
        )
    };
    let ours = app("dev", RESOURCE);
    let other = app("other", "00000000-0000-4000-8000-000000000000");
    let receiver = Receiver::new(&format!("[broker]\nurl = \"{amqp}\"\n\n{ours}{other}"));
    let secrets = receiver.dir().join("secrets");
    std::fs::write(&secrets, SECRET).expect("written");
    let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
    let text = text.replace("SECRETS", secrets.to_str().expect("UTF-8"));
    std::fs::write(receiver.config(), text).expect("written");
    receiver
}

async fn call(emulator: &Emulator, callback: &str) {
    let body = json!({
        "targets": [{ "kind": "phoneNumber", "phoneNumber": { "value": "+14255550101" } }],
        "sourceCallerIdNumber": { "value": "+14255550100" },
        "callbackUri": callback,
    });
    let url = format!(
        "{}/calling/callConnections?api-version=2025-05-15",
        emulator.http()
    );
    let answer = reqwest::Client::new().post(url).json(&body).send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
}

/// Outcomes of the attempts to deliver so far.
async fn outcomes(emulator: &Emulator) -> Vec<(String, Value)> {
    let url = format!("{}/_emulator/callbacks", emulator.http());
    let attempts: Vec<Value> = reqwest::get(url)
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let one = |attempt: &Value| {
        let outcome = attempt["outcome"].as_str().unwrap_or_default().to_owned();
        (outcome, attempt.clone())
    };
    attempts.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_callbacks_are_accepted_and_unsigned_ones_are_401() {
    let amqp = shared_amqp_url();
    let queue = unique("auth");
    let files = tempfile::tempdir().expect("a temporary directory");
    let scenario = files.path().join("scenario.toml");
    std::fs::write(&scenario, "").expect("written");
    let emulator = Emulator::start(&scenario, &["--no-auth"]).await;
    let mut receiver = receiver(&amqp, &queue, &format!("{}/calling/keys", emulator.http()));
    receiver.start().await;

    // Signed, for our resource.
    call(&emulator, &receiver.callback_url("dev")).await;
    eventually("the call is delivered", Duration::from_secs(30), || async {
        let all = outcomes(&emulator).await;
        (all.len() >= 2 && all.iter().all(|(outcome, _)| outcome == "accepted")).then_some(())
    })
    .await;
    receiver.until_nothing_pending().await;
    let taken = take_all(&amqp, &queue, Duration::from_secs(20), |taken| {
        taken.len() >= 2
    })
    .await;
    assert!(taken.len() >= 2, "{} messages", taken.len());

    // The app of another resource refuses the same tokens; the log shows both audiences.
    call(&emulator, &receiver.callback_url("other")).await;
    eventually("it is refused", Duration::from_secs(30), || async {
        let all = outcomes(&emulator).await;
        all.iter()
            .any(|(outcome, _)| outcome == "given_up")
            .then_some(())
    })
    .await;
    let line = format!(
        "its audience is \"{RESOURCE}\", expected one of [\"00000000-0000-4000-8000-000000000000\"]"
    );
    assert!(
        receiver.log().replace('\\', "").contains(&line),
        "{}",
        receiver.log()
    );

    // Unsigned, and with the wrong secret; then with the right one.
    let event = std::fs::read(file("tests/data/events/ga/CallConnected.json")).expect("an event");
    let url = receiver.callback_url("dev");
    let client = reqwest::Client::new();
    for (query, status) in [
        (String::new(), 401),
        ("?code=a-wrong-secret".to_owned(), 401),
        (format!("?code={SECRET}"), 202),
    ] {
        let request = client.post(format!("{url}{query}")).body(event.clone());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{query}");
        if status == 401 {
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        }
    }

    // No credential is written anywhere.
    let metrics = reqwest::get(receiver.metrics_url())
        .await
        .expect("an answer");
    let metrics = metrics.text().await.expect("text");
    for hidden in [SECRET, "a-wrong-secret", "eyJ"] {
        assert!(!receiver.log().contains(hidden), "{hidden} is in the log");
        assert!(!metrics.contains(hidden), "{hidden} is in the metrics");
    }
    delete(&connect(&amqp).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_app_takes_the_tokens_of_several_resources_in_any_letter_case() {
    let amqp = shared_amqp_url();
    let queue = unique("auth");
    let files = tempfile::tempdir().expect("a temporary directory");
    let scenario = files.path().join("scenario.toml");
    std::fs::write(&scenario, "").expect("written");
    // The emulator writes it in lower case.
    let id = "ABCDEF00-0000-4000-8000-00000000000A";
    let emulator = Emulator::start(&scenario, &["--no-auth", "--resource-id", id]).await;
    let keys = format!("{}/calling/keys", emulator.http());
    let acs = |id: &str| format!("{{ resource_id = \"{id}\", keys_url = \"{keys}\" }}");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{amqp}\"\n\n[[apps]]\nname = \"dev\"\nauth = {{ acs = [{}, {}] }}\n\n\
         [[routes]]\nname = \"dev\"\nqueue = \"{queue}\"\n",
        acs(RESOURCE),
        acs(id)
    ));
    receiver.start().await;
    call(&emulator, &receiver.callback_url("dev")).await;
    eventually("the call is delivered", Duration::from_secs(30), || async {
        let all = outcomes(&emulator).await;
        (all.len() >= 2 && all.iter().all(|(outcome, _)| outcome == "accepted")).then_some(())
    })
    .await;
    receiver.until_nothing_pending().await;
    delete(&connect(&amqp).await, &queue).await;
}

/// A time this many seconds from now, in seconds since 1970.
fn in_seconds(seconds: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs() + seconds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_valid_yet_is_503_until_it_is_and_the_log_says_by_how_much() {
    let amqp = shared_amqp_url();
    let queue = unique("auth");
    let files = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let [issuer, forger] = files.each_ref().map(|dir| Issuer::new(dir.path()));
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{amqp}\"\n\n[[apps]]\nname = \"dev\"\nauth = {{ jwt = [{}] }}\n\n\
         [[routes]]\nname = \"dev\"\nqueue = \"{queue}\"\n",
        issuer.rule()
    ));
    receiver.start().await;
    let event = std::fs::read(file("tests/data/events/ga/CallConnected.json")).expect("an event");
    let client = reqwest::Client::new();
    let send = async |token: &str| {
        let request = client.post(receiver.callback_url("dev")).bearer_auth(token);
        let answer = request.body(event.clone()).send().await;
        answer.expect("an answer")
    };
    // The leeway is a minute, so this one is valid in four seconds.
    let soon = json!({ "nbf": in_seconds(64) });
    let token = issuer.token_with(soon.clone());
    let answer = send(&token).await;
    assert_eq!(answer.status(), 503);
    let seconds = answer.headers()["retry-after"].to_str().expect("ASCII");
    assert!(
        (1..=4).contains(&seconds.parse::<u64>().expect("a number")),
        "{seconds}"
    );
    let problem: Value = answer.json().await.expect("JSON");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.starts_with("the token is not valid yet")),
        "{problem}"
    );
    // A forged token, and one that is not valid for ten minutes.
    assert_eq!(send(&forger.token_with(soon)).await.status(), 401);
    let much_later = issuer.token_with(json!({ "nbf": in_seconds(600) }));
    assert_eq!(send(&much_later).await.status(), 401);
    let log = receiver.log();
    let line = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| {
            let words = line["message"].as_str().unwrap_or_default();
            words.contains("the clocks of issuer and receiver differ")
        })
        .unwrap_or_else(|| panic!("{log}"));
    assert_eq!(line["level"], "WARN");
    let ahead = line["seconds_ahead"].as_u64();
    assert!(
        ahead.is_some_and(|seconds| (60..=64).contains(&seconds)),
        "{line}"
    );
    // The same token, once it is valid.
    eventually("the token is good", Duration::from_secs(20), || async {
        (send(&token).await.status() == 202).then_some(())
    })
    .await;
    let not_yet = "hookswitch_auth_refusals_total{app=\"dev\",class=\"not_yet_valid\"}";
    receiver.until_metric(not_yet, |count| count >= 1.0).await;
    let bad = "hookswitch_auth_refusals_total{app=\"dev\",class=\"token\"}";
    receiver.until_metric(bad, |count| count == 2.0).await;
    delete(&connect(&amqp).await, &queue).await;
}

/// The emulator's Event Grid sends no token, neither with its validation request nor with its deliveries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_handshake_consents_without_credentials_and_accepts_no_delivery() {
    let amqp = shared_amqp_url();
    let queue = unique("auth");
    let app = |name: &str, handshake: &str| {
        format!(
            "[[apps]]\nname = \"{name}\"\nevent_grid = {{ handshake = \"{handshake}\" }}\n\
             auth = {{ acs = {{ resource_id = \"{RESOURCE}\" }} }}\n\n"
        )
    };
    let (open, closed) = (app("open", "open"), app("closed", "authenticated"));
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{amqp}\"\n\n{open}{closed}[[routes]]\nname = \"all\"\nqueue = \"{queue}\"\n"
    ));
    receiver.start().await;
    let url = receiver.callback_url("open");
    let options = ["--event-grid", &url, "--event-grid-handshake", "ask"];
    let emulator = Emulator::start(&file("tests/sdk/scenario.toml"), &options).await;
    let client = reqwest::Client::new();
    let incoming = client
        .post(format!("{}/_emulator/incoming", emulator.http()))
        .json(&json!({"from": "+15550300", "to": "+15550200"}));
    assert_eq!(incoming.send().await.expect("an answer").status(), 201);
    let attempts = eventually("it is refused", Duration::from_secs(30), || async {
        let all = outcomes(&emulator).await;
        all.iter()
            .any(|(outcome, _)| outcome == "given_up")
            .then_some(all)
    })
    .await;
    assert_eq!(attempts[0].1["status"], 200, "the question: {attempts:?}");
    assert!(
        attempts[1..]
            .iter()
            .all(|(_, attempt)| attempt["status"] == 401),
        "{attempts:?}"
    );
    let granted = "hookswitch_handshakes_total{kind=\"event_grid_open\",outcome=\"granted\"}";
    receiver.until_metric(granted, |count| count == 1.0).await;
    let received = receiver.metric("hookswitch_events_received_total").await;
    assert_eq!(received, Some(0.0));
    assert!(
        receiver
            .log()
            .contains("Event Grid's validation request was answered without credentials"),
        "{}",
        receiver.log()
    );
    let (_, ready) = receiver.ready().await.expect("an answer");
    assert!(
        ready
            .to_string()
            .contains("app open answers Event Grid's validation request without credentials"),
        "{ready}"
    );
    // The same request at the other app.
    let question = json!([{
        "id": "1", "topic": "/subscriptions/x", "subject": "", "eventTime": "2026-11-21T12:00:00Z",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "dataVersion": "2",
        "metadataVersion": "1", "data": { "validationCode": "a-code" },
    }]);
    for (app, status) in [("closed", 401), ("open", 200)] {
        let answer = post(&client, &receiver.callback_url(app), &question.to_string()).await;
        assert_eq!(answer.expect("an answer").status(), status, "{app}");
    }
    delete(&connect(&amqp).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_server_the_start_succeeds_and_tokens_are_503_until_it_is_there() {
    let amqp = shared_amqp_url();
    let queue = unique("auth");
    let port = free_port();
    let mut receiver = receiver(
        &amqp,
        &queue,
        &format!("http://127.0.0.1:{port}/calling/keys"),
    );
    receiver.start().await;
    // Made up, but by the issuer's name.
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2Fjc2NhbGxhdXRvbWF0aW9uLmNvbW11bmljYXRpb24uYXp1cmUuY29tIn0.AAAA";
    let client = reqwest::Client::new();
    let post = async || {
        let request = client.post(receiver.callback_url("dev")).bearer_auth(token);
        request.body("{}").send().await.expect("an answer")
    };
    let answer = post().await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let (status, body) = receiver.ready().await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert!(body.to_string().contains("cannot be fetched"), "{body}");
    delete(&connect(&amqp).await, &queue).await;
}

#[test]
fn an_app_without_auth_does_not_start_and_says_what_to_write() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("hookswitch.toml");
    std::fs::write(
        &path,
        "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"contoso\"\n",
    )
    .expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["serve", "--config"])
        .arg(&path)
        .output()
        .expect("hookswitch runs");
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("apps[0].auth: is missing: write [apps.auth]"),
        "{said}"
    );
}
