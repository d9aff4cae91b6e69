//! The answers of the three probes (P7): rules on a snapshot of the health status, without I/O.

use serde::Serialize;

use crate::status::{BrokerState, DestinationState, HealthView, JournalState};

/// The answer to one probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// 200 if true, else 503.
    pub ok: bool,
    /// Why not; empty when `ok`.
    pub reasons: Vec<String>,
    /// Only of `/readyz`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub detail: Option<ReadinessDetail>,
}

/// What `/readyz` always lists, whether it makes the instance unready or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadinessDetail {
    pub journal: JournalState,
    pub broker: BrokerState,
    /// By channel name. The state of a single destination never makes an instance unready.
    pub destinations: Vec<DestinationDetail>,
    /// Things that an operator should know and that do not affect readiness.
    pub notices: Vec<String>,
}

/// The status of one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationDetail {
    pub name: String,
    pub state: DestinationState,
    /// Why, as text for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Probe {
    fn of(reasons: Vec<&str>) -> Self {
        Self {
            ok: reasons.is_empty(),
            reasons: reasons.into_iter().map(str::to_owned).collect(),
            detail: None,
        }
    }
}

/// Liveness: only what a restart repairs. A restart does not repair a full disk, a broker that is away or keys that
/// cannot be fetched, and a probe that failed for them would turn an outage into a crash loop.
#[must_use]
pub(super) fn livez(view: &HealthView, executor_stalled: bool) -> Probe {
    let mut reasons = Vec::new();
    let failed = with_why("the journal failed and accepts nothing until restart", view);
    let stalled = with_why("the journal is stalled", view);
    if view.journal == JournalState::Failed {
        reasons.push(failed.as_str());
    }
    if view.journal_dead {
        reasons.push(stalled.as_str());
    }
    if executor_stalled {
        reasons.push("the executor has not moved for a long time");
    }
    Probe::of(reasons)
}

fn with_why(reason: &str, view: &HealthView) -> String {
    match &view.journal_why {
        Some(why) => format!("{reason}: {why}"),
        None => reason.to_owned(),
    }
}

/// Start-up: configuration and schemas loaded, journal open and recovered, listeners bound. Never the broker.
#[must_use]
pub(super) fn startupz(view: &HealthView) -> Probe {
    Probe::of(match (view.started, view.journal) {
        (true, _) => vec![],
        (false, JournalState::Opening) => vec!["the journal is being opened or recovered"],
        (false, _) => vec!["start-up is not over"],
    })
}

/// Readiness: a callback accepted now will be kept. `broker_counts` is whether the broker counts as available, which
/// matters in `confirm` mode only: in `journal` mode a broker outage must not turn senders away.
#[must_use]
pub(super) fn readyz(view: &HealthView, broker_counts: bool) -> Probe {
    let mut reasons = Vec::new();
    let failed = with_why("the journal failed and accepts nothing until restart", view);
    let gone = with_why("the journal's files are gone", view);
    let stalled = with_why("the journal is stalled", view);
    if !view.started {
        reasons.push("start-up is not over");
    }
    if view.draining {
        reasons.push("shutting down");
    }
    match view.journal {
        JournalState::Writable => {}
        JournalState::Opening => reasons.push("the journal is being opened or recovered"),
        JournalState::Full => reasons.push("the journal is full"),
        JournalState::DiskFull => reasons.push("the journal's disk is full"),
        JournalState::Stalled => reasons.push(&stalled),
        JournalState::FilesGone => reasons.push(&gone),
        JournalState::Failed => reasons.push(&failed),
    }
    if view.needs_broker && !broker_counts {
        reasons.push("the broker does not take messages, and accept_after is \"confirm\"");
    }
    let detail = ReadinessDetail {
        journal: view.journal,
        broker: view.broker,
        destinations: view
            .destinations
            .iter()
            .map(|(name, (state, why))| DestinationDetail {
                name: name.clone(),
                state: *state,
                why: why.clone(),
            })
            .collect(),
        notices: view.notices.clone(),
    };
    Probe {
        detail: Some(detail),
        ..Probe::of(reasons)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    fn good() -> HealthView {
        HealthView {
            started: true,
            journal: JournalState::Writable,
            ..HealthView::default()
        }
    }

    /// Expected (live, started, ready).
    fn check(view: &HealthView, broker_counts: bool, expected: (bool, bool, bool)) {
        let found = (
            livez(view, false).ok,
            startupz(view).ok,
            readyz(view, broker_counts).ok,
        );
        assert_eq!(found, expected, "{view:?}");
    }

    #[test]
    fn the_health_matrix_of_the_journal() {
        for (journal, live, ready) in [
            (JournalState::Opening, true, false),
            (JournalState::Writable, true, true),
            (JournalState::Full, true, false),
            (JournalState::DiskFull, true, false),
            (JournalState::Stalled, true, false),
            (JournalState::FilesGone, true, false),
            (JournalState::Failed, false, false),
        ] {
            check(
                &HealthView { journal, ..good() },
                false,
                (live, true, ready),
            );
        }
    }

    #[test]
    fn before_the_start_is_over_nothing_but_liveness_is_good() {
        check(&HealthView::default(), false, (true, false, false));
    }

    #[test]
    fn a_draining_instance_lives_but_is_not_ready() {
        let view = HealthView {
            draining: true,
            ..good()
        };
        check(&view, true, (true, true, false));
    }

    #[test]
    fn only_confirm_mode_follows_the_broker() {
        check(&good(), false, (true, true, true));
        let confirm = HealthView {
            needs_broker: true,
            ..good()
        };
        check(&confirm, false, (true, true, false));
        check(&confirm, true, (true, true, true));
    }

    #[test]
    fn a_failing_destination_is_listed_and_the_instance_stays_ready() {
        for &state in DestinationState::VARIANTS {
            let mut view = good();
            view.notices.push("app contoso has no auth".into());
            view.destinations
                .insert("queue q".into(), (state, Some("because".into())));
            let probe = readyz(&view, false);
            assert!(probe.ok);
            let body = serde_json::to_value(&probe).unwrap();
            assert_eq!(body["destinations"][0]["state"], state.as_str());
            assert_eq!(body["destinations"][0]["why"], "because");
            assert_eq!(body["notices"][0], "app contoso has no auth");
            assert_eq!(body["journal"], "writable");
        }
    }

    #[test]
    fn every_probe_that_fails_says_why() {
        let failed = HealthView {
            journal: JournalState::Failed,
            ..HealthView::default()
        };
        for probe in [
            livez(&failed, false),
            livez(&good(), true),
            startupz(&failed),
            readyz(&failed, false),
        ] {
            assert!(!probe.ok && !probe.reasons.is_empty());
        }
        let gone = HealthView {
            journal: JournalState::FilesGone,
            journal_why: Some("the database was removed".into()),
            ..good()
        };
        assert_eq!(
            readyz(&gone, false).reasons,
            ["the journal's files are gone: the database was removed"]
        );
    }
}
