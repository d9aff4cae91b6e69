//! Handshakes over real connections: who is told that its events are wanted, and that nobody else is (design 4,
//! CloudEvents webhooks 1.0.2, section 4).

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::ops::Counts;

use super::testing::{Door, problem_in, rang, settings};

const TYPE: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
const CODE: &str = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";

fn question(event_type: &str, data: &Value) -> Value {
    json!([{
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66", "topic": "/subscriptions/x", "subject": "",
        "data": data, "eventType": event_type, "eventTime": "2026-11-21T12:00:00Z",
        "metadataVersion": "1", "dataVersion": "2",
    }])
}

fn validation() -> Value {
    // Nobody listens there, and nobody is to try.
    question(
        TYPE,
        &json!({ "validationCode": CODE, "validationUrl": "http://127.0.0.1:9/validate" }),
    )
}

fn ask(door: &Door, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let url = format!("http://{}{path}", door.listening.address());
    headers.iter().fold(
        door.client.request(Method::OPTIONS, url),
        |request, (name, value)| request.header(*name, *value),
    )
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

async fn granted(door: &Door, request: RequestBuilder) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({ "validationResponse": CODE }));
    assert_eq!(door.ledger.snapshot(), Counts::default());
}

async fn not_granted(response: Response, status: u16) {
    for name in ["webhook-allowed-origin", "webhook-allowed-rate"] {
        assert_eq!(header(&response, name), None, "{name} is consent");
    }
    problem_in(response, status).await;
}

#[tokio::test]
async fn event_grid_is_given_its_code_with_200_and_nothing_is_kept() {
    let mut door = Door::open(settings());
    for (name, value) in [
        ("aeg-event-type", "SubscriptionValidation"),
        ("AEG-Event-Type", "subscriptionvalidation"),
        ("aeg-subscription-name", "ONE"),
    ] {
        let request = door.post("/callbacks/grid/below", validation().to_string());
        granted(&door, request.header(name, value)).await;
    }
    door.counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 3")
        .await;
    door.counted("hookswitch_callbacks_total{outcome=\"handshake\"} 3")
        .await;
    door.counted("hookswitch_http_requests_total{code=\"200\",route=\"callbacks\"} 3")
        .await;
    // The journal's first callback is the one after them.
    let (_, callback) = door
        .kept(door.post("/callbacks/grid", rang("1").to_string()))
        .await;
    assert_eq!(callback.offers[0].event_id, "1");
}

#[tokio::test]
async fn an_app_without_event_grid_takes_the_question_as_an_event() {
    let mut door = Door::open(settings());
    let request = door
        .post("/callbacks/contoso", validation().to_string())
        .header("aeg-event-type", "SubscriptionValidation");
    let (response, callback) = door.kept(request).await;
    assert_eq!(response.status(), 202, "which is no consent");
    assert_eq!(callback.offers[0].event_type, TYPE);
    door.counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 0")
        .await;
}

#[tokio::test]
async fn what_is_announced_as_a_question_and_is_none_is_400() {
    let mut door = Door::open(settings());
    let two = [validation(), validation()].map(|one| one[0].clone());
    for body in [
        json!(two),
        validation()[0].clone(),
        question("Example.Other", &json!({ "validationCode": CODE })),
        question(TYPE, &json!({})),
        question(TYPE, &json!({ "validationCode": "" })),
        question(TYPE, &json!({ "validationCode": 7 })),
        json!([rang("1")]),
    ] {
        let request = door
            .post("/callbacks/grid", body.to_string())
            .header("aeg-event-type", "SubscriptionValidation");
        door.problem(request, 400).await;
    }
    door.counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"refused\"} 7")
        .await;
}

#[tokio::test]
async fn a_delivery_with_an_event_of_that_type_is_a_delivery() {
    let mut door = Door::open(settings());
    let request = door
        .post("/callbacks/grid", validation().to_string())
        .header("aeg-event-type", "Notification");
    let (response, callback) = door.kept(request).await;
    assert_eq!(response.status(), 202);
    assert_eq!(callback.offers[0].event_type, TYPE);
}

#[tokio::test]
async fn an_allowed_origin_is_told_so_with_its_rate() {
    let door = Door::open(settings());
    for (path, origin) in [
        ("/callbacks/grid", "eventgrid.azure.net"),
        ("/callbacks/grid/any/path?code=x", "EventGrid.Azure.net"),
        ("/callbacks/grid", "other.example"),
    ] {
        let headers = [
            ("WebHook-Request-Origin", origin),
            ("WebHook-Request-Rate", "120"),
        ];
        let response = ask(&door, path, &headers).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "webhook-allowed-origin"), Some(origin));
        assert_eq!(header(&response, "webhook-allowed-rate"), Some("600"));
        assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
        assert_eq!(response.bytes().await.unwrap(), "");
    }
    door.counted("hookswitch_handshakes_total{kind=\"cloud_events\",outcome=\"granted\"} 3")
        .await;
    assert_eq!(door.ledger.snapshot(), Counts::default());
}

