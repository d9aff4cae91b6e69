//! Every state of a connection ends by itself, whatever its peer does or does not do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rcgen::generate_simple_self_signed;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::{
    config::KeyPair,
    http::{Certificate, ListenerName},
};

use crate::ingress::{
    IngressSettings,
    test_support::{Listener, rang, settings_with},
};

/// Far beyond the last of the deadlines, on a busy machine too. Without a deadline a connection stays open without end.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two pieces that a peer sends.
const PAUSE: Duration = Duration::from_millis(20);

/// A second for everything that has a deadline, two for reading an answer.
fn fast() -> IngressSettings {
    settings_with(|it| {
        it.limits.request_timeout = Duration::from_secs(2);
        it.store_timeout = Duration::from_secs(1);
        it.limits.idle_timeout = Duration::from_secs(1);
    })
}

/// What a peer does after its first bytes. It never closes the connection by itself.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing.
    Stops,
    /// Sends this repeatedly.
    Repeats(&'static str),
    /// Shuts down its sending side, and waits.
    Shuts,
}

/// A state of a connection, and how a peer gets into it.
struct State {
    name: &'static str,
    said: String,
    then: Then,
    /// The statuses of the answers that it receives before the end, in order.
    hears: &'static [u16],
}

fn state(name: &'static str, said: impl Into<String>, then: Then, hears: &'static [u16]) -> State {
    let said = said.into();
    State {
        name,
        said,
        then,
        hears,
    }
}

/// A request line and headers.
fn head(line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: h\r\n{more}\r\n")
}

