//! `hookswitch explain`: where the events of a body would go, and why not elsewhere.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use clap::Args;

use crate::{
    admit::{CallRule, Offer, QuarantineReason},
    catalog::Catalog,
    config::{self, App, Config, Sources},
    envelope::{CallbackHead, Element},
    event::CallKey,
    ingress::{Pipeline, Rejection, RequestFacts},
    route::{Address, RouteMatch, Router, Target},
};

use super::{
    outcome::{CommandFailure, CommandOutcome},
    payload::{self, Report},
};

/// Show which routes, queues and headers the events of a callback would get
///
/// Shows for every event what `validate` shows, then for each app which routes match it and why the others do not, the
/// queue and partition, and the AMQP properties and headers. Exits 1 if any event is invalid.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hookswitch explain --config config/demo.toml --app contoso callback.json"
)]
pub(super) struct ExplainArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// The app whose callback path the body came in on; every app if left out
    #[arg(long, value_name = "NAME")]
    app: Option<String>,

    /// The rest of the callback's path after the app
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// The callback body; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(
    args: &ExplainArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let (config, catalog) = config::load(&Sources::file(&args.config))?;
    let apps = chosen(&config, args.app.as_deref())?;
    let body = payload::read(&args.file)?;
    let elements = match payload::decode(&body, config.server.batch_limit) {
        Ok(elements) => elements,
        Err(error) => {
            let status = error.status();
            let error = payload::describe(&error);
            writeln!(out, "refused with {status}: {error}")?;
            return Ok(CommandOutcome::Found);
        }
    };
    let catalog = Arc::new(ArcSwap::from_pointee(catalog));
    let explainer = Explainer {
        pipeline: Pipeline::new(
            config.apps.clone(),
            config.routes.clone(),
            config.server.batch_limit,
            catalog.clone(),
        ),
        router: Router::new(config.routes.clone()),
        catalog: catalog.load_full(),
        exchange: config.broker.exchange.clone(),
        path: args.path.clone(),
    };
    let mut outcome = CommandOutcome::Good;
    for app in apps {
        if !explainer.app(app, &body, &elements, out)? {
            outcome = CommandOutcome::Found;
        }
    }
    Ok(outcome)
}

fn chosen<'c>(config: &'c Config, name: Option<&str>) -> Result<Vec<&'c App>, CommandFailure> {
    let apps: Vec<&App> = config
        .apps
        .iter()
        .filter(|app| name.is_none_or(|name| app.name.as_str() == name))
        .collect();
    if apps.is_empty() {
        let known: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
        return Err(CommandFailure::Usage(format!(
            "--app: the configuration does not have this app; known: {}",
            known.join(", ")
        )));
    }
    Ok(apps)
}

/// Everything that decides about an event without knowledge of other events.
struct Explainer {
    pipeline: Pipeline,
    router: Router,
    catalog: Arc<Catalog>,
    exchange: String,
    path: Option<String>,
}

impl Explainer {
    /// Explains the body as a callback of `app`; true if every event of it is valid.
    fn app(
        &self,
        app: &App,
        body: &Bytes,
        elements: &[Element],
        out: &mut dyn Write,
    ) -> io::Result<bool> {
        writeln!(out, "app {}", app.name)?;
        let request = RequestFacts {
            path: self.path.clone(),
            ..RequestFacts::default()
        };
        let prepared = self
            .pipeline
            .read(&CallbackHead::default(), body)
            .and_then(|elements| self.pipeline.prepare(app, elements, &request));
        let offers = match &prepared {
            Ok(offers) => offers.as_slice(),
            Err(Rejection::Events { .. }) => {
                writeln!(
                    out,
                    "  the whole callback is refused with 422, as the app says"
                )?;
                &[]
            }
            Err(Rejection::Envelope(error)) => {
                writeln!(out, "  the whole callback is refused: {error}")?;
                &[]
            }
        };
        let mut all_valid = true;
        for (index, element) in elements.iter().enumerate() {
            let report = Report::of(index, element, &self.catalog);
            all_valid &= report.valid;
            writeln!(out, "  {}", report.lines().replace('\n', "\n  "))?;
            if let Element::Event(event) = element {
                let generation = report.generation.as_ref();
                for explanation in self
                    .router
                    .explain(&app.name, event, report.kind, generation)
                {
                    let verdict = match explanation.verdict {
                        RouteMatch::Matched(_) => "takes it".to_owned(),
                        other => format!("does not take it: {other}"),
                    };
                    writeln!(out, "      route {} {verdict}", explanation.route)?;
                }
            }
            if let Some(offer) = offers.get(index) {
                self.offer(app, offer, out)?;
            }
        }
        Ok(all_valid)
    }

    /// The target of one event and its message.
    fn offer(&self, app: &App, offer: &Offer, out: &mut dyn Write) -> io::Result<()> {
        if let Some(quarantine) = &offer.facts.quarantine {
            let why = quarantine.reason.as_str();
            writeln!(
                out,
                "      is kept in quarantine as {why}, whatever the routes say"
            )?;
        }
        let call = offer.own_key();
        for target in &offer.targets {
            writeln!(out, "      -> {}", self.place(target, call.as_ref()))?;
        }
        if offer.call == CallRule::Auto && offer.ids.connection.is_none() && call.is_some() {
            writeln!(
                out,
                "      (a running receiver translates its call key where an earlier event has bound it to a call, \
                 and partitions by that)"
            )?;
        }
        for (name, value) in self.known(app, offer, call.as_ref()) {
            let shown: String = value.chars().flat_map(escaped).collect();
            writeln!(out, "         {name}: {shown}")?;
        }
        Ok(())
    }

    fn place(&self, target: &Target, call: Option<&CallKey>) -> String {
        match (target.place(call).address, target.partition(call)) {
            (Address::Queue { name, queue_type }, partition) => {
                let partition = partition.map_or_else(String::new, |n| format!(", partition {n}"));
                let kind = queue_type.as_str();
                let through = match self.exchange.as_str() {
                    "" => String::new(),
                    exchange => format!(", through exchange {exchange}"),
                };
                format!("queue {name} ({kind}{partition}{through})")
            }
            (
                Address::Exchange {
                    exchange,
                    routing_key,
                },
                _,
            ) => format!("exchange {exchange}, routing key {routing_key}"),
        }
    }

    /// Properties and headers of the message, as far as they are known without other events: sequence, instance,
    /// delivery and times are added by admission and publishing.
    fn known(
        &self,
        app: &App,
        offer: &Offer,
        call: Option<&CallKey>,
    ) -> Vec<(&'static str, String)> {
        let reason = offer.facts.quarantine.as_ref().map(|why| why.reason);
        [
            ("message_id", Some(offer.facts.event_id.clone())),
            ("type", offer.event_type().map(str::to_owned)),
            ("app_id", Some(app.name.to_string())),
            ("correlation_id", offer.facts.correlation_id.clone()),
            ("hookswitch-app", Some(app.name.to_string())),
            ("hookswitch-call", call.map(ToString::to_string)),
            ("hookswitch-kind", Some(offer.facts.kind.to_string())),
            (
                "hookswitch-generation",
                offer.facts.generation.as_ref().map(ToString::to_string),
            ),
            ("hookswitch-path", self.path.clone()),
            (
                "hookswitch-reason",
                reason.map(QuarantineReason::as_str).map(str::to_owned),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// Prevents a sender's text from controlling the terminal.
fn escaped(character: char) -> Vec<char> {
    if character.is_control() {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}
