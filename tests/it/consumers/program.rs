//! A consumer of `examples/` as its users run it: its packages installed from its lock file, a process, signals.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::store::Row;
use crate::support::{eventually, file, tools};

/// The language of a consumer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    Python,
    Node,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// The command that starts it. Installs its packages first if they are missing.
    fn command(self) -> Vec<OsString> {
        match self {
            Self::Python => {
                let bin = tools("python", "examples/python/requirements.txt");
                let python = Path::new(&bin).join("python");
                vec![python.into(), file("examples/python/consumer.py").into()]
            }
            Self::Node => {
                tools("node", "examples/node");
                vec!["node".into(), file("examples/node/consumer.mjs").into()]
            }
        }
    }
}

/// A consumer with its own store; killed when dropped.
pub(super) struct Consumer {
    program: Program,
    command: Vec<OsString>,
    arguments: Vec<String>,
    dir: tempfile::TempDir,
    work: Duration,
    child: Option<Child>,
}

impl Consumer {
    /// A consumer of these queues whose work takes this long.
    pub(super) fn new(program: Program, amqp: &str, queues: &[String], work: Duration) -> Self {
        let arguments = ["--amqp", amqp].into_iter().map(str::to_owned);
        Self {
            program,
            command: program.command(),
            arguments: arguments.chain(queues.iter().cloned()).collect(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            work,
            child: None,
        }
    }

    /// The same with more options.
    pub(super) fn with(mut self, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned());
        self.arguments.splice(0..0, options);
        self
    }

    pub(super) fn start(&mut self) {
        let append = |name: &str| {
            File::options()
                .create(true)
                .append(true)
                .open(self.dir.path().join(name))
                .expect("the log file opens")
        };
        let (program, rest) = self.command.split_first().expect("a program");
        let child = Command::new(program)
            .args(rest)
            .arg("--store")
            .arg(self.store())
            .args(&self.arguments)
            .env("WORK_MS", self.work.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(append("out"))
            .stderr(append("errors"))
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} does not start: {error}"));
        self.child = Some(child);
    }

    /// SIGKILL, as the kernel's out-of-memory killer would.
    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and its exit code.
    pub(super) async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success(), "SIGTERM is sent");
        let what = format!("{} ends after SIGTERM", self.program.name());
        let child = &mut child;
        let ended = eventually(&what, Duration::from_secs(20), move || {
            let ended = child.try_wait().expect("its state");
            async move { ended }
        });
        ended.await.code()
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("events.sqlite")
    }

    /// The events that it handled, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        super::store::read(&self.store())
    }

    /// Waits until its store holds this many events.
    pub(super) async fn until_handled(&self, events: usize) {
        eventually(
            &format!("{} has handled {events}", self.program.name()),
            Duration::from_secs(90),
            || async { (super::store::count(&self.store()) >= events).then_some(()) },
        )
        .await;
    }

    /// Waits until this many lines of its output contain a text.
    pub(super) async fn until_said(&self, word: &str, times: usize) {
        eventually(
            &format!("{} says {word:?} {times} times", self.program.name()),
            Duration::from_secs(90),
            || async { (self.said(word) >= times).then_some(()) },
        )
        .await;
    }

    /// The lines of its output that contain a text, over all its runs.
    pub(super) fn said(&self, word: &str) -> usize {
        let lines = self.printed("out") + &self.printed("errors");
        lines.lines().filter(|line| line.contains(word)).count()
    }

    fn printed(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- end of the output of {}", self.program.name());
            for name in ["out", "errors"] {
                let text = self.printed(name);
                let tail: Vec<&str> = text.lines().rev().take(20).collect();
                for line in tail.into_iter().rev() {
                    eprintln!("{line}");
                }
            }
        }
    }
}
