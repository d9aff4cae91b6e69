//! Real faults around a receiver: certificates, alarms, stuck queues, a full disk.

mod alarm;
mod bounds;
mod cluster;
mod deleted_queue;
mod disk;
mod hanging_disk;
mod outage;
mod policy;
mod stall;
mod tls;
mod urls;

/// An app `it` whose events all go to `queue`, with these lines in `[delivery]` and `[broker]`.
fn one_queue(delivery: &str, broker: &str, queue: &str) -> String {
    format!(
        "[delivery]\n{delivery}\n\n[broker]\n{broker}\n\n{}",
        app("it", queue, "quorum")
    )
}

/// An app and a route that takes its events to a queue.
fn app(name: &str, queue: &str, queue_type: &str) -> String {
    format!(
        "[[apps]]\nname = \"{name}\"\nauth = \"none\"\n\n[[routes]]\nname = \"{name}\"\napp = \"{name}\"\nqueue = \"{queue}\"\nqueue_type = \"{queue_type}\"\n\n"
    )
}

fn url(url: &str) -> String {
    format!("url = \"{url}\"")
}
