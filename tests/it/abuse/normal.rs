//! Well-behaved senders and their latency during an abuse: `hookswitch load` in its own process.

use serde_json::Value;

use super::Stage;

/// Sends to the app `it` and consumes its queue.
#[derive(Clone)]
pub(super) struct Normal {
    target: String,
    amqp: String,
    queue: String,
}

impl Normal {
    pub(super) fn of(stage: &Stage) -> Self {
        Self {
            target: stage.receiver.callback_url("it"),
            amqp: stage.amqp.clone(),
            queue: stage.queue.clone(),
        }
    }

    /// 500 callbacks, 125 per second. Each is answered 202 at the first attempt and is delivered once, in order. Returns the
    /// 99th percentile of the times from the scheduled instant to the answer, in milliseconds.
    pub(super) async fn window(&self) -> f64 {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_hookswitch"))
            .args(["load", "--json", "--target", &self.target])
            .args(["--amqp", &self.amqp, "--queue", &self.queue])
            .args(["--calls", "25", "--events", "20", "--rate", "125"])
            .args(["--connections", "16"])
            .output()
            .await
            .expect("hookswitch runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let summary: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        let part = |pointer: &str| summary.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(part("/ok"), true, "{summary}");
        assert_eq!(
            part("/answers"),
            serde_json::json!({ "202": 500 }),
            "{summary}"
        );
        assert_eq!(part("/delivered"), 500, "{summary}");
        part("/answer_ms/p99").as_f64().expect("a percentile")
    }
}
