//! `hookswitch emulate`: the calling service on this machine.

mod show;

use std::{
    fs,
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use hookswitch_emulator::{
    DEFAULT_ACCESS_KEY, Emulator, EmulatorError, EventGrid, GridSchema, Misbehaviour, Scenario,
    Settings, default_retries,
};

use self::show::{Access, OutputStyle};
use super::outcome::{CommandFailure, CommandOutcome};

/// How long deliveries may still take after Ctrl-C.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Emulate the calling service: no Azure, no phone number, no tunnel
///
/// Serves the REST API of Call Automation in three generations (2021 private preview, 2021 public preview, GA) and
/// posts the callbacks that the service would, signed as it signs them. A scenario file says how callees behave and
/// which calls come in; --misbehave does to callbacks what the real service does on a bad day.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hookswitch emulate\n  \
                  hookswitch emulate --scenario config/scenarios/busy-office.toml --speed 20\n  \
                  hookswitch emulate --tls-listen 127.0.0.1:9143 --ca-out /tmp/emulator-ca.pem\n  \
                  hookswitch emulate --misbehave all=0.1 --seed 7")]
pub(super) struct EmulateArgs {
    /// Where the API listens over http
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9100")]
    listen: SocketAddr,

    /// Where it listens over https too, with a certificate of an authority made at start
    #[arg(long, value_name = "ADDRESS")]
    tls_listen: Option<SocketAddr>,

    /// Write the certificate of that authority to this file, for clients
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    ca_out: Option<PathBuf>,

    /// The access key that signs requests; a public default if left out
    #[arg(long, value_name = "BASE64", default_value = DEFAULT_ACCESS_KEY)]
    access_key: String,

    /// Turn authentication off: accept requests with any signature or none
    #[arg(long)]
    no_auth: bool,

    /// The immutable id of the resource: the audience of the tokens of callbacks
    #[arg(
        long,
        value_name = "GUID",
        default_value = "00000000-0000-4000-8000-000000009100"
    )]
    resource_id: uuid::Uuid,

    /// How callees behave and which incoming calls there are (config/scenarios/); by default every callee accepts after a second
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,

    /// How many times faster than real time calls run
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: f64,

    /// The same seed and the same requests give the same ids and the same misbehaviour; random if left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Rates of reorder, duplicate, batch, late, delay, drop, inactive, or all
    ///
    /// A rate is a number from 0 to 1, as in reorder=0.1,drop=0.05: the share of the events that it is applied to. The
    /// rate of inactive is the share of the recordings that are reported inactive, with a start in the year 1, shortly
    /// before they are active. docs/src/tools/emulator.md describes each.
    #[arg(long, value_name = "RATES", default_value = "")]
    misbehave: Misbehaviour,

    /// Waits between the attempts to deliver a callback, in real time, separated by commas; "" for one attempt only; if
    /// left out 200ms,1s,2s,5s,10s,20s,30s
    #[arg(long, value_name = "LIST", value_parser = retries)]
    retries: Option<Retries>,

    /// Where Event Grid delivers IncomingCall and the other events of the resource
    #[arg(long, value_name = "URL", value_parser = webhook)]
    event_grid: Option<reqwest::Url>,

    /// The delivery schema of that subscription
    #[arg(
        long,
        value_name = "SCHEMA",
        default_value = "event-grid",
        requires = "event_grid"
    )]
    event_grid_schema: Schema,

    /// Whether that webhook is asked for its consent first, as Event Grid does
    #[arg(
        long,
        value_name = "HOW",
        default_value = "ask",
        requires = "event_grid"
    )]
    event_grid_handshake: Handshake,

    /// PEM file of an authority that is trusted for https callbacks too
    #[arg(long, value_name = "FILE")]
    callback_ca: Option<PathBuf>,

    /// One JSON object per line on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Schema {
    EventGrid,
    CloudEvents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Handshake {
    Ask,
    Skip,
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && (0.01..=1_000.0).contains(speed))
        .ok_or_else(|| "a speed is a number from 0.01 to 1000".to_owned())
}

/// Waits between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Retries(Vec<Duration>);

