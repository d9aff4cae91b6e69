//! `hookswitch load`: send the events of many calls, and prove that all of them are delivered in order.

use std::{
    io::{IsTerminal, Write},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use hookswitch_load::{
    self as load, BrokerTls, ConsumePlan, Content, Generation, Plan, Progress, RunId, SendSchedule,
    Source, Target, Traffic, WatchedQueue,
};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, BrokerEndpoint, Config, Sources, check_broker_url, read_broker_urls},
    report::Chain,
    route::{QUARANTINE, Sink, UNROUTED},
};

use super::outcome::{CommandFailure, CommandOutcome};

/// Send the events of many calls and verify what the queues deliver
///
/// Posts callbacks as the service would, consumes every queue of the configuration meanwhile, and checks that each
/// accepted event is there, unchanged, in the order of its call, and that nothing else is. Prints one line of JSON at the
/// end and exits 1 on any breach. Ctrl-C stops the sending: what was accepted until then is still verified (exit 130).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hookswitch load --config config/demo.toml --calls 200 --events 50 --connections 64\n  \
                  hookswitch load --config config/demo.toml --rate 1000 --generations all --duplicates 0.01\n  \
                  hookswitch load --target http://127.0.0.1:3000/ --amqp amqp://guest:guest@127.0.0.1/%2f --queue calls"
)]
pub(super) struct LoadArgs {
    /// The receiver's configuration file: its broker, queues, listener and app
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to post; may be given several times, connections are spread over them
    #[arg(long, value_name = "URL")]
    target: Vec<String>,

    /// Which app of the configuration; the first if left out
    #[arg(long, value_name = "NAME", requires = "config")]
    app: Option<String>,

    /// The broker to consume from
    #[arg(long, value_name = "URL")]
    amqp: Option<String>,

    /// A queue to verify; may be given several times
    #[arg(long, value_name = "NAME")]
    queue: Vec<String>,

    /// Calls
    #[arg(long, value_name = "N", default_value = "100")]
    calls: NonZeroU32,

    /// Events of each call
    #[arg(long, value_name = "N", default_value = "50")]
    events: NonZeroU32,

    /// Calls in progress at the same time, their events interleaved; all if left out
    #[arg(long, value_name = "N")]
    active: Option<NonZeroU32>,

    /// Callbacks per second on a fixed schedule; latencies count from the scheduled instant. If left out, each
    /// connection posts its next callback as soon as it has its answer
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,

    /// Keep-alive connections
    #[arg(long, value_name = "N", default_value = "32")]
    connections: NonZeroU32,

    /// Events in one callback
    #[arg(long, value_name = "N", default_value = "1")]
    batch: NonZeroU32,

    /// Send the events of one call this far apart, for example 1ms, without waiting for answers
    #[arg(long, value_name = "INTERVAL", conflicts_with = "rate")]
    burst: Option<humantime::Duration>,

    /// Chance that an accepted callback is sent once more, unchanged
    #[arg(long, value_name = "P", default_value = "0", value_parser = chance)]
    duplicates: f64,

    /// Generations of the API, or `all`; each call is of one
    #[arg(long, value_name = "LIST", default_value = "ga")]
    generations: String,

    /// Size of one event
    #[arg(long, value_name = "N", default_value_t = 700)]
    bytes: usize,

    /// The same seed and options give the same bytes; random if left out
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Eight hex digits that mark the events of this run; made from the seed if left out
    #[arg(long, value_name = "HEX")]
    run_id: Option<RunId>,

    /// How often a callback is sent at most until it is answered 2xx
    #[arg(long, value_name = "N", default_value = "20")]
    attempts: NonZeroU32,

    /// Only send, and write what was sent to the ledger
    #[arg(long, requires = "ledger", conflicts_with = "verify_only")]
    send_only: bool,

    /// Only verify what an earlier run wrote to the ledger
    #[arg(long, requires = "ledger")]
    verify_only: bool,

    /// NDJSON of what was sent, one line per event
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,

    /// Give up when something is missing and nothing arrived for this long
    #[arg(long, value_name = "TIME", default_value = "30s")]
    idle: humantime::Duration,

    /// Also take foreign messages, which are not of this run
    #[arg(long)]
    drain_foreign: bool,

    /// Inversions that are tolerated, for bursts
    #[arg(long, value_name = "N", default_value_t = 0)]
    allow_inverted: u64,

