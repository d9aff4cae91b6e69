//! What a test tells `dev/test` besides that it passed: in a file of its own in the folder that `HOOKSWITCH_TEST_OUTPUT` names.

use super::unique;

/// The running test cannot do its work here: it counts as skipped, and returns after this.
pub(crate) fn skipped(reason: &str) {
    eprintln!("NOT RUN: {reason}");
    tell("skipped", reason);
}

/// The running test had another program run tests: they count besides this one.
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
