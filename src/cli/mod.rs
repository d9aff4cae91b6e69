//! The command line: one file per command.
//!
//! A new command is a file with its arguments and a `run`, a variant of `Command` and a line in `Command::run`.

mod check_config;
mod completions;
mod consume;
#[cfg(feature = "emulate")]
mod emulate;
mod explain;
#[cfg(feature = "load")]
mod load;
mod logging;
mod outcome;
mod payload;
mod schemas;
mod serve;
mod summary;
mod tail;
mod validate;

use std::{
    io::{self, Write},
    panic,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::report::Chain;

use outcome::{CommandFailure, CommandOutcome};

/// Webhook callback receiver and event router for Azure Communication Services Call Automation
///
/// Takes the callbacks of calls over HTTP, makes every event durable before it answers, and delivers the events of each
/// call in order to RabbitMQ queues.
#[derive(Debug, Parser)]
#[command(
    name = "hookswitch",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 good, 1 a check found something, 64 usage, 78 configuration, 70 a bug.\n\n\
                  Example:\n  hookswitch check-config config/hookswitch.toml"
)]
struct Cli {
    #[command(flatten)]
    log: logging::LogArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Validate(validate::ValidateArgs),
    Explain(explain::ExplainArgs),
    Schemas(schemas::SchemasArgs),
    Tail(tail::TailArgs),
    Consume(consume::ConsumeArgs),
    #[cfg(feature = "load")]
    Load(Box<load::LoadArgs>),
    #[cfg(feature = "emulate")]
    Emulate(Box<emulate::EmulateArgs>),
    Completions(completions::CompletionsArgs),
}

impl Command {
    fn run(self, out: &mut dyn Write) -> Result<CommandOutcome, CommandFailure> {
        match self {
            Self::Serve(args) => serve::run(&args),
            Self::CheckConfig(args) => check_config::run(&args, out),
            Self::Validate(args) => validate::run(&args, out),
            Self::Explain(args) => explain::run(&args, out),
            Self::Schemas(args) => schemas::run(&args, out),
            Self::Tail(args) => tail::run(&args, out)
                .map(|()| CommandOutcome::Good)
                .map_err(CommandFailure::from),
            Self::Consume(args) => consume::run(&args, out),
            #[cfg(feature = "load")]
            Self::Load(args) => load::run(&args, out),
            #[cfg(feature = "emulate")]
            Self::Emulate(args) => emulate::run(&args, out),
            Self::Completions(args) => completions::run(&args, &mut Cli::command(), out),
        }
    }
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // The panic has already printed its message and location; what is left is an exit code that says "a bug".
    panic::catch_unwind(run).unwrap_or_else(|_| ExitCode::from(70))
}

fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // If even this cannot be printed, there is no way left to report it.
            drop(error.print());
            return if asked_for {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(64)
            };
        }
    };
    let result = cli.log.start().and_then(|()| {
        // Not locked: the development receiver prints its deliveries from another thread.
        let mut out = io::BufWriter::new(io::stdout());
        let outcome = cli.command.run(&mut out)?;
        // If the command printed nothing through this buffer, another thread may hold standard output and wait for its
        // reader.
        if !out.buffer().is_empty() {
            out.flush()?;
        }
        Ok(outcome)
    });
    match result {
        Ok(CommandOutcome::Good) => ExitCode::SUCCESS,
        Ok(CommandOutcome::Found) => ExitCode::FAILURE,
        // The code that a shell reports for a command that SIGINT ended.
        #[cfg(any(feature = "load", feature = "emulate"))]
        Ok(CommandOutcome::Interrupted) => ExitCode::from(130),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            match &failure {
                CommandFailure::Receiver(error) => eprintln!("hookswitch: {}", Chain(error)),
                CommandFailure::Work(error) => eprintln!("hookswitch: {}", Chain(error.as_ref())),
                // Each line of it is complete on its own.
                CommandFailure::Configuration(problems) => eprintln!("{problems}"),
                CommandFailure::Usage(message) => eprintln!("hookswitch: {message}"),
            }
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_command_shows_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        for command in cli.get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
