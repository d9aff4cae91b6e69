//! The receiver never reveals what callers said, their identities or credentials: not in its log at the most verbose level,
//! not on the admin listener, not in an answer.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Issuer, Node, Receiver, Taken, free_port, leak_canary, take_all};

/// These values may appear in messages only.
fn incoming_call() -> String {
    let number = format!("+{}1", leak_canary::DIGITS);
    json!([{
        "id": "incoming-1", "topic": "/subscriptions/s", "subject": format!("/caller/4:{number}/recipient/4:{number}"),
        "eventType": "Microsoft.Communication.IncomingCall", "dataVersion": "1.0", "metadataVersion": "1",
        "eventTime": "2026-11-21T12:00:00Z",
        "data": {
            "to": { "kind": "phoneNumber", "rawId": format!("4:{number}"), "phoneNumber": { "value": number } },
            "from": { "kind": "phoneNumber", "rawId": format!("4:{number}"), "phoneNumber": { "value": number } },
            "serverCallId": "server-1", "correlationId": "correlation-1",
            "callerDisplayName": leak_canary::text("displayName"),
            "incomingCallContext": leak_canary::text("incomingCallContext"),
            "customContext": {
                "sipHeaders": { "X-MS-Custom-a": leak_canary::text("sipHeader") },
                "voipHeaders": { "b": leak_canary::text("voipHeader") },
            },
            "aMemberThatNobodyKnows": leak_canary::text("unknownMember"),
        },
    }])
    .to_string()
}

fn recognized(id: &str) -> serde_json::Value {
    json!({
        "id": id, "source": "calling/callConnections/call-1", "subject": "calling/callConnections/call-1",
        "type": "Microsoft.Communication.RecognizeCompleted", "specversion": "1.0", "time": "2026-11-21T12:00:01Z",
        "datacontenttype": "application/json", "anExtension": leak_canary::text("extension"),
        "data": {
            "version": "2025-05-15", "callConnectionId": "call-1", "serverCallId": "server-1", "correlationId": "correlation-1",
            "operationContext": leak_canary::text("operationContext"), "recognitionType": "speech",
            "resultInformation": { "code": 200, "subCode": 8500, "message": leak_canary::text("resultMessage") },
            "speechResult": { "speech": leak_canary::text("speech"), "confidence": 0.9 },
        },
    })
}

/// An event with wrong types in members that hold leak canaries.
fn invalid(id: &str) -> String {
    let mut event = recognized(id);
    let data = event
        .get_mut("data")
        .and_then(serde_json::Value::as_object_mut);
    let data = data.expect("the event has data");
    data.insert(
        "callConnectionId".into(),
        json!([leak_canary::text("invalidValue")]),
    );
    data.insert(
        "speechResult".into(),
        json!(leak_canary::text("invalidSpeech")),
    );
    event.to_string()
}

struct Scene {
    receiver: Receiver,
    client: Client,
    token: String,
    /// All answers, including their headers.
    said: String,
}

impl Scene {
    fn request(&self, method: Method, app: &str) -> RequestBuilder {
        self.request_with(method, app, "")
    }

    fn request_with(&self, method: Method, app: &str, more: &str) -> RequestBuilder {
        // Query strings, paths, cookies and other headers may hold private values of the application.
        let url = format!(
            "{}/{}?callerId=%2B{}2&other={}{more}",
            self.receiver.callback_url(app),
            leak_canary::text("path"),
            leak_canary::DIGITS,
            leak_canary::text("query"),
        );
        self.client
            .request(method, url)
            .header("cookie", leak_canary::text("cookie"))
            .header("aeg-subscription-name", leak_canary::text("subscription"))
            .header("user-agent", leak_canary::text("agent"))
            .header("x-forwarded-for", leak_canary::text("forwarded"))
            .header(
                "tracestate",
                format!("a={}", leak_canary::text("tracestate")),
            )
            .header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
    }

    async fn answered(&mut self, what: &str, request: RequestBuilder, status: u16) -> String {
        let answer = request.send().await.expect(what);
        assert_eq!(answer.status(), status, "{what}");
        let headers = format!("{:?}", answer.headers());
        let body = answer.text().await.expect("text");
        self.said += &format!("{what}: {headers} {body}\n");
        body
    }

    async fn with_token(
        &mut self,
        what: &str,
        app: &str,
        body: impl Into<reqwest::Body>,
        status: u16,
    ) -> String {
        let request = self
            .request(Method::POST, app)
            .bearer_auth(&self.token)
            .body(body);
        self.answered(what, request, status).await
    }

