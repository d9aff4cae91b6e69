//! Handshakes over real connections: which sender gets consent, and that no other does (docs/src/sender/handshakes.md;
//! CloudEvents webhooks 1.0.2, section 4).

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::status::LedgerCounts;

use crate::ingress::test_support::{Listener, SECRET, problem_in, rang, settings, settings_with};

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
    // Nothing listens there, and nothing must connect to it.
    question(
        TYPE,
        &json!({ "validationCode": CODE, "validationUrl": "http://127.0.0.1:9/validate" }),
    )
}

fn ask(listener: &Listener, path: &str, headers: &[(&str, &str)]) -> RequestBuilder {
    let url = format!("http://{}{path}", listener.listening.address());
    headers.iter().fold(
        listener.client.request(Method::OPTIONS, url),
        |request, (name, value)| request.header(*name, *value),
    )
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

async fn granted(listener: &Listener, request: RequestBuilder) {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body, json!({ "validationResponse": CODE }));
    assert_eq!(listener.ledger.snapshot(), LedgerCounts::default());
}

async fn not_granted(response: Response, status: u16) {
    for name in ["webhook-allowed-origin", "webhook-allowed-rate"] {
        assert_eq!(header(&response, name), None, "{name} is consent");
    }
    problem_in(response, status).await;
}

#[tokio::test]
async fn event_grid_is_given_its_code_with_200_and_nothing_is_kept() {
    let mut listener = Listener::open(settings());
    for (name, value) in [
        ("aeg-event-type", "SubscriptionValidation"),
        ("AEG-Event-Type", "subscriptionvalidation"),
        ("aeg-subscription-name", "ONE"),
    ] {
        let request = listener.post("/callbacks/grid/below", validation().to_string());
        granted(&listener, request.header(name, value)).await;
    }
    listener
        .counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 3")
        .await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"handshake\"} 3")
        .await;
    listener
        .counted("hookswitch_http_requests_total{code=\"200\",route=\"callbacks\"} 3")
        .await;
    // The journal's first callback is the one after them.
    let (_, callback) = listener
        .kept(listener.post("/callbacks/grid", rang("1").to_string()))
        .await;
    assert_eq!(callback.offers[0].facts.event_id, "1");
}

#[tokio::test]
async fn an_app_without_event_grid_takes_the_question_as_an_event() {
    let mut listener = Listener::open(settings());
    let request = listener
        .post("/callbacks/contoso", validation().to_string())
        .header("aeg-event-type", "SubscriptionValidation");
    let (response, callback) = listener.kept(request).await;
    assert_eq!(response.status(), 202, "which is no consent");
    assert_eq!(callback.offers[0].facts.event_type, TYPE);
    listener
        .counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 0")
        .await;
}

#[tokio::test]
async fn what_is_announced_as_a_question_and_is_none_is_400() {
    let mut listener = Listener::open(settings());
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
        let request = listener
            .post("/callbacks/grid", body.to_string())
            .header("aeg-event-type", "SubscriptionValidation");
        listener.problem(request, 400).await;
    }
    listener
        .counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"refused\"} 7")
        .await;
}

#[tokio::test]
async fn a_delivery_with_an_event_of_that_type_is_a_delivery() {
    let mut listener = Listener::open(settings());
    let request = listener
        .post("/callbacks/grid", validation().to_string())
        .header("aeg-event-type", "Notification");
    let (response, callback) = listener.kept(request).await;
    assert_eq!(response.status(), 202);
    assert_eq!(callback.offers[0].facts.event_type, TYPE);
}

#[tokio::test]
async fn a_validation_request_may_begin_with_a_byte_order_mark() {
    let listener = Listener::open(settings());
    for app in ["grid", "open-grid"] {
        let body = format!("\u{feff}\r\n{}", validation());
        granted(&listener, listener.post(&format!("/callbacks/{app}"), body)).await;
    }
}

/// At an app with auth.
#[tokio::test]
async fn a_validation_request_without_credentials_is_answered_where_the_app_says_open() {
    let mut listener = Listener::open(settings());
    for (name, value) in [
        ("aeg-event-type", "SubscriptionValidation"),
        ("AEG-Event-Type", " subscriptionvalidation "),
        ("aeg-subscription-name", "ONE"),
    ] {
        let request = listener.post("/callbacks/open-grid/below?a=b", validation().to_string());
        granted(&listener, request.header(name, value)).await;
        let request = listener.post("/callbacks/closed-grid", validation().to_string());
        listener.problem(request.header(name, value), 401).await;
    }
    for line in [
        "hookswitch_handshakes_total{kind=\"event_grid_open\",outcome=\"granted\"} 3",
        "hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 0",
        "hookswitch_auth_refusals_total{app=\"open-grid\",class=\"missing\"} 0",
        "hookswitch_auth_refusals_total{app=\"closed-grid\",class=\"missing\"} 3",
        "hookswitch_callbacks_total{outcome=\"handshake\"} 3",
    ] {
        listener.counted(line).await;
    }
    // With credentials both apps answer it, and accept callbacks.
    for app in ["open-grid", "closed-grid"] {
        let path = format!("/callbacks/{app}?code={SECRET}");
        granted(&listener, listener.post(&path, validation().to_string())).await;
        let (response, _) = listener
            .kept(listener.post(&path, rang(app).to_string()))
            .await;
        assert_eq!(response.status(), 202);
    }
    listener
        .counted("hookswitch_handshakes_total{kind=\"event_grid\",outcome=\"granted\"} 2")
        .await;
}

