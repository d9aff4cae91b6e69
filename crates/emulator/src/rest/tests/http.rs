use std::time::SystemTime;

use actix_web::http::header::HttpDate;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rest::test_support::{Listener, Reply};

const CREATE: &str = "/calling/callConnections?api-version=2026-03-12";

fn call() -> Vec<u8> {
    json!({"targets": [{"rawId": "8:acs:r_friend"}], "callbackUri": "http://127.0.0.1:1/cb"})
        .to_string()
        .into_bytes()
}

/// Sends a request as the clients sign it.
fn signed(listener: &Listener, key: &[u8], uri: &str, body: &[u8], sent: &[u8]) -> Reply {
    let date = HttpDate::from(SystemTime::now()).to_string();
    let hash = STANDARD.encode(Sha256::digest(body));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(format!("POST\n{uri}\n{date};127.0.0.1:9100;{hash}").as_bytes());
    let authorization = format!(
        "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={}",
        STANDARD.encode(mac.finalize().into_bytes())
    );
    let headers = [
        ("host", "127.0.0.1:9100"),
        ("x-ms-date", &date),
        ("x-ms-content-sha256", &hash),
        ("authorization", &authorization),
    ];
    listener.send_with("POST", uri, &headers, sent)
}

#[test]
fn only_signed_requests_reach_the_world() {
    let listener = Listener::with_key(Some(b"key"));
    let body = call();
    for (reply, status) in [
        (listener.send_with("POST", CREATE, &[], &body), 401),
        (signed(&listener, b"other", CREATE, &body, &body), 401),
        (signed(&listener, b"key", CREATE, b"{}", &body), 401),
        (signed(&listener, b"key", CREATE, &body, &body), 201),
    ] {
        assert_eq!(reply.status, status, "{}", reply.body);
        if status == 401 {
            assert_eq!(reply.body["error"]["code"], "Unauthorized");
            assert_eq!(
                reply.headers.get("www-authenticate").expect("a scheme"),
                "HMAC-SHA256"
            );
        }
    }
    assert_eq!(listener.calls(), 1);
    let private = listener.send("POST", "/calls", &json!({}));
    assert_eq!(
        (private.status, &private.body["code"]),
        (401, &json!("401"))
    );
}

#[test]
fn the_pages_of_the_emulator_need_no_signature() {
    let listener = Listener::with_key(Some(b"key"));
    for (path, body) in [
        ("/_emulator/health", json!({"status": "ok"})),
        ("/_emulator/calls", json!({"calls": []})),
        (
            "/_emulator/callbacks",
            json!({"callbacks": [{"status": 204}]}),
        ),
        (
            "/calling/.well-known/acsopenidconfiguration",
            json!({"issuer": "i", "jwks_uri": "http://127.0.0.1:9100/calling/keys"}),
        ),
        ("/_emulator/summary", json!({"calls": 0})),
        ("/calling/keys", json!({"keys": []})),
    ] {
        let reply = listener.send("GET", path, &Value::Null);
        assert_eq!((reply.status, reply.body), (200, body), "{path}");
    }
    let reply = listener.send("POST", "/_emulator/incoming", &json!({"from": "+15550100"}));
    assert_eq!(reply.status, 400);
    assert!(
        reply.body["error"]["message"]
            .as_str()
            .expect("a message")
            .starts_with("to is")
    );
}

#[test]
fn a_repeated_request_makes_one_call() {
    let listener = Listener::open();
    let headers = [
        (
            "Repeatability-Request-ID",
            "3FA85F64-5717-4562-B3FC-2C963F66AFA6",
        ),
        ("Repeatability-First-Sent", "Sat, 21 Nov 2026 12:00:00 GMT"),
    ];
    let first = listener.send_with("POST", CREATE, &headers, &call());
    let second = listener.send_with("POST", CREATE, &headers, &call());
    assert_eq!(first.status, 201);
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(listener.calls(), 1);
    for reply in [first, second] {
        assert_eq!(
            reply.headers.get("repeatability-result").expect("a result"),
            "accepted"
        );
    }

    let other = listener.send_with("POST", CREATE, &headers, b"{}");
    assert_eq!(other.status, 400);
    assert_eq!(
        other.headers.get("repeatability-result").expect("a result"),
        "rejected"
    );

    // Without the header, the same request is a new one.
    listener.send_with("POST", CREATE, &[], &call());
    assert_eq!(listener.calls(), 2);
}

