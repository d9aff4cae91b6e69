//! amqps: the broker's certificate, the receiver's, and the errors when they do not fit.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{Calls, Node, Receiver, check_calls, eventually, free_port, take_all};

use super::one_queue;

/// A certificate authority and the files that it created, all in one directory.
struct Authority {
    dir: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(
            dir.join("openssl.cnf"),
            "[req]\ndistinguished_name = dn\nprompt = no\n[dn]\nCN = hookswitch test\n\
             [ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n\
             [leaf]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n",
        )
        .expect("written");
        let authority = Self { dir };
        authority.key("ca");
        authority.openssl(&[
            "req",
            "-x509",
            "-new",
            "-config",
            "openssl.cnf",
            "-extensions",
            "ca",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name} authority"),
            "-key",
            "ca.key",
            "-out",
            "ca.crt",
        ]);
        authority
    }

    /// Creates `{name}.crt` and `{name}.key`.
    fn issue(&self, name: &str) {
        self.key(name);
        let (key, request, certificate) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.crt"),
        );
        self.openssl(&[
            "req",
            "-new",
            "-config",
            "openssl.cnf",
            "-subj",
            &format!("/CN={name}"),
            "-key",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "openssl.cnf",
            "-extensions",
            "leaf",
            "-out",
            &certificate,
        ]);
    }

    fn key(&self, name: &str) {
        let key = format!("{name}.key");
        self.openssl(&[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &key,
        ]);
    }

    fn openssl(&self, args: &[&str]) {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(&self.dir)
            .output()
            .expect("openssl runs: these tests need its command");
        assert!(
            output.status.success(),
            "openssl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// A node that accepts amqps with a certificate of this authority, and its URL.
fn secure_node(authority: &Authority, more: &str) -> (Node, String) {
    authority.issue("server");
    let port = free_port();
    let node = Node::start_with(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n{more}",
        authority.file("ca.crt").display(),
        authority.file("server.crt").display(),
        authority.file("server.key").display(),
    ));
    (node, format!("amqps://guest:guest@localhost:{port}/%2f"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_authority_holds_deliveries_until_the_right_one_is_in_the_file() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (right, wrong) = (
        Authority::new(dir.path(), "right"),
        Authority::new(dir.path(), "wrong"),
    );
    let (node, url) = secure_node(&right, "ssl_options.verify = verify_none\n");
    let ca_file = dir.path().join("ca.crt");
    std::fs::copy(wrong.file("ca.crt"), &ca_file).expect("copied");
    let mut receiver = Receiver::new(&one_queue(
        "",
        &format!("url = \"{url}\"\ntls = {{ ca_file = {ca_file:?} }}"),
        "secure",
    ));
    // As in an image without system certificates.
    receiver.set_variable("SSL_CERT_FILE", "/nonexistent/certificates");
    receiver.set_variable("SSL_CERT_DIR", "/nonexistent");
    receiver.start().await;
    let mut calls = Calls::new(receiver.callback_url("it"), 2);
    calls.send(3).await;
    let why = eventually("the reason is known", Duration::from_secs(20), || async {
        let (state, why) = receiver.destination("queue secure").await?;
        (state == "held" && why.contains("certificate")).then_some(why)
    })
    .await;
    println!("held: {why}");
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(receiver.log().contains("UnknownIssuer"), "it is logged");
    assert_eq!(
        receiver.metric("hookswitch_deliveries_pending").await,
        Some(6.0)
    );
    // A file without any certificate is reported, not skipped.
    std::fs::write(&ca_file, "not a certificate\n").expect("written");
    eventually("the file is named", Duration::from_secs(20), || async {
        let (_, why) = receiver.destination("queue secure").await?;
        why.contains("ca.crt").then_some(())
    })
    .await;

    std::fs::copy(right.file("ca.crt"), &ca_file).expect("copied");
    receiver.until_nothing_pending().await;
    let taken = take_all(node.url(), "secure", Duration::from_secs(1), |_| false).await;
    assert_eq!(check_calls("secure", &[taken], &calls.expected()), 0);
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_wants_a_client_certificate_gets_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let authority = Authority::new(dir.path(), "right");
    let (node, url) = secure_node(
        &authority,
        "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
    );
    authority.issue("client");
    let ca_file = authority.file("ca.crt");
    let config = |identity: &str| {
        one_queue(
            "",
            &format!("url = \"{url}\"\ntls = {{ ca_file = {ca_file:?}{identity} }}"),
            "secure",
        )
    };

    let mut without = Receiver::new(&config(""));
    without.start().await;
    let mut calls = Calls::new(without.callback_url("it"), 1);
    calls.send(1).await;
    let why = eventually("the reason is known", Duration::from_secs(20), || async {
        let (state, why) = without.destination("queue secure").await?;
        (state == "held" && !why.starts_with("not connected")).then_some(why)
    })
    .await;
    println!("held: {why}");
    assert!(
        why.to_lowercase().contains("certificate"),
        "the reason says what is missing: {why}"
    );
    assert_eq!(
        without.metric("hookswitch_deliveries_pending").await,
        Some(1.0)
    );
    drop(without);

    let mut receiver = Receiver::new(&config(&format!(
        ", cert_file = {:?}, key_file = {:?}",
        authority.file("client.crt"),
        authority.file("client.key")
    )));
    receiver.start().await;
    let mut calls = Calls::new(receiver.callback_url("it"), 3);
    calls.send(3).await;
    receiver.until_nothing_pending().await;
    let taken = take_all(node.url(), "secure", Duration::from_secs(1), |_| false).await;
    assert_eq!(check_calls("secure", &[taken], &calls.expected()), 0);

    // A TLS connection is cut and reopened like any other.
    node.close_connections_every_second(2);
    calls.send(5).await;
    receiver.until_nothing_pending().await;
    assert_eq!(receiver.stop(), Some(0));
}
