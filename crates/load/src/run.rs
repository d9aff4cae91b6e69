//! One run from its first check to its summary.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    LoadError, Plan, SendSchedule, Source, Summary, Traffic,
    clock::{Clock, whole_us},
    consume,
    generator::Generator,
    http_connection::HttpConnection,
    ledger,
    pace::Pacer,
    send::Sender,
    send_queue::SendQueue,
    sent_events::SentEvents,
    state::Shared,
    summary::RunFacts,
    verifier::Verifier,
};

/// How long the queues must be silent after everything arrived before the run ends: copies may come late.
const SETTLE: Duration = Duration::from_millis(500);
/// How often completion is checked and progress reported.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Events that will be sent.
    pub planned: u64,
    /// Answered 2xx so far.
    pub accepted: u64,
    /// Seen in some queue so far; `None` where nothing is verified.
    pub delivered: Option<u64>,
}

/// Does what the plan says. `stop` ends the sending early: what was accepted until then is still verified.
///
/// # Errors
/// Where it could not be done. What it found wrong is in the summary.
pub async fn run(
    plan: Plan,
    stop: CancellationToken,
    mut tell: impl FnMut(Progress),
) -> Result<Summary, LoadError> {
    let clock = Clock::start();
    let begun_us = clock.now_us();
    let (sent_events, traffic, ledger_file) = match &plan.source {
        Source::Ledger(path) => (ledger::read(path)?, None, None),
        Source::Send { traffic, ledger } => {
            let generator = Generator::new(traffic.content.clone());
            let content = generator.content();
            let calls = (0..content.calls).map(|call| (generator.generation(call), content.events));
            let sent_events = SentEvents::new(content.run, calls);
            let file = match ledger {
                Some(path) => Some((ledger::create(path)?, path)),
                None => None,
            };
            (sent_events, Some((traffic, generator)), file)
        }
    };
    if let Some((traffic, _)) = &traffic {
        reach(traffic).await?;
    }
    if let Some(watch) = &plan.watch {
        consume::inspect(watch, traffic.is_none()).await?;
    }
    let verifier = plan
        .watch
        .as_ref()
        .map(|watch| Verifier::new(&watch.queues, sent_events.capacity(), consume::PREFETCH));
    let planned = match traffic {
        Some(_) => sent_events.capacity() as u64,
        None => sent_events.accepted(),
    };
    let shared = Shared::new(sent_events, verifier);
    let watch = plan.watch.map(Arc::new);
    let halt = CancellationToken::new();
    let mut consuming = JoinSet::new();
    if let Some(watch) = &watch {
        consuming.spawn(consume::consume(
            watch.clone(),
            shared.clone(),
            clock,
            halt.clone(),
        ));
    }
    let mut seed = None;
    let mut sending_us = None;
    let mut watching = ProgressReporter {
        shared: &shared,
        clock,
        planned,
        tell: &mut tell,
    };
    if let Some((traffic, generator)) = traffic {
        seed = Some(traffic.content.seed);
        let since_us = clock.now_us();
        let sending = send(traffic, generator, &shared, clock, &stop);
        tokio::select! {
            sent = sending => sent?,
            failed = failure(&mut consuming) => return Err(failed),
            () = watching.run() => {}
        }
        sending_us = Some(clock.now_us() - since_us);
    }
    if let Some((file, path)) = ledger_file {
        ledger::write(file, path, &shared.lock().sent_events)?;
    }
    if let Some(watch) = &watch {
        tokio::select! {
            () = watching.until_all_came(watch.idle) => {}
            failed = failure(&mut consuming) => return Err(failed),
        }
    }
    halt.cancel();
    while let Some(ended) = consuming.join_next().await {
        if let Ok(Err(error)) = ended {
            return Err(error);
        }
    }
    let circumstances = RunFacts {
        seed,
        sending_us,
        total_us: clock.now_us() - begun_us,
        inverted_allowed: plan.inverted_allowed,
        interrupted: stop.is_cancelled(),
    };
    Ok(Summary::new(&shared.lock(), &circumstances))
}