    /// Sends bytes that reqwest would not send; returns the answer.
    async fn raw(&mut self, what: &str, bytes: &str, status: &str) {
        let address = ("127.0.0.1", self.receiver.port);
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(bytes.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        read.expect(what).expect(what);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{what}: {answer}"
        );
        self.said += &format!("{what}: {answer}\n");
    }
}

fn receiver(amqp: &str, issuer: &Issuer, queue: &str) -> Receiver {
    let app = |name: &str, jwt: &str, invalid: &str| {
        format!(
            "[[apps]]\nname = \"{name}\"\npass_query = [\"callerId\"]\nevent_grid = true\non_invalid = \"{invalid}\"\n\
             allowed_origins = [\"eventgrid.azure.net\"]\n[apps.auth]\njwt = [{jwt}]\n\
             shared_secret = [{{ query = \"code\", value_file = \"SECRETS\" }}, {{ header = \"x-callback-key\", value_file = \"SECRETS\" }}]\n\n"
        )
    };
    // An unreachable server: its keys are never available.
    let away = format!(
        "{{ issuer = \"https://away.example/\", audience = [\"a\"], jwks_url = \"http://127.0.0.1:{}/keys\" }}",
        free_port()
    );
    let apps = [
        app("open", &issuer.rule(), "quarantine"),
        app("strict", &issuer.rule(), "reject"),
        app("away", &away, "quarantine"),
    ]
    .concat();
    let rest = format!(
        "[broker]\nurl = \"{amqp}\"\n\n{apps}[[routes]]\nname = \"all\"\nqueue = \"{queue}\"\n"
    );
    let receiver =
        Receiver::with_server(&rest, "body_limit_bytes = 20000\nrequest_timeout = \"10s\"");
    let secrets = receiver.dir().join("secrets");
    let lines = format!(
        "{}\n{}\n",
        leak_canary::text("secret-in-the-query"),
        leak_canary::text("secret-in-a-header")
    );
    std::fs::write(&secrets, lines).expect("written");
    let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
    let text = text.replace("SECRETS", secrets.to_str().expect("UTF-8"));
    std::fs::write(receiver.config(), text).expect("written");
    receiver
}

