//! The table of answers in docs/src/sender/answers.md and the limits of the listener, over real connections.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    journal::{Admitted, JournalRefusal, LimitReached},
    status::LedgerCounts,
};

use crate::ingress::test_support::{
    Listener, RANG, SECRET, broken, problem_in, rang, settings, settings_with, strange,
};

/// Sends raw bytes on a connection of its own.
async fn raw(listener: &Listener, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(listener.listening.address())
        .await
        .unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Reads until the peer closes, or fails after ten seconds.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
        .await
        .expect("the listener closes the connection")
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer with a `Content-Length`.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .unwrap()
                    .parse()
                    .unwrap();
                if body.len() >= length {
                    return;
                }
            }
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "{text}");
            text.push(char::from(byte[0]));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("an answer comes");
    text
}

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{more}\r\n")
}

#[tokio::test]
async fn a_good_callback_is_answered_202_once_it_is_durable() {
    let mut listener = Listener::open(settings());
    let body = json!([rang("1"), rang("2"), broken("3")]).to_string();
    let (response, callback) = listener
        .kept(listener.post("/callbacks/contoso", body))
        .await;
    assert_eq!(response.status(), 202);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["accepted"], 2);
    assert_eq!(answer["duplicates"], 0);
    assert_eq!(answer["quarantined"].as_array().unwrap().len(), 1);
    let kept = &answer["quarantined"][0];
    assert_eq!((&kept["index"], &kept["id"]), (&json!(2), &json!("3")));
    assert_eq!(kept["type"], RANG);
    assert!(kept["errors"][0]["pointer"].is_string(), "{kept}");
    assert!(kept["errors"][0]["message"].is_string(), "{kept}");
    assert_eq!(callback.offers.len(), 3);
    for line in [
        "hookswitch_callbacks_total{outcome=\"accepted\"} 1",
        "hookswitch_http_requests_total{code=\"202\",route=\"callbacks\"} 1",
        "hookswitch_callbacks_in_flight 0",
    ] {
        listener.counted(line).await;
    }
    let by_type = |outcome: &str, count: u32| {
        format!(
            "hookswitch_events_by_type_total{{generation=\"test\",outcome=\"{outcome}\",type=\"{RANG}\"}} {count}"
        )
    };
    listener.counted(&by_type("accepted", 2)).await;
    listener.counted(&by_type("quarantined", 1)).await;
}

#[tokio::test]
async fn duplicates_are_answered_202_and_counted_apart() {
    let mut listener = Listener::open(settings());
    let request = listener.post(
        "/callbacks/contoso",
        json!([rang("1"), rang("2")]).to_string(),
    );
    let response = listener
        .decided(request, |waiting| {
            waiting.decide(vec![Admitted::Duplicate, Admitted::Accepted]);
        })
        .await;
    assert_eq!(response.status(), 202);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        answer,
        json!({ "accepted": 1, "duplicates": 1, "quarantined": [] })
    );
}

#[tokio::test]
async fn what_a_callback_carries_reaches_the_journal() {
    let mut listener = Listener::open(settings());
    let request = listener
        .post(
            "/callbacks/contoso/survey%20a/7?code=secret&callerId=%2B1425",
            rang("1").to_string(),
        )
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .header("tracestate", "a=1")
        .header("tracestate", "b=2");
    let (_, callback) = listener.kept(request).await;
    let facts = &callback.offers[0].facts;
    assert_eq!(facts.path.as_deref(), Some("survey%20a/7"));
    assert_eq!(facts.query.as_deref(), Some("callerId=%2B1425"));
    assert!(facts.traceparent.as_ref().unwrap().starts_with("00-0af7"));
    assert_eq!(facts.tracestate.as_deref(), Some("a=1,b=2"));

    let request = listener
        .post("/callbacks/contoso/", rang("2").to_string())
        .header("traceparent", "nonsense")
        .header("tracestate", "a=1");
    let (_, next) = listener.kept(request).await;
    let facts = &next.offers[0].facts;
    assert_eq!((&facts.path, &facts.query), (&None, &None));
    assert_eq!((&facts.traceparent, &facts.tracestate), (&None, &None));
    assert!(next.arrival > callback.arrival);
}

