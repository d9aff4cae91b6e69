//! The hostile client: what somebody who reaches the public listener can do to it, over raw sockets, against the binary with
//! a real broker. A file for each subject.

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

/// A receiver of these tests. Its app `it` is for normal callbacks, `hostile` for all else; each has a queue.
struct Stage {
    receiver: Receiver,
    amqp: String,
    queue: String,
}

impl Stage {
    /// A receiver that runs, with these lines in its `[server]` table, and this in its configuration besides.
    async fn start(server: &str, more: &str) -> Self {
        Self::prepare(server, more).started().await
    }

    /// The same, not started. `QUEUE` in what it is given is the queue of the app `hostile`.
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

    /// Waits until nobody is connected or being answered, and the process holds no more files than it did.
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

    /// How many files it holds while nobody is connected: what it does itself comes and goes, so the most of a while.
    async fn open_files(&self) -> usize {
        let process = process::Process::of(&self.receiver);
        let mut most = 0;
        for _ in 0..10 {
            most = most.max(process.open_files());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A scrape of `/metrics` may be under way when it is looked at again.
        most + 4
    }

    /// Stops it in order, and removes its queues.
    async fn end(mut self) {
        assert_eq!(self.receiver.stop(), Some(0));
        let connection = connect(&self.amqp).await;
        for queue in [self.hostile_queue(), self.queue.clone()] {
            delete(&connection, &queue).await;
        }
    }
}

/// An app that asks nobody.
const OPEN: &str = "auth = \"none\"";
