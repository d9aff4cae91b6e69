//! The environment of an SDK: an emulator, a receiver behind it, and queues.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use crate::support::{Emulator, Receiver, connect, delete, file, shared_amqp_url, unique};

/// Longer than any suite takes on a small machine.
const LIMIT: Duration = Duration::from_secs(100);

/// The issuer of the service, which the emulator uses.
const ISSUER: &str = "https://acscallautomation.communication.azure.com";

/// The emulator's default.
const RESOURCE: &str = "00000000-0000-4000-8000-000000009100";

/// Callbacks go to the app `dev`, which accepts only signed ones, and deliveries of Event Grid to the app `grid`; each has
/// a queue.
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
        let app = |name: &str, queue: &str, auth: &str| {
            format!(
                "[[apps]]\nname = \"{name}\"\n{auth}\n\n\
                 [[routes]]\nname = \"{name}\"\napp = \"{name}\"\nqueue = \"{queue}\"\n\n"
            )
        };
        let mut receiver = Receiver::new(&format!(
            "[broker]\nurl = \"{amqp}\"\n\n{}{}",
            app("dev", &calls, "auth = { jwt = [SIGNED, UNRECORDED] }"),
            app("grid", &grid, "auth = \"none\"\nevent_grid = true"),
        ));
        let grid_url = receiver.callback_url("grid");
        let options = ["--event-grid", &grid_url, "--event-grid-handshake", "ask"];
        let scenario =
            ["scenario.toml", "unrecorded.toml"].map(|name| file("tests/sdk").join(name));
        let (emulator, unrecorded) = tokio::join!(
            Emulator::start(&scenario[0], &options),
            // The same seed would produce the server call ids of the other emulator again, for the same app.
            Emulator::paced(&scenario[1], &["--speed", "20", "--seed", "8"]),
        );
        // The address of their keys is known only now.
        let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
        let text = text
            .replace("SIGNED", &signed_by(&emulator))
            .replace("UNRECORDED", &signed_by(&unrecorded));
        std::fs::write(receiver.config(), text).expect("written");
        receiver.start().await;
        for queue in [&calls, &grid] {
            receiver
                .until_destination(&format!("queue {queue}"), "ready")
                .await;
        }
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

/// An `acs` entry that accepts the tokens of an emulator.
fn signed_by(emulator: &Emulator) -> String {
    format!(
        "{{ issuer = \"{ISSUER}\", audience = [\"{RESOURCE}\"], jwks_url = \"{}/calling/keys\" }}",
        emulator.http()
    )
}

/// Runs a program to its end and returns its output if it succeeded.
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
