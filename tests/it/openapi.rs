//! Both listeners behave as `docs/openapi.json` says: schemathesis makes the requests and checks the answers.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::support::{Issuer, Node, Receiver, counted, file, tools};

/// Longer than it takes on a small machine beside other tests; alone it takes a minute there.
const LIMIT: Duration = Duration::from_secs(300);

/// One app that quarantines invalid events and one that refuses them, both with every method of auth and every handshake.
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
    // Its requests may put thousands of events into quarantine, which no other test must see.
    let node = Node::start();
    let files = tempfile::tempdir().expect("a temporary directory");
    let issuer = Issuer::new(files.path());
    let secrets = files.path().join("secrets");
    std::fs::write(&secrets, "a-secret-that-is-never-sent\n").expect("written");
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

    // Accepted events were delivered, and no thread panicked.
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
