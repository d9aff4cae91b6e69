//! Fills admission with the state on disk when the journal is opened.

use crate::{
    admit::{changes::DuplicateRow, lru_table::LruSlot},
    event::{AppName, CallKey},
    route::DestinationId,
};

use super::{Admission, Binding, CallEntry, Sequence, SequenceKey, USE_GRAIN};

impl Admission {
    /// A duplicate key; in order of position.
    pub fn restore_duplicate(&mut self, row: DuplicateRow) {
        self.now = self.now.max(row.at);
        self.window(row.window)
            .restore(row.position, row.key, row.at);
        self.window_starts = [self.named.first(), self.unnamed.first()];
    }

    /// A call key; least recently used first.
    pub fn restore_call(&mut self, row: i64, app: AppName, key: CallKey, used: i64) -> LruSlot {
        self.now = self.now.max(used);
        let hash = self.digester.call(&app, &key);
        let slot = self.calls.restore(
            hash,
            Some(CallEntry { app, key }),
            row,
            used.saturating_add(USE_GRAIN),
        );
        self.calls.set_stored(slot, used);
        slot
    }

    /// A binding; least recently used first. `call` is the result of [`Admission::restore_call`], `None` for an
    /// ambiguous binding.
    pub fn restore_binding(&mut self, row: i64, id: u128, call: Option<LruSlot>, used: i64) {
        self.now = self.now.max(used);
        let bound = call.map_or(Binding::Many, |slot| {
            Binding::One(slot, self.calls.row(slot))
        });
        let slot = self
            .bindings
            .restore(id, bound, row, used.saturating_add(USE_GRAIN));
        self.bindings.set_stored(slot, used);
    }

    /// A binding whose call is gone: its row may be deleted too.
    pub fn drop_binding(&mut self, row: i64) {
        self.bindings.leave_out(row);
        self.gone.bindings.push(row);
    }

    /// A sequence whose call is gone: its row may be deleted too.
    pub fn drop_sequence(&mut self, row: i64) {
        self.sequences.leave_out(row);
        self.gone.sequences.push(row);
    }

    /// A sequence; least recently used first.
    pub fn restore_sequence(
        &mut self,
        row: i64,
        call: LruSlot,
        destination: DestinationId,
        next: i64,
        used: i64,
    ) -> LruSlot {
        self.now = self.now.max(used);
        let key = SequenceKey {
            call: self.calls.row(call),
            destination: destination.0,
        };
        self.sequences
            .restore(key, Sequence { call, next }, row, used)
    }

    /// A pending delivery has this sequence.
    pub fn restore_pending(&mut self, sequence: LruSlot) {
        self.pin(sequence);
    }

    /// The number of a sequence's call, as in `SequencePlace::call`.
    #[must_use]
    pub fn call_of(&self, sequence: LruSlot) -> u64 {
        self.sequences.key(sequence).call.cast_unsigned()
    }
}
