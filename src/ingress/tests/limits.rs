//! The limits of connections and heads, over real connections.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::ingress::{
    IngressSettings,
    test_support::{Listener, problem_in, rang, settings, settings_with},
};

async fn connect(listener: &Listener) -> TcpStream {
    TcpStream::connect(listener.listening.address())
        .await
        .unwrap()
}

/// Reads until the listener closes, or fails after ten seconds.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
        .await
        .expect("the listener closes the connection")
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads until the received text ends like this.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("it comes");
    String::from_utf8(bytes).unwrap()
}

const NOT_FOUND: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A refusal without a handler, as a problem document.
fn check_words(answer: &str, status: u16) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(
        head.contains("content-type: application/problem+json"),
        "{answer}"
    );
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{answer}"
    );
    assert!(head.contains("connection: close"), "{answer}");
    assert!(head.contains("\r\ndate: "), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].is_string() && problem["errors"].is_array());
}

fn fast() -> IngressSettings {
    settings_with(|it| it.limits.request_timeout = Duration::from_millis(400))
}

#[tokio::test]
async fn a_late_head_is_408_on_every_request_of_a_connection() {
    let listener = Listener::open(fast());
    let mut stream = connect(&listener).await;
    for _ in 0..2 {
        stream.write_all(NOT_FOUND.as_bytes()).await.unwrap();
        until(&mut stream, "}").await;
    }
    stream.write_all(b"POST /callbacks/cont").await.unwrap();
    check_words(&all_of(&mut stream).await, 408);
    listener
        .counted("hookswitch_connections_cut_total{listener=\"public\",reason=\"late_head\"} 1")
        .await;
    listener
        .counted("hookswitch_connections{listener=\"public\"} 0")
        .await;
}

