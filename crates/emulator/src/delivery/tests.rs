//! Deliveries against a receiver on the loopback that records them and answers as the test says.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write as _,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::Method, web};
use bytes::Bytes;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json, value::RawValue};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use uuid::Uuid;

use super::{
    super::{
        delivery::EventGrid,
        event::{
            CallFacts, Generation, GridHappened, GridNotice, Happened, Notice, RecordingId, Tone,
        },
        identity::Identifier,
        wire::GridSchema,
        wire::{Body, Rendered},
    },
    token::ISSUER,
    *,
};

/// One request.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    headers: BTreeMap<String, String>,
    query: String,
    body: Value,
}

impl Seen {
    /// `n` of each event.
    fn numbers(&self) -> Vec<u64> {
        let events = self.body.as_array().expect("an array");
        events
            .iter()
            .filter_map(|event| event["n"].as_u64())
            .collect()
    }

    fn ids(&self) -> Vec<String> {
        let events = self.body.as_array().expect("an array");
        let ids = events
            .iter()
            .map(|event| event["id"].as_str().expect("an id"));
        ids.map(str::to_owned).collect()
    }
}

/// The answers to requests, in turn; 202 when none is left.
type PostResult = Box<dyn Fn(&Seen) -> HttpResponse + Send>;

struct Shared {
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    answers: Mutex<VecDeque<PostResult>>,
}

struct Receiver {
    shared: Arc<Shared>,
    url: String,
    handle: actix_web::dev::ServerHandle,
}

impl Receiver {
    fn start(answers: Vec<PostResult>) -> Self {
        Self::listen(answers, None)
    }