fn retries(text: &str) -> Result<Retries, String> {
    if text.trim().is_empty() {
        return Ok(Retries(Vec::new()));
    }
    let waits = text.split(',').map(|wait| {
        humantime::parse_duration(wait.trim())
            .map_err(|error| format!("{wait:?} is not a duration like 200ms or 2s: {error}"))
    });
    waits.collect::<Result<_, _>>().map(Retries)
}

fn webhook(text: &str) -> Result<reqwest::Url, String> {
    let url: reqwest::Url = text.parse().map_err(|error| format!("{error}"))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err("a webhook is a URL of http or https".to_owned())
    }
}

/// Runs until Ctrl-C or SIGTERM.
pub(super) fn run(
    args: &EmulateArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let settings = args.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(serve(args, settings, out))
}

async fn serve(
    args: &EmulateArgs,
    settings: Settings,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    // One of each for the whole run: they also keep a signal that arrives while something is printed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let access = Access::of(settings.access_key.as_deref());
    let (seed, resource_id) = (settings.seed, settings.resource_id.clone());
    let (mut emulator, mut news) =
        Emulator::start(settings)
            .await
            .map_err(|error| match error {
                EmulatorError::AccessKey(_) | EmulatorError::NoAccessKey => {
                    CommandFailure::Usage(format!("--access-key: {}", crate::report::Chain(&error)))
                }
                other => CommandFailure::Work(other.into()),
            })?;
    let show = OutputStyle::new(args.json, std::io::stdout().is_terminal());
    show.start(&emulator, access, &resource_id, seed, out)?;
    loop {
        tokio::select! {
            item = news.next() => match item {
                Some(item) => show.item(&item, out)?,
                None => break,
            },
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            error = emulator.failed() => return Err(CommandFailure::Work(error.into())),
        }
    }
    let mut stopping = pin!(emulator.stop(STOP_TIMEOUT));
    let summary = loop {
        tokio::select! {
            Some(item) = news.next() => show.item(&item, out)?,
            summary = &mut stopping => break summary,
        }
    };
    while let Some(item) = news.ready() {
        show.item(&item, out)?;
    }
    show.summary(&summary, out)?;
    Ok(CommandOutcome::Good)
}

impl EmulateArgs {
    fn settings(&self) -> Result<Settings, CommandFailure> {
        let scenario = match &self.scenario {
            None => Scenario::default(),
            Some(path) => {
                let text = fs::read_to_string(path)
                    .with_context(|| format!("cannot read the scenario {}", path.display()))?;
                Scenario::parse(&text).map_err(|error| {
                    CommandFailure::Usage(format!("the scenario {}: {error}", path.display()))
                })?
            }
        };
        Ok(Settings {
            listen: self.listen,
            tls_listen: self.tls_listen,
            ca_out: self.ca_out.clone(),
            access_key: (!self.no_auth).then(|| self.access_key.clone()),
            resource_id: self.resource_id.to_string(),
            scenario,
            speed: self.speed,
            seed: self.seed.unwrap_or_else(rand::random),
            misbehave: self.misbehave.clone(),
            retries: match &self.retries {
                None => default_retries(),
                Some(Retries(waits)) => waits.clone(),
            },
            event_grid: self.event_grid.as_ref().map(|url| EventGrid {
                url: url.to_string(),
                schema: match self.event_grid_schema {
                    Schema::EventGrid => GridSchema::EventGrid,
                    Schema::CloudEvents => GridSchema::CloudEvents,
                },
                handshake: self.event_grid_handshake == Handshake::Ask,
            }),
            callback_ca: self.callback_ca.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_a_list_that_may_be_empty() {
        let seconds = |text: &str| retries(text).map(|Retries(waits)| waits);
        assert_eq!(seconds(""), Ok(Vec::new()));
        let two = [Duration::from_millis(200), Duration::from_secs(60)];
        assert_eq!(seconds("200ms, 1m"), Ok(two.to_vec()));
        for text in ["1", "1s,", "soon"] {
            let error = seconds(text).expect_err("no durations");
            assert!(error.contains("is not a duration like 200ms"), "{error}");
        }
    }

    #[test]
    fn a_webhook_is_of_http_or_https() {
        webhook("https://example.com/a?b=c").expect("a webhook");
        for text in ["ftp://example.com", "example.com:80", "/a"] {
            webhook(text).expect_err(text);
        }
    }
}
