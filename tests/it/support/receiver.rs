//! The receiver as its users run it: the binary, a configuration file, signals.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use super::{eventually, keep};

/// The first of the ports that tests reserve. Below the range from which the kernel takes the ports of outgoing connections: one
/// of those could take a receiver's port while it is restarted. Those of `dev/rabbitmq` follow.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 5_000;

/// A free port, reserved until this process ends by a lock on a file, so that no parallel test gets it while nothing
/// listens there.
pub(crate) fn free_port() -> u16 {
    static RESERVED: Mutex<Vec<(u16, File)>> = Mutex::new(Vec::new());
    let mut reserved = RESERVED.lock().expect("no panic");
    let user = rustix::process::getuid().as_raw();
    let locks = std::env::temp_dir().join(format!("hookswitch-test-ports-{user}"));
    std::fs::create_dir_all(&locks).expect("a directory");
    // Different processes start at different ports.
    let start = std::process::id().wrapping_mul(97);
    let (port, lock) = (0..u32::from(PORTS))
        .map(|step| {
            let offset = start.wrapping_add(step) % u32::from(PORTS);
            FIRST_PORT + u16::try_from(offset).expect("below their number")
        })
        .filter(|port| reserved.iter().all(|(taken, _)| taken != port))
        .find_map(|port| {
            let lock = File::create(locks.join(port.to_string())).ok()?;
            lock.try_lock().ok()?;
            TcpListener::bind(("127.0.0.1", port)).ok()?;
            Some((port, lock))
        })
        .expect("a free port on loopback");
    reserved.push((port, lock));
    port
}

