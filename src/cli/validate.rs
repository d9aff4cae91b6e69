//! `hookswitch validate`: how the receiver would treat a body.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use crate::{
    catalog::Catalog,
    config::{BATCH_LIMIT, Schemas, open_catalog},
};

use super::{
    outcome::{CommandFailure, CommandOutcome},
    payload::{self, Report},
};

/// Show how the receiver would treat callback bodies
///
/// Shows the envelope, generation, kind and call key of every event, and what its schema refuses, by JSON Pointer.
/// Exits 1 if any is invalid.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hookswitch validate callback.json\n  \
                        curl -s http://127.0.0.1:9000/body | hookswitch validate --json -")]
pub(super) struct ValidateArgs {
    /// Callback bodies; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// One JSON object per file
    #[arg(long)]
    json: bool,

    /// Directory that overlays the built-in catalogue, as `schemas.path` in the configuration
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

/// One file. The members are public interface.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    events: Vec<Report>,
    error: Option<String>,
}

impl FileReport {
    fn of(file: &Path, catalog: &Catalog) -> Self {
        let read = payload::read(file).map_err(|error| format!("{error:#}"));
        let decoded = read.and_then(|body| {
            payload::decode(&body, BATCH_LIMIT).map_err(|error| payload::describe(&error))
        });
        let (events, error) = match decoded {
            Ok(elements) => (elements, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Self {
            file: file.display().to_string(),
            events: events
                .iter()
                .enumerate()
                .map(|(index, element)| Report::of(index, element, catalog))
                .collect(),
            error,
        }
    }

    fn is_good(&self) -> bool {
        self.error.is_none() && self.events.iter().all(|event| event.valid)
    }
}

pub(super) fn run(
    args: &ValidateArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let catalog = open_catalog(&Schemas {
        path: args.schemas.clone(),
    })
    .map_err(anyhow::Error::from)?;
    let mut outcome = CommandOutcome::Good;
    for file in &args.files {
        let report = FileReport::of(file, &catalog);
        if !report.is_good() {
            outcome = CommandOutcome::Found;
        }
        if args.json {
            let line = serde_json::to_string(&report).map_err(anyhow::Error::from)?;
            writeln!(out, "{line}")?;
        } else {
            print(&report, out)?;
        }
    }
    Ok(outcome)
}

fn print(report: &FileReport, out: &mut dyn Write) -> Result<(), CommandFailure> {
    match &report.error {
        Some(error) => writeln!(out, "{}: {error}", report.file)?,
        None => writeln!(out, "{}:", report.file)?,
    }
    for event in &report.events {
        writeln!(out, "  {}", event.lines().replace('\n', "\n  "))?;
    }
    Ok(())
}
