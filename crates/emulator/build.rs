//! Tells the tests whether published payloads are available, like the build script of the receiver.

const SAMPLES: &str = "HOOKSWITCH_SAMPLES";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(samples)");
    println!("cargo::rerun-if-env-changed={SAMPLES}");
    if std::env::var_os(SAMPLES).is_some_and(|folder| !folder.is_empty()) {
        println!("cargo::rustc-cfg=samples");
    }
}