#[tokio::test]
async fn a_head_that_trickles_has_no_more_time_than_one_that_stops() {
    let listener = Listener::open(fast());
    let (mut reads, mut writes) = connect(&listener).await.into_split();
    let trickle = async {
        loop {
            if writes.write_all(b"X").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = String::new();
    tokio::select! {
        () = trickle => panic!("no answer"),
        read = reads.read_to_string(&mut answer) => { read.unwrap(); }
    }
    check_words(&answer, 408);
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_ends_without_a_word() {
    let listener = Listener::open(settings_with(|it| {
        *it = fast();
        it.limits.idle_timeout = Duration::from_millis(100);
    }));
    let mut silent = connect(&listener).await;
    let mut idle = connect(&listener).await;
    idle.write_all(NOT_FOUND.as_bytes()).await.unwrap();
    let answer = all_of(&mut idle).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(all_of(&mut silent).await, "");
    let cut = listener.metrics();
    let cut: Vec<&str> = cut
        .lines()
        .filter(|line| line.starts_with("hookswitch_connections_cut_total"))
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    assert!(cut.is_empty(), "{cut:?}");
}

#[tokio::test]
async fn a_handler_at_work_has_no_deadline_of_the_connections() {
    let mut listener = Listener::open(settings_with(|it| {
        it.limits.request_timeout = Duration::from_millis(100);
        it.limits.idle_timeout = Duration::from_millis(100);
    }));
    let request = listener.post("/callbacks/contoso", rang("1").to_string());
    let response = listener
        .decided(request, |waiting| {
            // The journal takes longer than all time limits of its sender.
            std::thread::sleep(Duration::from_millis(300));
            waiting.keep();
        })
        .await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn an_unwanted_body_is_read_up_to_a_limit() {
    let listener = Listener::open(fast());
    let (mut reads, mut writes) = connect(&listener).await.into_split();
    let head = "POST /callbacks/guarded HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    writes.write_all(head.as_bytes()).await.unwrap();
    let trickle = async {
        loop {
            if writes.write_all(b"1\r\nx\r\n").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = String::new();
    let read = async {
        reads.read_to_string(&mut answer).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), async {
        tokio::join!(trickle, read);
    })
    .await
    .expect("it is cut");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    listener
        .counted("hookswitch_connections_cut_total{listener=\"public\",reason=\"unread_body\"} 1")
        .await;
}

#[tokio::test]
async fn a_peer_that_does_not_take_its_answers_is_cut() {
    let listener = Listener::open(fast());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(listener.listening.address()).await.unwrap();
    // It sends requests and reads no answer: the kernel buffers only a limited number of answers and requests.
    let requests = NOT_FOUND.repeat(1_000);
    tokio::time::timeout(Duration::from_secs(30), async {
        while stream.write_all(requests.as_bytes()).await.is_ok() {}
    })
    .await
    .expect("it is cut");
    listener
        .counted("hookswitch_connections_cut_total{listener=\"public\",reason=\"unread_answer\"} 1")
        .await;
    listener
        .counted("hookswitch_connections{listener=\"public\"} 0")
        .await;
}

#[tokio::test]
async fn connections_beyond_a_limit_are_told_so_and_counted() {
    for (settings, reason) in [
        (
            settings_with(|it| it.limits.peer_connection_limit = 2),
            "peer",
        ),
        (
            settings_with(|it| {
                it.limits.connection_limit = 2;
                it.limits.peer_connection_limit = 2;
            }),
            "total",
        ),
    ] {
        let listener = Listener::open(settings);
        let first = connect(&listener).await;
        let _second = connect(&listener).await;
        listener
            .counted("hookswitch_connections{listener=\"public\"} 2")
            .await;
        let mut third = connect(&listener).await;
        // It is answered whatever it sends, and can read that.
        third.write_all(NOT_FOUND.as_bytes()).await.unwrap();
        let answer = all_of(&mut third).await;
        check_words(&answer, 503);
        assert!(answer.contains("\r\nretry-after: 5\r\n"), "{answer}");
        let refused = format!(
            "hookswitch_connections_refused_total{{listener=\"public\",reason=\"{reason}\"}} 1"
        );
        listener.counted(&refused).await;
        // A permit that was given back is available again.
        drop(first);
        listener
            .counted("hookswitch_connections{listener=\"public\"} 1")
            .await;
        let mut fourth = connect(&listener).await;
        fourth.write_all(NOT_FOUND.as_bytes()).await.unwrap();
        let answer = until(&mut fourth, "}").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}

#[tokio::test]
async fn heads_over_a_limit_are_431_before_anything_else_is_looked_at() {
    let mut listener = Listener::open(settings_with(|it| {
        it.limits.header_limit = 8;
        it.limits.head_limit_bytes = 2_048;
    }));
    // The client's own (host, accept, content-length, content-type) count too.
    let many = |path: &str, count: usize| {
        (0..count).fold(listener.post(path, "x"), |request, number| {
            request.header(format!("x-{number}"), "1")
        })
    };
    problem_in(many("/nowhere", 4).send().await.unwrap(), 404).await;
    problem_in(many("/callbacks/contoso", 5).send().await.unwrap(), 431).await;
    let wide = listener
        .post("/callbacks/contoso", "x")
        .header("x", "x".repeat(2_000));
    listener.problem(wide, 431).await;
    let path = format!("/callbacks/contoso?{}", "x".repeat(2_000));
    listener.problem(listener.post(&path, "x"), 431).await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"head_too_large\"} 1")
        .await;
    // What the parser itself refuses is reported in the same form.
    let mut stream = connect(&listener).await;
    let endless = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(200_000));
    stream.write_all(endless.as_bytes()).await.unwrap();
    check_words(&all_of(&mut stream).await, 431);
    let mut stream = connect(&listener).await;
    let countless = format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
        "X: x\r\n".repeat(100)
    );
    stream.write_all(countless.as_bytes()).await.unwrap();
    check_words(&all_of(&mut stream).await, 431);
    listener
        .counted(
            "hookswitch_connections_cut_total{listener=\"public\",reason=\"head_too_large\"} 4",
        )
        .await;
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_counted() {
    let listener = Listener::open(settings());
    let mut stream = connect(&listener).await;
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    check_words(&all_of(&mut stream).await, 400);
    listener
        .counted("hookswitch_connections_cut_total{listener=\"public\",reason=\"malformed\"} 1")
        .await;
}

#[tokio::test]
async fn an_app_over_its_rate_is_429_and_told_when_to_come_again() {
    let mut listener = Listener::open(settings());
    // Before their content is checked.
    for _ in 0..2 {
        listener
            .problem(listener.post("/callbacks/rated", "no JSON"), 400)
            .await;
    }
    let mut refused = 0;
    // A bucket is refilled meanwhile: on a slow machine one more may be accepted.
    for _ in 0..5 {
        let answer = listener
            .post("/callbacks/rated", "no JSON")
            .send()
            .await
            .unwrap();
        if answer.status() == 429 {
            assert_eq!(answer.headers()["retry-after"], "1");
            problem_in(answer, 429).await;
            refused += 1;
        }
    }
    assert!(refused >= 3, "{refused}");
    listener
        .counted(&format!(
            "hookswitch_rate_limited_total{{app=\"rated\"}} {refused}"
        ))
        .await;
    listener
        .counted(&format!(
            "hookswitch_callbacks_total{{outcome=\"too_often\"}} {refused}"
        ))
        .await;
    // Other apps are not affected.
    listener
        .problem(listener.post("/callbacks/contoso", "no JSON"), 400)
        .await;
}
