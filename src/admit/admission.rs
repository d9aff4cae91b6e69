//! The one place where duplicate, call key, sequence and partition are decided, one event at a time.
//!
//! Decisions are staged: later decisions of the same group see them, but they can be rolled back to any [`StagePoint`],
//! and they count only once [`Admission::commit`] has been called, which is after the transaction that holds
//! [`Admission::changes`]. The caller passes in the time, in milliseconds of any clock; it must not be one that can be
//! set. An earlier time than before changes nothing.

mod resolve;
mod restore;

use crate::{
    event::{AppName, CallKey},
    route::{Destination, DestinationId},
};

use super::{
    CallRule, Offer,
    changes::{BindingRow, CallRow, Changes, DuplicateRow, DuplicateWindowName, SequenceRow},
    digest::Digester,
    duplicate_window::DuplicateWindow,
    lru_table::{Hashed, LruSlot, LruTable},
};

const DAY: i64 = 24 * 60 * 60 * 1_000;
const MINUTE: i64 = 60 * 1_000;

/// A use is written to disk only when it is this much later than the last one written: after a restart an id may then
/// live this much longer than 24 h, and most events write no row for it.
const USE_GRAIN: i64 = 5 * MINUTE;

/// How much admission may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Keys in each duplicate window.
    pub duplicates: usize,
    /// Call keys, and as many bindings and sequences.
    pub calls: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            duplicates: 1_000_000,
            calls: 1_000_000,
        }
    }
}

/// A call key in use.
#[derive(Clone, Debug)]
struct CallEntry {
    app: AppName,
    key: CallKey,
}

/// The meaning of an id other than a call connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Binding {
    /// One call: its slot and, because slots are reused, its row.
    One(LruSlot, i64),
    /// An operation context that more than one call has used.
    #[default]
    Many,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct SequenceKey {
    call: i64,
    destination: u32,
}

impl Hashed for SequenceKey {
    fn hash(&self) -> u64 {
        // Rows are small consecutive numbers: spread them over all bits (Fibonacci hashing).
        (self.call.cast_unsigned() ^ (u64::from(self.destination) << 40))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sequence {
    call: LruSlot,
    next: i64,
}

impl Default for LruSlot {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

/// The decision about an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionDecision {
    /// Already known.
    Duplicate,
    /// To be kept and delivered.
    New {
        /// Its call; `None` for unkeyed and quarantined events.
        call: Option<CallKey>,
        /// Where it goes, one for each target.
        placed: Vec<PlacedDelivery>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedDelivery {
    pub destination: DestinationId,
    /// Sequence and place in line; `None` for unkeyed events.
    pub line: Option<SequencePlace>,
}

/// The place of a delivery in the line of its call at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencePlace {
    /// `hookswitch-sequence`.
    pub sequence: i64,
    /// Where the sequence is kept, for [`Admission::settled`].
    pub slot: LruSlot,
    /// Its row on disk.
    pub row: i64,
    /// Identifies the call while any of its deliveries is pending: equal numbers are the same call of the same app.
    pub call: u64,
}

/// A point in the stage to which it can be rolled back.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct StagePoint(usize);

#[derive(Clone, Copy, Debug)]
enum StagedStep {
    Remembered(DuplicateWindowName),
    CallAdded(LruSlot),
    CallUsed(LruSlot),
    BindingAdded(LruSlot),
    BindingUsed(LruSlot),
    /// With its previous value.
    BindingChanged(LruSlot, Binding),
    SequenceAdded(LruSlot),
    SequenceTaken(LruSlot),
}

/// Rows that were dropped from memory and are still on disk.
#[derive(Debug, Default)]
struct RowsToDelete {
    calls: Vec<i64>,
    bindings: Vec<i64>,
    sequences: Vec<i64>,
}

/// The state by which later events are judged.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    now: i64,
    named: DuplicateWindow,
    unnamed: DuplicateWindow,
    calls: LruTable<u128, Option<CallEntry>>,
    bindings: LruTable<u128, Binding>,
    sequences: LruTable<SequenceKey, Sequence>,
    digester: Digester,
    stage: Vec<StagedStep>,
    gone: RowsToDelete,
    /// First positions of the windows as stored on disk.
    window_starts: [i64; 2],
    duplicates_evicted: u64,
    calls_evicted: u64,
}

impl Admission {
    /// An empty state.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            now: i64::MIN / 2,
            named: DuplicateWindow::new(DAY, limits.duplicates),
            unnamed: DuplicateWindow::new(MINUTE, limits.duplicates),
            calls: LruTable::new(),
            bindings: LruTable::new(),
            sequences: LruTable::new(),
            digester: Digester::default(),
            stage: Vec::new(),
            gone: RowsToDelete::default(),
            window_starts: [0; 2],
            duplicates_evicted: 0,
            calls_evicted: 0,
        }
    }

