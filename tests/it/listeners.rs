//! The binary between a socket and a handler: TLS on both listeners, limits of connections and heads.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::support::{Receiver, eventually, file};

const APP: &str = "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"dev\"\nauth = \"none\"\n";

/// A mounted Secret as Kubernetes updates it: the files are behind a symbolic link, which is replaced.
struct Secret {
    dir: PathBuf,
    versions: u32,
}

impl Secret {
    fn new(dir: &Path) -> Self {
        let dir = dir.join("secret");
        std::fs::create_dir(&dir).expect("a directory");
        Self { dir, versions: 0 }
    }

    /// Replaces both files at once.
    fn show(&mut self, certificate: &str, key: &str) {
        self.versions += 1;
        let version = self.dir.join(format!("v{}", self.versions));
        std::fs::create_dir(&version).expect("a directory");
        std::fs::write(version.join("tls.crt"), certificate).expect("written");
        std::fs::write(version.join("tls.key"), key).expect("written");
        let next = self.dir.join("next");
        symlink(&version, &next).expect("a link");
        std::fs::rename(&next, self.dir.join("data")).expect("swapped");
    }

    fn setting(&self, name: &str) -> String {
        let file = |name: &str| self.dir.join("data").join(name);
        format!(
            "{name} = {{ cert_file = {:?}, key_file = {:?} }}",
            file("tls.crt"),
            file("tls.key")
        )
    }
}

/// A self-signed certificate for 127.0.0.1, and its key.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts only this certificate, with its own connections.
fn client(certificate: &str) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
    reqwest::Client::builder()
        .tls_certs_only([trusted])
        .build()
        .expect("a client")
}

fn set(receiver: &Receiver, line: &str) {
    let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
    let text = text.replacen("[server]\n", &format!("[server]\n{line}\n"), 1);
    std::fs::write(receiver.config(), text).expect("written");
}

fn event() -> Vec<u8> {
    std::fs::read(file("tests/data/events/ga/CallConnected.json")).expect("an event")
}

async fn post(client: &reqwest::Client, url: &str) -> Result<u16, reqwest::Error> {
    let request = client.post(url).body(event());
    Ok(request.send().await?.status().as_u16())
}

async fn until_shown(certificate: &str, url: &str) {
    eventually("it is shown", Duration::from_secs(20), || async {
        // A new client has no connection yet.
        (post(&client(certificate), url).await.ok()? == 202).then_some(())
    })
    .await;
}