    fn listen(answers: Vec<PostResult>, tls: Option<rustls::ServerConfig>) -> Self {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            answers: Mutex::new(answers.into()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let data = web::Data::from(Arc::clone(&shared));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals();
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls).unwrap(),
            None => server.listen(listener).unwrap(),
        }
        .run();
        let handle = server.handle();
        drop(Handle::current().spawn(server));
        Self {
            shared,
            url: format!("{scheme}://{address}/callbacks?code=secret"),
            handle,
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    async fn has_seen(&self, wanted: usize) {
        let mut count = self.shared.count.subscribe();
        within(count.wait_for(|count| *count >= wanted))
            .await
            .unwrap();
    }
}

async fn answer(shared: web::Data<Shared>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let headers = request.headers().iter();
    let seen = Seen {
        method: request.method().to_string(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        query: request.query_string().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let next = shared.answers.lock().unwrap().pop_front();
    let response = next.map_or_else(|| HttpResponse::Accepted().finish(), |answer| answer(&seen));
    shared.seen.lock().unwrap().push(seen);
    shared.count.send_modify(|count| *count += 1);
    response
}

fn status(status: u16) -> PostResult {
    Box::new(move |_| HttpResponse::build(status.try_into().unwrap()).finish())
}

/// Events that show their number and nothing else.
struct Plain;

fn rendered(id: Uuid, n: u64, last: bool) -> Rendered {
    let event = json!({"id": id, "n": n}).to_string();
    Rendered {
        id: id.to_string(),
        kind: "Test".to_owned(),
        event: RawValue::from_string(event).unwrap(),
        last,
    }
}

impl Form for Plain {
    fn callback(&self, notice: &Notice, id: Uuid, _at: Timestamp) -> Option<Rendered> {
        match notice.happened {
            Happened::ToneReceived { sequence, .. } => Some(rendered(id, sequence, false)),
            Happened::Disconnected => Some(rendered(id, u64::MAX, true)),
            Happened::RecordingStateChanged { active, .. } => {
                Some(rendered(id, u64::from(active), false))
            }
            _ => None,
        }
    }

    fn grid(&self, notice: &GridNotice, id: Uuid, _at: Timestamp, _schema: GridSchema) -> Rendered {
        rendered(id, notice.ordinal, false)
    }

    fn body(&self, _dress: EventTarget, events: &[&Rendered]) -> Body {
        let events: Vec<_> = events.iter().map(|event| &event.event).collect();
        Body {
            content_type: "application/json",
            bytes: serde_json::to_vec(&events).unwrap().into(),
        }
    }
}

const SOON: Duration = Duration::from_millis(5);

/// Fast, so that schedules of seconds take none.
fn options(misbehave: &str) -> Options {
    Options {
        seed: 4,
        speed: 1000.0,
        misbehave: misbehave.parse().unwrap(),
        waits: RetryDelays {
            callback: vec![SOON; 3],
            grid: vec![SOON; 3],
            consent: SOON,
        },
        resource_id: "resource".to_owned(),
        event_grid: None,
        topic: "/topic".to_owned(),
        consent_url: None,
        callback_ca: None,
    }
}

fn start(options: Options) -> Deliveries {
    Deliveries::start(options, Plain, &Handle::current()).unwrap()
}

fn notice(call: u64, to: &str, happened: Happened) -> Notice {
    Notice {
        call: CallFacts {
            ordinal: call,
            generation: Generation::Ga,
            version: "2025-06-15".to_owned(),
            connection: format!("connection-{call}"),
            server_call: "server".to_owned(),
            conversation: None,
            correlation: "correlation".to_owned(),
        },
        to: to.to_owned(),
        context: None,
        result: None,
        happened,
    }
}

fn tell(deliveries: &Deliveries, call: u64, to: &str, n: u64) {
    let tone = Tone::from_key('1').unwrap();
    let happened = Happened::ToneReceived { sequence: n, tone };
    deliveries.tell(&notice(call, to, happened), Timestamp::now());
}

fn tell_grid(deliveries: &Deliveries, call: u64) {
    let notice = GridNotice {
        ordinal: call,
        server_call: format!("server-{call}"),
        correlation: "correlation".to_owned(),
        happened: GridHappened::CallStarted {
            by: Identifier::from_raw_id("8:acs:1"),
            two_party: true,
            room: None,
        },
    };
    deliveries.tell_grid(&notice, Timestamp::now());
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future)
        .await
        .expect("it happens within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_call_are_sent_one_by_one_in_order_and_signed() {
    let receiver = Receiver::start(Vec::new());
    let deliveries = start(options("none"));
    for n in 0..20 {
        tell(&deliveries, 1, &receiver.url, n);
        deliveries.tell(
            &notice(1, &receiver.url, Happened::HoldFailed),
            Timestamp::now(),
        );
    }
    within(deliveries.idle()).await;
    let seen = receiver.seen();
    let numbers: Vec<_> = seen.iter().map(Seen::numbers).collect();
    assert_eq!(numbers, (0..20).map(|n| vec![n]).collect::<Vec<_>>());
    let keys: JwkSet = serde_json::from_value(deliveries.signer().keys()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["resource"]);
    validation.set_issuer(&[ISSUER]);
    let mut tokens = Vec::new();
    for Seen { headers, query, .. } in &seen {
        assert_eq!(query, "code=secret");
        let token = headers["authorization"].strip_prefix("Bearer ").unwrap();
        let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap();
        tokens.push(token);
    }
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 20, "a token is used once");
    let summary = deliveries.summary();
    assert_eq!(
        (summary.events, summary.posts, summary.accepted),
        (20, 20, 20)
    );
    let attempt = &deliveries.log().attempts()[0];
    assert!(attempt.url.ends_with("/callbacks"), "{}", attempt.url);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_is_retried_with_the_same_id_and_the_next_waits() {
    let receiver = Receiver::start(vec![status(503), status(429), status(202)]);
    let deliveries = start(options("none"));
    tell(&deliveries, 1, &receiver.url, 0);
    tell(&deliveries, 1, &receiver.url, 1);
    within(deliveries.idle()).await;
    let seen = receiver.seen();
    let numbers: Vec<_> = seen.iter().flat_map(Seen::numbers).collect();
    assert_eq!(numbers, [0, 0, 0, 1]);
    assert_eq!(seen[0].ids(), seen[2].ids());
    let attempts = deliveries.log().attempts();
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.attempt, attempt.status, attempt.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, Some(503), AttemptOutcome::Retried),
            (2, Some(429), AttemptOutcome::Retried),
            (3, Some(202), AttemptOutcome::Accepted),
            (1, Some(202), AttemptOutcome::Accepted),
        ]
    );
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_has_real_time_to_recover_however_fast_calls_go() {
    let receiver = Receiver::start(vec![status(503)]);
    let mut options = options("none");
    options.waits.callback = vec![Duration::from_millis(300)];
    let deliveries = start(options);
    let began = std::time::Instant::now();
    tell(&deliveries, 1, &receiver.url, 0);
    within(deliveries.idle()).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(deliveries.summary().accepted, 1);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let busy: PostResult = Box::new(|_| {
        HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .finish()
    });
    let receiver = Receiver::start(vec![busy]);
    let deliveries = start(options("none"));
    let began = std::time::Instant::now();
    tell(&deliveries, 1, &receiver.url, 0);
    within(deliveries.idle()).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(deliveries.summary().accepted, 1);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_is_given_up_at_once_and_others_after_the_last_attempt() {
    let receiver = Receiver::start(vec![
        status(404),
        status(307),
        status(500),
        status(500),
        status(500),
        status(500),
    ]);
    let deliveries = start(options("none"));
    for n in 0..4 {
        tell(&deliveries, 1, &receiver.url, n);
    }
    tell(&deliveries, 1, "nowhere", 4);
    within(deliveries.idle()).await;
    let numbers: Vec<_> = receiver.seen().iter().flat_map(Seen::numbers).collect();
    assert_eq!(numbers, [0, 1, 2, 2, 2, 2, 3]);
    let summary = deliveries.summary();
    assert_eq!((summary.given_up, summary.accepted), (4, 1));
    assert_eq!(summary.answers[&500], 4);
    assert_eq!(deliveries.close(Duration::from_secs(1)).await, 0);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_do_not_wait_for_each_other() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    // Takes connections and never answers.
    let silent = format!("http://{}/", unused.local_addr().unwrap());
    let receiver = Receiver::start(Vec::new());
    let deliveries = start(options("none"));
    let mut news = deliveries.log().follow();
    tell(&deliveries, 1, &silent, 0);
    tell(&deliveries, 1, &receiver.url, 1);
    tell(&deliveries, 2, &receiver.url, 2);
    for _ in 0..2 {
        assert_eq!(within(news.recv()).await.unwrap().status, Some(202));
    }
    assert_eq!(deliveries.close(Duration::from_millis(10)).await, 1);
    receiver.handle.stop(false).await;
}

fn check_drops(deliveries: &Deliveries, receiver: &Receiver) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for id in receiver.seen().iter().flat_map(Seen::ids) {
        *seen.entry(id).or_default() += 1;
    }
    assert_eq!(seen.len(), 20);
    let twice = seen.values().filter(|times| **times == 2).count();
    assert!(twice > 0, "some were taken before their connection dropped");
    assert!(seen.values().all(|times| *times <= 2));
    for attempt in deliveries.log().attempts() {
        match attempt.attempt {
            1 => assert_eq!(
                (attempt.status, attempt.outcome),
                (None, AttemptOutcome::Retried)
            ),
            _ => assert_eq!(
                (attempt.status, attempt.outcome),
                (Some(202), AttemptOutcome::Accepted)
            ),
        }
    }
    let summary = deliveries.summary();
    assert_eq!((summary.misbehaved["drop"], summary.accepted), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_connection_leads_to_a_repeat_with_the_same_id() {
    let receiver = Receiver::start(Vec::new());
    let deliveries = start(options("drop=1"));
    for n in 0..20 {
        tell(&deliveries, 1, &receiver.url, n);
    }
    within(deliveries.idle()).await;
    check_drops(&deliveries, &receiver);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_trusted_by_the_given_authority_only_and_its_connections_drop_too() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let receiver = Receiver::listen(Vec::new(), Some(tls));
    let stranger = start(options("none"));
    tell(&stranger, 1, &receiver.url, 0);
    within(stranger.idle()).await;
    assert_eq!(stranger.summary().given_up, 1);
    let deliveries = start(Options {
        callback_ca: Some(file.path().to_owned()),
        ..options("drop=1")
    });
    for n in 0..20 {
        tell(&deliveries, 1, &receiver.url, n);
    }
    within(deliveries.idle()).await;
    check_drops(&deliveries, &receiver);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_url_is_not_shown_whatever_the_result_of_the_post() {
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = refuses.local_addr().unwrap();
    drop(refuses);
    let drops = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dropped = drops.local_addr().unwrap();
    let mut dropping = tokio::task::JoinSet::new();
    dropping.spawn(async move {
        while let Ok((connection, _)) = drops.accept().await {
            drop(connection);
        }
    });
    for misbehave in ["none", "drop=1"] {
        let deliveries = start(options(misbehave));
        let mut call = 0;
        for address in [refused, dropped] {
            for scheme in ["http", "https"] {
                call += 1;
                let url = format!("{scheme}://me:planted@{address}/here?code=planted#planted");
                tell(&deliveries, call, &url, 0);
            }
        }
        within(deliveries.idle()).await;
        let attempts = deliveries.log().attempts();
        assert!(attempts.len() >= 4);
        for attempt in attempts {
            let shown = serde_json::to_string(&*attempt).unwrap();
            assert!(
                attempt.error.is_some() && shown.contains("/here"),
                "{shown}"
            );
            assert!(!shown.contains("planted"), "{misbehave}: {shown}");
        }
    }
    dropping.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_authority_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = Options {
        callback_ca: Some(file.path().to_owned()),
        ..options("none")
    };
    let refused = Deliveries::start(options, Plain, &Handle::current());
    let error = format!(
        "{:#}",
        anyhow::Error::new(refused.err().expect("no certificate"))
    );
    assert!(error.contains("has no certificate in it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_before_the_start_of_a_recording_counts_as_misbehaviour() {
    let receiver = Receiver::start(Vec::new());
    let deliveries = start(options("inactive=1"));
    let state = |active, started| {
        let recording = RecordingId::new("endpoint".to_owned(), "resource");
        let happened = Happened::RecordingStateChanged {
            recording,
            active,
            started,
        };
        deliveries.tell(&notice(1, &receiver.url, happened), Timestamp::now());
    };
    let started = Some(Timestamp::UNIX_EPOCH);
    state(false, None);
    state(true, started);
    state(false, started);
    within(deliveries.idle()).await;
    let attempts = deliveries.log().attempts();
    let counted: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.misbehaviour.as_slice())
        .collect();
    assert_eq!(counted, [["inactive"].as_slice(), &[], &[]]);
    let summary = deliveries.summary();
    assert_eq!(summary.misbehaved, BTreeMap::from([("inactive", 1)]));
    assert_eq!((summary.events, summary.accepted), (3, 3));
    receiver.handle.stop(false).await;
}

/// Ids in the order of their requests, by call, with all misbehaviour.
async fn misbehaved() -> BTreeMap<u64, Vec<String>> {
    let receiver = Receiver::start(Vec::new());
    let deliveries = start(Options {
        speed: 100.0,
        ..options("all=0.3,drop=0")
    });
    for call in 1..=30 {
        for n in 0..10 {
            tell(&deliveries, call, &receiver.url, call * 100 + n);
        }
        let end = notice(call, &receiver.url, Happened::Disconnected);
        deliveries.tell(&end, Timestamp::now());
    }
    within(deliveries.idle()).await;
    let summary = deliveries.summary();
    assert_eq!(
        (summary.events, summary.accepted, summary.given_up),
        (330, 330, 0)
    );
    for act in ["reorder", "duplicate", "batch", "late", "delay"] {
        assert!(summary.misbehaved[act] > 0, "{act}");
    }
    assert!(summary.out_of_order > 0);
    let mut ids: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for attempt in deliveries.log().attempts() {
        ids.entry(attempt.call)
            .or_default()
            .extend(attempt.ids.clone());
    }
    for ids in ids.values_mut() {
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 11, "no id is of two events");
    }
    receiver.handle.stop(false).await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaviour_loses_nothing_and_ids_are_those_of_the_seed() {
    assert_eq!(misbehaved().await, misbehaved().await);
}

fn to_grid(receiver: &Receiver, schema: GridSchema) -> Options {
    Options {
        event_grid: Some(EventGrid {
            url: receiver.url.clone(),
            schema,
            handshake: true,
        }),
        consent_url: Some("http://127.0.0.1:1/validate".to_owned()),
        ..options("none")
    }
}

/// Consents with the code that it was asked with.
fn consents(with: u16) -> PostResult {
    Box::new(move |seen| {
        let code = &seen.body[0]["data"]["validationCode"];
        HttpResponse::build(with.try_into().unwrap()).json(json!({"validationResponse": code}))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_until_the_webhook_returns_the_code() {
    let wrong: PostResult =
        Box::new(|_| HttpResponse::Ok().json(json!({"validationResponse": "another"})));
    let receiver = Receiver::start(vec![
        consents(202),
        wrong,
        consents(200),
        status(404),
        status(200),
        status(400),
    ]);
    let deliveries = start(to_grid(&receiver, GridSchema::EventGrid));
    tell_grid(&deliveries, 1);
    within(deliveries.idle()).await;
    tell_grid(&deliveries, 2);
    within(deliveries.idle()).await;
    let seen = receiver.seen();
    let kinds: Vec<_> = seen
        .iter()
        .map(|seen| seen.headers["aeg-event-type"].as_str())
        .collect();
    let validation = "SubscriptionValidation";
    let notification = "Notification";
    assert_eq!(
        kinds,
        [
            validation,
            validation,
            validation,
            notification,
            notification,
            notification
        ]
    );
    assert_eq!(seen[0].body[0]["topic"], "/topic");
    let counts: Vec<_> = seen[3..]
        .iter()
        .map(|seen| seen.headers["aeg-delivery-count"].as_str())
        .collect();
    assert_eq!(counts, ["0", "1", "0"]);
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    let summary = deliveries.summary();
    assert_eq!(
        (summary.events, summary.accepted, summary.given_up),
        (2, 1, 1)
    );
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_cloud_events_an_options_request_asks_and_names_the_origin() {
    let allows: PostResult = Box::new(|_| {
        HttpResponse::Ok()
            .insert_header(("WebHook-Allowed-Origin", "eventgrid.azure.net"))
            .finish()
    });
    let receiver = Receiver::start(vec![status(200), allows]);
    let deliveries = start(to_grid(&receiver, GridSchema::CloudEvents));
    tell_grid(&deliveries, 1);
    within(deliveries.idle()).await;
    let seen = receiver.seen();
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    let (options, post) = (Method::OPTIONS, Method::POST);
    assert_eq!(methods, [options.as_str(), options.as_str(), post.as_str()]);
    assert_eq!(
        seen[0].headers["webhook-request-origin"],
        "eventgrid.azure.net"
    );
    assert_eq!(seen[2].headers["origin"], "eventgrid.azure.net");
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_may_consent_later_with_the_validation_url() {
    let receiver = Receiver::start(vec![status(200)]);
    let mut options = to_grid(&receiver, GridSchema::EventGrid);
    // It is not asked again meanwhile.
    options.waits.consent = Duration::from_secs(600);
    let deliveries = start(options);
    tell_grid(&deliveries, 1);
    receiver.has_seen(1).await;
    let url = receiver.seen()[0].body[0]["data"]["validationUrl"].clone();
    let (_, code) = url.as_str().unwrap().split_once("?id=").unwrap();
    assert!(!deliveries.consent("another"));
    assert!(deliveries.consent(code));
    within(deliveries.idle()).await;
    assert_eq!(deliveries.summary().accepted, 1);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_a_handshake_gets_its_events_at_once() {
    let receiver = Receiver::start(vec![status(200)]);
    let mut options = to_grid(&receiver, GridSchema::EventGrid);
    options.event_grid.as_mut().unwrap().handshake = false;
    let deliveries = start(options);
    tell_grid(&deliveries, 1);
    within(deliveries.idle()).await;
    let seen = receiver.seen();
    let kinds: Vec<_> = seen
        .iter()
        .map(|seen| seen.headers["aeg-event-type"].as_str())
        .collect();
    assert_eq!(kinds, ["Notification"]);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_releases_held_events() {
    let receiver = Receiver::start(Vec::new());
    // Two seconds of call time would be minutes.
    let deliveries = start(Options {
        speed: 0.01,
        ..options("late=1,duplicate=1")
    });
    tell(&deliveries, 1, &receiver.url, 0);
    assert_eq!(within(deliveries.close(Duration::from_secs(20))).await, 0);
    assert_eq!(receiver.seen().len(), 2);
    receiver.handle.stop(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_see_each_attempt() {
    let receiver = Receiver::start(vec![status(503)]);
    let deliveries = start(options("none"));
    let mut news = deliveries.log().follow();
    tell(&deliveries, 9, &receiver.url, 0);
    for wanted in [AttemptOutcome::Retried, AttemptOutcome::Accepted] {
        let attempt = within(news.recv()).await.unwrap();
        assert_eq!((attempt.call, attempt.outcome), (9, wanted));
    }
    receiver.handle.stop(false).await;
}
