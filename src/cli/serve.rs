//! `hookswitch serve`: the receiver.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::{
    app,
    config::{self, Flag, Sources},
    http,
};

use super::outcome::{CommandFailure, CommandOutcome};

/// Receive callbacks and deliver their events
///
/// Without --config it is a development receiver: app `dev` without auth on 127.0.0.1:8080 only, its journal in a
/// temporary directory, deliveries as NDJSON on standard output.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hookswitch serve --config config/hookswitch.toml\n  hookswitch serve"
)]
pub(super) struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Address of the public listener, overrides server.listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Address of the admin listener, overrides server.admin_listen
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,

    /// Directory of the journal, overrides journal.path
    #[arg(long, value_name = "DIR")]
    journal: Option<String>,
}

impl ServeArgs {
    /// The sources of the configuration; without --config those of the development receiver, with its journal in
    /// `development_journal`.
    fn sources(&self, development_journal: &Path) -> Sources {
        let mut sources = match &self.config {
            Some(file) => Sources::file(file),
            None => Sources::development(development_journal),
        };
        sources.flags = [
            ("--listen", "server.listen", &self.listen),
            ("--admin-listen", "server.admin_listen", &self.admin_listen),
            ("--journal", "journal.path", &self.journal),
        ]
        .into_iter()
        .filter_map(|(name, key, value)| {
            let value = value.clone()?;
            Some(Flag { name, key, value })
        })
        .collect();
        sources
    }
}

pub(super) fn run(args: &ServeArgs) -> Result<CommandOutcome, CommandFailure> {
    // Only a development receiver needs it, and keeps nothing beyond its own life: removed at the end.
    let scratch = match &args.config {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("hookswitch-dev.")
                .tempdir()
                .context("cannot make a temporary directory for the development journal")?,
        ),
    };
    let journal = scratch.as_ref().map_or(Path::new(""), |dir| dir.path());
    let (config, catalog) = config::load(&args.sources(journal))?;
    if args.config.is_none() {
        tracing::warn!(
            journal = %config.journal.path.display(),
            callbacks = %format!("http://{}/callbacks/dev", config.server.listen),
            "no --config: this is the development receiver, and its journal is removed at the end"
        );
    }
    // The public listener has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(http::threads_for_two_cores())
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(app::serve(config, catalog));
    // The stop had a deadline; a thread that still waits for a disk or for a reader of standard output has none.
    runtime.shutdown_background();
    served?;
    Ok(CommandOutcome::Good)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::config::{self, BrokerEndpoint};

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn load(arguments: &[&str]) -> Result<config::Config, config::Problems> {
        let words = ["serve"].iter().chain(arguments);
        let args = Alone::try_parse_from(words).unwrap().args;
        let mut sources = args.sources(Path::new("j"));
        sources.environment.clear();
        config::load(&sources).map(|(config, _)| config)
    }

    #[test]
    fn flags_win_over_the_file() {
        let config = load(&[
            "--config",
            concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml"),
            "--listen",
            "127.0.0.1:1",
            "--admin-listen",
            "127.0.0.1:2",
            "--journal",
            "elsewhere",
        ])
        .unwrap();
        assert_eq!(config.server.listen.port(), 1);
        assert_eq!(config.server.admin_listen.port(), 2);
        assert_eq!(config.journal.path, Path::new("elsewhere"));
        assert_eq!(config.apps.len(), 3);
    }

    #[test]
    fn without_a_file_it_is_the_development_receiver() {
        let config = load(&[]).unwrap();
        assert_eq!(config.broker.endpoint, BrokerEndpoint::Stdout);
        assert_eq!(config.journal.path, Path::new("j"));
        let problems = load(&["--listen", "0.0.0.0:80"]).unwrap_err();
        assert!(
            problems
                .to_string()
                .starts_with("flag --listen: server.listen: "),
            "{problems}"
        );
    }
}