/// A receiver process with its own directory; killed when dropped.
pub(crate) struct Receiver {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    child: Option<Child>,
    environment: Vec<(&'static str, String)>,
    arguments: Vec<&'static str>,
    /// The limit of open files of its runs; by default that of this process.
    files: Option<u32>,
    /// The limit of the size of files that its runs write, in bytes.
    file_bytes: Option<u64>,
    reads_output: bool,
}

impl Receiver {
    /// Writes the configuration; `rest` follows the `[server]` and `[journal]` tables.
    pub(crate) fn new(rest: &str) -> Self {
        let receiver = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            port: free_port(),
            admin_port: free_port(),
            child: None,
            environment: Vec::new(),
            arguments: Vec::new(),
            files: None,
            file_bytes: None,
            reads_output: true,
        };
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{}\"\nadmin_listen = \"127.0.0.1:{}\"\n\n[journal]\npath = {:?}\n\n{rest}",
            receiver.port,
            receiver.admin_port,
            receiver.dir.path().join("journal"),
        );
        std::fs::write(receiver.config(), text).expect("the configuration is written");
        receiver
    }

    /// The same, with this line in its `[server]` table.
    pub(crate) fn with_server(rest: &str, line: &str) -> Self {
        let receiver = Self::new(rest);
        let text = std::fs::read_to_string(receiver.config()).expect("the configuration");
        let text = text.replacen("[server]\n", &format!("[server]\n{line}\n"), 1);
        std::fs::write(receiver.config(), text).expect("the configuration is written");
        receiver
    }

    /// Sets this variable for later starts.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Adds these arguments for later starts.
    pub(crate) fn add_arguments(&mut self, arguments: &[&'static str]) {
        self.arguments.extend(arguments);
    }

    /// Limits the open files of later starts.
    pub(crate) fn limit_files(&mut self, files: u32) {
        self.files = Some(files);
    }

    /// Limits the size of files in later starts (`ulimit -f`); `None` removes the limit.
    pub(crate) fn limit_file_bytes(&mut self, bytes: Option<u64>) {
        self.file_bytes = bytes;
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("hookswitch.toml")
    }

    /// The id of the running process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.spawn();
        let url = format!("http://127.0.0.1:{}/readyz", self.admin_port);
        eventually("the receiver is ready", Duration::from_secs(30), || async {
            let answer = reqwest::get(&url).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// From the next start on its standard output is not read: a pipe takes 64 KiB, and then a write blocks.
    pub(crate) fn leave_output_unread(&mut self) {
        self.reads_output = false;
    }

    /// From the next start on it is appended to a file, as at first: see [`Self::printed`].
    pub(crate) fn read_output(&mut self) {
        self.reads_output = true;
    }

    /// Its unread standard output.
    pub(crate) fn output(&mut self) -> ChildStdout {
        let child = self.child.as_mut().expect("it runs");
        child.stdout.take().expect("a pipe")
    }

    /// Starts the process without waiting.
    pub(crate) fn spawn(&mut self) {
        let append = |name: &str| {
            let path = self.dir.path().join(name);
            let mut options = File::options();
            options.create(true).append(true);
            options.open(path).expect("the log file opens")
        };
        let program = env!("CARGO_BIN_EXE_hookswitch");
        let files = self.files.map(|files| format!("--nofile={files}:{files}"));
        let bytes = self
            .file_bytes
            .map(|bytes| format!("--fsize={bytes}:{bytes}"));
        let limits: Vec<String> = files.into_iter().chain(bytes).collect();
        let mut command = if limits.is_empty() {
            Command::new(program)
        } else {
            // The shell is replaced by the program, with the same process id.
            let mut limited = Command::new("prlimit");
            limited.args(limits).arg(program);
            limited
        };
        let child = command
            .arg("serve")
            .arg("--config")
            .arg(self.config())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(match self.reads_output {
                true => append("printed").into(),
                false => Stdio::piped(),
            })
            .stderr(append("log"))
            .spawn()
            .expect("hookswitch starts");
        self.child = Some(child);
    }

    /// SIGKILL, as the kernel's out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("SIGKILL is sent");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it ends").code()
    }

    /// The same without blocking the runtime, so that senders continue.
    pub(crate) async fn stop_under_load(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended().await
    }

    /// Its exit code, when it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        loop {
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGSTOP: the process is stopped, and its connections stay open.
    pub(crate) fn suspend(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success(), "SIG{name} is sent");
    }

    pub(crate) fn callback_url(&self, app: &str) -> String {
        format!("http://127.0.0.1:{}/callbacks/{app}", self.port)
    }

    pub(crate) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.admin_port)
    }

    /// The answer of `/readyz`; `None` without an answer.
    pub(crate) async fn ready(&self) -> Option<(u16, serde_json::Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin_port);
        let answer = reqwest::get(url).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    /// State and reason of a destination in `/readyz`.
    pub(crate) async fn destination(&self, name: &str) -> Option<(String, String)> {
        let (_, body) = self.ready().await?;
        let all = body.get("destinations")?.as_array()?;
        let text = |one: &serde_json::Value, key: &str| {
            let text = one.get(key).and_then(serde_json::Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let one = all.iter().find(|one| text(one, "name") == name)?;
        Some((text(one, "state"), text(one, "why")))
    }

    /// Waits until a destination has this state, and returns the reason.
    pub(crate) async fn until_destination(&self, name: &str, state: &str) -> String {
        eventually(
            &format!("{name} is {state}"),
            Duration::from_secs(40),
            || async {
                let (now, why) = self.destination(name).await?;
                (now == state).then_some(why)
            },
        )
        .await
    }

    /// One value of `/metrics`, by its whole name with labels; `None` without an answer or if it is missing.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(self.metrics_url()).await.ok()?;
        let text = text.text().await.ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until a value of `/metrics` fulfils the condition.
    pub(crate) async fn until_metric(&self, name: &str, good: impl Fn(f64) -> bool) -> f64 {
        eventually(name, Duration::from_secs(60), || async {
            self.metric(name).await.filter(|value| good(*value))
        })
        .await
    }

    /// Waits until nothing is pending any more.
    pub(crate) async fn until_nothing_pending(&self) {
        self.until_metric("hookswitch_deliveries_pending", |pending| pending == 0.0)
            .await;
    }

    /// Its log so far, over all runs.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its output so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("printed")).unwrap_or_default()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
        let config = std::fs::read_to_string(self.config()).unwrap_or_default();
        // Events that are printed on request are not a leak.
        let names: &[&str] = match config.contains("\"stdout:\"") {
            true => &["log"],
            false => &["log", "printed"],
        };
        keep(self.dir.path(), names);
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the receiver's log");
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
