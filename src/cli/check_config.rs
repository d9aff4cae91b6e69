//! `hookswitch check-config`: all problems of a configuration, at once.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    config::{self, BrokerEndpoint, Config, Sources},
    publish,
    report::Chain,
};

use super::{
    outcome::{CommandFailure, CommandOutcome},
    summary,
};

/// Check a configuration and show every problem at once
///
/// Reads the file and the environment as `serve` would, opens no port and no journal. Exits 78 if anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hookswitch check-config config/hookswitch.toml\n  hookswitch check-config config/hookswitch.toml --broker"
)]
pub(super) struct CheckConfigArgs {
    /// The configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print every setting with its effective value, as a configuration file; passwords and the queries of URLs as ***
    #[arg(long)]
    print: bool,

    /// Compare with the live broker too: every queue and exchange that the routes name; changes nothing there
    #[arg(long)]
    broker: bool,
}

pub(super) fn run(
    args: &CheckConfigArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let (config, catalog) = config::load(&Sources::file(&args.file))?;
    journal_can_be_written(&config.journal.path)?;
    if args.print {
        write!(out, "{config}")?;
        return Ok(CommandOutcome::Good);
    }
    writeln!(out, "{} is good", args.file.display())?;
    summary::print(&config, &catalog, out)?;
    if args.broker {
        compare_with_broker(&config, out)?;
    }
    Ok(CommandOutcome::Good)
}

/// Shows every destination; one that would be held is a problem of the configuration or of the broker, whichever is to
/// be corrected.
fn compare_with_broker(config: &Config, out: &mut dyn Write) -> Result<(), CommandFailure> {
    if config.broker.endpoint == BrokerEndpoint::Stdout {
        writeln!(
            out,
            "broker: deliveries go to standard output, nothing to compare"
        )?;
        return Ok(());
    }
    let findings = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(publish::compare(config))
        .map_err(|error| {
            let message = format!("broker: {}", Chain(&error));
            CommandFailure::Configuration(config::Problems::one(message))
        })?;
    let mut problems = Vec::new();
    for finding in findings {
        let (destination, status) = (&finding.destination, finding.status.as_str());
        writeln!(out, "  {destination}: {status}")?;
        if finding.status.is_fault() {
            problems.push(format!(
                "broker: {destination} is {status}: {}",
                finding.detail
            ));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    out.flush()?;
    Err(CommandFailure::Configuration(config::Problems::one(
        problems.join("\n"),
    )))
}

/// The journal is created when it is opened; here only its location is tested, and nothing is left there.
fn journal_can_be_written(path: &Path) -> Result<(), CommandFailure> {
    let place = path
        .ancestors()
        .map(|place| match place.as_os_str().is_empty() {
            true => Path::new("."),
            false => place,
        })
        .find(|place| place.exists())
        .unwrap_or(Path::new("."));
    let attempt = if place.is_dir() {
        tempfile::tempfile_in(place).map(drop)
    } else {
        Err(io::Error::from(io::ErrorKind::NotADirectory))
    };
    attempt.map_err(|error| {
        let message = format!(
            "journal.path: cannot write {} (tried in {}): {error}",
            path.display(),
            place.display()
        );
        CommandFailure::Configuration(config::Problems::one(message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_may_be_new_but_not_below_a_file() {
        let dir = tempfile::tempdir().unwrap();
        journal_can_be_written(&dir.path().join("a/b/journal")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let failure = journal_can_be_written(&file.join("journal")).unwrap_err();
        assert!(
            failure.to_string().contains("journal.path: cannot write"),
            "{failure}"
        );
    }
}