#[tokio::test]
async fn the_order_of_arrival_is_that_of_the_heads_not_of_the_bodies() {
    let mut listener = Listener::open(settings());
    let body = rang("slow").to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut slow = raw(&listener, head("/callbacks/contoso", &length).as_bytes()).await;
    listener.counted("hookswitch_callbacks_in_flight 1").await;
    let (_, second) = listener
        .kept(listener.post("/callbacks/contoso", rang("fast").to_string()))
        .await;
    slow.write_all(body.as_bytes()).await.unwrap();
    let first = listener.journal.next().await.unwrap().keep();
    assert_eq!(first.offers[0].facts.event_id, "slow");
    assert!(first.arrival < second.arrival);
}

#[tokio::test]
async fn a_malformed_callback_is_400() {
    let mut listener = Listener::open(settings());
    let nested = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let long_path = format!("/callbacks/contoso/{}", "x".repeat(1_025));
    for (path, body) in [
        ("/callbacks/contoso", "{".to_owned()),
        ("/callbacks/contoso", String::new()),
        ("/callbacks/contoso", "[]".to_owned()),
        ("/callbacks/contoso", "[1]".to_owned()),
        ("/callbacks/contoso", "{\"a\":1,\"a\":2}".to_owned()),
        ("/callbacks/contoso", nested),
        (&long_path, rang("1").to_string()),
    ] {
        listener.problem(listener.post(path, body), 400).await;
    }
    let not_utf8 = listener.post("/callbacks/contoso", b"{\"a\":\"\xff\"}".to_vec());
    let problem = listener.problem(not_utf8, 400).await;
    assert_eq!(problem["errors"][0]["offset"], 6, "{problem}");
    let element = listener.post("/callbacks/contoso", "[{\"x\":1}]");
    let problem = listener.problem(element, 400).await;
    assert_eq!(problem["errors"][0]["pointer"], "/0", "{problem}");
    // None of their events was known, so none is counted in P3.
    assert_eq!(listener.ledger.snapshot(), LedgerCounts::default());
    listener
        .counted("hookswitch_callbacks_total{outcome=\"bad_request\"} 9")
        .await;
}

#[tokio::test]
async fn unknown_paths_and_apps_are_404() {
    let mut listener = Listener::open(settings());
    for path in ["/", "/livez", "/callbacks", "/callbacks/", "/metrics"] {
        listener.problem(listener.post(path, "{}"), 404).await;
    }
    listener
        .problem(listener.post("/callbacks/nobody", "{}"), 404)
        .await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"not_found\"} 1")
        .await;
    listener
        .counted("hookswitch_http_requests_total{code=\"404\",route=\"other\"} 5")
        .await;
}

