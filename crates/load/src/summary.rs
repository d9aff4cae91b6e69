//! The outcome as one line of JSON. Its members are public interface.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    latency::Percentiles,
    state::RunState,
    verifier::{Breach, Verifier},
};

/// What a run found; parts that were not done are `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    command: &'static str,
    seed: Option<u64>,
    run: String,
    calls: u64,
    events_sent: u64,
    callbacks: Option<u64>,
    answers: Option<BTreeMap<String, u64>>,
    accepted: u64,
    duplicates: Option<u64>,
    refused: u64,
    resent: Option<u64>,
    delivered: Option<u64>,
    unanswered_present: Option<u64>,
    messages: Option<u64>,
    lost: Option<u64>,
    unknown: Option<u64>,
    altered: Option<u64>,
    misplaced: Option<u64>,
    inverted: Option<u64>,
    repeats: Option<u64>,
    repeats_apart: Option<u64>,
    sequence_gaps: Option<u64>,
    quarantined: Option<u64>,
    foreign: Option<u64>,
    redelivered: Option<u64>,
    seconds_sending: Option<f64>,
    seconds_total: f64,
    events_per_second: Option<f64>,
    delivered_per_second: Option<f64>,
    answer_ms: Option<Percentiles>,
    late_ms: Option<Percentiles>,
    delivery_ms: Option<Percentiles>,
    queues: Option<BTreeMap<String, QueueSummary>>,
    interrupted: bool,
    breaches: Vec<String>,
    ok: bool,
}

/// One queue.
#[derive(Clone, Debug, Serialize)]
struct QueueSummary {
    messages: u64,
    delivery_ms: Option<Percentiles>,
}

/// Facts of the run besides its state.
pub(super) struct RunFacts {
    /// `None` where a ledger was verified.
    pub(super) seed: Option<u64>,
    pub(super) sending_us: Option<u64>,
    pub(super) total_us: u64,
    pub(super) inverted_allowed: u64,
    pub(super) interrupted: bool,
}

impl Summary {
    pub(super) fn new(state: &RunState, circumstances: &RunFacts) -> Self {
        let RunState {
            sent_events,
            tally,
            verifier,
            ..
        } = state;
        let sent = circumstances.sending_us.is_some();
        let seconds_sending = circumstances.sending_us.map(seconds);
        let seconds_total = seconds(circumstances.total_us);
        let mut breaches = Vec::new();
        let found = verifier
            .as_ref()
            .map(|verifier| verifier.verdict(sent_events));
        let count = |breach: Breach| {
            let found = found.as_ref()?;
            Some(found.get(&breach).map_or(0, |findings| findings.count))
        };
        let mut all: Vec<_> = found.iter().flatten().collect();
        all.sort_by_key(|(breach, _)| **breach);
        for (breach, findings) in all {
            let allowed = match breach {
                Breach::Inverted => circumstances.inverted_allowed,
                _ => 0,
            };
            if findings.count > allowed {
                breaches.push(said(breach.as_str(), findings.count, &findings.examples));
            }
        }
        let counts = SummaryCounts::of(state);
        if counts.refused > 0 {
            breaches.push(said("refused", counts.refused, &tally.refusals));
        }
        let verified = |value: fn(&Verifier) -> u64| verifier.as_ref().map(value);
        let mut answers: BTreeMap<String, u64> = tally
            .answers
            .iter()
            .map(|(status, count)| (status.to_string(), *count))
            .collect();
        if tally.lost_connections > 0 {
            answers.insert("connection".to_owned(), tally.lost_connections);
        }
        Self {
            command: "load",
            seed: circumstances.seed,
            run: sent_events.run().to_string(),
            calls: counts.calls,
            events_sent: counts.events,
            callbacks: sent.then_some(tally.callbacks),
            answers: sent.then_some(answers),
            accepted: sent_events.accepted(),
            duplicates: sent.then_some(tally.duplicates),
            refused: counts.refused,
            resent: sent.then_some(tally.resent),
            delivered: verifier.as_ref().map(|_| sent_events.delivered()),
            unanswered_present: verifier.as_ref().map(|_| counts.unanswered_present),
            messages: verified(|verifier| verifier.messages),
            lost: count(Breach::ConnectionLost),
            unknown: count(Breach::Unknown),
            altered: count(Breach::Altered),
            misplaced: count(Breach::Misplaced),
            inverted: count(Breach::Inverted),
            repeats: verified(|verifier| verifier.repeats),
            repeats_apart: count(Breach::RepeatsApart),
            sequence_gaps: count(Breach::SequenceGaps),
            quarantined: count(Breach::Quarantined),
            foreign: verified(|verifier| verifier.foreign),
            redelivered: verified(|verifier| verifier.redelivered),
            seconds_sending,
            seconds_total,
            events_per_second: seconds_sending.map(|seconds| rate(sent_events.accepted(), seconds)),
            delivered_per_second: verifier
                .as_ref()
                .map(|verifier| rate(sent_events.delivered(), seconds(verifier.span_us()))),
            answer_ms: tally.latency.percentiles(),
            late_ms: tally.late.percentiles(),
            delivery_ms: verifier
                .as_ref()
                .and_then(|verifier| verifier.latency.percentiles()),
            queues: verifier.as_ref().map(|verifier| {
                let queue = |queue: &super::verifier::QueueProgress| {
                    let summary = QueueSummary {
                        messages: queue.messages,
                        delivery_ms: queue.latency.percentiles(),
                    };
                    (queue.watched.name.clone(), summary)
                };
                verifier.queues.iter().map(queue).collect()
            }),
            interrupted: circumstances.interrupted,
            ok: breaches.is_empty(),
            breaches,
        }
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.ok
    }

