//! A private RabbitMQ node or cluster of a test, through `dev/rabbitmq`, for tests that stop it or cut all connections.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The broker that tests share if they do not affect each other.
pub(crate) fn shared_amqp_url() -> String {
    std::env::var_os("HOOKSWITCH_TEST_AMQP")
        .map(|url| url.into_string().expect("HOOKSWITCH_TEST_AMQP is UTF-8"))
        .unwrap_or_else(|| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())
}

/// A private node; stopped when dropped.
pub(crate) struct Node {
    dir: PathBuf,
    url: String,
    /// Removed with the node, unless it is a part of a cluster's.
    _own: Option<tempfile::TempDir>,
}

impl Node {
    /// Creates and starts one.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory"))
    }

    fn start_in(own: tempfile::TempDir) -> Self {
        let dir = own.path().to_owned();
        let url = run(&["start", path(&dir)]);
        Self {
            dir,
            url,
            _own: Some(own),
        }
    }

    /// The same with more lines in its `rabbitmq.conf`.
    pub(crate) fn start_with(conf: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("extra.conf"), conf).expect("extra.conf is written");
        Self::start_in(dir)
    }

    /// Creates one and stops it again: its port is known, and nothing answers there yet.
    pub(crate) fn stopped() -> Self {
        let node = Self::start();
        node.stop();
        node
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn stop(&self) {
        run(&["stop", path(&self.dir)]);
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        run(&["kill", path(&self.dir)]);
    }

    pub(crate) fn start_again(&self) {
        let url = run(&["start", path(&self.dir)]);
        assert_eq!(url, self.url, "a node keeps its port");
    }

    /// Closes every connection once a second for `seconds`, from inside the broker: one `rabbitmqctl` a second would
    /// use half of a small machine.
    pub(crate) fn close_connections_every_second(&self, seconds: u32) {
        self.ctl(&[
            "eval",
            &format!(
                "spawn(fun() -> register(closing, self()), F = fun F(0) -> ok; F(N) -> timer:sleep(1000), \
                 [catch rabbit_networking:close_connection(P, \"closed by the test\") \
                 || P <- rabbit_networking:connections()], F(N - 1) end, F({seconds}) end)."
            ),
        ]);
    }

    /// Ends that before its time.
    pub(crate) fn leave_connections_open(&self) {
        self.ctl(&[
            "eval",
            "case whereis(closing) of undefined -> ok; P -> exit(P, kill) end.",
        ]);
    }

    /// Runs `rabbitmqctl` and returns its output.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let all = [&["ctl", path(&self.dir)], args].concat();
        run(&all)
    }

    /// Raises the memory alarm, or clears it.
    pub(crate) fn memory_alarm(&self, raised: bool) {
        self.ctl(&[
            "set_vm_memory_high_watermark",
            if raised { "0.000001" } else { "0.8" },
        ]);
    }

    /// Suspends the first channel that publishes to this queue as soon as it waits for a confirm. It stays suspended; the
    /// queue itself keeps working.
    pub(crate) fn suspend_channel_of(&self, queue: &str) {
        self.ctl(&[
            "eval",
            &format!(
                "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
                 ok = sys:suspend(amqqueue:get_pid(Q)), \
                 spawn(fun() -> F = fun F() -> \
                 case [P || P <- rabbit_channel:list(), [{{_, N}}] <- \
                 [catch rabbit_channel:info(P, [messages_unconfirmed])], N > 0] of \
                 [] -> timer:sleep(20), F(); \
                 [P | _] -> sys:suspend(P), sys:resume(amqqueue:get_pid(Q)) end end, F() end)."
            ),
        ]);
    }

    /// Suspends the process of a queue (of a quorum queue: its leader), or resumes it.
    pub(crate) fn suspend(&self, queue: &str, suspended: bool) {
        let act = if suspended { "suspend" } else { "resume" };
        self.ctl(&[
            "eval",
            &format!(
                "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)), \
                 ok = sys:{act}(amqqueue:get_pid(Q))."
            ),
        ]);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let stopped = Command::new(script()).arg("stop").arg(&self.dir).status();
        if !stopped.is_ok_and(|status| status.success()) {
            eprintln!("the RabbitMQ node in {} did not stop", self.dir.display());
        }
    }
}

/// Three nodes that form a cluster; killed when dropped.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Creates and starts one.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let urls = run(&["cluster", path(dir.path())]);
        let nodes = (1..)
            .zip(urls.lines())
            .map(|(n, url)| Node {
                dir: dir.path().join(n.to_string()),
                url: url.to_owned(),
                _own: None,
            })
            .collect();
        Self { nodes, dir }
    }

    /// The URLs as `broker.url` lists them.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(Node::url).collect();
        format!("{urls:?}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // All at once: in turn, the last one would wait for the others.
        run(&["kill", path(self.dir.path())]);
    }
}

/// The RabbitMQ of the tests, as text.
pub(crate) fn rabbitmq_version() -> String {
    run(&["version"])
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/rabbitmq")
}

fn path(dir: &Path) -> &str {
    dir.to_str()
        .expect("temporary directories have UTF-8 names")
}

fn run(args: &[&str]) -> String {
    let output = Command::new(script())
        .args(args)
        .output()
        .expect("dev/rabbitmq runs");
    assert!(
        output.status.success(),
        "dev/rabbitmq {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("dev/rabbitmq prints UTF-8")
        .trim()
        .to_owned()
}
