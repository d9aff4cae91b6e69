//! Log lines on standard error: text on a terminal, JSON otherwise.

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::outcome::CommandFailure;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text on a terminal, else JSON.
    Auto,
    /// One line of text each.
    Text,
    /// One JSON object per line.
    Json,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Level (error, warn, info, debug, trace), or filters such as `info,hookswitch::publish=debug`
    #[arg(
        long = "log",
        global = true,
        value_name = "LEVEL",
        default_value = "info,actix_server=warn,actix_http=off,lapin=off",
        help_heading = "Logging"
    )]
    filter: String,

    /// How log lines look on standard error; auto: text on a terminal, else JSON
    #[arg(
        long = "log-format",
        global = true,
        value_name = "FORMAT",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Logging"
    )]
    format: Format,
}

impl LogArgs {
    /// Starts logging for the whole process.
    ///
    /// # Errors
    /// If the filter is not valid.
    pub(super) fn start(&self) -> Result<(), CommandFailure> {
        let json = match self.format {
            Format::Auto => !io::stderr().is_terminal(),
            Format::Text => false,
            Format::Json => true,
        };
        let filter = EnvFilter::try_new(&self.filter)
            .map_err(|error| CommandFailure::Usage(format!("--log {:?}: {error}", self.filter)))?;
        let subscriber = tracing_subscriber::registry().with(lines(json, filter, io::stderr));
        // Only a second call could fail, and there is one call.
        subscriber
            .try_init()
            .map_err(|error| CommandFailure::Work(error.into()))
    }
}

/// The layer that writes lines to `writer`.
fn lines<S, W>(
    json: bool,
    filter: EnvFilter,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + 'static,
{
    let filter = filter.and(filter_fn(is_safe));
    if json {
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(writer);
        layer.with_filter(filter).boxed()
    } else {
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || Escaping(writer()));
        layer.with_filter(filter).boxed()
    }
}

/// Which sources may log, whatever the filter says. At debug and trace a library may log the data that it carries,
/// heads with tokens or whole frames, and its next version may do so where this one does not: libraries may log from
/// info up. The AMQP library logs whole messages, bodies too, at warn, and may log errors only.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    let most = match metadata.target().split("::").next() {
        Some("hookswitch") => Level::TRACE,
        Some("lapin") => Level::ERROR,
        _ => Level::INFO,
    };
    *metadata.level() <= most
}

/// Escapes control characters within a line of text, so that a sender's text cannot forge a second line or control the
/// terminal. The formatter passes on one whole line at a time.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let body = text.strip_suffix('\n');
        let mut escaped = String::with_capacity(text.len());
        for character in body.unwrap_or(&text).chars() {
            if character.is_control() {
                escaped.extend(character.escape_default());
            } else {
                escaped.push(character);
            }
        }
        if body.is_some() {
            escaped.push('\n');
        }
        self.0.write_all(escaped.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error, info, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, filter: &str, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let filter = EnvFilter::try_new(filter).unwrap();
        let layer = lines(json, filter, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_control_character_stays_within_its_line() {
        let hostile = "a\r\nERROR forged \u{1b}[2J \u{9b}2J\u{7f}";
        for json in [false, true] {
            let text = logged(json, "info", || {
                info!(id = %hostile, debug = ?hostile, "got {hostile}");
                info!("next");
            });
            assert_eq!(text.lines().count(), 2, "{text}");
            let stray = text.chars().find(|c| c.is_control() && *c != '\n');
            // JSON must escape below U+0020 only; DEL and C1 are harmless inside a JSON string.
            assert!(
                stray.is_none_or(|c| json && c >= '\u{7f}'),
                "{stray:?} in {text}"
            );
        }
    }

    #[test]
    fn json_lines_hold_the_fields_at_the_top() {
        let text = logged(true, "info", || info!(queue = "q", "declared"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "declared");
        assert_eq!(line["queue"], "q");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_amqp_library_never_logs_below_error_whatever_the_filter_says() {
        let text = logged(false, "trace,lapin=trace", || {
            warn!(target: "lapin::channel", "a body");
            warn!(target: "lapin", "a body");
            error!(target: "lapin::io", "lost");
            warn!(target: "lapinette", "ours");
        });
        assert!(!text.contains("body"), "{text}");
        assert!(text.contains("lost") && text.contains("ours"), "{text}");
    }

    #[test]
    fn libraries_never_log_below_info_whatever_the_filter_says() {
        let text = logged(false, "trace,actix_http=trace", || {
            tracing::trace!(target: "actix_http::h1::decoder", "a head");
            tracing::debug!(target: "hyper::proto", "a head");
            info!(target: "actix_server", "workers");
            tracing::trace!(target: "hookswitch::ingress", "our own");
            tracing::trace!("this file's");
        });
        assert!(!text.contains("head"), "{text}");
        for said in ["workers", "our own", "this file's"] {
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn the_filter_holds_back_what_is_below_it() {
        let text = logged(false, "warn", || {
            info!("quiet");
            warn!("loud");
        });
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
    }
}