#[tokio::test]
async fn other_methods_are_405_and_told_what_is_allowed() {
    let listener = Listener::open(settings());
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let url = format!(
            "http://{}/callbacks/contoso/x",
            listener.listening.address()
        );
        let response = listener
            .client
            .request(method.parse().unwrap(), url)
            .send()
            .await
            .unwrap();
        assert_eq!(response.headers()["allow"], "POST", "{method}");
        problem_in(response, 405).await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_before_it_is_read_and_while_it_is() {
    let mut listener = Listener::open(settings());
    // Announced: answered before any byte of the body was sent.
    let announced = head("/callbacks/contoso", "Content-Length: 5000\r\n");
    let mut stream = raw(&listener, announced.as_bytes()).await;
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Chunked: the length is unknown until it has arrived.
    let chunked = head("/callbacks/contoso", "Transfer-Encoding: chunked\r\n");
    let mut stream = raw(&listener, chunked.as_bytes()).await;
    for _ in 0..5 {
        let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // At the limit it is accepted, chunked or not.
    let padded = format!("{:<4096}", rang("1").to_string());
    let (response, _) = listener
        .kept(listener.post("/callbacks/contoso", padded))
        .await;
    assert_eq!(response.status(), 202);
    listener
        .counted("hookswitch_callbacks_total{outcome=\"too_large\"} 2")
        .await;
}

#[tokio::test]
async fn more_events_than_a_batch_may_hold_are_413() {
    let mut listener = Listener::open(settings());
    let batch: Vec<Value> = (0..11).map(|n| strange(&n.to_string())).collect();
    listener
        .problem(
            listener.post("/callbacks/contoso", Value::from(batch).to_string()),
            413,
        )
        .await;
}

#[tokio::test]
async fn a_slow_body_is_408_and_a_slow_head_is_not_waited_for() {
    let listener = Listener::open(settings_with(|it| {
        it.limits.request_timeout = Duration::from_millis(400)
    }));
    let slow_body = head("/callbacks/contoso", "Content-Length: 100\r\n");
    let mut stream = raw(&listener, slow_body.as_bytes()).await;
    stream.write_all(b"{").await.unwrap();
    let answer = all_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    listener
        .counted("hookswitch_callbacks_total{outcome=\"timeout\"} 1")
        .await;

    let mut stream = raw(&listener, b"POST /callbacks/contoso HT").await;
    let answer = all_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn encoded_bodies_and_other_media_types_are_415() {
    let mut listener = Listener::open(settings());
    for encoding in ["gzip", "identity"] {
        let request = listener
            .post("/callbacks/contoso", rang("1").to_string())
            .header("content-encoding", encoding);
        listener.problem(request, 415).await;
    }
    let url = format!("http://{}/callbacks/contoso", listener.listening.address());
    let form = listener
        .client
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("a=b");
    listener.problem(form, 415).await;
    let charset = listener
        .client
        .post(&url)
        .header("content-type", "application/json; charset=latin1")
        .body(rang("1").to_string());
    listener.problem(charset, 415).await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"unsupported\"} 4")
        .await;
}

#[tokio::test]
async fn a_byte_order_mark_and_the_charset_us_ascii_are_taken_in_every_mode() {
    let mut listener = Listener::open(settings());
    let url = format!("http://{}/callbacks/contoso", listener.listening.address());
    let data = rang("1")["data"].to_string();
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "s"),
        ("ce-type", crate::ingress::test_support::RANG),
    ];
    for (media_type, headers, text) in [
        (
            "application/cloudevents+json",
            &[][..],
            rang("1").to_string(),
        ),
        (
            "application/cloudevents-batch+json",
            &[],
            json!([rang("1")]).to_string(),
        ),
        ("application/json", &binary, data.clone()),
    ] {
        let mut published = Vec::new();
        for mark in ["", "\u{feff}"] {
            let request = listener
                .client
                .post(&url)
                .header(
                    "content-type",
                    format!("{media_type}; charset=\"US-ASCII\""),
                )
                .body(format!("{mark}{text}"));
            let request = headers.iter().fold(request, |request, (name, value)| {
                request.header(*name, *value)
            });
            let (response, callback) = listener.kept(request).await;
            assert_eq!(response.status(), 202, "{media_type}");
            let [offer] = &callback.offers[..] else {
                panic!("{media_type}: {} events", callback.offers.len());
            };
            assert!(offer.facts.quarantine.is_none(), "{media_type}");
            published.push((offer.body.clone(), offer.identity.clone()));
        }
        assert_eq!(published[0], published[1], "{media_type}");
    }
}

#[tokio::test]
async fn a_strict_app_refuses_the_whole_callback_with_422() {
    let mut listener = Listener::open(settings());
    let body = json!([rang("1"), broken("2"), strange("3")]).to_string();
    let problem = listener
        .problem(listener.post("/callbacks/strict", body), 422)
        .await;
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert!(
        pointers.iter().any(|at| at.starts_with("/1/data")),
        "{problem}"
    );
    assert!(pointers.contains(&"/2/type"), "{problem}");
    assert!(!pointers.iter().any(|at| at.starts_with("/0")), "{problem}");
    // All three were known when they were refused: they are counted.
    let counts = listener.ledger.snapshot();
    assert_eq!((counts.received, counts.refused), (3, 3));
    for line in [
        "hookswitch_events_rejected_total{reason=\"invalid\"} 3",
        "hookswitch_events_total{outcome=\"refused\"} 3",
        "hookswitch_callbacks_total{outcome=\"invalid\"} 1",
        "hookswitch_events_by_type_total{generation=\"other\",outcome=\"refused\",type=\"other\"} 1",
    ] {
        listener.counted(line).await;
    }
}

