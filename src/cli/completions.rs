//! `hookswitch completions`: scripts that let a shell complete our commands and flags.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::outcome::{CommandFailure, CommandOutcome};

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hookswitch completions bash > /etc/bash_completion.d/hookswitch"
)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(
    args: &CompletionsArgs,
    program: &mut clap::Command,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let mut script = Vec::new();
    // Into memory first: the generator panics where it cannot write, and a closed pipe is not a bug.
    clap_complete::generate(args.shell, program, "hookswitch", &mut script);
    out.write_all(&script)?;
    Ok(CommandOutcome::Good)
}
