//! The schedule of an open loop, kept by a thread of its own: the timers of the runtime tick in whole milliseconds,
//! which would show in every latency measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    LoadError, SendSchedule,
    clock::{Clock, whole_us},
    generator::Content,
    send_queue::{Job, SendQueue},
};

/// A sleep is not shorter than this: at many thousand callbacks a second the thread would wake for each.
const SHORTEST_SLEEP: Duration = Duration::from_micros(250);
/// Nor longer, so that a stop is noticed.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// When something is due, after the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    after_us: u64,
    /// `None`: whichever callback is next.
    callback: Option<(u32, u32)>,
}

/// Everything that is due, in order of time.
fn schedule(
    pace: SendSchedule,
    content: &Content,
    active: u32,
) -> Box<dyn Iterator<Item = Due> + Send> {
    let (calls, events, batch) = (content.calls, content.events, content.batch);
    let per_call = events.div_ceil(batch);
    match pace {
        SendSchedule::Closed => Box::new(std::iter::empty()),
        SendSchedule::Rate(rate) => {
            let count = u64::from(calls) * u64::from(per_call);
            Box::new((0..count).map(move |number| Due {
                after_us: moment(number, rate),
                callback: None,
            }))
        }
        SendSchedule::Burst(interval) => {
            // The calls run in lanes with the same interval, and their starts are spread evenly over it.
            let lanes = u64::from(active.min(calls).max(1));
            let beat_us = whole_us(interval);
            let beats = u64::from(calls).div_ceil(lanes) * u64::from(per_call);
            Box::new((0..beats).flat_map(move |beat| {
                (0..lanes).filter_map(move |lane| {
                    let call = beat / u64::from(per_call) * lanes + lane;
                    let first = beat % u64::from(per_call) * u64::from(batch);
                    let call = u32::try_from(call).ok().filter(|call| *call < calls)?;
                    Some(Due {
                        after_us: beat * beat_us + beat_us * lane / lanes,
                        callback: Some((call, u32::try_from(first).ok()?)),
                    })
                })
            }))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "positive, and a run of years would be needed to lose a microsecond"
)]
fn moment(number: u64, rate: f64) -> u64 {
    (number as f64 * 1_000_000.0 / rate) as u64
}

/// The running schedule.
pub(super) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Starts to put callbacks into the send queue at their times, the first one now.
    pub(super) fn start(
        pace: SendSchedule,
        content: &Content,
        active: u32,
        send_queue: Arc<SendQueue>,
        clock: Clock,
    ) -> Result<Self, LoadError> {
        let stop = Arc::new(AtomicBool::new(false));
        let due = schedule(pace, content, active);
        let thread = {
            let stop = stop.clone();
            thread::Builder::new()
                .name("schedule".into())
                .spawn(move || follow(due, &send_queue, clock, &stop))
                .map_err(LoadError::Thread)?
        };
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, the callbacks that are missing show it.
            drop(thread.join());
        }
    }
}

fn follow(due: impl Iterator<Item = Due>, send_queue: &SendQueue, clock: Clock, stop: &AtomicBool) {
    let start_us = clock.now_us();
    for next in due {
        let due_us = start_us + next.after_us;
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let now_us = clock.now_us();
            if now_us >= due_us {
                break;
            }
            let wait = Duration::from_micros(due_us - now_us);
            thread::sleep(wait.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
        }
        match next.callback {
            None => send_queue.tick(due_us),
            Some((call, first)) => send_queue.put(Job {
                call,
                first,
                due_us: Some(due_us),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Generation, RunId};

    fn content(calls: u32, events: u32, batch: u32) -> Content {
        Content {
            calls,
            events,
            batch,
            generations: vec![Generation::Ga],
            bytes: 0,
            duplicates: 0.0,
            seed: 1,
            run: RunId(1),
        }
    }

    #[test]
    fn a_rate_is_an_even_schedule() {
        let due: Vec<u64> = schedule(SendSchedule::Rate(4_000.0), &content(2, 3, 2), 2)
            .map(|due| due.after_us)
            .collect();
        assert_eq!(due, [0, 250, 500, 750]);
    }

    #[test]
    fn a_burst_sends_the_events_of_a_call_in_order_and_evenly() {
        let due: Vec<Due> = schedule(
            SendSchedule::Burst(Duration::from_millis(2)),
            &content(3, 3, 1),
            2,
        )
        .collect();
        let expected: [(u64, u32, u32); 9] = [
            (0, 0, 0),
            (1_000, 1, 0),
            (2_000, 0, 1),
            (3_000, 1, 1),
            (4_000, 0, 2),
            (5_000, 1, 2),
            (6_000, 2, 0),
            (8_000, 2, 1),
            (10_000, 2, 2),
        ];
        let expected = expected.map(|(after_us, call, first)| Due {
            after_us,
            callback: Some((call, first)),
        });
        assert_eq!(due, expected);
    }
}