async fn everything_is_sent(scene: &mut Scene, issuer: &Issuer) {
    // Accepted.
    let taken = scene
        .with_token("a token", "open", incoming_call(), 202)
        .await;
    assert!(taken.contains("\"accepted\":1"), "{taken}");
    let by_header = scene
        .request(Method::POST, "open")
        .header("x-callback-key", leak_canary::text("secret-in-a-header"));
    let by_header = by_header.body(recognized("by-header").to_string());
    scene.answered("a secret in a header", by_header, 202).await;
    let code = format!("&code={}", leak_canary::text("secret-in-the-query"));
    let by_query = scene
        .request_with(Method::POST, "open", &code)
        .body(recognized("by-query").to_string());
    scene.answered("a secret in the query", by_query, 202).await;
    let binary = scene
        .request(Method::POST, "open")
        .bearer_auth(&scene.token)
        .header("ce-specversion", "1.0")
        .header("ce-id", "binary-1")
        .header("ce-source", "calling/callConnections/call-2")
        .header("ce-type", "Contoso.Unknown")
        .header("ce-subject", leak_canary::text("binarySubject"))
        .body(json!({ "speech": leak_canary::text("binaryData") }).to_string());
    scene.answered("binary mode", binary, 202).await;

    // Kept in quarantine.
    let kept = scene
        .with_token("an invalid event", "open", invalid("invalid-1"), 202)
        .await;
    assert!(kept.contains("invalid-1"), "{kept}");
    let batch = format!(
        "[{},{}]",
        recognized("by-header"),
        json!({ "speech": leak_canary::text("malformed") })
    );
    scene
        .with_token("a malformed event", "open", batch, 202)
        .await;

    // Refused because of the body.
    scene
        .with_token(
            "an invalid event, strict",
            "strict",
            invalid("invalid-2"),
            422,
        )
        .await;
    for (what, body) in [
        (
            "no JSON",
            format!("{{\"speech\": {}", leak_canary::text("noJson")),
        ),
        (
            "a name twice",
            format!("{{\"{0}\":1,\"{0}\":2}}", leak_canary::text("name")),
        ),
        (
            "no envelope",
            json!({ "speech": leak_canary::text("noEnvelope") }).to_string(),
        ),
        (
            "an invalid escape",
            format!("[\"{}\\x\"]", leak_canary::text("escape")),
        ),
        (
            "too deep",
            format!(
                "{}\"{}\"{}",
                "[".repeat(70),
                leak_canary::text("deep"),
                "]".repeat(70)
            ),
        ),
        (
            "a number out of range",
            format!(
                "[{{\"a\":\"{}\",\"b\":1e999}}]",
                leak_canary::text("number")
            ),
        ),
    ] {
        scene.with_token(what, "open", body, 400).await;
    }
    let not_utf8 = [leak_canary::text("notUtf8").as_bytes(), &[0xff]].concat();
    scene.with_token("not UTF-8", "open", not_utf8, 400).await;
    let large = leak_canary::text("large").repeat(2_000);
    scene.with_token("too large", "open", large, 413).await;
    let text = scene
        .request(Method::POST, "open")
        .bearer_auth(&scene.token)
        .header("content-type", "text/plain");
    scene
        .answered(
            "not JSON, with another media type",
            text.body(leak_canary::text("plain")),
            415,
        )
        .await;

    // Refused because of the credentials.
    let unsigned = scene.request(Method::POST, "open").body(incoming_call());
    scene.answered("no credentials", unsigned, 401).await;
    let wrong = scene
        .request(Method::POST, "open")
        .header("x-callback-key", leak_canary::text("wrong-secret"));
    scene
        .answered("a wrong secret", wrong.body(incoming_call()), 401)
        .await;
    for (what, token, app, status) in [
        (
            "an unknown key",
            issuer.with("another-key", json!({})),
            "open",
            401,
        ),
        (
            "an expired token",
            issuer.with("of-the-tests", json!({ "exp": 1 })),
            "open",
            401,
        ),
        (
            "a token with an odd claim",
            issuer.with(
                "of-the-tests",
                json!({ "aud": 5, "name": leak_canary::text("claim") }),
            ),
            "open",
            401,
        ),
        (
            "a token that is cut",
            issuer.token().chars().take(90).collect(),
            "open",
            401,
        ),
        ("no token at all", leak_canary::text("token"), "open", 401),
        (
            "keys that are not available",
            issuer.with("x", json!({ "iss": "https://away.example/" })),
            "away",
            503,
        ),
    ] {
        let request = scene
            .request(Method::POST, app)
            .bearer_auth(token)
            .body(incoming_call());
        scene.answered(what, request, status).await;
    }
    let basic = scene.request(Method::POST, "open").basic_auth(
        leak_canary::text("user"),
        Some(leak_canary::text("password")),
    );
    scene
        .answered("basic credentials", basic.body(incoming_call()), 401)
        .await;

    // Refused because of path or method.
    scene
        .with_token(
            "an unknown app",
            &leak_canary::text("app"),
            incoming_call(),
            404,
        )
        .await;
    let get = scene.request(Method::GET, "open").bearer_auth(&scene.token);
    scene.answered("another method", get, 405).await;
    let origin = scene
        .request(Method::OPTIONS, "open")
        .header("webhook-request-origin", leak_canary::text("origin"));
    scene.answered("another origin", origin, 403).await;
    let consent = scene
        .request(Method::OPTIONS, "open")
        .header("webhook-request-origin", "eventgrid.azure.net")
        .header(
            "webhook-request-callback",
            format!("http://127.0.0.1/{}", leak_canary::text("callback")),
        );
    scene.answered("consent", consent, 200).await;
    let head = "POST /callbacks/open HTTP/1.1\r\nhost: h\r\n";
    let canary_line = leak_canary::text("rawHeader");
    scene
        .raw(
            "no HTTP",
            &format!("{canary_line} {canary_line}\r\n\r\n"),
            "400",
        )
        .await;
    scene
        .raw(
            "two lengths",
            &format!("{head}content-length: 5\r\ncontent-length: 6\r\nx: {canary_line}\r\n\r\n"),
            "400",
        )
        .await;
    let authorization = format!("authorization: Bearer {}\r\n", scene.token);
    scene
        .raw(
            "a slow body",
            &format!(
                "{head}{authorization}content-length: 500\r\n\r\n{}",
                leak_canary::text("slowBody")
            ),
            "408",
        )
        .await;

    // Event Grid's validation request: its code is in the answer, as intended, and nowhere else.
    let code = leak_canary::text("validationCode");
    let question = json!([{
        "id": "1", "topic": "t", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-11-21T12:00:00Z", "metadataVersion": "1", "dataVersion": "2",
        "data": { "validationCode": code, "validationUrl": format!("http://127.0.0.1/{}", leak_canary::text("validationUrl")) },
    }]);
    let before = scene.said.len();
    let answer = scene
        .with_token("a validation", "open", question.to_string(), 200)
        .await;
    assert_eq!(answer, json!({ "validationResponse": code }).to_string());
    scene.said.truncate(before);
}