    /// Print only the line of JSON
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    (number.is_finite() && number > 0.0)
        .then_some(number)
        .ok_or_else(|| "must be above 0".to_owned())
}

fn chance(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    (0.0..=1.0)
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| "must be from 0 to 1".to_owned())
}

pub(super) fn run(args: &LoadArgs, out: &mut dyn Write) -> Result<CommandOutcome, CommandFailure> {
    let config = match &args.config {
        Some(path) => Some(config::load(&Sources::file(path))?.0),
        None => None,
    };
    let plan = args.plan(config.as_ref())?;
    // One thread: what the client uses of the machine is not available to the receiver and the broker.
    let summary = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(args.supervised(plan))?;
    let Some(summary) = summary else {
        return Ok(CommandOutcome::Interrupted);
    };
    if !args.json {
        write!(out, "{}", load::describe(&summary))?;
    }
    writeln!(out, "{}", summary.to_json())?;
    Ok(match (summary.is_good(), summary.is_interrupted()) {
        (false, _) => CommandOutcome::Found,
        (true, true) => CommandOutcome::Interrupted,
        (true, false) => CommandOutcome::Good,
    })
}

impl LoadArgs {
    /// Runs until the end. The first Ctrl-C ends the sending, the second everything: then there is no summary.
    async fn supervised(&self, plan: Plan) -> anyhow::Result<Option<load::Summary>> {
        let stop = CancellationToken::new();
        let bar = self.bar();
        let running = load::run(plan, stop.clone(), |progress| show(&bar, progress));
        tokio::pin!(running);
        let summary = tokio::select! {
            summary = &mut running => summary?,
            pressed = tokio::signal::ctrl_c() => {
                pressed.context("cannot listen for Ctrl-C")?;
                stop.cancel();
                tokio::select! {
                    summary = &mut running => summary?,
                    _ = tokio::signal::ctrl_c() => return Ok(None),
                }
            }
        };
        bar.finish_and_clear();
        Ok(Some(summary))
    }