#[tokio::test]
async fn everything_that_passes_is_503_with_retry_after_and_without_names() {
    let mut listener = Listener::open(settings());
    let bound = LimitReached {
        used: 1,
        needed: 1,
        limit: 1,
        unit: "bytes",
    };
    let refusals = [
        JournalRefusal::Full(bound),
        JournalRefusal::DestinationFull {
            destination: "queue hidden-name".into(),
            bound,
        },
        JournalRefusal::DiskFull,
        JournalRefusal::Failed,
        JournalRefusal::Stalled,
        JournalRefusal::Busy,
        JournalRefusal::Closing,
        JournalRefusal::NotConfirmed,
    ];
    for refusal in refusals {
        let request = listener.post("/callbacks/contoso", rang("1").to_string());
        let response = listener
            .decided(request, |waiting| waiting.refuse(refusal))
            .await;
        let problem = problem_in(response, 503).await;
        assert!(!problem.to_string().contains("hidden-name"), "{problem}");
    }
    listener
        .counted("hookswitch_callbacks_total{outcome=\"unavailable\"} 8")
        .await;
    listener
        .counted("hookswitch_events_rejected_total{reason=\"destination_full\"} 1")
        .await;
}

#[tokio::test]
async fn a_journal_that_never_answers_is_503_after_a_while() {
    let listener = Listener::open(settings_with(|it| {
        it.store_timeout = Duration::from_millis(50)
    }));
    let request = listener.post("/callbacks/contoso", rang("1").to_string());
    problem_in(request.send().await.unwrap(), 503).await;
}

#[tokio::test]
async fn callbacks_over_the_in_flight_limit_are_503() {
    let mut listener = Listener::open(settings_with(|it| it.limits.in_flight_limit = 1));
    let first = listener
        .post("/callbacks/contoso", rang("1").to_string())
        .send();
    let (first, ()) = tokio::join!(first, async {
        let waiting = listener.journal.next().await.unwrap();
        let second = listener.post("/callbacks/contoso", rang("2").to_string());
        problem_in(second.send().await.unwrap(), 503).await;
        waiting.keep();
    });
    assert_eq!(first.unwrap().status(), 202);
    let (third, _) = listener
        .kept(listener.post("/callbacks/contoso", rang("3").to_string()))
        .await;
    assert_eq!(third.status(), 202);
}

