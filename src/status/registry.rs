//! The registry of all metrics.

use prometheus::{IntGaugeVec, Opts, Registry};

/// A registry with the metrics of the process itself: `hookswitch_build_info`, and memory, CPU time and open files
/// under the names that Prometheus client libraries share.
///
/// # Errors
/// Only if a metric name is malformed, which a test rules out.
pub fn new_registry() -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let build = IntGaugeVec::new(
        Opts::new(
            "hookswitch_build_info",
            "Always 1; the label says which version runs",
        ),
        &["version"],
    )?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_process_are_on_every_registry() {
        let families = new_registry().unwrap().gather();
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&families)
            .unwrap();
        let line = format!(
            "hookswitch_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        assert!(text.contains(&line), "{text}");
        if cfg!(target_os = "linux") {
            for name in [
                "process_resident_memory_bytes",
                "process_cpu_seconds_total",
                "process_open_fds",
            ] {
                assert!(text.contains(name), "{name} is missing in\n{text}");
            }
        }
    }
}
