use std::time::{Duration, SystemTime};

use crate::rest::auth::SignedRequest;

/// Signatures were made with Python's `hmac` and with `openssl dgst -mac HMAC`, over this key:
/// `aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0` without its base64.
const KEY: &[u8] = b"hookswitch emulator: not a secret";
const DATE: &str = "Sat, 21 Nov 2026 12:00:00 GMT";
const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn noon() -> SystemTime {
    // 2026-11-21T12:00:00Z
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_262_400)
}

fn signed(signature: &str) -> String {
    format!("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}")
}

/// `POST /calls` from [`signed`] `i0mV...`.
fn good(authorization: &str) -> SignedRequest<'_> {
    SignedRequest {
        method: "POST",
        path_and_query: "/calls",
        host: Some("[::1]:9100"),
        date: Some(DATE),
        content_hash: Some("RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="),
        authorization: Some(authorization),
        body: b"{}",
    }
}

const GOOD: &str = "i0mV9O9VSDCYC71g+ckbqFApFPYx6wq6EQISYK7teSQ=";

#[test]
fn signatures_made_elsewhere_are_good() {
    let authorization = signed(GOOD);
    assert_eq!(good(&authorization).check(KEY, noon()), Ok(()));

    let authorization = signed("JOuMTwEsfXN6+cVZXB3FD8WkPhcN7+E8qax2sfCqwGc=");
    let post = SignedRequest {
        method: "POST",
        path_and_query: "/calling/callConnections?api-version=2026-03-12",
        host: Some("127.0.0.1:9100"),
        date: Some(DATE),
        content_hash: Some("z4WahGMo9W39T9J5N+YtL0ZnauDLX6NDtbHaKreR+RI="),
        authorization: Some(&authorization),
        body: br#"{"targets":[]}"#,
    };
    assert_eq!(post.check(KEY, noon()), Ok(()));

    // Encoded as sent, without a body.
    let authorization = signed("GrDgF+2mAg3B8gqMj0h7BGjErtbYLLBEZkdZaUj6q14=");
    let get = SignedRequest {
        method: "GET",
        path_and_query: "/calling/callConnections/1/participants/4%3A%2B15550100?api-version=2023-03-06",
        host: Some("localhost:9100"),
        date: Some(DATE),
        content_hash: Some(EMPTY),
        authorization: Some(&authorization),
        body: b"",
    };
    assert_eq!(get.check(KEY, noon()), Ok(()));
}

fn refused(request: &SignedRequest<'_>, says: &str) {
    let fault = request.check(KEY, noon()).expect_err(says);
    assert_eq!(fault.status, 401);
    assert!(fault.message.contains(says), "{says}: {}", fault.message);
    assert!(
        !fault.message.contains("not a secret") && !fault.message.contains(GOOD),
        "it gives away the key or the signature: {}",
        fault.message
    );
}

#[test]
fn each_wrong_signature_is_reported() {
    let (authorization, other) = (signed(GOOD), signed(EMPTY));
    let good = || good(&authorization);

    for (request, says) in [
        (
            SignedRequest {
                authorization: None,
                ..good()
            },
            "missing: Authorization;",
        ),
        (
            SignedRequest {
                date: None,
                host: None,
                ..good()
            },
            "missing: x-ms-date, Host;",
        ),
        (
            SignedRequest {
                content_hash: None,
                ..good()
            },
            "missing: x-ms-content-sha256;",
        ),
        (
            SignedRequest {
                authorization: Some("Bearer e30.e30.x"),
                ..good()
            },
            "Entra",
        ),
        (
            SignedRequest {
                authorization: Some("Bearer e30.e30.x"),
                date: None,
                ..good()
            },
            "use the access key",
        ),
        (
            SignedRequest {
                authorization: Some("Basic x"),
                ..good()
            },
            "not HMAC-SHA256",
        ),
        (
            SignedRequest {
                authorization: Some("HMAC-SHA256 Signature=AAAA"),
                ..good()
            },
            "no SignedHeaders",
        ),
        (
            SignedRequest {
                authorization: Some("HMAC-SHA256 SignedHeaders=host&Signature=AAAA"),
                ..good()
            },
            "has to be x-ms-date;host;x-ms-content-sha256",
        ),
        (
            SignedRequest {
                authorization: Some("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"),
                ..good()
            },
            "no Signature",
        ),
        (
            SignedRequest {
                authorization: Some(
                    "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=?",
                ),
                ..good()
            },
            "not base64",
        ),
        (
            SignedRequest {
                body: b"{ }",
                ..good()
            },
            "the body of 3 bytes has",
        ),
        (
            SignedRequest {
                date: Some("2026-11-21T12:00:00Z"),
                ..good()
            },
            "is not a date",
        ),
        (
            SignedRequest {
                authorization: Some(&other),
                ..good()
            },
            "the signature differs",
        ),
        (
            SignedRequest {
                method: "PUT",
                ..good()
            },
            "PUT\\n/calls\\n",
        ),
        (
            SignedRequest {
                path_and_query: "/calls?a=b",
                ..good()
            },
            "/calls?a=b",
        ),
        (
            SignedRequest {
                host: Some("[::1]:9101"),
                ..good()
            },
            "[::1]:9101",
        ),
        (
            SignedRequest {
                date: Some("Sat, 21 Nov 2026 12:00:01 GMT"),
                ..good()
            },
            "the signature differs",
        ),
    ] {
        refused(&request, says);
    }
}

#[test]
fn a_date_may_be_five_minutes_off_either_way() {
    let authorization = signed(GOOD);
    let five = Duration::from_secs(300);
    for (now, says) in [
        (noon() + five, None),
        (noon() - five, None),
        (noon() + five + Duration::from_secs(1), Some("behind")),
        (noon() - five - Duration::from_secs(1), Some("ahead of")),
    ] {
        let result = good(&authorization).check(KEY, now);
        match says {
            None => assert_eq!(result, Ok(())),
            Some(says) => {
                let fault = result.expect_err(says);
                assert!(fault.message.contains(says), "{fault}");
            }
        }
    }
}

#[test]
fn another_key_is_refused() {
    let authorization = signed(GOOD);
    assert!(good(&authorization).check(b"another", noon()).is_err());
}
