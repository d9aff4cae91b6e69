//! Lanes: the events of one call to one URL, posted one after the other by a task that lives while there are any.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::{Builder, Uuid};

use super::{
    super::wire::Rendered,
    event::{EventTarget, InFlightEvent},
    misbehave::{EventCoordinates, EventFate, Misbehaviour, MisbehaviourKind, randomness},
    plan::{Planner, PlannerStep},
    post::{Poster, Recipient},
};
use rand::RngExt;

/// All lanes of a run.
pub(super) struct Lanes {
    state: Mutex<DeliveryState>,
    pub(super) poster: Poster,
    pub(super) seed: u64,
    pub(super) misbehave: Misbehaviour,
    /// Whether Event Grid may deliver.
    pub(super) consent: watch::Receiver<bool>,
    /// How many lanes have something to do.
    busy: watch::Sender<usize>,
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

#[derive(Default)]
struct DeliveryState {
    calls: HashMap<LaneKey, HashMap<String, Lane>>,
    /// Events of each call so far, by `EventCoordinates` without the index. Kept until the end of the run: ids are
    /// derived from them.
    told: HashMap<(bool, u64), u64>,
    /// Nothing is held back any more.
    closing: bool,
}

/// A call leg by its connection id, or a conversation at Event Grid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LaneKey {
    grid: bool,
    connection: String,
}

struct Lane {
    /// Bounded by the events of the run's calls: an event leaves when it is accepted or given up.
    planner: Planner<Arc<InFlightEvent>>,
    runs: bool,
    wake: Arc<Notify>,
}

impl Lanes {
    pub(super) fn new(
        poster: Poster,
        seed: u64,
        misbehave: Misbehaviour,
        consent: watch::Receiver<bool>,
        runtime: Handle,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            poster,
            seed,
            misbehave,
            consent,
            busy: watch::Sender::new(0),
            runtime,
            tasks,
            stop,
        })
    }

    /// Puts an event into its lane; `render` gives it its form, or `None` if the generation does not have it. `extra`:
    /// the misbehaviour that the event itself is.
    pub(super) fn tell(
        self: &Arc<Self>,
        to: Recipient,
        extra: Option<MisbehaviourKind>,
        render: impl FnOnce(Uuid) -> Option<Rendered>,
    ) {
        let grid = matches!(to.dress, EventTarget::Grid(_));
        let now = self.poster.pace.now();
        let mut state = self.lock();
        let DeliveryState {
            calls,
            told,
            closing,
        } = &mut *state;
        let index = told.entry((grid, to.ordinal)).or_default();
        let of = EventCoordinates {
            grid,
            ordinal: to.ordinal,
            index: *index,
        };
        let Some(rendered) = render(id(self.seed, of)) else {
            return;
        };
        *index += 1;
        self.poster.log.told();
        let call = LaneKey {
            grid,
            connection: to.connection.clone(),
        };
        let lanes = calls.entry(call.clone()).or_default();
        let last = rendered.last;
        let lane = lanes.entry(to.url.clone()).or_insert_with(|| Lane {
            planner: Planner::default(),
            runs: false,
            wake: Arc::default(),
        });
        let fate = EventFate {
            extra,
            ..self.misbehave.fate(self.seed, of)
        };
        lane.planner
            .push(Arc::new(InFlightEvent::new(rendered)), fate, last, now);
        if !lane.runs {
            lane.runs = true;
            self.busy.send_modify(|busy| *busy += 1);
            let run = Arc::clone(self).run(call, to, Arc::clone(&lane.wake));
            self.tasks.spawn_on(run, &self.runtime);
        }
        // The end of a call is the end for its lanes to other URLs too.
        for lane in lanes.values_mut() {
            if last {
                lane.planner.end(now);
            }
            if *closing {
                lane.planner.flush(now);
            }
            lane.wake.notify_one();
        }
    }

    /// Releases everything that is held, now and from now on.
    pub(super) fn flush(&self) {
        let now = self.poster.pace.now();
        let mut state = self.lock();
        state.closing = true;
        for lane in state.calls.values_mut().flat_map(HashMap::values_mut) {
            lane.planner.flush(now);
            lane.wake.notify_one();
        }
    }

    /// Returns when nothing is queued, held, on its way or waiting for another attempt.
    pub(super) async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // An error would mean that `self.busy` is gone.
        drop(busy.wait_for(|busy| *busy == 0).await);
    }

    async fn run(self: Arc<Self>, call: LaneKey, to: Recipient, wake: Arc<Notify>) {
        // `None`: stopped from outside with something left.
        self.stop
            .run_until_cancelled(self.work(&call, &to, &wake))
            .await;
        self.busy.send_modify(|busy| *busy -= 1);
    }

    async fn work(&self, call: &LaneKey, to: &Recipient, wake: &Notify) {
        if call.grid {
            // Events accumulate until the webhook consents. An error: it never will, because the run ends.
            let mut consent = self.consent.clone();
            if consent.wait_for(|yes| *yes).await.is_err() {
                return;
            }
        }
        loop {
            match self.step(call, &to.url) {
                PlannerStep::PlannedPost(post) => self.poster.deliver(to, &post).await,
                PlannerStep::Wait(until) => {
                    let wait = until.saturating_sub(self.poster.pace.now());
                    tokio::select! {
                        () = tokio::time::sleep(self.poster.pace.real(wait)) => {}
                        () = wake.notified() => {}
                    }
                }
                PlannerStep::Idle => return,
            }
        }
    }

    /// What the lane does next. An empty lane is marked so under the lock: `tell` starts it again.
    fn step(&self, call: &LaneKey, url: &str) -> PlannerStep<Arc<InFlightEvent>> {
        let now = self.poster.pace.now();
        let mut state = self.lock();
        let lane = state
            .calls
            .get_mut(call)
            .and_then(|lanes| lanes.get_mut(url));
        let Some(lane) = lane else {
            return PlannerStep::Idle;
        };
        let step = lane.planner.next(now);
        lane.runs = !matches!(step, PlannerStep::Idle);
        step
    }

    fn lock(&self) -> MutexGuard<'_, DeliveryState> {
        self.state.lock().expect("planning does not panic")
    }
}

/// Looks like a UUID of version 4, and is the same in a repetition of the run.
fn id(seed: u64, of: EventCoordinates) -> Uuid {
    Builder::from_random_bytes(randomness(seed, of, b'i').random()).into_uuid()
}