fn states() -> Vec<State> {
    const CONTOSO: &str = "POST /callbacks/contoso";
    const GUARDED: &str = "POST /callbacks/guarded";
    const TEN: &str = "Content-Length: 10\r\n";
    const LARGE: &str = "Content-Length: 1000000\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    /// {"alg":"RS256","kid":"a"} . {"iss":"https://issuer.example"}: no keys are known for it.
    const TOKEN: &str =
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AAAA";

    let get = head("GET /", "");
    let body = rang("1").to_string();
    let callback = |app: &str, more: &str| {
        let more = format!("Content-Length: {}\r\n{more}", body.len());
        head(&format!("POST /callbacks/{app}"), &more) + &body
    };
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    vec![
        state("accepted, nothing came", "", Then::Stops, &[]),
        state("accepted, half closed", "", Then::Shuts, &[]),
        state(
            "empty lines before a head",
            "",
            Then::Repeats("\r\n"),
            &[408],
        ),
        state("head stops", "POST /call", Then::Stops, &[408]),
        state("head trickles", "POST /call", Then::Repeats("x"), &[408]),
        state("head, half closed", "POST /call", Then::Shuts, &[]),
        state("idle", &*get, Then::Stops, &[404]),
        state("idle, half closed", &*get, Then::Shuts, &[404]),
        state(
            "later head stops",
            get.clone() + "GET",
            Then::Stops,
            &[404, 408],
        ),
        state(
            "later head trickles",
            get.clone() + "GET",
            Then::Repeats("x"),
            &[404, 408],
        ),
        state(
            "told to close",
            head("GET /", "Connection: close\r\n"),
            Then::Stops,
            &[404],
        ),
        state(
            "told to close, goes on",
            head("GET /", "Connection: close\r\n"),
            Then::Repeats("x"),
            &[404],
        ),
        state("body stops", head(CONTOSO, TEN) + "[", Then::Stops, &[408]),
        state(
            "body trickles",
            head(CONTOSO, "Content-Length: 1000\r\n"),
            Then::Repeats(" "),
            &[408],
        ),
        state(
            "body, half closed",
            head(CONTOSO, TEN) + "[",
            Then::Shuts,
            &[400],
        ),
        state(
            "body asks to go on",
            head(CONTOSO, &format!("{TEN}Expect: 100-continue\r\n")),
            Then::Stops,
            &[100, 408],
        ),
        state(
            "chunks stop",
            head(CONTOSO, CHUNKED) + "1\r\n",
            Then::Stops,
            &[408],
        ),
        state(
            "chunks trickle",
            head(CONTOSO, CHUNKED),
            Then::Repeats("1\r\n \r\n"),
            &[408],
        ),
        state(
            "last chunk does not come",
            head(CONTOSO, CHUNKED) + "1\r\n[\r\n",
            Then::Stops,
            &[408],
        ),
        state(
            "waits for the journal",
            callback("contoso", ""),
            Then::Stops,
            &[503],
        ),
        state(
            "waits for the journal, goes on",
            callback("contoso", ""),
            Then::Repeats("x"),
            &[503, 408],
        ),
        state(
            "waits for keys",
            callback("signed", &bearer),
            Then::Stops,
            &[503],
        ),
        state(
            "refused body stops",
            head(GUARDED, LARGE),
            Then::Stops,
            &[413],
        ),
        state(
            "refused body trickles",
            head(GUARDED, LARGE),
            Then::Repeats("x"),
            &[413],
        ),
        state(
            "refused body, half closed",
            head(GUARDED, TEN),
            Then::Shuts,
            &[401],
        ),
        state(
            "refused chunks stop",
            head(GUARDED, CHUNKED),
            Then::Stops,
            &[401],
        ),
        state(
            "refused chunks trickle",
            head(GUARDED, CHUNKED),
            Then::Repeats("1\r\nx\r\n"),
            &[401],
        ),
        state("no request", "nonsense\r\n\r\n", Then::Stops, &[400]),
        state(
            "no request, goes on",
            "nonsense\r\n\r\n",
            Then::Repeats("x"),
            &[400],
        ),
        state(
            "head too large, goes on",
            format!("GET /{} ", "x".repeat(20_000)),
            Then::Repeats("x"),
            &[431],
        ),
        state(
            "upgrade",
            head("GET /", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
            Then::Repeats("x"),
            &[400],
        ),
        state(
            "tunnel",
            head("CONNECT h:1", ""),
            Then::Repeats("x"),
            &[405],
        ),
    ]
}

/// The status lines of the received bytes.
fn statuses(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    let of = |part: &str| part.get(..3)?.parse().ok();
    text.split("HTTP/1.1 ").skip(1).filter_map(of).collect()
}

/// Sends `said` and goes on as `then` says until the other side ends the connection. Returns what it received.
async fn until_ended(mut stream: TcpStream, said: &str, then: Then) -> Vec<u8> {
    let mut heard = Vec::new();
    // The other side may close before the end of it.
    drop(stream.write_all(said.as_bytes()).await);
    let (mut reads, mut writes) = stream.split();
    if let Then::Shuts = then {
        drop(writes.shutdown().await);
    }
    let goes_on = async {
        while let Then::Repeats(more) = then {
            tokio::time::sleep(PAUSE).await;
            if writes.write_all(more.as_bytes()).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    // A reset is an end, too.
    tokio::select! {
        () = goes_on => {}
        _ = reads.read_to_end(&mut heard) => {}
    }
    heard
}

#[tokio::test]
async fn every_state_of_a_connection_ends_by_itself() {
    let listener = Listener::open(fast());
    let address = listener.listening.address();
    let mut peers = JoinSet::new();
    for state in states() {
        peers.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let ended = timeout(LIMIT, until_ended(stream, &state.said, state.then)).await;
            (
                state.name,
                ended.map(|heard| statuses(&heard)).ok(),
                state.hears,
            )
        });
    }
    let wrong: Vec<_> = peers
        .join_all()
        .await
        .into_iter()
        .filter(|(_, heard, hears)| heard.as_deref() != Some(*hears))
        .collect();
    assert!(wrong.is_empty(), "state, heard, expected: {wrong:#?}");
    listener
        .counted("hookswitch_connections{listener=\"public\"} 0")
        .await;
}

#[tokio::test]
async fn an_unread_answer_times_out() {
    let listener = Listener::open(fast());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(listener.listening.address()).await.unwrap();
    let asked = head("GET /", "").repeat(1_000);
    let asks = async { while stream.write_all(asked.as_bytes()).await.is_ok() {} };
    timeout(LIMIT, asks).await.expect("it is ended");
    listener
        .counted("hookswitch_connections{listener=\"public\"} 0")
        .await;
}

#[tokio::test]
async fn a_connection_that_is_turned_away_ends_by_itself() {
    let listener = Listener::open(settings_with(|it| {
        *it = fast();
        it.limits.connection_limit = 1;
        // The one that has the place stays.
        it.limits.request_timeout = 2 * LIMIT;
    }));
    let address = listener.listening.address();
    let _first = TcpStream::connect(address).await.unwrap();
    listener
        .counted("hookswitch_connections{listener=\"public\"} 1")
        .await;
    for then in [Then::Stops, Then::Repeats("x"), Then::Shuts] {
        let stream = TcpStream::connect(address).await.unwrap();
        let heard = timeout(LIMIT, until_ended(stream, "", then)).await;
        let heard = heard.unwrap_or_else(|_| panic!("{then:?}: it stays open"));
        assert_eq!(statuses(&heard), [503], "{then:?}");
    }
}

/// The certificate of a listener, made for this test.
fn identity() -> Arc<Certificate> {
    let dir = tempfile::tempdir().unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = KeyPair {
        cert_file: dir.path().join("crt"),
        key_file: dir.path().join("key"),
    };
    std::fs::write(&files.cert_file, made.cert.pem()).unwrap();
    std::fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
    Certificate::load(ListenerName::Public, &files).unwrap()
}

async fn ends_in_a_handshake(address: SocketAddr, said: &str, then: Then) {
    let stream = TcpStream::connect(address).await.unwrap();
    let ended = timeout(LIMIT, until_ended(stream, said, then)).await;
    assert!(ended.is_ok(), "{said:?}, {then:?}: it stays open");
}

#[tokio::test]
async fn a_tls_handshake_ends_by_itself() {
    let listener = Listener::with_identity(fast(), identity());
    let address = listener.listening.address();
    // The beginning of a record that is 512 bytes long.
    let half = "\x16\x03\x01\x02\x00\x01";
    for (said, then) in [
        ("", Then::Stops),
        ("", Then::Shuts),
        (half, Then::Stops),
        (half, Then::Repeats("\0")),
        (half, Then::Shuts),
        ("GET / HTTP/1.1\r\n\r\n", Then::Stops),
        ("GET / HTTP/1.1\r\n\r\n", Then::Repeats("x")),
    ] {
        ends_in_a_handshake(address, said, then).await;
    }
    listener
        .counted("hookswitch_connections{listener=\"public\"} 0")
        .await;
}
