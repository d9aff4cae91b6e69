use serde_json::{Value, json};

use crate::rest::body::{BodyMembers, object};
use crate::{api_error::ApiError, identity::Identifier};

fn read<T>(
    body: Value,
    read: impl FnOnce(&BodyMembers<'_>) -> Result<T, ApiError>,
) -> Result<T, String> {
    let object = object(body.to_string().as_bytes()).expect("an object");
    read(&BodyMembers::of(&object)).map_err(|fault| {
        assert_eq!(fault.status, 400);
        fault.message
    })
}

#[test]
fn a_body_must_be_an_object_and_an_empty_body_is_an_empty_object() {
    for (bytes, says) in [
        (&b"{"[..], "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\"x\"", "not a JSON object"),
        (b"\xff", "not JSON"),
    ] {
        let fault = object(bytes).expect_err(says);
        assert_eq!(fault.status, 400);
        assert!(fault.message.contains(says), "{fault}");
    }
    assert!(object(b"").expect("empty").is_empty());
    assert!(object(b" \r\n").expect("empty").is_empty());
}

#[test]
fn null_means_absent_and_unknown_members_are_ignored() {
    let body = json!({"operationContext": null, "future": {"a": 1}});
    assert_eq!(read(body, |body| body.context()), Ok(None));
    let missing = read(json!({"callbackUri": null}), |body| {
        body.required("callbackUri", BodyMembers::url)
    });
    assert_eq!(missing, Err("callbackUri is missing".to_owned()));
}

#[test]
fn a_context_has_at_most_5000_characters() {
    let context = |length: usize| {
        read(json!({"operationContext": "é".repeat(length)}), |body| {
            body.context()
        })
    };
    assert!(context(5000).is_ok());
    let error = context(5001).expect_err("too long");
    assert!(error.contains("operationContext has 5001"), "{error}");
}

#[test]
fn callbacks_are_absolute_http_or_https() {
    let url = |text: &str| read(json!({"callbackUri": text}), |body| body.url("callbackUri"));
    for good in [
        "http://127.0.0.1:8080/cb?secret=1",
        "https://example.com",
        "HTTPS://example.com/x",
    ] {
        assert_eq!(url(good), Ok(Some(good.to_owned())));
    }
    for bad in [
        "/callbacks",
        "example.com/cb",
        "ftp://example.com",
        "http://",
        "https:///",
        "",
    ] {
        assert!(url(bad).expect_err(bad).contains("callbackUri"), "{bad}");
    }
}

#[test]
fn wrong_types_are_reported_with_their_path() {
    type Read = fn(&BodyMembers<'_>) -> Result<(), ApiError>;
    let table: Vec<(Value, Read, &str)> = vec![
        (
            json!({"a": 1}),
            |b| b.text("a").map(drop),
            "a is not a string",
        ),
        (json!({"a": ""}), |b| b.text("a").map(drop), "a is empty"),
        (
            json!({"a": "true"}),
            |b| b.flag("a").map(drop),
            "a is neither",
        ),
        (
            json!({"a": -1}),
            |b| b.whole("a").map(drop),
            "a is not a whole",
        ),
        (
            json!({"a": 1.5}),
            |b| b.seconds("a").map(drop),
            "a is not a whole",
        ),
        (
            json!({"a": "x"}),
            |b| b.word("a", &["y", "z"]).map(drop),
            "a is \"x\", not one of y, z",
        ),
        (
            json!({"a": ["y", "x"]}),
            |b| b.words("a", &["y"]).map(drop),
            "a[1] is \"x\"",
        ),
        (
            json!({"a": {}}),
            |b| b.identifiers("a").map(drop),
            "a is not an array",
        ),
        (
            json!({"a": []}),
            |b| b.participants("a").map(drop),
            "a names no participant",
        ),
        (
            json!({"a": [{"rawId": "4:+1"}, {}]}),
            |b| b.participants("a").map(drop),
            "a[1] is invalid",
        ),
        (
            json!({"a": {"phoneNumber": {}}}),
            |b| b.identifier("a").map(drop),
            "phoneNumber.value",
        ),
        (
            json!({"a": "+1"}),
            |b| b.phone("a").map(drop),
            "a is not an object",
        ),
        (
            json!({"a": {}}),
            |b| b.phone("a").map(drop),
            "a.value is missing",
        ),
        (
            json!({"a": {"id": 1}}),
            |b| b.user("a").map(drop),
            "a.id is not a string",
        ),
        (
            json!({"a": ["one", "eleven"]}),
            |b| b.tones("a").map(drop),
            "a[1] is \"eleven\", which is not a tone",
        ),
        (
            json!({"a": ["x", ""]}),
            |b| b.texts("a").map(drop),
            "a[1] is not",
        ),
        (
            json!({"a": [1]}),
            |b| b.list("a").map(drop),
            "a[0] is not an object",
        ),
    ];
    for (body, check, says) in table {
        let error = read(body, check).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn nested_members_are_named_from_the_root() {
    let error = read(json!({"sources": [{}, {"file": {"uri": 1}}]}), |body| {
        let sources = body.required("sources", BodyMembers::list)?;
        let file = sources[1].required("file", BodyMembers::members)?;
        file.required("uri", BodyMembers::text)
    });
    assert_eq!(error, Err("sources[1].file.uri is not a string".to_owned()));
}

#[test]
fn identifiers_are_read_with_and_without_kind() {
    for identifier in [
        json!({"rawId": "4:+15550100", "phoneNumber": {"value": "+15550100"}}),
        json!({"kind": "phoneNumber", "phoneNumber": {"value": "+15550100"}}),
        json!({"rawId": "4:+15550100"}),
    ] {
        let read = read(json!({"a": identifier}), |body| body.identifier("a"));
        assert_eq!(
            read,
            Ok(Some(Identifier::Phone {
                number: "+15550100".to_owned()
            }))
        );
    }
}