    /// Begins a group at `now`: entries that have expired by then are dropped.
    pub fn begin(&mut self, now: i64) {
        debug_assert!(
            self.stage.is_empty(),
            "a group is committed or rolled back before the next"
        );
        self.now = self.now.max(now);
        self.trim();
    }

    /// Decides about one event. `intern` gives the numbers of destinations.
    pub fn decide(
        &mut self,
        app: &AppName,
        offer: &Offer,
        intern: &mut dyn FnMut(Destination) -> DestinationId,
    ) -> AdmissionDecision {
        let (name, key) = self.digester.identity(app, &offer.identity);
        if self.window(name).contains(key) {
            return AdmissionDecision::Duplicate;
        }
        let now = self.now;
        self.window(name).push(key, now);
        self.stage.push(StagedStep::Remembered(name));

        let call = if offer.facts.quarantine.is_some() {
            None
        } else {
            match &offer.call {
                CallRule::Auto => self.resolve(app, &offer.ids),
                CallRule::Path(key) => key.as_ref().map(|key| self.use_call(app, key)),
            }
        };
        let key =
            call.and_then(|slot| self.calls.value(slot).as_ref().map(|call| call.key.clone()));
        let placed = offer
            .targets
            .iter()
            .map(|target| {
                let destination = intern(target.place(key.as_ref()));
                PlacedDelivery {
                    destination,
                    line: call.map(|call| self.take(call, destination)),
                }
            })
            .collect();
        AdmissionDecision::New { call: key, placed }
    }

    /// Readmits an event that was salvaged from a damaged journal: its key is known, but its sequence is not taken
    /// over, because the new journal has an id of its own.
    pub fn readmit(
        &mut self,
        app: &AppName,
        call: Option<&CallKey>,
        destination: DestinationId,
    ) -> PlacedDelivery {
        let line = call.map(|key| {
            let call = self.use_call(app, key);
            self.take(call, destination)
        });
        PlacedDelivery { destination, line }
    }

    /// The latest time seen.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The current point in the stage.
    pub fn mark(&self) -> StagePoint {
        StagePoint(self.stage.len())
    }

    /// Rolls back everything decided since `mark`.
    pub fn roll_back_to(&mut self, mark: StagePoint) {
        while self.stage.len() > mark.0 {
            match self.stage.pop() {
                Some(StagedStep::Remembered(name)) => self.window(name).pop(),
                Some(StagedStep::CallAdded(slot)) => drop(self.calls.remove(slot)),
                Some(StagedStep::BindingAdded(slot)) => {
                    self.bindings.remove(slot);
                }
                Some(StagedStep::BindingChanged(slot, before)) => {
                    *self.bindings.value_mut(slot) = before
                }
                Some(StagedStep::SequenceAdded(slot)) => {
                    self.sequences.remove(slot);
                }
                Some(StagedStep::SequenceTaken(slot)) => self.sequences.value_mut(slot).next -= 1,
                Some(StagedStep::CallUsed(_) | StagedStep::BindingUsed(_)) | None => {}
            }
        }
    }

    /// Rolls back the whole group.
    pub fn roll_back(&mut self) {
        self.roll_back_to(StagePoint(0));
    }

