//! Which call an event belongs to, what its other ids are bound to, and the sequence it gets there.

use crate::{
    admit::lru_table::LruSlot,
    event::{AppName, CallIds, CallKey, ServerCallKey},
    route::DestinationId,
};

use super::{Admission, Binding, CallEntry, Sequence, SequenceKey, SequencePlace, StagedStep};

impl Admission {
    /// The call of an event, and what the event teaches about its other ids.
    ///
    /// A connection id is its own key, wherever the other ids are bound: two legs of an app share their server call.
    /// Without one, the first of the other ids that is already bound determines the call, and only if none is bound
    /// does the first of them become a key. So an unknown id does not hide a known one.
    pub(super) fn resolve(&mut self, app: &AppName, ids: &CallIds) -> Option<LruSlot> {
        let server = ids.server_call.as_deref().map(|id| {
            let folded = ServerCallKey::new(id);
            (self.digester.binding(app, "server", folded.as_str()), id)
        });
        let recording = ids
            .recording
            .as_deref()
            .map(|id| (self.digester.binding(app, "recording", id), id));
        let others = [server, recording];
        let context = ids
            .operation_context
            .as_deref()
            .map(|id| self.digester.binding(app, "context", id));

        let call = if let Some(call) = self.call_of_connection(app, ids) {
            call
        } else if let Some(call) = others
            .iter()
            .flatten()
            .find_map(|(binding, _)| self.use_binding(*binding))
        {
            call
        } else if let Some(key) = others
            .iter()
            .flatten()
            .find_map(|(_, id)| CallKey::new(*id))
        {
            self.use_call(app, &key)
        } else {
            // A context alone identifies a call only while a single call has used it; a lookup counts as a use.
            let slot = self.bindings.find(&context?)?;
            let call = self.bound_call(slot);
            self.stage.push(StagedStep::BindingUsed(slot));
            if let Some(call) = call {
                self.stage.push(StagedStep::CallUsed(call));
            }
            return call;
        };
        // An id that became a key is bound to itself: it stays its own key.
        for (binding, _) in others.into_iter().flatten() {
            self.learn(binding, call);
        }
        if let Some(binding) = context {
            self.learn_context(binding, call);
        }
        Some(call)
    }

    /// The call that the connection id of an event identifies. The endpoint of a recording is a connection only if the
    /// app already has a call with that key; otherwise it is ignored and not remembered.
    fn call_of_connection(&mut self, app: &AppName, ids: &CallIds) -> Option<LruSlot> {
        if let Some(key) = ids.connection.as_deref().and_then(CallKey::new) {
            return Some(self.use_call(app, &key));
        }
        let key = CallKey::new(ids.recording_endpoint.as_deref()?)?;
        let call = self.calls.find(&self.digester.call(app, &key))?;
        self.stage.push(StagedStep::CallUsed(call));
        Some(call)
    }

    /// The call that an id is bound to.
    fn use_binding(&mut self, binding: u128) -> Option<LruSlot> {
        let slot = self.bindings.find(&binding)?;
        let call = self.bound_call(slot)?;
        self.stage.push(StagedStep::BindingUsed(slot));
        self.stage.push(StagedStep::CallUsed(call));
        Some(call)
    }

    /// The first binding of an id wins.
    fn learn(&mut self, binding: u128, call: LruSlot) {
        match self.bindings.find(&binding) {
            Some(slot) => match self.bound_call(slot) {
                // A binding keeps its call, even if it is another one, as long as the binding lives.
                Some(bound) => {
                    self.stage.push(StagedStep::BindingUsed(slot));
                    self.stage.push(StagedStep::CallUsed(bound));
                }
                // Its call was dropped early.
                None => self.rebind(slot, Binding::One(call, self.calls.row(call))),
            },
            None => self.bind(binding, call),
        }
    }

    fn learn_context(&mut self, binding: u128, call: LruSlot) {
        match self.bindings.find(&binding) {
            Some(slot) => match *self.bindings.value(slot) {
                Binding::One(other, row) if (other, row) != (call, self.calls.row(call)) => {
                    self.rebind(slot, Binding::Many);
                }
                Binding::One(..) | Binding::Many => self.stage.push(StagedStep::BindingUsed(slot)),
            },
            None => self.bind(binding, call),
        }
    }

    fn bind(&mut self, binding: u128, call: LruSlot) {
        let bound = Binding::One(call, self.calls.row(call));
        let slot = self.bindings.insert(binding, bound, self.now);
        self.stage.push(StagedStep::BindingAdded(slot));
    }

    fn rebind(&mut self, slot: LruSlot, bound: Binding) {
        let before = std::mem::replace(self.bindings.value_mut(slot), bound);
        self.stage.push(StagedStep::BindingChanged(slot, before));
    }

    fn bound_call(&self, binding: LruSlot) -> Option<LruSlot> {
        match *self.bindings.value(binding) {
            Binding::One(call, row) => self.calls.holds(call, row).then_some(call),
            Binding::Many => None,
        }
    }

    pub(super) fn use_call(&mut self, app: &AppName, key: &CallKey) -> LruSlot {
        let hash = self.digester.call(app, key);
        if let Some(slot) = self.calls.find(&hash) {
            self.stage.push(StagedStep::CallUsed(slot));
            return slot;
        }
        let call = CallEntry {
            app: app.clone(),
            key: key.clone(),
        };
        let slot = self.calls.insert(hash, Some(call), self.now);
        self.stage.push(StagedStep::CallAdded(slot));
        slot
    }

    pub(super) fn take(&mut self, call: LruSlot, destination: DestinationId) -> SequencePlace {
        let row = self.calls.row(call);
        let key = SequenceKey {
            call: row,
            destination: destination.0,
        };
        let slot = self.sequences.find(&key).unwrap_or_else(|| {
            let slot = self
                .sequences
                .insert(key, Sequence { call, next: 1 }, self.now);
            self.stage.push(StagedStep::SequenceAdded(slot));
            slot
        });
        let value = self.sequences.value_mut(slot);
        let sequence = value.next;
        value.next += 1;
        self.stage.push(StagedStep::SequenceTaken(slot));
        SequencePlace {
            sequence,
            slot,
            row: self.sequences.row(slot),
            call: row.cast_unsigned(),
        }
    }
}
