//! `hookswitch consume`: take events from a queue.

use std::{io::Write, num::NonZeroU32, path::PathBuf};

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Broker, Config, Sources},
    publish::{self, PublishError, TakeLimit},
    route::Sink,
};

use super::outcome::{CommandFailure, CommandOutcome};

/// Take events from a queue, one per line
///
/// An event is acknowledged after it was printed. The queue has one active consumer: while an application consumes it,
/// this command waits.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hookswitch consume --config config/demo.toml contoso.calls.0 --count 10"
)]
pub(super) struct ConsumeArgs {
    /// The configuration file, for its broker
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Full name of the queue; with the partition number if it is partitioned
    #[arg(value_name = "QUEUE")]
    queue: String,

    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Stop when nothing arrived for this long, for example 2s
    #[arg(long, value_name = "TIME")]
    idle: Option<humantime::Duration>,
}

impl ConsumeArgs {
    /// Takes events and writes one JSON line each to `out` until there were enough or `stop`; returns their number.
    /// Each line is flushed before its event is acknowledged.
    ///
    /// # Errors
    /// If the broker cannot be reached, the queue does not exist, or `out` is closed.
    async fn take(
        &self,
        broker: &Broker,
        stop: &CancellationToken,
        out: &mut dyn Write,
    ) -> Result<u64, PublishError> {
        let enough = TakeLimit {
            count: self.count,
            idle: self.idle.map(Into::into),
        };
        publish::take(broker, &self.queue, enough, stop, |event| {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
            out.flush()
        })
        .await
    }
}

pub(super) fn run(
    args: &ConsumeArgs,
    out: &mut dyn Write,
) -> Result<CommandOutcome, CommandFailure> {
    let (config, _) = config::load(&Sources::file(&args.config))?;
    if let Some(partitions) = partitions(&config, &args.queue) {
        return Err(CommandFailure::Usage(format!(
            "{0} is partitioned: take from one of {0}.0 to {0}.{1}",
            args.queue,
            partitions.get() - 1
        )));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(async {
            let stop = CancellationToken::new();
            let taking = args.take(&config.broker, &stop, out);
            tokio::pin!(taking);
            let pressed = tokio::select! {
                taken = &mut taking => return taken.map(drop),
                pressed = tokio::signal::ctrl_c() => pressed,
            };
            if pressed.is_ok() {
                stop.cancel();
            }
            taking.await.map(drop)
        })
        .map_err(anyhow::Error::from)?;
    Ok(CommandOutcome::Good)
}

/// In how many partitions a route divides this queue, if one does.
fn partitions(config: &Config, queue: &str) -> Option<NonZeroU32> {
    config.routes.iter().find_map(|route| match &route.sink {
        Sink::Queue {
            name, partitions, ..
        } if name.as_str() == queue => *partitions,
        Sink::Queue { .. } | Sink::Exchange { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: ConsumeArgs,
    }

    #[test]
    fn the_demo_calls_it_like_this() {
        let words = "consume --config config/demo.toml contoso.calls.0 --idle 1s";
        let args = Alone::try_parse_from(words.split(' ')).unwrap().args;
        assert_eq!(args.queue, "contoso.calls.0");
        assert_eq!(args.idle.unwrap().as_secs(), 1);
        assert_eq!(args.count, None);
    }
}
