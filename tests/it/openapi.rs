//! Both listeners do what `docs/openapi.json` says: schemathesis makes the requests and holds the answers against it.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::support::{Issuer, Node, Receiver, counted, file, tools};

/// Longer than it takes on a small machine with other tests beside it; by itself it takes a minute there.
const LIMIT: Duration = Duration::from_secs(300);

/// One app that keeps what it does not understand and one that refuses it, both with every method of auth and every
/// handshake.
fn receiver(amqp: &str, issuer: &Issuer, secrets: &Path) -> Receiver {
    let app = |name: &str, on_invalid: &str| {
        format!(
            "[[apps]]\nname = \"{name}\"\non_invalid = \"{on_invalid}\"\nevent_grid = true\n\
             allowed_origins = [\"eventgrid.azure.net\"]\nallowed_rate = 120\n\
             [apps.auth]\njwt = [{}]\n\
             shared_secret = [{{ query = \"code\", value_file = {secrets:?} }}, {{ header = \"x-callback-key\", value_file = {secrets:?} }}]\n\n",
            issuer.rule()
        )
    };
    let (lenient, strict) = (app("lenient", "quarantine"), app("strict", "reject"));
    Receiver::new(&format!(
        "[broker]\nurl = \"{amqp}\"\n\n{lenient}{strict}[[routes]]\nname = \"all\"\nqueue = \"openapi\"\n"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_listeners_answer_as_the_openapi_document_says() {
    // What it sends may be kept in quarantine, by the thousand: no other test must find that there.
    let node = Node::start();
    let files = tempfile::tempdir().expect("a temporary directory");
    let issuer = Issuer::new(files.path());
    let secrets = files.path().join("secrets");
    std::fs::write(&secrets, "a-secret-that-nobody-sends\n").expect("written");
    let mut receiver = receiver(node.url(), &issuer, &secrets);
    receiver.start().await;
    receiver.until_destination("queue openapi", "ready").await;

    let bin = tools("python", "tests/openapi/requirements.txt");
    let child = Command::new(Path::new(&bin).join("python"))
        .arg(file("tests/openapi/conform.py"))
        .args(["--public", &format!("http://127.0.0.1:{}", receiver.port)])
        .args([
            "--admin",
            &format!("http://127.0.0.1:{}", receiver.admin_port),
        ])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOOKSWITCH_TOKEN", issuer.token())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python starts");
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("it takes longer than {LIMIT:?}"))
        .expect("its output");
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{printed}");
    assert!(
        output.status.success(),
        "{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let last = printed.lines().last().unwrap_or_default();
    let passed = last
        .strip_prefix("schemathesis: ")
        .and_then(|last| last.strip_suffix(" passed, 0 failed"))
        .and_then(|passed| passed.parse().ok())
        .unwrap_or_else(|| panic!("{last}"));
    counted(passed, 0);

    // What was accepted was delivered, and nothing took a thread down.
    receiver.until_nothing_pending().await;
    let accepted = receiver
        .metric("hookswitch_events_total{outcome=\"accepted\"}")
        .await;
    assert!(
        accepted.is_some_and(|events| events > 100.0),
        "{accepted:?}"
    );
    let bugs = receiver
        .metric("hookswitch_callbacks_total{outcome=\"error\"}")
        .await;
    assert_eq!(bugs, Some(0.0));
    assert_eq!(receiver.stop(), Some(0));
}
