//! The suites of `tests/sdk/`: each version of each SDK calls every operation that it has and understands every event.

use std::path::Path;

use tokio::process::Command;

use super::stage::{Stage, run};
use crate::support::{Emulator, file, tools};

/// Runs a suite on its own stage and prints its summary.
async fn suite(mut command: Command) {
    let stage = Stage::start().await;
    command
        .args(["--http", &stage.emulator.http()])
        .args(["--https", &stage.emulator.https()])
        .arg("--ca")
        .arg(stage.emulator.ca())
        .args(["--unrecorded", &stage.unrecorded.http()])
        .args(["--key", Emulator::KEY])
        .args(["--callback", &stage.receiver.callback_url("dev")])
        .args(["--amqp", &stage.amqp])
        .args(["--calls", &stage.calls])
        .args(["--grid", &stage.grid]);
    let printed = run(command).await;
    let summary = printed.lines().last().unwrap_or_default();
    println!("{summary}");
    // A suite that checks nothing would pass, too.
    let passed = printed.lines().filter(|line| line.starts_with("ok "));
    assert!(passed.count() >= 50, "{printed}");
    assert!(summary.contains(" passed, 0 failed, "), "{printed}");
    stage.end().await;
}

async fn python(requirements: &str) {
    let bin = tools("python", requirements);
    let mut command = Command::new(Path::new(&bin).join("python"));
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(file("tests/sdk/python/suite.py"));
    suite(command).await;
}

async fn node(sdk: &str) {
    tools("node", "tests/sdk/node");
    let mut command = Command::new("node");
    command
        .arg(file("tests/sdk/node/suite.mjs"))
        .args(["--sdk", sdk]);
    suite(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_python_sdk_calls_every_operation_and_understands_every_event() {
    python("tests/sdk/python/requirements.txt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_python_sdk_calls_every_operation_and_understands_every_event() {
    python("tests/sdk/python/requirements-1.0.0.txt").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_javascript_sdk_calls_every_operation_and_understands_every_event() {
    node("newest").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_javascript_sdk_calls_every_operation_and_understands_every_event() {
    node("1.0.0").await;
}
