//! `hookswitch schemas`: the catalogue, for people and for other programs.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::{
    catalog::Catalog,
    config::{Schemas, open_catalog},
};

use super::outcome::{CommandFailure, CommandOutcome};

/// List, show or export the schemas of the catalogue
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hookswitch schemas show PlayCompleted --generation ga")]
pub(super) struct SchemasArgs {
    #[command(subcommand)]
    action: Action,

    /// Directory that overlays the built-in catalogue, as `schemas.path` in the configuration
    #[arg(long, global = true, value_name = "DIR")]
    path: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every event type with its generation and kind
    #[command(after_help = "Example:\n  hookswitch schemas list")]
    List,
    /// Print the JSON Schema of a type's data, of each generation that has it
    #[command(after_help = "Example:\n  hookswitch schemas show CallConnected")]
    Show {
        /// Event type, full or its last part
        #[arg(value_name = "TYPE")]
        event_type: String,

        /// Only this generation
        #[arg(long)]
        generation: Option<String>,
    },
    /// Write the catalogue with all schemas into a directory, from which it can be read again
    #[command(after_help = "Example:\n  hookswitch schemas export ./schemas")]
    Export {
        /// The directory; created if missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

pub(super) fn run(
    args: &SchemasArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let catalog = open_catalog(&Schemas {
        path: args.path.clone(),
    })
    .map_err(anyhow::Error::from)?;
    match &args.action {
        Action::List => list(&catalog, out),
        Action::Show {
            event_type,
            generation,
        } => show(&catalog, event_type, generation.as_deref(), out),
        Action::Export { directory } => {
            let count = catalog
                .export(directory)
                .with_context(|| format!("cannot write schemas to {}", directory.display()))?;
            writeln!(out, "{count} files written to {}", directory.display())?;
            Ok(CommandOutcome::Good)
        }
    }
}

fn list(catalog: &Catalog, out: &mut dyn Write) -> Result<CommandOutcome, CommandFailure> {
    for row in catalog.rows() {
        writeln!(
            out,
            "{:14} {:24} {}",
            row.generation.as_str(),
            row.kind.as_str(),
            row.event_type
        )?;
    }
    Ok(CommandOutcome::Good)
}

fn show(
    catalog: &Catalog,
    event_type: &str,
    generation: Option<&str>,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let found = catalog.schemas_of(event_type, generation);
    if found.is_empty() {
        let place = generation.map_or_else(String::new, |name| format!(" in generation {name:?}"));
        return Err(CommandFailure::Usage(format!(
            "no event type {event_type:?}{place}: `hookswitch schemas list` prints them"
        )));
    }
    // Each names itself in its title, so that what is printed stays JSON.
    for (_, schema) in found {
        writeln!(out, "{}", schema.trim_end())?;
    }
    Ok(CommandOutcome::Good)
}
