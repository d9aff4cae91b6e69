//! The emulator as its users run it: the binary, a scenario file, two ports.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{eventually, free_port, keep};

/// An emulator process with its own directory; killed when dropped.
pub(crate) struct Emulator {
    dir: tempfile::TempDir,
    port: u16,
    tls_port: u16,
    child: Child,
}

impl Emulator {
    /// The key that it takes.
    pub(crate) const KEY: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cw==";

    /// Starts one at 20 times the normal speed with these options, and waits until it is ready.
    pub(crate) async fn start(scenario: &Path, options: &[&str]) -> Self {
        let pace = ["--speed", "20", "--seed", "7"];
        Self::paced(scenario, &[&pace, options].concat()).await
    }

    /// The same, with the speed among the options.
    pub(crate) async fn paced(scenario: &Path, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (port, tls_port) = (free_port(), free_port());
        let log = File::create(dir.path().join("log")).expect("the log file opens");
        let child = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
            .arg("emulate")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--tls-listen", &format!("127.0.0.1:{tls_port}")])
            .arg("--ca-out")
            .arg(dir.path().join("emulator-ca.pem"))
            .arg("--scenario")
            .arg(scenario)
            .args(["--access-key", Self::KEY])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one log for both"))
            .stderr(log)
            .spawn()
            .expect("hookswitch starts");
        let emulator = Self {
            dir,
            port,
            tls_port,
            child,
        };
        let health = format!("{}/_emulator/health", emulator.http());
        eventually("the emulator is ready", Duration::from_secs(30), || async {
            let answer = reqwest::get(&health).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        emulator
    }

    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn https(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port)
    }

    /// The file with the certificate of its authority.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("emulator-ca.pem")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        keep(self.dir.path(), &["log"]);
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the emulator's output");
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