/// Reads until the receiver closes the connection.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("the receiver closes the connection")
        .expect("text");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_swapped_under_connections_and_a_bad_one_is_kept_out() {
    let mut receiver = Receiver::new(APP);
    let mut secret = Secret::new(receiver.dir());
    let (first, first_key) = pair();
    let (second, second_key) = pair();
    secret.show(&first, &first_key);
    set(&receiver, &secret.setting("tls"));
    receiver.start().await;
    let url = format!("https://127.0.0.1:{}/callbacks/dev", receiver.port);

    let lives = client(&first);
    assert_eq!(post(&lives, &url).await.expect("an answer"), 202);
    let plain = post(&reqwest::Client::new(), &receiver.callback_url("dev")).await;
    assert!(plain.is_err(), "{plain:?}");
    receiver
        .until_metric(
            "hookswitch_connections_cut_total{listener=\"public\",reason=\"tls_handshake\"}",
            |count| count >= 1.0,
        )
        .await;
    let stranger = post(&client(&second), &url).await;
    assert!(stranger.is_err(), "{stranger:?}");

    secret.show(&second, &second_key);
    until_shown(&second, &url).await;
    // This client would not trust the certificate of a new connection, so it still uses the old one.
    assert_eq!(post(&lives, &url).await.expect("an answer"), 202);
    assert!(post(&client(&first), &url).await.is_err());

    // The key of another certificate.
    secret.show(&second, &first_key);
    let failures = "hookswitch_tls_reload_failures_total{listener=\"public\"}";
    receiver.until_metric(failures, |count| count == 1.0).await;
    assert_eq!(post(&client(&second), &url).await.expect("an answer"), 202);
    assert_eq!(post(&lives, &url).await.expect("an answer"), 202);
    let notice = "the new files of server.tls cannot be used";
    let (status, body) = receiver.ready().await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert!(body["notices"].to_string().contains(notice), "{body}");

    secret.show(&first, &first_key);
    until_shown(&first, &url).await;
    eventually("the notice is gone", Duration::from_secs(20), || async {
        let (_, body) = receiver.ready().await?;
        (!body.to_string().contains(notice)).then_some(())
    })
    .await;
    let expiry = "hookswitch_tls_certificate_expiry_timestamp_seconds{listener=\"public\"}";
    let expiry = receiver.metric(expiry).await.expect("a metric");
    assert!(expiry > 1_700_000_000.0, "{expiry}");
    assert_eq!(receiver.metric(failures).await, Some(1.0));
    assert!(
        !receiver.log().contains("PRIVATE KEY"),
        "{}",
        receiver.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_speaks_tls_too_and_tail_follows_it() {
    let mut receiver = Receiver::new(APP);
    let mut secret = Secret::new(receiver.dir());
    let (certificate, key) = pair();
    secret.show(&certificate, &key);
    set(&receiver, &secret.setting("admin_tls"));
    receiver.spawn();
    let client = client(&certificate);
    let admin = format!("https://127.0.0.1:{}", receiver.admin_port);
    eventually("it is ready", Duration::from_secs(30), || async {
        let answer = client.get(format!("{admin}/readyz")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;

    let ca = receiver.dir().join("ca.pem");
    std::fs::write(&ca, &certificate).expect("written");
    let mut tail = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["tail", "--json", "--admin", &admin, "--ca-file"])
        .arg(&ca)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("hookswitch runs");
    let mut lines = BufReader::new(tail.stdout.take().expect("piped")).lines();
    let line = async {
        // `tail` may not be connected yet when the first ones are sent.
        loop {
            tokio::select! {
                line = lines.next_line() => return line.expect("text").expect("a line"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    let url = receiver.callback_url("dev");
                    let event = String::from_utf8(event()).expect("text");
                    let event = event.replace("\"id\": \"", &format!("\"id\": \"{}", uuid::Uuid::new_v4()));
                    let sent = reqwest::Client::new().post(url).body(event).send().await;
                    assert_eq!(sent.expect("an answer").status(), 202);
                }
            }
        }
    };
    let line = tokio::time::timeout(Duration::from_secs(20), line)
        .await
        .expect("a line comes");
    assert!(line.contains("CallConnected"), "{line}");
}

#[test]
fn a_bad_pair_at_the_start_is_a_configuration_error() {
    let receiver = Receiver::new(APP);
    let mut secret = Secret::new(receiver.dir());
    let ((certificate, _), (_, other_key)) = (pair(), pair());
    secret.show(&certificate, &other_key);
    set(&receiver, &secret.setting("tls"));
    for arguments in [&["serve", "--config"][..], &["check-config"][..]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
            .args(arguments)
            .arg(receiver.config())
            .output()
            .expect("hookswitch runs");
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("server.tls: the key in "), "{said}");
        assert!(
            said.contains("tls.key does not belong to the certificate in "),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_peer_are_bounded_and_late_heads_are_408() {
    let mut receiver =
        Receiver::with_server(APP, "peer_connection_limit = 2\nrequest_timeout = \"2s\"");
    receiver.start().await;
    let address = ("127.0.0.1", receiver.port);
    let mut first = TcpStream::connect(address).await.expect("a connection");
    let second = TcpStream::connect(address).await.expect("a connection");
    receiver
        .until_metric("hookswitch_connections{listener=\"public\"}", |open| {
            open == 2.0
        })
        .await;
    let mut third = TcpStream::connect(address).await.expect("a connection");
    let answer = all_of(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: "), "{answer}");
    drop(second);

    // Kept alive after one good request, then too slow.
    let event = event();
    let head = format!(
        "POST /callbacks/dev HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        event.len()
    );
    let good = [head.as_bytes(), &event].concat();
    first.write_all(&good).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(first.read_buf(&mut answer).await.expect("an answer"), 0);
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    first
        .write_all(&head.as_bytes()[..20])
        .await
        .expect("written");
    let answer = all_of(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_over_its_rate_is_429_and_accepted_again_later() {
    let mut receiver = Receiver::new(&format!("{APP}rate_limit = 1\nrate_burst = 2\n"));
    receiver.start().await;
    let client = reqwest::Client::new();
    let url = receiver.callback_url("dev");
    let refused = eventually(
        "the rate limit is reached",
        Duration::from_secs(20),
        || async {
            let request = client.post(&url).body(event());
            let answer = request.send().await.expect("an answer");
            (answer.status() == 429).then_some(answer)
        },
    )
    .await;
    assert_eq!(refused.headers()["retry-after"], "1");
    eventually("it is accepted again", Duration::from_secs(20), || async {
        (post(&client, &url).await.ok()? == 202).then_some(())
    })
    .await;
    let limited = receiver
        .metric("hookswitch_rate_limited_total{app=\"dev\"}")
        .await;
    assert!(limited.is_some_and(|count| count >= 1.0), "{limited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_head_is_408_over_tls_too_and_the_tls_session_is_closed() {
    let mut receiver = Receiver::with_server(APP, "request_timeout = \"2s\"");
    let mut secret = Secret::new(receiver.dir());
    let (certificate, key) = pair();
    secret.show(&certificate, &key);
    set(&receiver, &secret.setting("tls"));
    receiver.start().await;

    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    roots.add(trusted).expect("it can be trusted");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", receiver.port))
        .await
        .expect("a connection");
    let name = "127.0.0.1".try_into().expect("an address");
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .expect("a handshake");
    stream.write_all(b"POST /callb").await.expect("written");
    stream.flush().await.expect("sent");
    let mut answer = String::new();
    // Without close_notify this would be an error: an attacker could have cut the connection.
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer))
        .await
        .expect("the receiver closes the connection")
        .expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with('}'), "{answer}");
}