    /// Whether it was stopped before its end; what it says holds for what was sent until then.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// The breaches, one line each.
    #[must_use]
    pub fn breaches(&self) -> &[String] {
        &self.breaches
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text and numbers")
    }

    pub(super) fn facts(&self) -> SummaryFacts<'_> {
        SummaryFacts {
            run: &self.run,
            seed: self.seed,
            calls: self.calls,
            events: self.events_sent,
            accepted: self.accepted,
            delivered: self.delivered,
            messages: self.messages,
            repeats: self.repeats,
            seconds_sending: self.seconds_sending,
            events_per_second: self.events_per_second,
            answers: self.answers.as_ref(),
            answer_ms: self.answer_ms,
            delivery_ms: self.delivery_ms,
            queues: self
                .queues
                .iter()
                .flatten()
                .map(|(name, queue)| (name.as_str(), queue.messages))
                .collect(),
        }
    }
}

/// The facts of the summary for human readers.
pub(super) struct SummaryFacts<'s> {
    pub(super) run: &'s str,
    pub(super) seed: Option<u64>,
    pub(super) calls: u64,
    pub(super) events: u64,
    pub(super) accepted: u64,
    pub(super) delivered: Option<u64>,
    pub(super) messages: Option<u64>,
    pub(super) repeats: Option<u64>,
    pub(super) seconds_sending: Option<f64>,
    pub(super) events_per_second: Option<f64>,
    pub(super) answers: Option<&'s BTreeMap<String, u64>>,
    pub(super) answer_ms: Option<Percentiles>,
    pub(super) delivery_ms: Option<Percentiles>,
    pub(super) queues: Vec<(&'s str, u64)>,
}

/// Counts from one pass over the table.
#[derive(Default)]
struct SummaryCounts {
    calls: u64,
    events: u64,
    refused: u64,
    unanswered_present: u64,
}

impl SummaryCounts {
    fn of(state: &RunState) -> Self {
        use super::sent_events::SendStatus;
        let mut counts = Self::default();
        let mut last = None;
        for (name, _, entry, _) in state.sent_events.sent_events() {
            counts.events += 1;
            counts.calls += u64::from(last != Some(name.call));
            last = Some(name.call);
            counts.refused += u64::from(entry.send_status == SendStatus::Refused);
            let open = matches!(
                entry.send_status,
                SendStatus::Refused | SendStatus::Unanswered
            );
            counts.unanswered_present += u64::from(open && entry.seen);
        }
        counts
    }
}

fn said(what: &str, count: u64, examples: &[String]) -> String {
    let more = if count > examples.len() as u64 {
        ", …"
    } else {
        ""
    };
    format!("{what} {count}: {}{more}", examples.join("; "))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds of a run are far below 2^52"
)]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000_000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^52"
)]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        (count as f64 / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}
