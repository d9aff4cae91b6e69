//! Results for `dev/test` besides pass and fail: each test has its own file in the folder that `HOOKSWITCH_TEST_OUTPUT`
//! names.

use super::unique;

/// Marks the running test as skipped because it cannot run here; the test returns after this.
pub(crate) fn skipped(reason: &str) {
    eprintln!("NOT RUN: {reason}");
    tell("skipped", reason);
}

/// Counts tests that the running test had another program run.
pub(crate) fn counted(passed: usize, failed: usize) {
    tell("counted", &format!("{passed}\t{failed}"));
}

fn tell(kind: &str, what: &str) {
    let Some(folder) = std::env::var_os("HOOKSWITCH_TEST_OUTPUT") else {
        return;
    };
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    let path = std::path::Path::new(&folder).join(unique(kind));
    std::fs::write(path, format!("{test}\t{what}\n")).expect("written");
}
