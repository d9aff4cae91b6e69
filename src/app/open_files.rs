//! How many files this process may have open. A connection is one, and when they run out nothing can be opened any
//! more: not the connection of a probe, and not one to the broker. So senders do not get the last of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For everything except connections of senders: the journal, the broker, keys, the admin listener, and connections
/// that are being refused.
const RESERVE: usize = 512;

/// How many connections of senders there may be, `wanted` if possible, and a notice for the operator otherwise. Raises
/// the process's limit as far as allowed: the usual soft limit of 1,024 is for programs that use `select`.
pub(super) fn connections(wanted: usize) -> (usize, Option<String>) {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted.saturating_add(RESERVE)).unwrap_or(u64::MAX);
    let current = match limit.current {
        Some(current) if current < needed => raised(limit, current, needed),
        _ => return (wanted, None),
    };
    let files = usize::try_from(current).unwrap_or(usize::MAX);
    let possible = possible(wanted, files);
    let notice = (possible < wanted).then(|| {
        format!(
            "server.connection_limit is {wanted}, but only {files} files may be open: {possible} connections are taken; \
             raise the limit of open files (ulimit -n, LimitNOFILE=) to {needed}"
        )
    });
    (possible, notice)
}

/// The limit after raising it as far as allowed.
fn raised(limit: Rlimit, current: u64, needed: u64) -> u64 {
    let allowed = limit.maximum.unwrap_or(u64::MAX).min(needed);
    let raise = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raise) {
        Ok(()) => allowed,
        Err(error) => {
            warn!(%error, "the limit of open files cannot be raised");
            current
        }
    }
}

/// With few files, half of them is better than none.
fn possible(wanted: usize, files: usize) -> usize {
    let spare = files.saturating_sub(RESERVE).max(files / 2);
    wanted.min(spare).max(1)
}

#[cfg(test)]
mod tests {
    use super::possible;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (wanted, files, expected) in [
            (4_096, 20_000, 4_096),
            (4_096, 4_608, 4_096),
            (4_096, 4_607, 4_095),
            (4_096, 1_024, 512),
            (4_096, 600, 300),
            (100, 600, 100),
            (1, 0, 1),
        ] {
            assert_eq!(possible(wanted, files), expected, "{wanted} of {files}");
        }
    }
}
