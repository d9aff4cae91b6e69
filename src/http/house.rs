//! The connections of one thread: a stop must reach those that wait for nothing but their peer.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use super::{
    metrics::{Counts, Cut},
    server::Limits,
    turn::Course,
};

/// What the connections of one thread share.
pub(super) struct House {
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    closed: Cell<bool>,
    next: Cell<u64>,
    inside: RefCell<HashMap<u64, Rc<Course>>>,
}

impl House {
    pub(super) fn new(limits: Limits, counts: Arc<Counts>) -> Self {
        Self {
            limits,
            counts,
            closed: Cell::new(false),
            next: Cell::new(0),
            inside: RefCell::default(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// From now on a connection ends when no handler is at work for it.
    pub(super) fn close(&self) {
        self.closed.set(true);
        for course in self.inside.borrow().values() {
            course.wake();
        }
    }

    /// Ends the connection that waits for its peer the longest. False where there is none.
    pub(super) fn evict_longest_idle(&self) -> bool {
        let inside = self.inside.borrow();
        let longest = inside
            .values()
            .filter_map(|course| Some((course.waits_since()?, course)))
            .min_by_key(|(since, _)| *since);
        let Some((_, course)) = longest else {
            return false;
        };
        course.evict();
        self.counts.cut(Cut::Evicted);
        true
    }

    pub(super) fn enter(self: &Rc<Self>, course: Rc<Course>) -> Guest {
        let number = self.next.get();
        self.next.set(number + 1);
        self.inside.borrow_mut().insert(number, course);
        Guest {
            house: self.clone(),
            number,
        }
    }
}

/// One connection's stay.
pub(super) struct Guest {
    pub(super) house: Rc<House>,
    number: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.house.inside.borrow_mut().remove(&self.number);
    }
}