    /// What the transaction of this group must write, each row once.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut changes = Changes {
            forget_before: [
                (DuplicateWindowName::Named, &self.named),
                (DuplicateWindowName::Unnamed, &self.unnamed),
            ]
            .into_iter()
            .zip(self.window_starts)
            .filter(|((_, window), stored)| window.first() != *stored)
            .map(|((name, window), _)| (name, window.first()))
            .collect(),
            calls_gone: self.gone.calls.clone(),
            bindings_gone: self.gone.bindings.clone(),
            sequences_gone: self.gone.sequences.clone(),
            ..Changes::default()
        };
        let (mut calls, mut bindings, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
        let mut remembered = [0_i64; 2];
        for step in &self.stage {
            match *step {
                StagedStep::Remembered(name) => {
                    let [named, unnamed] = &mut remembered;
                    *match name {
                        DuplicateWindowName::Named => named,
                        DuplicateWindowName::Unnamed => unnamed,
                    } += 1;
                }
                StagedStep::CallAdded(slot) | StagedStep::CallUsed(slot) => calls.push(slot),
                StagedStep::BindingAdded(slot)
                | StagedStep::BindingUsed(slot)
                | StagedStep::BindingChanged(slot, _) => bindings.push(slot),
                StagedStep::SequenceAdded(_) => {}
                StagedStep::SequenceTaken(slot) => sequences.push(slot),
            }
        }
        let [named, unnamed] = remembered;
        for (name, window, count) in [
            (DuplicateWindowName::Named, &self.named, named),
            (DuplicateWindowName::Unnamed, &self.unnamed, unnamed),
        ] {
            let next = window.next();
            changes
                .duplicates
                .extend((next - count..next).filter_map(|position| {
                    let (key, at) = window.get(position)?;
                    Some(DuplicateRow {
                        window: name,
                        position,
                        key,
                        at,
                    })
                }));
        }
        changes.calls = once_each(calls)
            .filter(|&slot| self.is_stale(self.calls.stored(slot)))
            .filter_map(|slot| {
                let call = self.calls.value(slot).as_ref()?;
                Some(CallRow {
                    row: self.calls.row(slot),
                    app: call.app.clone(),
                    key: call.key.clone(),
                    used: self.now,
                })
            })
            .collect();
        let changed: Vec<LruSlot> = self
            .stage
            .iter()
            .filter_map(|step| match step {
                StagedStep::BindingChanged(slot, _) => Some(*slot),
                _ => None,
            })
            .collect();
        changes.bindings = once_each(bindings)
            .filter(|slot| self.is_stale(self.bindings.stored(*slot)) || changed.contains(slot))
            .map(|slot| BindingRow {
                row: self.bindings.row(slot),
                id: self.bindings.key(slot),
                call: match *self.bindings.value(slot) {
                    Binding::One(_, row) => Some(row),
                    Binding::Many => None,
                },
                used: self.now,
            })
            .collect();
        changes.sequences = once_each(sequences)
            .map(|slot| {
                let key = self.sequences.key(slot);
                SequenceRow {
                    row: self.sequences.row(slot),
                    call: key.call,
                    destination: DestinationId(key.destination),
                    next: self.sequences.value(slot).next,
                    used: self.now,
                }
            })
            .collect();
        changes
    }

    /// The group is durable: its decisions count from now on, and its deliveries are pending.
    pub fn commit(&mut self) {
        let now = self.now;
        for step in std::mem::take(&mut self.stage) {
            match step {
                StagedStep::Remembered(_) | StagedStep::SequenceAdded(_) => {}
                StagedStep::CallAdded(slot) | StagedStep::CallUsed(slot) => {
                    self.calls.touch(slot, now);
                    if self.is_stale(self.calls.stored(slot)) {
                        self.calls.set_stored(slot, now);
                    }
                }
                StagedStep::BindingAdded(slot)
                | StagedStep::BindingUsed(slot)
                | StagedStep::BindingChanged(slot, _) => {
                    self.bindings.touch(slot, now);
                    if self.is_stale(self.bindings.stored(slot)) {
                        self.bindings.set_stored(slot, now);
                    }
                }
                StagedStep::SequenceTaken(slot) => {
                    self.sequences.touch(slot, now);
                    self.pin(slot);
                }
            }
        }
        self.gone = RowsToDelete::default();
        self.window_starts = [self.named.first(), self.unnamed.first()];
        self.trim();
    }

    /// A delivery with this line is no longer pending; true if another one of its call still is.
    pub fn settled(&mut self, line: LruSlot) -> bool {
        let call = self.sequences.value(line).call;
        self.sequences.unpin(line, self.now);
        self.calls.unpin(call, self.now);
        self.calls.is_pinned(call)
    }

    /// Call keys in use.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Duplicate keys dropped early because of the limit, since the last call.
    pub fn take_duplicates_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.duplicates_evicted)
    }

    /// Call keys, bindings and sequences dropped early because of the limit, since the last call.
    pub fn take_calls_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.calls_evicted)
    }

    fn window(&mut self, name: DuplicateWindowName) -> &mut DuplicateWindow {
        match name {
            DuplicateWindowName::Named => &mut self.named,
            DuplicateWindowName::Unnamed => &mut self.unnamed,
        }
    }

    fn is_stale(&self, stored: i64) -> bool {
        stored.saturating_add(USE_GRAIN) <= self.now
    }

    fn pin(&mut self, sequence: LruSlot) {
        let call = self.sequences.value(sequence).call;
        self.sequences.pin(sequence);
        self.calls.pin(call);
    }

    /// Drops entries that have expired, and those beyond the limit.
    fn trim(&mut self) {
        self.duplicates_evicted += self.named.trim(self.now) + self.unnamed.trim(self.now);
        let (now, limit) = (self.now, self.limits.calls);
        let mut early = 0;
        // Sequences before calls: a sequence needs its call.
        early += drop_old(&mut self.sequences, now, limit, &mut self.gone.sequences);
        early += drop_old(&mut self.bindings, now, limit, &mut self.gone.bindings);
        early += drop_old(&mut self.calls, now, limit, &mut self.gone.calls);
        self.calls_evicted += early;
    }
}

fn once_each(mut slots: Vec<LruSlot>) -> impl Iterator<Item = LruSlot> {
    slots.sort_unstable();
    slots.dedup();
    slots.into_iter()
}

fn drop_old<K: Hashed + Copy + Default, V: Default>(
    table: &mut LruTable<K, V>,
    now: i64,
    limit: usize,
    gone: &mut Vec<i64>,
) -> u64 {
    let mut early = 0;
    while let Some((slot, used)) = table.oldest() {
        if used.saturating_add(DAY) > now {
            if table.len() <= limit {
                break;
            }
            early += 1;
        }
        gone.push(table.row(slot));
        table.remove(slot);
    }
    early
}
