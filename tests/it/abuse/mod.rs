//! Abuse of the public listener by a hostile client, over raw sockets, against the binary with a real broker. A file for
//! each subject.

mod client;
mod consent;
mod cut;
mod flood;
mod framing;
mod idle;
mod key_server;
mod large;
mod normal;
mod one_peer;
mod pipeline;

mod process;
mod slow;
mod sockets;
mod stalled;
mod unknown_keys;

use std::time::Duration;

use crate::support::{Receiver, connect, delete, eventually, shared_amqp_url, unique};

use normal::Normal;

/// A receiver of these tests. Its app `it` is for normal callbacks, `hostile` for all others; each has a queue.
struct Stage {
    receiver: Receiver,
    amqp: String,
    queue: String,
}

impl Stage {
    /// A running receiver with these lines in its `[server]` table and this added to its configuration.
    async fn start(server: &str, more: &str) -> Self {
        Self::prepare(server, more).started().await
    }

    /// The same, not started. `QUEUE` in the arguments is the queue of the app `hostile`.
    fn prepare(server: &str, more: &str) -> Self {
        let (amqp, queue) = (shared_amqp_url(), unique("hostile"));
        let more = more.replace("QUEUE", &format!("{queue}.hostile"));
        let receiver = Receiver::with_server(
            &format!(
                "[broker]\nurl = \"{amqp}\"\n\n\
                 [[apps]]\nname = \"it\"\nauth = \"none\"\n\n\
                 [[routes]]\nname = \"it\"\napp = \"it\"\nqueue = \"{queue}\"\n\n\
                 [[routes]]\nname = \"hostile\"\napp = \"hostile\"\nqueue = \"{queue}.hostile\"\n\n\
                 [[apps]]\nname = \"hostile\"\n{more}\n"
            ),
            server,
        );
        Self {
            receiver,
            amqp,
            queue,
        }
    }

    async fn started(mut self) -> Self {
        self.receiver.start().await;
        self
    }

    fn port(&self) -> u16 {
        self.receiver.port
    }

    /// Well-behaved senders of the app `it`.
    fn normal(&self) -> Normal {
        Normal::of(self)
    }

    fn hostile_queue(&self) -> String {
        format!("{}.hostile", self.queue)
    }

    /// Waits until there are no connections or requests left, and the process has no more open files than before.
    async fn is_left_by_all(&self, files: usize) {
        for gauge in [
            "hookswitch_connections{listener=\"public\"}",
            "hookswitch_callbacks_in_flight",
        ] {
            self.receiver
                .until_metric(gauge, |count| count == 0.0)
                .await;
        }
        let process = process::Process::of(&self.receiver);
        eventually(
            &format!("no more than {files} open files"),
            Duration::from_secs(60),
            || async { (process.open_files() <= files).then_some(()) },
        )
        .await;
    }

    /// Open files without any connection: the maximum over some time, because the receiver's own files vary.
    async fn open_files(&self) -> usize {
        let process = process::Process::of(&self.receiver);
        let mut most = 0;
        for _ in 0..10 {
            most = most.max(process.open_files());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A scrape of `/metrics` may be in progress at the next check.
        most + 4
    }

    /// Stops it gracefully and removes its queues.
    async fn end(mut self) {
        assert_eq!(self.receiver.stop(), Some(0));
        let connection = connect(&self.amqp).await;
        for queue in [self.hostile_queue(), self.queue.clone()] {
            delete(&connection, &queue).await;
        }
    }
}

/// An app without authentication.
const OPEN: &str = "auth = \"none\"";
