//! The four ways to use the emulator from an SDK, run as `docs/src/getting-started/without-azure.md` prints them, except
//! for ports and key.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use super::stage::{Stage, run};
use crate::support::{Emulator, Taken, file, take_all, tools};

/// A snippet in a directory with the files that it needs, changed to use this stage.
fn place(stage: &Stage, dir: &Path, name: &str) {
    let replaced = [
        ("http://127.0.0.1:9100", stage.emulator.http()),
        ("https://127.0.0.1:9143", stage.emulator.https()),
        (
            "http://127.0.0.1:8080/callbacks/dev",
            stage.receiver.callback_url("dev"),
        ),
        (
            "aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0",
            Emulator::KEY.to_owned(),
        ),
    ];
    let text = std::fs::read_to_string(file("tests/sdk/snippets").join(name)).expect(name);
    let text = replaced
        .iter()
        .fold(text, |text, (printed, ours)| text.replace(printed, ours));
    std::fs::write(dir.join(name), text).expect("the snippet is written");
}

/// The id of the call, the only output of a snippet.
async fn call_of(mut command: Command, dir: &Path, name: &str) -> String {
    command.current_dir(dir).arg(name);
    let printed = run(command).await;
    let call = printed.trim();
    assert_eq!(call.len(), 36, "{name} prints {printed:?}");
    call.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_snippets_make_calls() {
    let python = Path::new(&tools("python", "tests/sdk/python/requirements.txt")).join("python");
    tools("node", "tests/sdk/node");
    let stage = Stage::start().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::copy(stage.emulator.ca(), dir.path().join("emulator-ca.pem")).expect("the CA");
    std::os::unix::fs::symlink(
        file("tests/sdk/node/node_modules"),
        dir.path().join("node_modules"),
    )
    .expect("a link");
    let mut calls = Vec::new();
    for (program, name) in [
        (python.as_path(), "python_http.py"),
        (python.as_path(), "python_https.py"),
        (Path::new("node"), "node_http.mjs"),
        (Path::new("node"), "node_https.mjs"),
    ] {
        place(&stage, dir.path(), name);
        calls.push(call_of(Command::new(program), dir.path(), name).await);
    }
    let connected = |taken: &[Taken]| {
        calls.iter().all(|call| {
            taken.iter().any(|message| {
                let event: Value = serde_json::from_slice(&message.body).expect("JSON");
                event.get("type") == Some(&Value::from("Microsoft.Communication.CallConnected"))
                    && message.call.as_ref() == Some(call)
            })
        })
    };
    let taken = take_all(
        &stage.amqp,
        &stage.calls,
        Duration::from_secs(20),
        connected,
    )
    .await;
    assert!(connected(&taken), "{calls:?} of {} messages", taken.len());
    stage.end().await;
}
