//! The decisions about events before they meet other callbacks.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    admit::{CallRule, QuarantineReason},
    envelope::CallbackHead,
    event::{CallKey, Kind},
    route::Target,
};

use crate::ingress::{
    PreparedCallback, RejectReason, Rejection,
    test_support::{RANG, broken, pipeline, rang, strange},
};

fn prepare(app: &str, body: &Value, path: Option<&str>) -> Result<PreparedCallback, Rejection> {
    let pipeline = pipeline();
    let app = pipeline.app(app).unwrap();
    let body = Bytes::from(body.to_string());
    let elements = pipeline.read(&CallbackHead::default(), &body)?;
    pipeline.prepare(app, elements, path)
}

/// For each event why it goes to quarantine, or that it goes to its routes.
fn check(app: &str, body: &Value, expected: &[Option<QuarantineReason>]) -> PreparedCallback {
    let prepared = prepare(app, body, None).unwrap();
    let found: Vec<_> = prepared
        .offers
        .iter()
        .map(|offer| offer.quarantine.as_ref().map(|kept| kept.reason))
        .collect();
    assert_eq!(found, expected, "{body}");
    assert_eq!(prepared.summaries.len(), prepared.offers.len());
    for (offer, note) in prepared.offers.iter().zip(&prepared.summaries) {
        let faults = offer.quarantine.as_ref().map(|kept| kept.faults.clone());
        assert_eq!(faults.unwrap_or_default(), note.faults);
        assert_eq!(
            offer.quarantine.is_some(),
            offer.targets == [Target::quarantine()]
        );
    }
    prepared
}

#[test]
fn a_good_event_is_offered_as_it_came() {
    let prepared = check("contoso", &rang("1"), &[None]);
    let offer = &prepared.offers[0];
    assert_eq!(offer.body, rang("1").to_string());
    assert_eq!(
        (offer.event_id.as_str(), offer.kind),
        ("1", Kind::CallState)
    );
    assert_eq!(offer.event_type, RANG);
    assert_eq!(offer.correlation_id.as_deref(), Some("r1"));
    let named = ("calling/callConnections/c1".to_owned(), "1".to_owned());
    assert_eq!(offer.identity.named, Some(named));
    let CallRule::Auto(ids) = &offer.call else {
        panic!("{:?}", offer.call);
    };
    assert_eq!(ids.connection.as_deref(), Some("c1"));
    assert!(matches!(&offer.targets[..], [Target::Queue { name, .. }] if &**name == "calls"));
}

#[test]
fn each_policy_decides_as_it_says() {
    use QuarantineReason::{Invalid, Malformed, Unknown};
    let all = json!([rang("1"), broken("2"), strange("3"), { "x": 1 }]);
    check(
        "contoso",
        &all,
        &[None, Some(Invalid), None, Some(Malformed)],
    );
    check(
        "careful",
        &all,
        &[None, Some(Invalid), Some(Unknown), Some(Malformed)],
    );
    for (body, expected) in [
        (json!([rang("1"), broken("2")]), RejectReason::Invalid),
        (json!([rang("1"), strange("2")]), RejectReason::Unknown),
        (json!([strange("1"), broken("2")]), RejectReason::Invalid),
        (json!([broken("1"), strange("2")]), RejectReason::Invalid),
        (json!([rang("1"), 7]), RejectReason::Invalid),
    ] {
        match prepare("strict", &body, None) {
            Err(Rejection::Events { reason, summaries }) => {
                assert_eq!((reason, summaries.len()), (expected, 2), "{body}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(prepare("strict", &rang("1"), None).is_ok());
}

#[test]
fn an_unknown_type_is_routed_and_kept_out_of_the_labels() {
    let prepared = check("contoso", &strange("1"), &[None]);
    assert_eq!(prepared.offers[0].kind, Kind::Unknown);
    assert_eq!(prepared.offers[0].targets, [Target::unrouted()]);
    let note = &prepared.summaries[0];
    assert_eq!(note.event_type.as_deref(), Some("Example.New"));
    assert_eq!(
        (note.type_label.as_str(), note.generation_label.as_str()),
        ("other", "other")
    );
}

#[test]
fn an_element_without_envelope_is_kept_as_it_came() {
    let prepared = check(
        "contoso",
        &json!([rang("1"), { "id": "7", "x": [1, 2] }]),
        &[None, Some(QuarantineReason::Malformed)],
    );
    let offer = &prepared.offers[1];
    assert_eq!(offer.body, "{\"id\":\"7\",\"x\":[1,2]}");
    assert_eq!(offer.identity.named, None);
    assert!(!offer.event_id.is_empty());
    assert!(!prepared.summaries[1].faults.is_empty());
}

#[test]
fn the_path_is_the_call_where_the_app_says_so() {
    let prepared = prepare("path", &rang("1"), Some("survey/7")).unwrap();
    assert_eq!(
        prepared.offers[0].call,
        CallRule::Path(CallKey::new("survey/7"))
    );
    let prepared = prepare("path", &rang("1"), None).unwrap();
    assert_eq!(prepared.offers[0].call, CallRule::Path(None));
}

#[test]
fn equal_bytes_have_equal_digests_and_others_do_not() {
    let digest = |body: &Value| {
        prepare("contoso", body, None).unwrap().offers[0]
            .identity
            .digest
    };
    assert_eq!(digest(&rang("1")), digest(&rang("1")));
    assert_ne!(digest(&rang("1")), digest(&rang("2")));
}

#[test]
fn what_is_no_callback_is_an_envelope_error() {
    assert!(matches!(
        prepare("contoso", &json!([]), None),
        Err(Rejection::Envelope(_))
    ));
}

#[test]
fn a_broken_event_in_binary_mode_keeps_its_attributes_in_quarantine() {
    let pipeline = pipeline();
    let mut head = CallbackHead::default();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "b1"),
        ("ce-source", "calling/callConnections/c1"),
        ("ce-type", "Microsoft.Communication.CallConnected"),
    ] {
        head.header(name, value.as_bytes());
    }
    let body = Bytes::from_static(br#"{"callConnectionId":17}"#);
    let app = pipeline.app("contoso").unwrap();
    let elements = pipeline.read(&head, &body).unwrap();
    let prepared = pipeline.prepare(app, elements, None).unwrap();
    let kept: Value = serde_json::from_slice(&prepared.offers[0].body).unwrap();
    assert!(prepared.offers[0].quarantine.is_some());
    assert_eq!(kept["source"], "calling/callConnections/c1");
    assert_eq!(kept["data"]["callConnectionId"], 17);
}