#[tokio::test]
async fn nothing_but_a_validation_request_gets_past_auth_by_an_open_handshake() {
    let mut listener = Listener::open(settings_with(|it| it.limits.body_limit_bytes = 64 * 1_024));
    let question_of = |validation: Value| json!([validation]).to_string();
    let one = validation()[0].clone();
    let cloud_event = json!({
        "specversion": "1.0", "id": "1", "source": "s", "type": TYPE, "data": { "validationCode": CODE },
    });
    let large = |bytes: usize| {
        let mut one = one.clone();
        one["subject"] = "x".repeat(bytes).into();
        question_of(one)
    };
    let bodies = [
        rang("1").to_string(),
        json!([rang("1")]).to_string(),
        // Together with other events, in any order.
        json!([one, rang("1")]).to_string(),
        json!([rang("1"), one]).to_string(),
        json!([one, one]).to_string(),
        json!([one, 7]).to_string(),
        one.to_string(),
        question_of(cloud_event),
        question("Example.Other", &json!({ "validationCode": CODE })).to_string(),
        question(TYPE, &json!({})).to_string(),
        question(TYPE, &json!({ "validationCode": 7 })).to_string(),
        format!("{}{}", validation(), rang("1")),
        "no JSON".to_owned(),
        String::new(),
        "[]".to_owned(),
        large(9_000),
        large(40_000),
    ];
    let mut refused = 0;
    for body in &bodies {
        for header in [None, Some("SubscriptionValidation"), Some("Notification")] {
            let request = listener.post("/callbacks/open-grid", body.clone());
            let request = header.into_iter().fold(request, |request, value| {
                request.header("aeg-event-type", value)
            });
            let problem = listener.problem(request, 401).await;
            assert_eq!(
                problem["errors"],
                json!([]),
                "the answer says nothing about the body"
            );
            refused += 1;
        }
    }
    // Also without a Content-Length.
    let chunks = vec![Ok::<_, std::io::Error>(large(40_000))];
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    listener
        .problem(listener.post("/callbacks/open-grid", stream), 401)
        .await;
    // Announced as something else, or with wrong credentials.
    let question = |listener: &Listener, query: &str| {
        listener.post(
            &format!("/callbacks/open-grid{query}"),
            validation().to_string(),
        )
    };
    let announced = question(&listener, "").header("aeg-event-type", "Notification");
    listener.problem(announced, 401).await;
    listener
        .problem(question(&listener, "?code=guess"), 401)
        .await;
    let bearer = question(&listener, "").header("authorization", "Bearer x.y.z");
    listener.problem(bearer, 401).await;
    // As the data of a CloudEvent in binary mode.
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", TYPE),
    ];
    let binary = binary
        .into_iter()
        .fold(question(&listener, ""), |request, (name, value)| {
            request.header(name, value)
        });
    listener.problem(binary, 401).await;
    listener
        .counted(&format!(
            "hookswitch_auth_refusals_total{{app=\"open-grid\",class=\"missing\"}} {}",
            refused + 3
        ))
        .await;
    listener
        .counted("hookswitch_handshakes_total{kind=\"event_grid_open\",outcome=\"granted\"} 0")
        .await;
    assert_eq!(listener.ledger.snapshot(), LedgerCounts::default());
}

#[tokio::test]
async fn validation_requests_without_credentials_are_answered_a_few_times_a_minute() {
    let mut listener = Listener::open(settings());
    let mut answers = Vec::new();
    for _ in 0..16 {
        let request = listener.post("/callbacks/open-grid", validation().to_string());
        let answer = request.send().await.unwrap();
        answers.push(answer.status().as_u16());
        if answer.status() == 429 {
            let seconds = answer.headers()["retry-after"].to_str().unwrap();
            assert!(
                (1..=10).contains(&seconds.parse::<u64>().unwrap()),
                "{seconds}"
            );
            problem_in(answer, 429).await;
        }
    }
    let refused = answers.iter().filter(|status| **status == 429).count();
    assert_eq!(answers[..12], [200; 12]);
    // One more is answered every ten seconds, which may be during this test.
    assert!(refused >= 3, "{answers:?}");
    listener
        .counted(&format!(
            "hookswitch_handshakes_total{{kind=\"event_grid_open\",outcome=\"refused\"}} {refused}"
        ))
        .await;
    listener
        .counted("hookswitch_rate_limited_total{app=\"rated\"} 0")
        .await;
    // This does not limit requests with credentials, and other requests without credentials still get 401.
    let path = format!("/callbacks/open-grid?code={SECRET}");
    granted(&listener, listener.post(&path, validation().to_string())).await;
    let (response, _) = listener
        .kept(listener.post(&path, rang("1").to_string()))
        .await;
    assert_eq!(response.status(), 202);
    listener
        .problem(
            listener.post("/callbacks/open-grid", rang("2").to_string()),
            401,
        )
        .await;
}

