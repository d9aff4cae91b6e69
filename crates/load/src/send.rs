//! Sends callbacks: one task a connection, each waiting for its answer.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Target,
    clock::Clock,
    generator::{Callback, Generator},
    http_connection::{ConnectionLost, HttpAnswer, HttpConnection},
    send_queue::{Job, SendQueue},
    sent_events::SendStatus,
    state::Shared,
};

/// The first wait before a retry, where the receiver does not name one; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A receiver may ask for more, but a run should end.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Examples of refused callbacks that are kept.
const EXAMPLES: usize = 5;

/// One connection's worker.
pub(super) struct Sender {
    pub(super) number: u32,
    pub(super) target: Target,
    pub(super) generator: Arc<Generator>,
    pub(super) send_queue: Arc<SendQueue>,
    pub(super) shared: Shared,
    pub(super) clock: Clock,
    pub(super) attempts: u32,
    pub(super) stop: CancellationToken,
}

/// The outcome of a callback.
enum SendOutcome {
    Accepted(u16),
    /// The last status; 0: the connection was lost.
    Refused(u16),
    /// The run was stopped in between.
    Open,
}

impl Sender {
    /// Sends until the queue is empty.
    pub(super) async fn work(self, mut line: Option<HttpConnection>) {
        loop {
            let job = match &mut line {
                Some(open) => tokio::select! {
                    biased;
                    job = self.send_queue.next() => job,
                    // Closed while idle: nothing is lost.
                    () = open.until_over() => {
                        line = None;
                        continue;
                    }
                },
                None => self.send_queue.next().await,
            };
            let Some(job) = job else {
                return;
            };
            let given_up = self.send(&mut line, job).await;
            self.send_queue.done(job, given_up);
        }
    }

    /// Sends one callback until it is answered, and says whether it was given up.
    async fn send(&self, line: &mut Option<HttpConnection>, job: Job) -> bool {
        let callback = self.generator.callback(job.call, job.first);
        let now_us = self.clock.now_us();
        let due_us = job.due_us.unwrap_or(now_us);
        {
            let mut state = self.shared.lock();
            if job.due_us.is_some() {
                state.tally.late.record(now_us.saturating_sub(due_us));
            }
            state.tally.callbacks += 1;
            state.tally.events += callback.events.len() as u64;
            for (index, made) in (job.first..).zip(&callback.events) {
                state.sent_events.sent(job.call, index, made, due_us);
            }
        }
        let outcome = self.until_answered(line, job, &callback).await;
        let after_us = self.clock.now_us().saturating_sub(due_us);
        let (send_status, status) = match outcome {
            SendOutcome::Accepted(status) => (SendStatus::Accepted, status),
            SendOutcome::Refused(status) => (SendStatus::Refused, status),
            SendOutcome::Open => return true,
        };
        {
            let mut state = self.shared.lock();
            for (index, _) in (job.first..).zip(&callback.events) {
                let sent_events = &mut state.sent_events;
                sent_events.answered(job.call, index, send_status, status, after_us);
            }
            let tally = &mut state.tally;
            if send_status == SendStatus::Accepted {
                tally.latency.record(after_us);
            } else {
                tally.refused += callback.events.len() as u64;
                if tally.refusals.len() < EXAMPLES {
                    let said = match status {
                        0 => "no answer".to_owned(),
                        status => format!("answered {status}"),
                    };
                    tally
                        .refusals
                        .push(format!("call {} event {}: {said}", job.call, job.first));
                }
            }
        }
        if send_status == SendStatus::Refused {
            return true;
        }
        if self.generator.is_sent_twice(job.call, job.first) {
            self.shared.lock().tally.duplicates += 1;
            // Whatever is answered to a copy: the event is safe already.
            drop(self.post(line, &callback).await);
        }
        false
    }

    async fn until_answered(
        &self,
        line: &mut Option<HttpConnection>,
        job: Job,
        callback: &Callback,
    ) -> SendOutcome {
        let mut last = 0;
        for attempt in 1..=self.attempts {
            if attempt > 1 {
                self.shared.lock().tally.resent += 1;
            }
            let wait = match self.post(line, callback).await {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    return SendOutcome::Accepted(answer.status);
                }
                Ok(answer) => {
                    last = answer.status;
                    // Anything else would get the same answer again.
                    if !matches!(answer.status, 408 | 429 | 500..) {
                        return SendOutcome::Refused(last);
                    }
                    answer.retry_after.map(|wait| wait.min(LONGEST_RETRY_AFTER))
                }
                Err(ConnectionLost) => {
                    last = 0;
                    None
                }
            };
            if attempt == self.attempts {
                break;
            }
            let wait = wait.unwrap_or_else(|| self.back_off(job, attempt));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return SendOutcome::Open,
            }
        }
        SendOutcome::Refused(last)
    }

    /// Twice as long each time, and different for each connection, so that they do not all retry at once.
    fn back_off(&self, job: Job, attempt: u32) -> Duration {
        let longest = FIRST_WAIT
            .saturating_mul(1 << (attempt - 1).min(16))
            .min(LONGEST_WAIT);
        let drawn = xxh3_64_with_seed(&job.call.to_be_bytes(), u64::from(self.number));
        let share = u32::try_from(drawn % 512).unwrap_or_default();
        longest / 2 + longest * share / 1_024
    }

    /// One attempt, on a new connection where the one before is gone.
    async fn post(
        &self,
        line: &mut Option<HttpConnection>,
        callback: &Callback,
    ) -> Result<HttpAnswer, ConnectionLost> {
        let answer = async {
            if line.as_ref().is_none_or(HttpConnection::is_over) {
                *line = Some(HttpConnection::open(&self.target).await?);
            }
            let open = line.as_mut().ok_or(ConnectionLost)?;
            open.post(callback.body.clone()).await
        }
        .await;
        let tally = &mut self.shared.lock().tally;
        match &answer {
            Ok(answer) => *tally.answers.entry(answer.status).or_default() += 1,
            Err(ConnectionLost) => {
                tally.lost_connections += 1;
                *line = None;
            }
        }
        answer
    }
}
