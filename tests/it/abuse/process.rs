//! The kernel's figures for the receiver's process, and the limits of this one.

use std::process::Command;

use crate::support::Receiver;

/// The current process of a receiver.
pub(super) struct Process(u32);

impl Process {
    pub(super) fn of(receiver: &Receiver) -> Self {
        Self(receiver.pid())
    }

    /// Resident memory.
    pub(super) fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The peak of resident memory.
    pub(super) fn peak_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Open files, including sockets.
    pub(super) fn open_files(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.0));
        all.expect("the process exists").count()
    }

    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0));
        let text = text.expect("the process exists");
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }
}

/// Whether this process and those that it starts may have this many open files each; raises the limit if that is allowed.
pub(super) fn may_open(files: u64) -> bool {
    let Some((soft, hard)) = limits() else {
        return false;
    };
    if soft >= files {
        return true;
    }
    let raised = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--nofile={hard}:{hard}"))
        .status();
    hard >= files && raised.is_ok_and(|status| status.success())
}

fn limits() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    let mut limit = || {
        let word = words.next()?;
        if word == "unlimited" {
            Some(u64::MAX)
        } else {
            word.parse().ok()
        }
    };
    Some((limit()?, limit()?))
}