#[tokio::test]
async fn a_body_that_is_on_its_way_takes_no_place_from_others() {
    let mut listener = Listener::open(settings_with(|it| it.limits.in_flight_limit = 1));
    let half = head("/callbacks/contoso", "Content-Length: 100\r\n");
    let _slow = [
        raw(&listener, half.as_bytes()).await,
        raw(&listener, half.as_bytes()).await,
    ];
    listener.counted("hookswitch_callbacks_in_flight 2").await;
    let (response, _) = listener
        .kept(listener.post("/callbacks/contoso", rang("1").to_string()))
        .await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn bodies_together_hold_no_more_memory_than_they_may() {
    let mut listener = Listener::open(settings_with(|it| it.body_memory_bytes = 4 * 1_024));
    let sized = |kib: usize, id: &str| format!("{:<1$}", rang(id).to_string(), kib * 1_024);
    let three = listener.post("/callbacks/contoso", sized(3, "1")).send();
    let (three, ()) = tokio::join!(three, async {
        let waiting = listener.journal.next().await.unwrap();
        // Three of four KiB are in use: two more do not fit, one does.
        listener
            .problem(listener.post("/callbacks/contoso", sized(2, "2")), 503)
            .await;
        let one = listener.post("/callbacks/contoso", sized(1, "3"));
        let (one, _) = listener.kept(one).await;
        assert_eq!(one.status(), 202);
        waiting.keep();
    });
    assert_eq!(three.unwrap().status(), 202);
    let two = listener.post("/callbacks/contoso", sized(2, "2"));
    let (two, _) = listener.kept(two).await;
    assert_eq!(two.status(), 202);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let mut listener = Listener::open(settings());
    let request = |body: &str| {
        let length = format!("Content-Length: {}\r\n", body.len());
        format!("{}{body}", head("/callbacks/contoso", &length))
    };
    let mut stream = raw(&listener, request("{").as_bytes()).await;
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    stream
        .write_all(request(&rang("1").to_string()).as_bytes())
        .await
        .unwrap();
    listener.journal.next().await.unwrap().keep();
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    // Pipelined: answered one after another, in order of arrival.
    let two = [rang("2"), rang("3")].map(|event| request(&event.to_string()));
    stream.write_all(two.concat().as_bytes()).await.unwrap();
    let mut arrivals = Vec::new();
    for id in ["2", "3"] {
        let callback = listener.journal.next().await.unwrap().keep();
        assert_eq!(callback.offers[0].facts.event_id, id);
        arrivals.push(callback.arrival);
        let answer = one_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    assert!(arrivals.is_sorted(), "{arrivals:?}");
}

#[tokio::test]
async fn a_sender_that_hangs_up_leaves_nothing_behind() {
    let mut listener = Listener::open(settings());
    let half = head("/callbacks/contoso", "Content-Length: 100\r\n");
    let stream = raw(&listener, half.as_bytes()).await;
    listener.counted("hookswitch_callbacks_in_flight 1").await;
    drop(stream);
    listener.counted("hookswitch_callbacks_in_flight 0").await;
    // The next one finds a permit and memory.
    let (response, _) = listener
        .kept(listener.post("/callbacks/contoso", rang("1").to_string()))
        .await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn drift_is_shown_and_counted() {
    let mut listener = Listener::open(settings());
    let mut event = rang("1");
    event["data"]["brandNew"] = json!(true);
    let (response, _) = listener
        .kept(listener.post("/callbacks/contoso", event.to_string()))
        .await;
    assert_eq!(response.status(), 202);
    let view = listener.drift.view();
    assert_eq!(view.series[RANG].values().sum::<u64>(), 1, "{view:?}");
    listener.counted("hookswitch_drift_total 1").await;
}

#[tokio::test]
async fn stopping_answers_what_is_in_flight_and_closes_the_rest() {
    let mut listener = Listener::open(settings());
    let address = listener.listening.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let body = rang("1").to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let request = format!("{}{body}", head("/callbacks/contoso", &length));
    let mut busy = raw(&listener, request.as_bytes()).await;
    let waiting = listener.journal.next().await.unwrap();
    let stopping = listener.listening.stop(Duration::from_secs(10));
    let (graceful, ()) = tokio::join!(stopping, async {
        // The idle connection is closed first: then the stop is in progress, and the answer must still arrive.
        assert_eq!(all_of(&mut idle).await, "");
        waiting.keep();
        let answer = all_of(&mut busy).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("connection: close"),
            "{answer}"
        );
    });
    assert!(graceful);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_deadline() {
    let mut listener = Listener::open(settings());
    let request = listener
        .post("/callbacks/contoso", rang("1").to_string())
        .send();
    let listening = listener.listening;
    let mut cut = None;
    let late = || cut = Some(listener.callbacks.in_flight());
    let (answer, (never_answered, graceful)) = tokio::join!(request, async {
        let waiting = listener.journal.next().await.unwrap();
        let stopped = listening.stop_or(Duration::from_millis(50), late).await;
        (waiting, stopped)
    });
    assert!(!graceful);
    assert_eq!(cut, Some(1));
    assert!(answer.is_err(), "{answer:?}");
    drop(never_answered);
}

#[tokio::test]
async fn a_connection_that_is_cut_after_its_answer_is_no_callback_in_progress() {
    let listener = Listener::open(settings());
    // The rest of the body is still read, so that the answer is not lost.
    let announced = head("/callbacks/guarded", "Content-Length: 100\r\n");
    let mut stream = raw(&listener, announced.as_bytes()).await;
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    listener.counted("hookswitch_callbacks_in_flight 0").await;
    let mut cut = None;
    let late = || cut = Some(listener.callbacks.in_flight());
    let graceful = listener
        .listening
        .stop_or(Duration::from_millis(50), late)
        .await;
    assert_eq!((graceful, cut), (false, Some(0)));
}

#[tokio::test]
async fn limits_come_before_auth_and_auth_before_the_body() {
    let mut listener = Listener::open(settings());
    let large = "x".repeat(5_000);
    listener
        .problem(listener.post("/callbacks/guarded", large), 413)
        .await;
    listener
        .problem(listener.post("/callbacks/guarded", "no JSON"), 401)
        .await;
    let path = format!("/callbacks/guarded?code={SECRET}");
    listener.problem(listener.post(&path, "no JSON"), 400).await;
    // No byte of the body was sent, and the answer arrives.
    let mut stream = raw(
        &listener,
        head("/callbacks/guarded", "Content-Length: 100\r\n").as_bytes(),
    )
    .await;
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
