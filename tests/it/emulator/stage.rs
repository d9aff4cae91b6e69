//! What an SDK needs around it: an emulator, a receiver behind it, and queues.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use crate::harness::{Emulator, Receiver, connect, delete, file, shared_amqp_url, unique};

/// Longer than any of them takes on a small machine.
const LIMIT: Duration = Duration::from_secs(100);

/// Callbacks go to the app `dev`, deliveries of Event Grid to the app `grid`, each with a queue.
pub(super) struct Stage {
    pub(super) emulator: Emulator,
    /// With a scenario in which recordings do not start.
    pub(super) unrecorded: Emulator,
    pub(super) receiver: Receiver,
    pub(super) amqp: String,
    pub(super) calls: String,
    pub(super) grid: String,
}

impl Stage {
    pub(super) async fn start() -> Self {
        let amqp = shared_amqp_url();
        let stem = unique("sdk");
        let (calls, grid) = (format!("{stem}.calls"), format!("{stem}.grid"));
        let app = |name: &str, queue: &str| {
            format!(
                "[[apps]]\nname = \"{name}\"\nauth = \"none\"\n\n\
                 [[routes]]\nname = \"{name}\"\napp = \"{name}\"\nqueue = \"{queue}\"\n\n"
            )
        };
        let mut receiver = Receiver::new(&format!(
            "[broker]\nurl = \"{amqp}\"\n\n{}{}",
            app("dev", &calls),
            app("grid", &grid)
        ));
        receiver.start().await;
        for queue in [&calls, &grid] {
            receiver
                .until_destination(&format!("queue {queue}"), "ready")
                .await;
        }
        let grid_url = receiver.callback_url("grid");
        // The handshake has a test of its own.
        let options = ["--event-grid", &grid_url, "--event-grid-handshake", "skip"];
        let scenario =
            ["scenario.toml", "unrecorded.toml"].map(|name| file("tests/sdk").join(name));
        let (emulator, unrecorded) = tokio::join!(
            Emulator::start(&scenario[0], &options),
            Emulator::start(&scenario[1], &[]),
        );
        Self {
            emulator,
            unrecorded,
            receiver,
            amqp,
            calls,
            grid,
        }
    }

    pub(super) async fn end(self) {
        let broker = connect(&self.amqp).await;
        for queue in [&self.calls, &self.grid] {
            delete(&broker, queue).await;
        }
    }
}

/// Runs a program to its end; what it printed, if it ended well.
pub(super) async fn run(mut command: Command) -> String {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{command:?} takes longer than {LIMIT:?}"))
        .expect("its output");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