#[tokio::test]
async fn an_allowed_origin_is_told_so_with_its_rate() {
    let listener = Listener::open(settings());
    for (path, origin) in [
        ("/callbacks/grid", "eventgrid.azure.net"),
        ("/callbacks/grid/any/path?code=x", "EventGrid.Azure.net"),
        ("/callbacks/grid", "other.example"),
    ] {
        let headers = [
            ("WebHook-Request-Origin", origin),
            ("WebHook-Request-Rate", "120"),
        ];
        let response = ask(&listener, path, &headers).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "webhook-allowed-origin"), Some(origin));
        assert_eq!(header(&response, "webhook-allowed-rate"), Some("600"));
        assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
        assert_eq!(response.bytes().await.unwrap(), "");
    }
    listener
        .counted("hookswitch_handshakes_total{kind=\"cloud_events\",outcome=\"granted\"} 3")
        .await;
    assert_eq!(listener.ledger.snapshot(), LedgerCounts::default());
}

#[tokio::test]
async fn without_a_configured_rate_and_origin_both_are_a_star() {
    let listener = Listener::open(settings());
    for rate in [None, Some(("WebHook-Request-Rate", "120"))] {
        let headers: Vec<_> = [("WebHook-Request-Origin", "any.example")]
            .into_iter()
            .chain(rate)
            .collect();
        let response = ask(&listener, "/callbacks/open", &headers)
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
    let listener = Listener::open(settings());
    for origin in [
        "evil.example",
        "eventgrid.azure.net.evil.example",
        "azure.net",
        "*",
    ] {
        let request = ask(
            &listener,
            "/callbacks/grid",
            &[("WebHook-Request-Origin", origin)],
        );
        let response = request.send().await.unwrap();
        assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
        not_granted(response, 403).await;
    }
    listener
        .counted("hookswitch_handshakes_total{kind=\"cloud_events\",outcome=\"refused\"} 4")
        .await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"forbidden\"} 4")
        .await;
}

#[tokio::test]
async fn options_without_exactly_one_origin_gets_no_consent() {
    let listener = Listener::open(settings());
    let origin = ("WebHook-Request-Origin", "eventgrid.azure.net");
    for headers in [
        // A browser's preflight is not a handshake.
        &[
            ("Origin", "https://eventgrid.azure.net"),
            ("Access-Control-Request-Method", "POST"),
        ][..],
        &[("WebHook-Request-Origin", "")],
        &[origin, ("WebHook-Request-Origin", "other.example")],
    ] {
        for path in ["/callbacks/grid", "/callbacks/open"] {
            let response = ask(&listener, path, headers).send().await.unwrap();
            not_granted(response, 400).await;
        }
    }
}

#[tokio::test]
async fn an_app_without_origins_does_not_know_options() {
    let listener = Listener::open(settings());
    let headers = [("WebHook-Request-Origin", "eventgrid.azure.net")];
    let response = ask(&listener, "/callbacks/contoso", &headers)
        .send()
        .await
        .unwrap();
    assert_eq!(header(&response, "allow"), Some("POST"));
    not_granted(response, 405).await;
    let response = ask(&listener, "/callbacks/nobody", &headers)
        .send()
        .await
        .unwrap();
    not_granted(response, 404).await;
    // An app with origins has no third method.
    let url = format!("http://{}/callbacks/grid", listener.listening.address());
    let response = listener.client.get(url).send().await.unwrap();
    assert_eq!(header(&response, "allow"), Some("POST, OPTIONS"));
    not_granted(response, 405).await;
}

/// Servers often correct paths by a redirect, which a sender of webhooks must not follow (2.2).
#[tokio::test]
async fn the_listener_never_redirects() {
    let listener = Listener::open(settings());
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
            let url = format!("http://{}{path}", listener.listening.address());
            let response = client.request(method, url).send().await.unwrap();
            assert!(response.status().is_client_error(), "{path}: {response:?}");
            assert!(!response.headers().contains_key("location"));
        }
    }
}

/// A listener that must not get a connection: both handshakes name it.
#[tokio::test]
async fn nothing_that_a_handshake_names_is_fetched() {
    let listener = Listener::open(settings());
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
    let options = ask(&listener, "/callbacks/grid", &headers)
        .send()
        .await
        .unwrap();
    assert_eq!(options.status(), 200);
    let options = ask(&listener, "/callbacks/grid", &refused)
        .send()
        .await
        .unwrap();
    not_granted(options, 403).await;
    let body = question(
        TYPE,
        &json!({ "validationCode": CODE, "validationUrl": url }),
    );
    granted(
        &listener,
        listener.post("/callbacks/grid", body.to_string()),
    )
    .await;
    // All work of these requests is done when the listener has stopped, and any connection would be in the trap's
    // accept queue.
    assert!(
        listener
            .listening
            .stop(std::time::Duration::from_secs(10))
            .await
    );
    let came = trap.accept().map(|(_, who)| who);
    assert_eq!(came.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
