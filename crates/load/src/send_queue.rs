//! Decides which callback is next; each free connection asks here.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

/// One callback to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) call: u32,
    /// Its first event.
    pub(super) first: u32,
    /// When it was due, Unix time in microseconds; `None`: now.
    pub(super) due_us: Option<u64>,
}

/// Hands callbacks out. In a closed loop a call's next one waits for the answer to the one before; with a rate it waits for
/// its time as well; in bursts it waits for its time only.
pub(super) struct SendQueue {
    state: Mutex<SendQueueState>,
    /// One permit for each callback in `ready`.
    ready: Semaphore,
    /// One permit for each time in `due`; `None` without a rate.
    times: Option<Semaphore>,
    calls: u32,
    events: u32,
    batch: u32,
}

struct SendQueueState {
    ready: VecDeque<Job>,
    due: VecDeque<u64>,
    next_call: u32,
    /// Calls, or in bursts callbacks, that are not over.
    left: u64,
    in_bursts: bool,
}

impl SendQueue {
    /// A queue with the first `active` calls in it.
    pub(super) fn new(calls: u32, events: u32, batch: u32, active: u32, with_rate: bool) -> Self {
        let active = active.min(calls);
        let ready: VecDeque<Job> = (0..active)
            .map(|call| Job {
                call,
                first: 0,
                due_us: None,
            })
            .collect();
        Self {
            ready: Semaphore::new(ready.len()),
            times: with_rate.then(|| Semaphore::new(0)),
            state: Mutex::new(SendQueueState {
                ready,
                due: VecDeque::new(),
                next_call: active,
                left: calls.into(),
                in_bursts: false,
            }),
            calls,
            events,
            batch,
        }
    }

    /// A queue that [`SendQueue::put`] fills with `callbacks`.
    pub(super) fn for_bursts(callbacks: u64) -> Self {
        let send_queue = Self::new(0, 0, 1, 0, false);
        {
            let mut state = send_queue.lock();
            state.left = callbacks;
            state.in_bursts = true;
        }
        send_queue
    }

    fn lock(&self) -> MutexGuard<'_, SendQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next callback; `None` when there are no more.
    ///
    /// # Cancel safety
    /// A callback is taken only by the call that returns it.
    pub(super) async fn next(&self) -> Option<Job> {
        let time = match &self.times {
            Some(times) => Some(times.acquire().await.ok()?),
            None => None,
        };
        let ready = self.ready.acquire().await.ok()?;
        let mut state = self.lock();
        ready.forget();
        let mut job = state.ready.pop_front()?;
        if let Some(time) = time {
            time.forget();
            job.due_us = state.due.pop_front();
        }
        Some(job)
    }

    /// A callback is due, whichever it will be.
    pub(super) fn tick(&self, due_us: u64) {
        self.lock().due.push_back(due_us);
        if let Some(times) = &self.times {
            times.add_permits(1);
        }
    }

    /// This callback is due.
    pub(super) fn put(&self, job: Job) {
        self.lock().ready.push_back(job);
        self.ready.add_permits(1);
    }

    /// A callback is over; after one that was given up nothing more of its call is sent.
    pub(super) fn done(&self, job: Job, given_up: bool) {
        let mut state = self.lock();
        let next = if state.in_bursts {
            state.left = state.left.saturating_sub(1);
            None
        } else if !given_up && job.first + self.batch < self.events {
            Some((job.call, job.first + self.batch))
        } else {
            state.left = state.left.saturating_sub(1);
            let next = state.next_call;
            (next < self.calls).then(|| {
                state.next_call += 1;
                (next, 0)
            })
        };
        let over = state.left == 0;
        if let Some((call, first)) = next {
            state.ready.push_back(Job {
                call,
                first,
                due_us: None,
            });
        }
        drop(state);
        if next.is_some() {
            self.ready.add_permits(1);
        }
        if over {
            self.close();
        }
    }

    /// No callback any more.
    pub(super) fn close(&self) {
        self.ready.close();
        if let Some(times) = &self.times {
            times.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(send_queue: &SendQueue) -> Option<(u32, u32)> {
        use futures_util::FutureExt;
        let job = send_queue.next().now_or_never()??;
        Some((job.call, job.first))
    }

    fn done(send_queue: &SendQueue, call: u32, first: u32, given_up: bool) {
        let job = Job {
            call,
            first,
            due_us: None,
        };
        send_queue.done(job, given_up);
    }

    #[test]
    fn the_next_event_of_a_call_waits_for_the_answer_and_calls_take_turns() {
        let send_queue = SendQueue::new(3, 4, 2, 2, false);
        assert_eq!(take(&send_queue), Some((0, 0)));
        assert_eq!(take(&send_queue), Some((1, 0)));
        assert_eq!(take(&send_queue), None);
        done(&send_queue, 1, 0, false);
        assert_eq!(take(&send_queue), Some((1, 2)));
        done(&send_queue, 1, 2, false);
        // Only now does the third call begin.
        assert_eq!(take(&send_queue), Some((2, 0)));
        done(&send_queue, 0, 0, true);
        assert_eq!(take(&send_queue), None);
        done(&send_queue, 2, 0, false);
        assert_eq!(take(&send_queue), Some((2, 2)));
        done(&send_queue, 2, 2, false);
        assert!(send_queue.ready.is_closed());
    }

    #[test]
    fn with_a_rate_a_callback_waits_for_its_time_too() {
        let send_queue = SendQueue::new(2, 1, 1, 2, true);
        assert_eq!(take(&send_queue), None);
        send_queue.tick(5);
        use futures_util::FutureExt;
        let job = send_queue.next().now_or_never().flatten().unwrap();
        assert_eq!(job.due_us, Some(5));
        assert_eq!(take(&send_queue), None);
    }

    #[test]
    fn in_bursts_no_callback_waits_for_another() {
        let send_queue = SendQueue::for_bursts(2);
        for first in 0..2 {
            send_queue.put(Job {
                call: 0,
                first,
                due_us: Some(1),
            });
        }
        assert_eq!(take(&send_queue), Some((0, 0)));
        assert_eq!(take(&send_queue), Some((0, 1)));
        done(&send_queue, 0, 1, false);
        assert!(!send_queue.ready.is_closed());
        done(&send_queue, 0, 0, false);
        assert!(send_queue.ready.is_closed());
    }
}
