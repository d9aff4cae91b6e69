//! The log of commits, folded at any time and replayed after a kill, against a model.

use std::{collections::HashMap, fs, path::Path};

use proptest::prelude::*;
use tempfile::TempDir;

use super::recovery::runtime;
use crate::{
    dispatch::DeliveryId,
    journal::{
        Admitted,
        open::Tuning,
        stage::name,
        test_support::{Running, event, settings},
    },
    route::QUARANTINE,
};

const QUEUES: [&str; 2] = ["q", "r"];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Some events of a call, for the first so many queues.
    Accept {
        call: u8,
        events: u8,
        queues: usize,
    },
    /// The pending delivery at this place, modulo their number, is confirmed.
    Deliver(usize),
    /// It is refused alone, and moves to quarantine.
    Poison(usize),
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4_u8, 1..4_u8, 1..=2_usize)
            .prop_map(|(call, events, queues)| Step::Accept { call, events, queues }),
        5 => any::<usize>().prop_map(Step::Deliver),
        2 => any::<usize>().prop_map(Step::Poison),
        2 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    id: DeliveryId,
    event: String,
    sequence: Option<i64>,
    queue: &'static str,
}

#[derive(Default)]
struct Model {
    /// In order of their ids.
    pending: Vec<Pending>,
    next: HashMap<(u8, usize), i64>,
    events: Vec<(u8, String, usize)>,
}

fn open(path: &Path, fold_bytes: usize) -> Running {
    let tuning = Tuning {
        fold_bytes,
        // Every payload comes from the disk.
        cache_bytes: 0,
        ..Tuning::default()
    };
    Running::tuned(&settings(path), tuning).unwrap()
}

/// What SIGKILL leaves.
fn killed(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["journal.db", "journal.db-wal", "mark"] {
        fs::copy(path.join(file), copy.path().join(file)).unwrap();
    }
    fs::hard_link(path.join("reserve"), copy.path().join("reserve")).unwrap();
    copy
}

/// Everything that is pending can be read as it was accepted.
async fn compare(running: &Running, model: &Model) {
    for pending in &model.pending {
        let payload = running.journal.payloads.fetch(pending.id).await.unwrap();
        assert_eq!(payload.record.facts.event_id, pending.event);
        assert_eq!(payload.sequence, pending.sequence, "{pending:?}");
        assert_eq!(name(&payload.destination), pending.queue, "{pending:?}");
        assert_eq!(payload.moved.is_some(), pending.queue == QUARANTINE);
        assert!(!payload.record.facts.recovered);
    }
}

async fn take(running: &mut Running, model: &mut Model, step: Step) {
    match step {
        Step::Accept {
            call,
            events,
            queues,
        } => {
            let names: Vec<_> = (0..events)
                .map(|_| {
                    let name = format!("{:04}", model.events.len());
                    model.events.push((call, name.clone(), queues));
                    name
                })
                .collect();
            let offers = names
                .iter()
                .map(|name| event(&call.to_string(), name, &QUEUES[..queues]))
                .collect();
            running.accept(offers).await;
            let owed = running.owed(names.len() * queues).await;
            for (place, owed) in owed.into_iter().enumerate() {
                let next = model.next.entry((call, place % queues)).or_insert(0);
                *next += 1;
                model.pending.push(Pending {
                    id: owed.delivery,
                    event: names[place / queues].clone(),
                    sequence: Some(*next),
                    queue: QUEUES[place % queues],
                });
            }
        }
        Step::Deliver(_) | Step::Poison(_) if model.pending.is_empty() => {}
        Step::Deliver(place) => {
            let place = place % model.pending.len();
            running.deliver([model.pending.remove(place).id]);
            let left = model.pending.len() as u64;
            running
                .until("it is settled", |counts| counts.pending == left)
                .await;
        }
        Step::Poison(place) => {
            let place = place % model.pending.len();
            if model.pending[place].queue == QUARANTINE {
                return;
            }
            let mut pending = model.pending.remove(place);
            running.poison(pending.id);
            pending.queue = QUARANTINE;
            pending.id = running.owed(1).await[0].delivery;
            model.pending.push(pending);
        }
        Step::Kill => {}
    }
}

/// The id of a settled delivery is not used again while its record is there.
#[test]
fn a_move_after_a_restart_is_not_taken_for_a_settled_sibling() {
    let accept = |queues| Step::Accept {
        call: 0,
        events: 1,
        queues,
    };
    runtime().block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let mut running = open(directory.path(), usize::MAX);
        for step in [accept(1), Step::Deliver(0), accept(2), Step::Deliver(1)] {
            take(&mut running, &mut model, step).await;
        }
        for step in [Step::Poison(0), Step::Kill] {
            running.close();
            running = open(directory.path(), usize::MAX);
            running.owed(1).await;
            take(&mut running, &mut model, step).await;
        }
        assert_eq!(model.pending.len(), 1);
        compare(&running, &model).await;
        running.close();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whenever_the_log_is_folded_and_the_process_killed_nothing_is_lost_or_comes_back(
        steps in steps(),
        fold_bytes in prop_oneof![Just(0), 100..3_000_usize, Just(usize::MAX)],
    ) {
        runtime().block_on(async {
            let mut directory = tempfile::tempdir().unwrap();
            let mut running = open(directory.path(), fold_bytes);
            let mut model = Model::default();
            for step in steps.into_iter().chain([Step::Kill]) {
                take(&mut running, &mut model, step).await;
                if let Step::Kill = step {
                    let copy = killed(directory.path());
                    running.close();
                    directory = copy;
                    running = open(directory.path(), fold_bytes);
                    let expected: Vec<_> = model.pending.iter().map(|pending| pending.id).collect();
                    let owed = running.owed(expected.len()).await;
                    let owed: Vec<_> = owed.iter().map(|owed| owed.delivery).collect();
                    assert_eq!(owed, expected);
                }
                compare(&running, &model).await;
            }
            // Nothing of it is accepted again.
            for (call, name, queues) in &model.events {
                let again = event(&call.to_string(), name, &QUEUES[..*queues]);
                assert_eq!(running.submit(vec![again]).await, Ok(vec![Admitted::Duplicate]));
            }
            running.close();
        });
    }
}