#[test]
fn a_refusal_is_repeated_too() {
    let listener = Listener::open();
    let headers = [("Repeatability-Request-ID", "1")];
    let uri = "/calling/callConnections/none:terminate?api-version=2026-03-12";
    let first = listener.send_with("POST", uri, &headers, b"");
    let second = listener.send_with("POST", uri, &headers, b"");
    assert_eq!((first.status, second.status), (404, 404));
    assert_eq!(first.body, second.body);
}

#[test]
fn a_body_that_is_too_large_or_not_json_is_refused_in_the_form_of_the_generation() {
    let listener = Listener::open();
    let large = vec![b' '; 1024 * 1024 + 1];
    for (uri, body, status, code) in [
        (CREATE, &large[..], 413, "/error/code"),
        ("/calls", &large[..], 413, "/code"),
        (CREATE, b"{", 400, "/error/code"),
        ("/calls", b"{", 400, "/code"),
    ] {
        let reply = listener.send_with("POST", uri, &[], body);
        assert_eq!(reply.status, status, "{uri}");
        assert!(reply.body.pointer(code).is_some(), "{}", reply.body);
    }
}

#[test]
fn an_unknown_path_names_similar_paths() {
    let listener = Listener::open();
    for (method, uri, pointer, near) in [
        (
            "POST",
            "/calling/callConnections/1:recognise?api-version=2026-03-12",
            "/error/message",
            "{id}:recognize",
        ),
        (
            "POST",
            "/calling/callConnections/1:hangup?api-version=2021-08-30-preview",
            "/error/message",
            "/:hangup",
        ),
        (
            "POST",
            "/calls/1/HangUp2",
            "/message",
            "/calls/{callId}/Hangup",
        ),
        (
            "POST",
            "/callConnections?api-version=2026-03-12",
            "/error/message",
            "POST /calling/callConnections",
        ),
    ] {
        let reply = listener.send(method, uri, &Value::Null);
        assert_eq!(reply.status, 404, "{uri}");
        let message = reply
            .body
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect(uri);
        assert!(message.contains(near), "{message}");
    }
}

#[test]
fn the_service_is_told_of_every_request_without_its_query() {
    let listener = Listener::open();
    listener.send_with("POST", CREATE, &[], &call());
    listener.send("GET", "/nothing?secret=1", &Value::Null);
    listener.send_with("POST", CREATE, &[], &vec![b' '; 1024 * 1024 + 1]);
    let call = json!({"from": "+15550110", "to": "+15550100"});
    listener.send("POST", "/_emulator/incoming", &call);
    assert_eq!(
        listener.answered(),
        [
            "POST /calling/callConnections 201",
            "GET /nothing 400",
            "POST /calling/callConnections 413",
            "POST /_emulator/incoming 201",
        ]
    );
}

#[test]
fn the_keys_are_where_the_document_was_fetched() {
    let listener = Listener::open();
    let path = "/calling/.well-known/acsopenidconfiguration";
    let reply = listener.send_with("GET", path, &[("host", "emulator:9100")], b"");
    assert_eq!(reply.body["jwks_uri"], "http://emulator:9100/calling/keys");
}

#[test]
fn unknown_paths_of_the_emulator_name_the_known_ones() {
    let listener = Listener::open();
    for (method, uri, status) in [
        ("GET", "/_emulator", 404),
        ("GET", "/_emulator/", 404),
        ("GET", "/_emulator/call", 404),
        ("POST", "/_emulator/calls", 405),
        ("GET", "/_emulator/incoming", 405),
        ("DELETE", "/_emulator/consent?id=right", 405),
    ] {
        let reply = listener.send(method, uri, &Value::Null);
        assert_eq!(reply.status, status, "{method} {uri}");
        assert!(
            reply.body["error"]["message"]
                .as_str()
                .expect("a message")
                .contains("POST /_emulator/incoming")
        );
    }
    for method in ["GET", "POST"] {
        let reply = listener.send(method, "/_emulator/consent?id=right", &Value::Null);
        assert_eq!(reply.status, 200, "{method}");
        let reply = listener.send(method, "/_emulator/consent?id=wrong", &Value::Null);
        assert_eq!(reply.status, 404, "{method}");
    }
}
