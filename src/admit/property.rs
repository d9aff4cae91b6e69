//! A naive admission, written from the rules without regard to cost, and the property that the real one agrees with it.

use std::collections::HashMap;

use proptest::prelude::*;

use crate::{
    event::{AppName, CallIds, CallKey, ServerCallKey},
    route::{Destination, DestinationId, QueueType, Target},
};

use super::{
    Admission, AdmissionDecision, AdmissionLimits, CallRule, EventFacts, EventIdentity, Offer,
};

const DAY: i64 = 86_400_000;
const MINUTE: i64 = 60_000;

#[derive(Clone, Debug)]
enum Meaning {
    One(String),
    Many,
}

/// Full names instead of digests, no cleanup, and expiry is checked at each lookup.
#[derive(Clone, Debug, Default)]
struct Model {
    now: i64,
    seen: HashMap<(String, Identity2), i64>,
    /// Last use of each call key.
    calls: HashMap<(String, String), i64>,
    bindings: HashMap<(&'static str, String, String), (Meaning, i64)>,
    sequences: HashMap<(String, String, u32), (i64, i64)>,
}

type Identity2 = (Option<(String, String)>, u128);

impl Model {
    fn decide(&mut self, app: &str, offer: &Offer) -> Option<(Option<String>, Vec<Option<i64>>)> {
        let identity = (offer.identity.named.clone(), offer.identity.digest);
        let span = if identity.0.is_some() { DAY } else { MINUTE };
        let now = self.now;
        if self
            .seen
            .get(&(app.to_owned(), identity.clone()))
            .is_some_and(|at| at + span > now)
        {
            return None;
        }
        self.seen.insert((app.to_owned(), identity), now);
        let call = match &offer.call {
            _ if offer.facts.quarantine.is_some() => None,
            CallRule::Path(key) => key.as_ref().map(ToString::to_string),
            CallRule::Auto => self.resolve(app, &offer.ids),
        };
        if let Some(call) = &call {
            self.use_call(app, call);
        }
        let sequences = (0..)
            .take(offer.targets.len())
            .map(|place| {
                let call = call.clone()?;
                let (next, used) = self
                    .sequences
                    .entry((app.to_owned(), call, place))
                    .or_insert((1, now));
                if *used + DAY <= now {
                    *next = 1;
                }
                *used = now;
                *next += 1;
                Some(*next - 1)
            })
            .collect();
        Some((call, sequences))
    }

    fn resolve(&mut self, app: &str, ids: &CallIds) -> Option<String> {
        let server = ids.server_call.as_ref().map(|id| {
            (
                "server",
                app.to_owned(),
                ServerCallKey::new(id).as_str().to_owned(),
            )
        });
        let recording = ids
            .recording
            .as_ref()
            .map(|id| ("recording", app.to_owned(), id.clone()));
        let context = ids
            .operation_context
            .as_ref()
            .map(|id| ("context", app.to_owned(), id.clone()));
        let in_use = ids.recording_endpoint.as_ref().filter(|endpoint| {
            self.calls
                .get(&(app.to_owned(), endpoint.to_string()))
                .is_some_and(|used| used + DAY > self.now)
        });
        let others = [
            server.clone().zip(ids.server_call.as_ref()),
            recording.clone().zip(ids.recording.as_ref()),
        ];
        let bound = others
            .iter()
            .flatten()
            .find_map(|(name, _)| match self.look(name) {
                Some(Meaning::One(call)) => Some(call),
                _ => None,
            });
        let first = others.iter().flatten().map(|(_, id)| (*id).clone()).next();
        let call = if let Some(connection) = ids.connection.as_ref().or(in_use) {
            connection.clone()
        } else if let Some(call) = bound.or(first) {
            call
        } else {
            let call = match self.look(context.as_ref()?)? {
                Meaning::One(call) => Some(call),
                Meaning::Many => None,
            };
            self.touch(&context?);
            return call;
        };
        for name in [server, recording].into_iter().flatten() {
            match self.look(&name) {
                Some(Meaning::One(other)) => {
                    self.touch(&name);
                    self.use_call(app, &other);
                }
                _ => {
                    self.bindings
                        .insert(name, (Meaning::One(call.clone()), self.now));
                }
            }
        }
        if let Some(name) = context {
            let meaning = match self.look(&name) {
                Some(Meaning::One(other)) if other == call => Meaning::One(other),
                Some(_) => Meaning::Many,
                None => Meaning::One(call.clone()),
            };
            self.bindings.insert(name, (meaning, self.now));
        }
        Some(call)
    }

    fn use_call(&mut self, app: &str, call: &str) {
        self.calls
            .insert((app.to_owned(), call.to_owned()), self.now);
    }

