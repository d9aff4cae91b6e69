//! The decisions about events before they meet other callbacks.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    admit::{CallRule, Offer, QuarantineReason},
    envelope::CallbackHead,
    event::{CallKey, Kind},
    route::Target,
};

use crate::ingress::{
    RejectReason, Rejection, RequestFacts,
    callback::labels,
    test_support::{RANG, broken, pipeline, rang, strange},
};

fn prepare(app: &str, body: &Value, path: Option<&str>) -> Result<Vec<Offer>, Rejection> {
    let pipeline = pipeline();
    let app = pipeline.app(app).unwrap();
    let body = Bytes::from(body.to_string());
    let elements = pipeline.read(&CallbackHead::default(), &body)?;
    let request = RequestFacts {
        path: path.map(str::to_owned),
        ..RequestFacts::default()
    };
    pipeline.prepare(app, elements, &request)
}

/// For each event why it goes to quarantine, or that it goes to its routes.
fn check(app: &str, body: &Value, expected: &[Option<QuarantineReason>]) -> Vec<Offer> {
    let offers = prepare(app, body, None).unwrap();
    let found: Vec<_> = offers
        .iter()
        .map(|offer| offer.facts.quarantine.as_ref().map(|kept| kept.reason))
        .collect();
    assert_eq!(found, expected, "{body}");
    for offer in &offers {
        let quarantine = &offer.facts.quarantine;
        let faults = quarantine.as_ref().map(|kept| kept.faults.clone());
        assert_eq!(faults.unwrap_or_default(), offer.faults);
        assert_eq!(
            offer.facts_json,
            serde_json::to_string(&*offer.facts).unwrap()
        );
        assert_eq!(
            quarantine.is_some(),
            offer.targets == [Target::quarantine()]
        );
    }
    offers
}

#[test]
fn a_good_event_is_offered_as_it_came() {
    let prepared = check("contoso", &rang("1"), &[None]);
    let offer = &prepared[0];
    assert_eq!(offer.body, rang("1").to_string());
    assert_eq!(
        (offer.facts.event_id.as_str(), offer.facts.kind),
        ("1", Kind::CallState)
    );
    assert_eq!(offer.facts.event_type, RANG);
    assert_eq!(offer.facts.correlation_id.as_deref(), Some("r1"));
    let named = ("calling/callConnections/c1".to_owned(), "1".to_owned());
    assert_eq!(offer.identity.named, Some(named));
    assert_eq!(offer.call, CallRule::Auto);
    assert_eq!(offer.ids.connection.as_deref(), Some("c1"));
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
            Err(Rejection::Events { reason, offers }) => {
                assert_eq!((reason, offers.len()), (expected, 2), "{body}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(prepare("strict", &rang("1"), None).is_ok());
}

#[test]
fn an_unknown_type_is_routed_and_kept_out_of_the_labels() {
    let prepared = check("contoso", &strange("1"), &[None]);
    assert_eq!(prepared[0].facts.kind, Kind::Unknown);
    assert_eq!(prepared[0].targets, [Target::unrouted()]);
    assert_eq!(prepared[0].event_type(), Some("Example.New"));
    assert_eq!(labels(&prepared[0]), ("other", "other"));
}

#[test]
fn an_element_without_envelope_is_kept_as_it_came() {
    let prepared = check(
        "contoso",
        &json!([rang("1"), { "id": "7", "x": [1, 2] }]),
        &[None, Some(QuarantineReason::Malformed)],
    );
    let offer = &prepared[1];
    assert_eq!(offer.body, "{\"id\":\"7\",\"x\":[1,2]}");
    assert_eq!(offer.identity.named, None);
    assert!(!offer.facts.event_id.is_empty());
    assert!(!offer.faults.is_empty());
}

#[test]
fn the_path_is_the_call_where_the_app_says_so() {
    let prepared = prepare("path", &rang("1"), Some("survey/7")).unwrap();
    assert_eq!(prepared[0].call, CallRule::Path(CallKey::new("survey/7")));
    let prepared = prepare("path", &rang("1"), None).unwrap();
    assert_eq!(prepared[0].call, CallRule::Path(None));
}

#[test]
fn equal_bytes_have_equal_digests_and_others_do_not() {
    let digest = |body: &Value| prepare("contoso", body, None).unwrap()[0].identity.digest;
    assert_eq!(digest(&rang("1")), digest(&rang("1")));
    assert_ne!(digest(&rang("1")), digest(&rang("2")));
}

#[test]
fn a_malformed_callback_is_an_envelope_error() {
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
    let prepared = pipeline
        .prepare(app, elements, &RequestFacts::default())
        .unwrap();
    let kept: Value = serde_json::from_slice(&prepared[0].body).unwrap();
    assert!(prepared[0].facts.quarantine.is_some());
    assert_eq!(kept["source"], "calling/callConnections/c1");
    assert_eq!(kept["data"]["callConnectionId"], 17);
}

#[test]
fn an_event_keeps_the_buffer_of_its_callback_only_where_it_is_most_of_it() {
    let prepared = |body: &Bytes| {
        let pipeline = pipeline();
        let elements = pipeline.read(&CallbackHead::default(), body).unwrap();
        let request = RequestFacts {
            body_bytes: body.len(),
            ..RequestFacts::default()
        };
        let app = pipeline.app("contoso").unwrap();
        pipeline.prepare(app, elements, &request).unwrap()
    };
    let shared = |body: &Bytes, offer: &Offer| body.as_ptr_range().contains(&offer.body.as_ptr());
    let alone = Bytes::from(json!([rang("1")]).to_string());
    assert!(shared(&alone, &prepared(&alone)[0]));
    let padded = Bytes::from(format!("[{}{}]", rang("1"), " ".repeat(10_000)));
    let batch = Bytes::from(json!([rang("1"), rang("2"), broken("3"), 7]).to_string());
    for body in [padded, batch] {
        for offer in prepared(&body) {
            assert!(!shared(&body, &offer), "{:?}", offer.body);
        }
    }
}
