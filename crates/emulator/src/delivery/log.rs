//! What was posted and the result: the last deliveries in full, all of them counted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;

use super::{event::InFlightEvent, misbehave::MisbehaviourKind};

/// How many attempts are kept for `GET /_emulator/callbacks`.
const KEPT: usize = 10_000;
/// How far a slow reader of the feed may fall behind before it misses entries.
const NEWS: usize = 1_024;

/// Deliveries counted, as the closing line shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Of the run.
    pub seed: u64,
    /// Calls made, answered or joined.
    pub calls: u64,
    /// Events that were to be delivered, each counted once.
    pub events: u64,
    /// Callbacks posted, attempts included.
    pub posts: u64,
    /// Events that a 2xx accepted.
    pub accepted: u64,
    /// Events given up, after the last attempt.
    pub given_up: u64,
    /// Misbehaviour by name (`reorder`, `duplicate`, ...).
    pub misbehaved: BTreeMap<&'static str, u64>,
    /// Pairs of events of one call to one URL that were first posted in the wrong order.
    pub out_of_order: u64,
    /// Answers by status; 0 for none.
    pub answers: BTreeMap<u16, u64>,
}

impl Summary {
    /// Events that are still to be delivered.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.events
            .saturating_sub(self.accepted)
            .saturating_sub(self.given_up)
    }
}

/// One finished attempt to deliver.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began.
    pub time: Timestamp,
    /// A delivery of Event Grid; else a callback.
    pub event_grid: bool,
    /// The call's ordinal; 0: no call of the application.
    pub call: u64,
    /// `callConnectionId`, or `serverCallId` of an Event Grid delivery.
    pub connection: String,
    /// Without user information and query string: secrets are kept there.
    pub url: String,
    /// Types of the events, in the order of the array.
    pub types: Vec<String>,
    /// Their ids.
    pub ids: Vec<String>,
    /// The first is 1.
    pub attempt: u32,
    /// The status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From the request to the answer, or to where it was given up.
    pub milliseconds: u64,
    /// The outcome of the events.
    pub outcome: AttemptOutcome,
    /// Names of what was done to them on purpose.
    pub misbehaviour: Vec<&'static str>,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The receiver took them.
    Accepted,
    /// They will be posted again.
    Retried,
    /// They will not.
    GivenUp,
}

/// The record; bounded.
pub(crate) struct DeliveryLog {
    state: Mutex<DeliveryState>,
    news: broadcast::Sender<Arc<Attempt>>,
}

#[derive(Default)]
struct DeliveryState {
    attempts: VecDeque<Arc<Attempt>>,
    summary: Summary,
}

impl DeliveryLog {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(DeliveryState {
                attempts: VecDeque::new(),
                summary: Summary {
                    seed,
                    ..Summary::default()
                },
            }),
            news: broadcast::Sender::new(NEWS),
        }
    }

    /// The last attempts, oldest first.
    pub(crate) fn attempts(&self) -> Vec<Arc<Attempt>> {
        self.lock().attempts.iter().cloned().collect()
    }

    /// Each attempt from now on, when it is finished.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<Attempt>> {
        self.news.subscribe()
    }

    /// Everything counted so far. `calls` is the driver's.
    pub(crate) fn summary(&self) -> Summary {
        self.lock().summary.clone()
    }

    /// Counts an event that is to be delivered.
    pub(super) fn told(&self) {
        self.lock().summary.events += 1;
    }

    /// Counts what was done on purpose to the events of one request; once for each request, not for each attempt.
    pub(super) fn misbehaved(&self, acts: &[MisbehaviourKind], inversions: u64) {
        let summary = &mut self.lock().summary;
        for act in acts {
            *summary.misbehaved.entry(act.name()).or_default() += 1;
        }
        summary.out_of_order += inversions;
    }

    /// Records a finished attempt. `of`: its events, none for a handshake.
    pub(super) fn finished(&self, attempt: Attempt, of: &[Arc<InFlightEvent>]) {
        let attempt = Arc::new(attempt);
        {
            let DeliveryState { attempts, summary } = &mut *self.lock();
            summary.posts += 1;
            *summary
                .answers
                .entry(attempt.status.unwrap_or_default())
                .or_default() += 1;
            for event in of {
                settle(event, attempt.outcome, summary);
            }
            if attempts.len() == KEPT {
                attempts.pop_front();
            }
            attempts.push_back(Arc::clone(&attempt));
        }
        // There may be no listener.
        drop(self.news.send(attempt));
    }

    fn lock(&self) -> MutexGuard<'_, DeliveryState> {
        self.state.lock().expect("counting does not panic")
    }
}

/// Each event is counted once, however often it was posted: it counts as given up only while no post of it was
/// accepted.
fn settle(event: &InFlightEvent, outcome: AttemptOutcome, summary: &mut Summary) {
    match outcome {
        AttemptOutcome::Accepted => {
            if let (true, lost) = event.accept() {
                summary.accepted += 1;
                summary.given_up -= u64::from(lost);
            }
        }
        AttemptOutcome::GivenUp => summary.given_up += u64::from(event.lose()),
        AttemptOutcome::Retried => {}
    }
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::super::wire::Rendered, *};

    fn attempt(outcome: AttemptOutcome) -> Attempt {
        Attempt {
            time: Timestamp::UNIX_EPOCH,
            event_grid: false,
            call: 1,
            connection: "c".to_owned(),
            url: "http://127.0.0.1/".to_owned(),
            types: vec!["T".to_owned()],
            ids: vec!["i".to_owned()],
            attempt: 1,
            status: Some(200),
            error: None,
            milliseconds: 3,
            outcome,
            misbehaviour: vec!["drop"],
        }
    }

    #[test]
    fn an_event_is_given_up_only_while_no_copy_of_it_is_accepted() {
        let log = DeliveryLog::new(5);
        let event = Arc::new(InFlightEvent::new(Rendered::for_tests("a", false)));
        log.told();
        let count = || (log.summary().accepted, log.summary().given_up);
        log.finished(attempt(AttemptOutcome::Retried), &[Arc::clone(&event)]);
        assert_eq!(count(), (0, 0));
        log.finished(attempt(AttemptOutcome::GivenUp), &[Arc::clone(&event)]);
        assert_eq!(count(), (0, 1));
        log.finished(attempt(AttemptOutcome::Accepted), &[Arc::clone(&event)]);
        assert_eq!(count(), (1, 0));
        log.finished(attempt(AttemptOutcome::Accepted), &[Arc::clone(&event)]);
        log.finished(attempt(AttemptOutcome::GivenUp), &[event]);
        assert_eq!(count(), (1, 0));
        let summary = log.summary();
        assert_eq!((summary.seed, summary.events, summary.posts), (5, 1, 5));
        assert_eq!(summary.answers[&200], 5);
    }

    #[test]
    fn only_the_last_attempts_are_kept() {
        let log = DeliveryLog::new(0);
        for number in 0..KEPT + 5 {
            let mut attempt = attempt(AttemptOutcome::Accepted);
            attempt.call = number as u64;
            log.finished(attempt, &[]);
        }
        let kept = log.attempts();
        assert_eq!((kept.len(), kept[0].call), (KEPT, 5));
        let shown = serde_json::to_value(&*kept[0]).unwrap();
        assert_eq!(shown["outcome"], "accepted");
        assert_eq!(shown["misbehaviour"][0], "drop");
        assert_eq!(shown.get("error"), None);
    }
}