#[tokio::test]
async fn without_a_configured_rate_and_origin_both_are_a_star() {
    let door = Door::open(settings());
    for rate in [None, Some(("WebHook-Request-Rate", "120"))] {
        let headers: Vec<_> = [("WebHook-Request-Origin", "anybody.example")]
            .into_iter()
            .chain(rate)
            .collect();
        let response = ask(&door, "/callbacks/open", &headers)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "webhook-allowed-origin"), Some("*"));
        assert_eq!(header(&response, "webhook-allowed-rate"), Some("*"));
    }
}

#[tokio::test]
async fn an_origin_that_is_not_listed_gets_no_consent() {
    let door = Door::open(settings());
    for origin in [
        "evil.example",
        "eventgrid.azure.net.evil.example",
        "azure.net",
        "*",
    ] {
        let request = ask(
            &door,
            "/callbacks/grid",
            &[("WebHook-Request-Origin", origin)],
        );
        let response = request.send().await.unwrap();
        assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
        not_granted(response, 403).await;
    }
    door.counted("hookswitch_handshakes_total{kind=\"cloud_events\",outcome=\"refused\"} 4")
        .await;
    door.counted("hookswitch_callbacks_total{outcome=\"forbidden\"} 4")
        .await;
}

#[tokio::test]
async fn options_without_exactly_one_origin_gets_no_consent() {
    let door = Door::open(settings());
    let origin = ("WebHook-Request-Origin", "eventgrid.azure.net");
    for headers in [
        // What a browser asks is none of ours.
        &[
            ("Origin", "https://eventgrid.azure.net"),
            ("Access-Control-Request-Method", "POST"),
        ][..],
        &[("WebHook-Request-Origin", "")],
        &[origin, ("WebHook-Request-Origin", "other.example")],
    ] {
        for path in ["/callbacks/grid", "/callbacks/open"] {
            let response = ask(&door, path, headers).send().await.unwrap();
            not_granted(response, 400).await;
        }
    }
}

#[tokio::test]
async fn an_app_without_origins_does_not_know_options() {
    let door = Door::open(settings());
    let headers = [("WebHook-Request-Origin", "eventgrid.azure.net")];
    let response = ask(&door, "/callbacks/contoso", &headers)
        .send()
        .await
        .unwrap();
    assert_eq!(header(&response, "allow"), Some("POST"));
    not_granted(response, 405).await;
    let response = ask(&door, "/callbacks/nobody", &headers)
        .send()
        .await
        .unwrap();
    not_granted(response, 404).await;
    // One with origins knows no third method.
    let url = format!("http://{}/callbacks/grid", door.listening.address());
    let response = door.client.get(url).send().await.unwrap();
    assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
    not_granted(response, 405).await;
}

/// Servers like to mend paths by a redirect, which a sender of webhooks must not follow (2.2).
#[tokio::test]
async fn the_listener_never_redirects() {
    let door = Door::open(settings());
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    for path in [
        "/",
        "//",
        "/callbacks",
        "/callbacks/",
        "//callbacks/grid",
        "/callbacks//grid",
        "/callbacks/grid/../grid",
        "/callbacks/GRID",
        "/Callbacks/grid",
        "/callbacks/grid/?code=1",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS, Method::HEAD] {
            let url = format!("http://{}{path}", door.listening.address());
            let response = client.request(method, url).send().await.unwrap();
            assert!(response.status().is_client_error(), "{path}: {response:?}");
            assert!(!response.headers().contains_key("location"));
        }
    }
}

/// A listener that nobody must come to: both handshakes name it.
#[tokio::test]
async fn nothing_that_a_handshake_names_is_fetched() {
    let door = Door::open(settings());
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/confirm?key=1", trap.local_addr().unwrap());
    let headers = [
        ("WebHook-Request-Origin", "eventgrid.azure.net"),
        ("WebHook-Request-Callback", url.as_str()),
    ];
    let refused = [
        ("WebHook-Request-Origin", "evil.example"),
        ("WebHook-Request-Callback", url.as_str()),
    ];
    let options = ask(&door, "/callbacks/grid", &headers)
        .send()
        .await
        .unwrap();
    assert_eq!(options.status(), 200);
    let options = ask(&door, "/callbacks/grid", &refused)
        .send()
        .await
        .unwrap();
    not_granted(options, 403).await;
    let body = question(
        TYPE,
        &json!({ "validationCode": CODE, "validationUrl": url }),
    );
    granted(&door, door.post("/callbacks/grid", body.to_string())).await;
    // Everything of these requests is done when the listener has stopped, and whoever came waits in the trap's queue.
    assert!(
        door.listening
            .stop(std::time::Duration::from_secs(10))
            .await
    );
    let came = trap.accept().map(|(_, who)| who);
    assert_eq!(came.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