    fn look(&self, name: &(&'static str, String, String)) -> Option<Meaning> {
        self.bindings
            .get(name)
            .filter(|(_, used)| used + DAY > self.now)
            .map(|(meaning, _)| meaning.clone())
    }

    fn touch(&mut self, name: &(&'static str, String, String)) {
        if let Some((_, used)) = self.bindings.get_mut(name) {
            *used = self.now;
        }
    }
}

fn offer(call: (CallIds, CallRule), named: Option<u8>, digest: u8, targets: u8) -> Offer {
    let identity = EventIdentity {
        named: named.map(|id| ("source".into(), id.to_string())),
        digest: digest.into(),
    };
    let targets = (0..targets)
        .map(|place| Target::Queue {
            name: format!("q{place}").into(),
            partitions: None,
            queue_type: QueueType::Quorum,
        })
        .collect();
    let app = AppName::try_from("a".to_owned()).unwrap();
    let facts = EventFacts::new(app, jiff::Timestamp::UNIX_EPOCH);
    Offer::new(
        identity,
        call,
        targets,
        facts,
        bytes::Bytes::from_static(b"{}"),
    )
}

fn id(prefix: &'static str) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        3 => Just(None),
        2 => (0..3_u8).prop_map(move |n| Some(format!("{prefix}{n}"))),
        // The other spelling of the same server call.
        1 => (0..3_u8).prop_map(move |n| Some(format!("{prefix}{n}=="))),
    ]
}

/// A connection id; for a recording event the endpoint of the recording, which may be a call's connection.
fn connections() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    prop_oneof![
        3 => id("c").prop_map(|connection| (connection, None)),
        1 => id("c").prop_map(|endpoint| (None, endpoint)),
    ]
}

fn offers() -> impl Strategy<Value = Offer> {
    let ids = (connections(), id("s"), id("r"), id("o")).prop_map(
        |((connection, recording_endpoint), server_call, recording, operation_context)| CallIds {
            connection,
            recording_endpoint,
            server_call,
            recording,
            operation_context,
            correlation: None,
        },
    );
    let rule = prop_oneof![
        9 => ids.prop_map(|ids| (ids, CallRule::Auto)),
        1 => id("p").prop_map(|key| (CallIds::default(), CallRule::Path(key.and_then(CallKey::new)))),
    ];
    (rule, proptest::option::of(0..20_u8), 0..20_u8, 1..3_u8)
        .prop_map(|(rule, named, digest, targets)| offer(rule, named, digest, targets))
}

#[derive(Clone, Debug)]
struct Group {
    wait: i64,
    callbacks: Vec<(bool, bool, Vec<Offer>)>,
    fails: bool,
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let wait = prop_oneof![
        4 => Just(0),
        4 => Just(1_000),
        4 => Just(MINUTE),
        4 => Just(DAY / 3),
        4 => Just(DAY),
        // For a caller whose clock goes back: until it has caught up no time passes.
        1 => Just(-MINUTE),
        1 => Just(-2 * DAY),
    ];
    let callback = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::collection::vec(offers(), 1..4),
    );
    let group = (
        wait,
        prop::collection::vec(callback, 1..4),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(wait, callbacks, fails)| Group {
            wait,
            callbacks,
            fails,
        });
    prop::collection::vec(group, 1..25)
}

proptest! {
    #[test]
    fn admission_decides_as_the_model_does(groups in groups()) {
        let mut admission = Admission::new(AdmissionLimits::default());
        // Before any time that a caller may have.
        let mut model = Model { now: i64::MIN / 2, ..Model::default() };
        let mut names: Vec<Destination> = Vec::new();
        let mut now = 0;
        for group in groups {
            now += group.wait;
            admission.begin(now);
            model.now = model.now.max(now);
            let before = model.clone();
            let mut pending = Vec::new();
            for (first_app, refused, offers) in group.callbacks {
                let app = AppName::try_from(if first_app { "a" } else { "b" }.to_owned()).unwrap();
                let mark = admission.mark();
                let kept = model.clone();
                let kept_pending = pending.len();
                for offer in offers {
                    let verdict = admission.decide(&app, &offer, &mut |destination| {
                        let place = names.iter().position(|name| *name == destination).unwrap_or_else(|| {
                            names.push(destination);
                            names.len() - 1
                        });
                        DestinationId(u32::try_from(place).unwrap())
                    });
                    let expected = model.decide(app.as_str(), &offer);
                    match (verdict, expected) {
                        (AdmissionDecision::Duplicate, None) => {}
                        (AdmissionDecision::New { call, placed }, Some((expected_call, sequences))) => {
                            prop_assert_eq!(call.map(|key| key.to_string()), expected_call);
                            let found: Vec<_> = placed.iter().map(|placed| placed.line.map(|line| line.sequence)).collect();
                            prop_assert_eq!(found, sequences);
                            pending.extend(placed.iter().filter_map(|placed| placed.line.map(|line| line.slot)));
                        }
                        other => prop_assert!(false, "they disagree: {:?}", other),
                    }
                }
                if refused {
                    admission.roll_back_to(mark);
                    model = kept;
                    pending.truncate(kept_pending);
                }
            }
            if group.fails {
                admission.roll_back();
                model = before;
            } else {
                admission.commit();
                // Confirmed at once, so that nothing pending keeps an entry alive.
                for slot in pending {
                    admission.settled(slot);
                }
            }
        }
    }
}

