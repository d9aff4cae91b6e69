//! Which call an event belongs to, what its other ids are bound to, and the sequence it gets there.

use crate::{
    admit::shelf::Slot,
    event::{AppName, CallIds, CallKey, ServerCallKey},
    route::DestinationId,
};

use super::{Admission, Bound, Call, Line, Sequence, SequenceKey, Step};

impl Admission {
    /// The call key of an event, in the order of design 5, and what the event teaches about its other ids.
    pub(super) fn resolve(&mut self, app: &AppName, ids: &CallIds) -> Option<Slot> {
        let server = ids.server_call.as_deref().map(|id| {
            let folded = ServerCallKey::new(id);
            (self.digester.binding(app, "server", folded.as_str()), id)
        });
        let recording = ids
            .recording
            .as_deref()
            .map(|id| (self.digester.binding(app, "recording", id), id));
        let context = ids
            .operation_context
            .as_deref()
            .map(|id| self.digester.binding(app, "context", id));

        let connection = ids.connection.as_deref().and_then(CallKey::new);
        let call = if let Some(key) = connection {
            self.use_call(app, &key)
        } else if let Some((binding, id)) = server {
            self.use_bound(app, binding, id)?
        } else if let Some((binding, id)) = recording {
            self.use_bound(app, binding, id)?
        } else {
            // A context alone names a call only while one call has used it; being asked for counts as a use.
            let slot = self.bindings.find(&context?)?;
            let call = self.bound_call(slot);
            self.stage.push(Step::BindingUsed(slot));
            if let Some(call) = call {
                self.stage.push(Step::CallUsed(call));
            }
            return call;
        };
        for (binding, _) in [server, recording].into_iter().flatten() {
            self.learn(binding, call);
        }
        if let Some(binding) = context {
            self.learn_context(binding, call);
        }
        Some(call)
    }

    /// The call of a server call or recording id: the one first seen with it, else the id itself.
    fn use_bound(&mut self, app: &AppName, binding: u128, id: &str) -> Option<Slot> {
        if let Some(slot) = self.bindings.find(&binding)
            && let Some(call) = self.bound_call(slot)
        {
            self.stage.push(Step::BindingUsed(slot));
            self.stage.push(Step::CallUsed(call));
            return Some(call);
        }
        let call = self.use_call(app, &CallKey::new(id)?);
        // Bound to itself: an id once used as a key stays its own key.
        self.learn(binding, call);
        Some(call)
    }

    /// The first binding of an id wins.
    fn learn(&mut self, binding: u128, call: Slot) {
        match self.bindings.find(&binding) {
            Some(slot) => match self.bound_call(slot) {
                // A binding keeps its call, be it another one, as long as itself.
                Some(bound) => {
                    self.stage.push(Step::BindingUsed(slot));
                    self.stage.push(Step::CallUsed(bound));
                }
                // Its call was forgotten early.
                None => self.rebind(slot, Bound::One(call, self.calls.row(call))),
            },
            None => self.bind(binding, call),
        }
    }

    fn learn_context(&mut self, binding: u128, call: Slot) {
        match self.bindings.find(&binding) {
            Some(slot) => match *self.bindings.value(slot) {
                Bound::One(other, row) if (other, row) != (call, self.calls.row(call)) => {
                    self.rebind(slot, Bound::Many);
                }
                Bound::One(..) | Bound::Many => self.stage.push(Step::BindingUsed(slot)),
            },
            None => self.bind(binding, call),
        }
    }

    fn bind(&mut self, binding: u128, call: Slot) {
        let bound = Bound::One(call, self.calls.row(call));
        let slot = self.bindings.insert(binding, bound, self.now);
        self.stage.push(Step::BindingAdded(slot));
    }

    fn rebind(&mut self, slot: Slot, bound: Bound) {
        let before = std::mem::replace(self.bindings.value_mut(slot), bound);
        self.stage.push(Step::BindingChanged(slot, before));
    }

    fn bound_call(&self, binding: Slot) -> Option<Slot> {
        match *self.bindings.value(binding) {
            Bound::One(call, row) => self.calls.holds(call, row).then_some(call),
            Bound::Many => None,
        }
    }

    pub(super) fn use_call(&mut self, app: &AppName, key: &CallKey) -> Slot {
        let hash = self.digester.call(app, key);
        if let Some(slot) = self.calls.find(&hash) {
            self.stage.push(Step::CallUsed(slot));
            return slot;
        }
        let call = Call {
            app: app.clone(),
            key: key.clone(),
        };
        let slot = self.calls.insert(hash, Some(call), self.now);
        self.stage.push(Step::CallAdded(slot));
        slot
    }

    pub(super) fn take(&mut self, call: Slot, destination: DestinationId) -> Line {
        let row = self.calls.row(call);
        let key = SequenceKey {
            call: row,
            destination: destination.0,
        };
        let slot = self.sequences.find(&key).unwrap_or_else(|| {
            let slot = self
                .sequences
                .insert(key, Sequence { call, next: 1 }, self.now);
            self.stage.push(Step::SequenceAdded(slot));
            slot
        });
        let value = self.sequences.value_mut(slot);
        let sequence = value.next;
        value.next += 1;
        self.stage.push(Step::SequenceTaken(slot));
        Line {
            sequence,
            slot,
            row: self.sequences.row(slot),
            call: row.cast_unsigned(),
        }
    }
}