/// Ends only when consuming cannot go on.
async fn failure(consuming: &mut JoinSet<Result<(), LoadError>>) -> LoadError {
    loop {
        match consuming.join_next().await {
            Some(Ok(Err(error))) => return error,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Checks that every target accepts connections; reported before the first callback, and not as so many refused ones.
async fn reach(traffic: &Traffic) -> Result<(), LoadError> {
    for target in &traffic.targets {
        let mut tries = 0;
        loop {
            match target.connect().await {
                Ok(_) => break,
                // It may be about to start.
                Err(_) if tries < 10 => tries += 1,
                Err(source) => {
                    return Err(LoadError::Unreachable {
                        target: target.describe(),
                        source,
                    });
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

async fn send(
    traffic: &Traffic,
    generator: Generator,
    shared: &Shared,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<(), LoadError> {
    let content = &traffic.content;
    let active = traffic.active.get();
    let send_queue = Arc::new(match traffic.pace {
        SendSchedule::Burst(_) => {
            let per_call = content.events.div_ceil(content.batch);
            SendQueue::for_bursts(u64::from(content.calls) * u64::from(per_call))
        }
        pace => SendQueue::new(
            content.calls,
            content.events,
            content.batch,
            active,
            matches!(pace, SendSchedule::Rate(_)),
        ),
    });
    let generator = Arc::new(generator);
    // Before the schedule begins: a connection that is still being opened would send its first callback late. One that
    // cannot be opened now is opened when it is needed.
    let targets = traffic.targets.iter().cycle();
    let lines = (0..traffic.connections.get()).zip(targets);
    let lines = lines
        .map(async |(number, target)| (number, target, HttpConnection::open(target).await.ok()));
    let lines = futures_util::future::join_all(lines).await;
    let mut senders = JoinSet::new();
    for (number, target, line) in lines {
        let sender = Sender {
            number,
            target: target.clone(),
            generator: generator.clone(),
            send_queue: send_queue.clone(),
            shared: shared.clone(),
            clock,
            attempts: traffic.attempts.get(),
            stop: stop.clone(),
        };
        senders.spawn(sender.work(line));
    }
    let pacer = match traffic.pace {
        SendSchedule::Closed => None,
        pace => Some(Pacer::start(
            pace,
            content,
            active,
            send_queue.clone(),
            clock,
        )?),
    };
    let all = async { while senders.join_next().await.is_some() {} };
    tokio::pin!(all);
    tokio::select! {
        () = &mut all => {}
        () = stop.cancelled() => {
            send_queue.close();
            all.await;
        }
    }
    drop(pacer);
    Ok(())
}

/// Looks at the state from time to time.
struct ProgressReporter<'w, T> {
    shared: &'w Shared,
    clock: Clock,
    planned: u64,
    tell: &'w mut T,
}

impl<T: FnMut(Progress)> ProgressReporter<'_, T> {
    async fn run(&mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let progress = {
            let state = self.shared.lock();
            Progress {
                planned: self.planned,
                accepted: state.sent_events.accepted(),
                delivered: state
                    .verifier
                    .as_ref()
                    .map(|_| state.sent_events.delivered()),
            }
        };
        (self.tell)(progress);
    }

    /// Ends when every accepted event has arrived and the queues stay silent, or when nothing more arrives.
    async fn until_all_came(&mut self, idle: Duration) {
        let from_us = self.clock.now_us();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
            let now_us = self.clock.now_us();
            let state = self.shared.lock();
            let last_us = state
                .verifier
                .as_ref()
                .map_or(0, |verifier| verifier.last_message_us);
            let quiet_us = now_us.saturating_sub(last_us.max(from_us));
            let settled = state.connected_us.is_some_and(|connected_us| {
                let connected_for_us = now_us.saturating_sub(connected_us);
                quiet_us.min(connected_for_us) >= whole_us(SETTLE)
            });
            if state.sent_events.nothing_is_missing() && settled || quiet_us >= whole_us(idle) {
                return;
            }
        }
    }
}