/// The messages of both queues hold the leak canaries, which shows that they reached the receiver.
fn everything_arrived(messages: &[Taken]) {
    let all: String = messages
        .iter()
        .map(|message| {
            format!(
                "{} {:?}\n",
                String::from_utf8_lossy(&message.body),
                message.headers
            )
        })
        .collect();
    for place in [
        "displayName",
        "incomingCallContext",
        "sipHeader",
        "voipHeader",
        "unknownMember",
        "extension",
        "operationContext",
        "resultMessage",
        "speech",
        "invalidValue",
        "invalidSpeech",
        "binarySubject",
        "binaryData",
        "malformed",
        "path",
        "tracestate",
    ] {
        assert!(
            all.contains(&leak_canary::text(place)),
            "{place} did not arrive: {all}"
        );
    }
    assert!(
        all.contains(&format!("callerId=%2B{}2", leak_canary::DIGITS)),
        "the query did not arrive"
    );
    assert!(
        all.contains(&format!("+{}1", leak_canary::DIGITS)),
        "the number did not arrive"
    );
    for secret in [
        "secret-in-the-query",
        "secret-in-a-header",
        "cookie",
        "query",
    ] {
        assert!(
            !all.contains(&leak_canary::text(secret)),
            "{secret} was passed to the consumer"
        );
    }
}

/// A full run of a receiver with the most verbose log in this format.
async fn a_verbose_receiver_logs_nothing_private(format: &'static str) {
    // A private node: events of other tests must not be in its quarantine, nor its events in theirs.
    let node = Node::start();
    let files = tempfile::tempdir().expect("a temporary directory");
    let issuer = Issuer::new(files.path());
    let queue = "private";
    let mut receiver = receiver(node.url(), &issuer, queue);
    receiver.set_variable("RUST_LOG", "trace");
    receiver.add_arguments(&["--log", "trace", "--log-format", format]);
    receiver.start().await;
    receiver
        .until_destination(&format!("queue {queue}"), "ready")
        .await;
    let admin = format!("http://127.0.0.1:{}", receiver.admin_port);
    let mut live = reqwest::get(format!("{admin}/live"))
        .await
        .expect("the live feed");
    let mut scene = Scene {
        receiver,
        client: Client::new(),
        token: issuer.token(),
        said: String::new(),
    };
    everything_is_sent(&mut scene, &issuer).await;
    scene.receiver.until_nothing_pending().await;

    let mut fed = String::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_secs(1), live.chunk()).await
    {
        fed += &String::from_utf8_lossy(&chunk);
    }
    assert!(
        fed.contains("\"delivered\"") && fed.contains("\"quarantined\""),
        "{fed}"
    );
    drop(live);
    let mut shown = vec![("the live feed", fed), ("answers", scene.said.clone())];
    for page in [
        "/metrics",
        "/readyz",
        "/drift",
        "/version",
        "/livez",
        "/startupz",
    ] {
        let answer = reqwest::get(format!("{admin}{page}")).await.expect(page);
        shown.push((page, answer.text().await.expect("text")));
    }
    assert!(
        shown
            .iter()
            .any(|(page, text)| *page == "/drift" && text.contains("aMemberThatNobodyKnows"))
    );

    let mut messages = take_all(node.url(), queue, Duration::from_secs(20), |taken| {
        taken.len() >= 4
    })
    .await;
    let kept = take_all(
        node.url(),
        "hookswitch.quarantine",
        Duration::from_secs(20),
        |taken| taken.len() >= 2,
    )
    .await;
    messages.extend(kept);
    everything_arrived(&messages);

    assert_eq!(scene.receiver.stop(), Some(0));
    let log = scene.receiver.log();
    assert!(
        log.contains("callback refused") && log.contains("event received"),
        "the log was verbose: {log}"
    );
    let malformed = log
        .lines()
        .find(|line| format == "json" && !line.starts_with('{'));
    assert_eq!(malformed, None, "lines are JSON");
    shown.push(("standard error", log));
    shown.push(("standard output", scene.receiver.printed()));
    let mut leaks = Vec::new();
    for (where_, text) in &shown {
        for leak in leak_canary::found(text) {
            leaks.push(format!("{where_}: …{leak}…"));
        }
    }
    assert!(
        leaks.is_empty(),
        "{} leaks:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_logged_as_text_at_the_most_verbose_level() {
    a_verbose_receiver_logs_nothing_private("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_logged_as_json_at_the_most_verbose_level() {
    a_verbose_receiver_logs_nothing_private("json").await;
}