fn decide(admission: &mut Admission, offer: &Offer) -> AdmissionDecision {
    let app = AppName::try_from("a".to_owned()).unwrap();
    admission.decide(&app, offer, &mut |_| DestinationId(0))
}

fn connection(key: &str, digest: u8) -> Offer {
    let ids = CallIds {
        connection: Some(key.into()),
        ..CallIds::default()
    };
    offer((ids, CallRule::Auto), None, digest, 1)
}

fn line(verdict: &AdmissionDecision) -> super::SequencePlace {
    match verdict {
        AdmissionDecision::New { placed, .. } => placed[0].line.unwrap(),
        AdmissionDecision::Duplicate => panic!("taken for a duplicate"),
    }
}

#[test]
fn a_sequence_does_not_expire_while_a_delivery_of_it_is_pending() {
    let mut admission = Admission::new(AdmissionLimits::default());
    admission.begin(0);
    let first = line(&decide(&mut admission, &connection("c", 1)));
    admission.commit();
    admission.begin(3 * DAY);
    let second = line(&decide(&mut admission, &connection("c", 2)));
    assert_eq!((second.sequence, second.call), (2, first.call));
    admission.commit();
    admission.settled(first.slot);
    admission.settled(second.slot);
    admission.begin(4 * DAY);
    assert_eq!(
        line(&decide(&mut admission, &connection("c", 3))).sequence,
        1
    );
}

#[test]
fn beyond_the_limit_the_least_lately_used_call_leaves_early_and_is_counted() {
    let mut admission = Admission::new(AdmissionLimits {
        duplicates: 10,
        calls: 2,
    });
    for (now, key) in [(1, "c1"), (2, "c2"), (3, "c1"), (4, "c3")] {
        admission.begin(now);
        let digest = u8::try_from(now).unwrap();
        let slot = line(&decide(&mut admission, &connection(key, digest))).slot;
        admission.commit();
        admission.settled(slot);
    }
    admission.begin(5);
    assert_eq!(admission.calls(), 2);
    assert!(admission.take_calls_evicted() >= 1);
    assert_eq!(
        line(&decide(&mut admission, &connection("c1", 9))).sequence,
        3
    );
    assert_eq!(
        line(&decide(&mut admission, &connection("c2", 10))).sequence,
        1
    );
}

#[test]
fn a_clock_that_was_put_back_forgets_nothing_and_repeats_nothing() {
    let mut admission = Admission::new(AdmissionLimits::default());
    admission.begin(DAY);
    assert_ne!(
        decide(&mut admission, &connection("c", 1)),
        AdmissionDecision::Duplicate
    );
    admission.commit();
    admission.begin(0);
    assert_eq!(
        decide(&mut admission, &connection("c", 1)),
        AdmissionDecision::Duplicate
    );
}

#[test]
fn a_group_writes_each_row_once() {
    let mut admission = Admission::new(AdmissionLimits::default());
    admission.begin(0);
    for digest in 0..5 {
        decide(&mut admission, &connection("c", digest));
    }
    let changes = admission.changes();
    assert_eq!(
        (
            changes.duplicates.len(),
            changes.calls.len(),
            changes.sequences.len()
        ),
        (5, 1, 1)
    );
    assert_eq!(changes.sequences[0].next, 6);
    admission.commit();
    admission.begin(MINUTE);
    decide(&mut admission, &connection("c", 9));
    assert_eq!(
        admission.changes().calls.len(),
        0,
        "its last use is known well enough"
    );
}

#[test]
fn a_binding_in_use_keeps_the_call_that_it_names() {
    let with = |connection: Option<&str>, digest| {
        let ids = CallIds {
            connection: connection.map(Into::into),
            server_call: Some("s".into()),
            ..CallIds::default()
        };
        offer((ids, CallRule::Auto), None, digest, 1)
    };
    let mut admission = Admission::new(AdmissionLimits::default());
    for (hours, connection) in [(0, "first"), (16, "second")] {
        admission.begin(hours * DAY / 24);
        let slot = line(&decide(&mut admission, &with(Some(connection), 1))).slot;
        admission.commit();
        admission.settled(slot);
    }
    admission.begin(DAY);
    match decide(&mut admission, &with(None, 2)) {
        AdmissionDecision::New { call, .. } => assert_eq!(call, CallKey::new("first")),
        AdmissionDecision::Duplicate => panic!("taken for a duplicate"),
    }
}