    fn bar(&self) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(0);
        let style = "{elapsed_precise} {wide_bar} {pos}/{len} accepted {per_sec} {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar
    }

    fn plan(&self, config: Option<&Config>) -> Result<Plan, CommandFailure> {
        let watch = match self.send_only {
            true => None,
            false => Some(self.watch(config)?),
        };
        let source = match (&self.ledger, self.verify_only) {
            (Some(path), true) => Source::Ledger(path.clone()),
            (ledger, _) => Source::Send {
                traffic: self.traffic(config)?,
                ledger: ledger.clone(),
            },
        };
        Ok(Plan {
            source,
            watch,
            inverted_allowed: self.allow_inverted,
        })
    }

    fn traffic(&self, config: Option<&Config>) -> Result<Traffic, CommandFailure> {
        let targets = if self.target.is_empty() {
            vec![self.configured_target(config)?]
        } else {
            self.target.clone()
        };
        let targets = targets
            .iter()
            .map(|url| Target::parse(url).map_err(|error| usage(&error)))
            .collect::<Result<Vec<_>, _>>()?;
        let seed = self.seed.unwrap_or_else(rand::random);
        Ok(Traffic {
            content: Content {
                calls: self.calls.get(),
                events: self.events.get(),
                batch: self.batch.get(),
                generations: self.chosen_generations()?,
                bytes: self.bytes,
                duplicates: self.duplicates,
                seed,
                run: self.run_id.unwrap_or_else(|| RunId::of_seed(seed)),
            },
            targets,
            connections: self.connections,
            active: self.active.unwrap_or(self.calls),
            pace: match (self.rate, self.burst) {
                (Some(rate), _) => SendSchedule::Rate(rate),
                (None, Some(interval)) => SendSchedule::Burst(interval.into()),
                (None, None) => SendSchedule::Closed,
            },
            attempts: self.attempts,
        })
    }

    fn chosen_generations(&self) -> Result<Vec<Generation>, CommandFailure> {
        if self.generations == "all" {
            return Ok(Generation::ALL.to_vec());
        }
        self.generations
            .split(',')
            .map(|name| {
                Generation::named(name.trim()).ok_or_else(|| {
                    let known = Generation::ALL.map(Generation::as_str).join(", ");
                    CommandFailure::Usage(format!(
                        "--generations: {name:?} is unknown; write all, or some of {known}"
                    ))
                })
            })
            .collect()
    }

    fn configured_target(&self, config: Option<&Config>) -> Result<String, CommandFailure> {
        let config = config.ok_or_else(|| {
            CommandFailure::Usage("say where to post: --config FILE or --target URL".to_owned())
        })?;
        let wanted = |app: &&config::App| {
            self.app
                .as_ref()
                .is_none_or(|name| app.name.as_str() == name)
        };
        let app = config.apps.iter().find(wanted).ok_or_else(|| {
            let known: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
            CommandFailure::Usage(format!(
                "--app: the configuration does not have this app; known: {}",
                known.join(", ")
            ))
        })?;
        let mut listen = config.server.listen;
        if listen.ip().is_unspecified() {
            listen.set_ip(match listen.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(format!("http://{listen}/callbacks/{}", app.name))
    }

    fn watch(&self, config: Option<&Config>) -> Result<ConsumePlan, CommandFailure> {
        let queues = match config {
            _ if !self.queue.is_empty() => self.queue.iter().map(|name| alone(name)).collect(),
            Some(config) => queues(config),
            None => {
                return Err(CommandFailure::Usage(
                    "say what to verify: --config FILE, or --amqp URL with --queue NAME; or --send-only"
                        .to_owned(),
                ));
            }
        };
        let url = match (&self.amqp, config) {
            (Some(url), _) => url.clone(),
            (None, Some(config)) => broker_url(config)?,
            (None, None) => {
                return Err(CommandFailure::Usage(
                    "say which broker to verify: --config FILE or --amqp URL".to_owned(),
                ));
            }
        };
        check_broker_url(&url)
            .map_err(|error| CommandFailure::Usage(format!("the broker's URL {error}")))?;
        let tls = config.map(|config| &config.broker.tls);
        Ok(ConsumePlan {
            url,
            tls: BrokerTls {
                ca_file: tls.and_then(|tls| tls.ca_file.clone()),
                cert_file: tls.and_then(|tls| tls.cert_file.clone()),
                key_file: tls.and_then(|tls| tls.key_file.clone()),
            },
            queues,
            drain_foreign: self.drain_foreign,
            idle: Duration::from(self.idle),
        })
    }
}

fn usage(error: &load::LoadError) -> CommandFailure {
    CommandFailure::Usage(Chain(error).to_string())
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.planned);
    bar.set_position(progress.accepted);
    if let Some(delivered) = progress.delivered {
        bar.set_message(format!("{delivered} came out"));
    }
}

fn broker_url(config: &Config) -> Result<String, CommandFailure> {
    let first = match &config.broker.endpoint {
        BrokerEndpoint::Amqp(urls) => urls.first().cloned(),
        BrokerEndpoint::AmqpFile(path) => read_broker_urls(path)
            .map_err(anyhow::Error::from)?
            .into_iter()
            .next(),
        BrokerEndpoint::Stdout => {
            return Err(CommandFailure::Usage(
                "broker.url is \"stdout:\": there is no queue to verify; use --send-only, or --amqp and --queue"
                    .to_owned(),
            ));
        }
    };
    let first = first.context("the configuration names no broker")?;
    Ok(first.expose().to_owned())
}

/// Every queue that an event may come out of, each once.
fn queues(config: &Config) -> Vec<WatchedQueue> {
    let mut all: Vec<WatchedQueue> = Vec::new();
    for route in &config.routes {
        // How an exchange routes a message is up to the operator: its queues are named with --queue.
        let Sink::Queue {
            name, partitions, ..
        } = &route.sink
        else {
            continue;
        };
        let names = match partitions {
            None => vec![name.clone()],
            Some(count) => (0..count.get())
                .map(|number| format!("{name}.{number}"))
                .collect(),
        };
        all.extend(names.into_iter().map(|queue| WatchedQueue {
            name: queue,
            destination: name.clone(),
            quarantine: false,
        }));
    }
    all.push(alone(UNROUTED));
    all.push(alone(QUARANTINE));
    let mut seen = std::collections::HashSet::new();
    all.retain(|queue| seen.insert(queue.name.clone()));
    all
}

fn alone(name: &str) -> WatchedQueue {
    WatchedQueue {
        name: name.to_owned(),
        destination: name.to_owned(),
        quarantine: name == QUARANTINE,
    }
}
