//! What is posted when in one lane: pure, with the time passed in. All times are call time from the start of the run.

use std::{collections::VecDeque, time::Duration};

use super::misbehave::{ConnectionDrop, CopyTiming, EventFate, MisbehaviourKind, OrderChange};

/// The longest time anything is held, even if nothing follows: an application that waits for an event must get it.
const HOLD: Duration = Duration::from_secs(2);
/// When a copy is posted that does not wait for another event.
const SECOND: Duration = Duration::from_secs(1);

/// Events of one call to one URL.
#[derive(Debug)]
pub(super) struct Planner<E> {
    ready: VecDeque<PlannedPost<E>>,
    held: Vec<HeldEvent<E>>,
    gathering: Option<BatchInProgress<E>>,
    /// Events pushed so far.
    told: u64,
    /// The call's last event was pushed, to this lane or to another one of the call.
    over: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedPost<E> {
    /// One or more, in the order of the array.
    pub(super) events: Vec<E>,
    /// Before the first attempt, in call time.
    pub(super) delay: Duration,
    /// The connection drop of the first attempt.
    pub(super) cut: Option<ConnectionDrop>,
    /// What was done to the events.
    pub(super) acts: Vec<MisbehaviourKind>,
    /// Pairs of events whose later one was posted first, counted at the earlier one.
    pub(super) inversions: u64,
}

/// What a lane does now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PlannerStep<E> {
    PlannedPost(PlannedPost<E>),
    /// Something is held until then, or until another event comes.
    Wait(Duration),
    /// Nothing is left.
    Idle,
}

#[derive(Debug)]
struct HeldEvent<E> {
    what: PlannedEvent<E>,
    until: HeldUntil,
    deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldUntil {
    Next,
    Last,
    Time,
}

#[derive(Clone, Debug)]
struct PlannedEvent<E> {
    event: E,
    index: u64,
    fate: EventFate,
    /// Posted before.
    copy: bool,
    /// Later events that were put before it.
    overtaken: u64,
}

#[derive(Debug)]
struct BatchInProgress<E> {
    post: PlannedPost<E>,
    remaining: usize,
    deadline: Duration,
}

impl<E: Clone> Default for Planner<E> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            held: Vec::new(),
            gathering: None,
            told: 0,
            over: false,
        }
    }
}

impl<E: Clone> Planner<E> {
    /// Takes the next event of the lane; `last`: it ends the call.
    pub(super) fn push(&mut self, event: E, fate: EventFate, last: bool, now: Duration) {
        let item = PlannedEvent {
            event,
            index: self.told,
            fate,
            copy: false,
            overtaken: 0,
        };
        self.told += 1;
        // The last event has nothing to wait for, nor does anything after it.
        let may_wait = !last && !self.over;
        match item.fate.place {
            OrderChange::BehindLast if may_wait => {
                return self.hold(item, HeldUntil::Last, now + HOLD);
            }
            // One at a time: a pair is swapped, not a group.
            OrderChange::BehindNext if may_wait && !self.swaps() => {
                return self.hold(item, HeldUntil::Next, now + HOLD);
            }
            _ => {}
        }
        let index = item.index;
        self.put(item, now);
        // Except the copy that was just made of it.
        for held in self.release(|held| held.until == HeldUntil::Next && held.what.index < index) {
            self.leave(held, now);
        }
        if last {
            self.end(now);
        }
    }

    /// The call is over: releases what waited for that.
    pub(super) fn end(&mut self, now: Duration) {
        self.over = true;
        for held in self.release(|held| held.until == HeldUntil::Last) {
            self.leave(held, now);
        }
        self.close();
    }

    /// Releases everything that is held now.
    pub(super) fn flush(&mut self, now: Duration) {
        self.over = true;
        // A copy is made when its event is put: those made here leave in a second round.
        while !self.held.is_empty() {
            for held in self.release(|_| true) {
                self.leave(held, now);
            }
        }
        self.close();
    }

    /// What to do at `now`.
    pub(super) fn next(&mut self, now: Duration) -> PlannerStep<E> {
        for held in self.release(|held| held.deadline <= now) {
            self.leave(held, now);
        }
        if self
            .gathering
            .as_ref()
            .is_some_and(|gathering| gathering.deadline <= now)
        {
            self.close();
        }
        if let Some(post) = self.ready.pop_front() {
            return PlannerStep::PlannedPost(post);
        }
        let gathered = self.gathering.iter().map(|gathering| gathering.deadline);
        let deadlines = self.held.iter().map(|held| held.deadline).chain(gathered);
        deadlines.min().map_or(PlannerStep::Idle, PlannerStep::Wait)
    }

    fn swaps(&self) -> bool {
        self.held
            .iter()
            .any(|held| held.until == HeldUntil::Next && !held.what.copy)
    }

    fn hold(&mut self, what: PlannedEvent<E>, until: HeldUntil, deadline: Duration) {
        self.held.push(HeldEvent {
            what,
            until,
            deadline,
        });
    }

    fn release(&mut self, whom: impl Fn(&HeldEvent<E>) -> bool) -> Vec<HeldEvent<E>> {
        self.held.extract_if(.., |held| whom(held)).collect()
    }

    /// Puts what was held. If nothing overtook it, it was only delayed.
    fn leave(&mut self, held: HeldEvent<E>, now: Duration) {
        let act = match (held.what.copy, held.until) {
            (true, _) => MisbehaviourKind::Duplicate,
            (false, _) if held.what.overtaken == 0 => MisbehaviourKind::Delay,
            (false, HeldUntil::Last) if self.over => MisbehaviourKind::Late,
            (false, _) => MisbehaviourKind::Reorder,
        };
        self.put_as(held.what, Some(act), now);
    }

    fn put(&mut self, item: PlannedEvent<E>, now: Duration) {
        self.put_as(item, None, now);
    }

    fn put_as(&mut self, item: PlannedEvent<E>, act: Option<MisbehaviourKind>, now: Duration) {
        let mut post = PlannedPost {
            events: vec![item.event.clone()],
            delay: Duration::ZERO,
            cut: None,
            acts: act.into_iter().collect(),
            inversions: 0,
        };
        let mut wanted = 1;
        if !item.copy {
            post.acts.extend(item.fate.extra);
            for held in self.held.iter_mut().filter(|held| !held.what.copy) {
                held.what.overtaken += u64::from(held.what.index < item.index);
            }
            post.inversions = item.overtaken;
            post.delay = item.fate.delay.unwrap_or_default();
            post.acts
                .extend(item.fate.delay.map(|_| MisbehaviourKind::Delay));
            post.cut = item.fate.cut;
            post.acts
                .extend(item.fate.cut.map(|_| MisbehaviourKind::Drop));
            if let OrderChange::With(many) = item.fate.place
                && !self.over
            {
                wanted = many;
            }
            if let Some(again) = item.fate.again {
                let (until, deadline) = match again {
                    CopyTiming::BehindNext => (HeldUntil::Next, now + HOLD),
                    CopyTiming::InASecond => (HeldUntil::Time, now + SECOND),
                };
                self.hold(PlannedEvent { copy: true, ..item }, until, deadline);
            }
        }
        self.join(post, wanted, now + HOLD);
    }

    /// Adds it to the array that is being gathered, or posts it as a request of its own, or starts an array with it.
    fn join(&mut self, post: PlannedPost<E>, wanted: usize, deadline: Duration) {
        let gathering = match self.gathering.take() {
            Some(mut gathering) => {
                gathering.post.take(post);
                gathering.remaining -= 1;
                gathering
            }
            None => BatchInProgress {
                post,
                remaining: wanted - 1,
                deadline,
            },
        };
        let full = gathering.remaining == 0;
        self.gathering = Some(gathering);
        if full {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(BatchInProgress { mut post, .. }) = self.gathering.take() {
            if post.events.len() > 1 {
                post.acts.push(MisbehaviourKind::Batch);
            }
            self.ready.push_back(post);
        }
    }
}

impl<E> PlannedPost<E> {
    fn take(&mut self, other: Self) {
        self.events.extend(other.events);
        self.delay = self.delay.max(other.delay);
        self.cut = self.cut.or(other.cut);
        // A request is delayed once and dropped once, whichever of its events caused it.
        for act in other.acts {
            if !matches!(act, MisbehaviourKind::Delay | MisbehaviourKind::Drop)
                || !self.acts.contains(&act)
            {
                self.acts.push(act);
            }
        }
        self.inversions += other.inversions;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::misbehave::{EventCoordinates, Misbehaviour},
        *,
    };

    /// Posts of a call whose `count` events come `apart`, the last of them its last, read as soon as they are ready.
    fn posts(
        rates: &Misbehaviour,
        seed: u64,
        count: u64,
        apart: Duration,
    ) -> Vec<(Duration, PlannedPost<u64>)> {
        let mut planner = Planner::default();
        let mut made = Vec::new();
        let mut now = Duration::ZERO;
        for index in 0..count {
            let next = now + apart;
            let of = EventCoordinates {
                grid: false,
                ordinal: 1,
                index,
            };
            planner.push(index, rates.fate(seed, of), index + 1 == count, now);
            now = read(&mut planner, now, next, &mut made);
        }
        read(&mut planner, now, now + Duration::from_secs(10), &mut made);
        assert_eq!(
            planner.next(now + Duration::from_secs(10)),
            PlannerStep::Idle
        );
        made
    }

    fn read(
        planner: &mut Planner<u64>,
        mut now: Duration,
        until: Duration,
        made: &mut Vec<(Duration, PlannedPost<u64>)>,
    ) -> Duration {
        loop {
            match planner.next(now) {
                PlannerStep::PlannedPost(post) => made.push((now, post)),
                PlannerStep::Wait(at) if at < until => {
                    assert!(at > now && at <= now + HOLD, "held until {at:?} at {now:?}");
                    now = at;
                }
                _ => return until,
            }
        }
    }

    fn firsts(made: &[(Duration, PlannedPost<u64>)]) -> Vec<u64> {
        let mut firsts = Vec::new();
        for event in made.iter().flat_map(|(_, post)| &post.events) {
            if !firsts.contains(event) {
                firsts.push(*event);
            }
        }
        firsts
    }

    fn some_rates() -> impl Strategy<Value = Misbehaviour> {
        let rate = || prop_oneof![Just(0.0), Just(0.1), Just(0.5), Just(1.0)];
        (rate(), rate(), rate(), rate(), rate(), rate()).prop_map(|(a, b, c, d, e, f)| {
            format!("reorder={a},duplicate={b},batch={c},late={d},delay={e},drop={f}")
                .parse()
                .unwrap()
        })
    }

    proptest! {
        #[test]
        fn every_event_is_posted_once_and_again_only_as_a_duplicate(
            rates in some_rates(), seed: u64, count in 1..40_u64, apart in 0..3000_u64,
        ) {
            let made = posts(&rates, seed, count, Duration::from_millis(apart));
            let mut first = firsts(&made);
            first.sort_unstable();
            prop_assert_eq!(first, (0..count).collect::<Vec<_>>());
            let posted: usize = made.iter().map(|(_, post)| post.events.len()).sum();
            let copies = made
                .iter()
                .flat_map(|(_, post)| &post.acts)
                .filter(|act| **act == MisbehaviourKind::Duplicate)
                .count();
            prop_assert_eq!(posted, usize::try_from(count).unwrap() + copies);
        }

        #[test]
        fn pairs_out_of_order_are_counted(
            rates in some_rates(), seed: u64, count in 1..30_u64, apart in 0..3000_u64,
        ) {
            let made = posts(&rates, seed, count, Duration::from_millis(apart));
            let first = firsts(&made);
            let mut pairs = 0;
            for (place, event) in first.iter().enumerate() {
                pairs += first[..place].iter().filter(|before| *before > event).count() as u64;
            }
            let counted: u64 = made.iter().map(|(_, post)| post.inversions).sum();
            prop_assert_eq!(counted, pairs);
        }

        #[test]
        fn the_same_seed_makes_the_same_plan(
            rates in some_rates(), seed: u64, count in 1..40_u64, apart in 0..3000_u64,
        ) {
            let apart = Duration::from_millis(apart);
            prop_assert_eq!(posts(&rates, seed, count, apart), posts(&rates, seed, count, apart));
        }

        #[test]
        fn without_misbehaviour_each_event_is_posted_alone_in_order_at_once(
            seed: u64, count in 1..40_u64, apart in 0..3000_u64,
        ) {
            let apart = Duration::from_millis(apart);
            let made = posts(&Misbehaviour::default(), seed, count, apart);
            for (index, (at, post)) in made.iter().enumerate() {
                prop_assert_eq!(&post.events, &vec![index as u64]);
                prop_assert_eq!(*at, apart * u32::try_from(index).unwrap());
                prop_assert!(post.acts.is_empty() && post.cut.is_none() && post.delay.is_zero());
            }
            prop_assert_eq!(made.len() as u64, count);
        }

        #[test]
        fn a_late_event_comes_only_after_the_last(
            rates in some_rates(), seed: u64, count in 2..40_u64, apart in 0..700_u64,
        ) {
            let made = posts(&rates, seed, count, Duration::from_millis(apart));
            let mut last_seen = false;
            for (_, post) in &made {
                last_seen |= post.events.contains(&(count - 1));
                prop_assert!(last_seen || !post.acts.contains(&MisbehaviourKind::Late));
            }
        }
    }

    fn fate(place: OrderChange) -> EventFate {
        EventFate {
            place,
            ..EventFate::default()
        }
    }

    fn drain(planner: &mut Planner<u64>, now: Duration) -> Vec<(Vec<u64>, Vec<MisbehaviourKind>)> {
        let mut made = Vec::new();
        while let PlannerStep::PlannedPost(post) = planner.next(now) {
            made.push((post.events, post.acts));
        }
        made
    }

    #[test]
    fn neighbours_are_swapped_joined_repeated_and_held_to_the_end() {
        let now = Duration::ZERO;
        let mut planner = Planner::default();
        planner.push(0, fate(OrderChange::BehindLast), false, now);
        planner.push(1, fate(OrderChange::BehindNext), false, now);
        planner.push(2, EventFate::default(), false, now);
        planner.push(3, fate(OrderChange::With(2)), false, now);
        let again = EventFate {
            again: Some(CopyTiming::BehindNext),
            ..EventFate::default()
        };
        planner.push(4, again, false, now);
        planner.push(5, EventFate::default(), true, now);
        assert_eq!(
            drain(&mut planner, now),
            [
                (vec![2], vec![]),
                (vec![1], vec![MisbehaviourKind::Reorder]),
                (vec![3, 4], vec![MisbehaviourKind::Batch]),
                (vec![5], vec![]),
                (vec![4], vec![MisbehaviourKind::Duplicate]),
                (vec![0], vec![MisbehaviourKind::Late]),
            ]
        );
        assert_eq!(planner.next(now), PlannerStep::Idle);
    }

    #[test]
    fn an_extra_event_is_counted_once_whatever_its_fate() {
        let now = Duration::ZERO;
        let mut planner = Planner::default();
        let extra = EventFate {
            place: OrderChange::BehindNext,
            again: Some(CopyTiming::InASecond),
            extra: Some(MisbehaviourKind::Inactive),
            ..EventFate::default()
        };
        planner.push(0, extra, false, now);
        planner.push(1, EventFate::default(), false, now);
        let mut made = drain(&mut planner, now);
        made.extend(drain(&mut planner, SECOND));
        assert_eq!(
            made,
            [
                (vec![1], vec![]),
                (
                    vec![0],
                    vec![MisbehaviourKind::Reorder, MisbehaviourKind::Inactive]
                ),
                (vec![0], vec![MisbehaviourKind::Duplicate]),
            ]
        );
    }

    #[test]
    fn an_event_that_nothing_follows_leaves_after_two_seconds() {
        for place in [
            OrderChange::BehindLast,
            OrderChange::BehindNext,
            OrderChange::With(3),
        ] {
            let mut planner = Planner::default();
            planner.push(0, fate(place), false, Duration::ZERO);
            assert_eq!(planner.next(Duration::ZERO), PlannerStep::Wait(HOLD));
            assert_eq!(drain(&mut planner, HOLD).len(), 1, "{place:?}");
        }
    }

    #[test]
    fn a_flush_releases_everything_including_copies() {
        let mut planner = Planner::default();
        let twice = EventFate {
            place: OrderChange::BehindLast,
            again: Some(CopyTiming::InASecond),
            ..EventFate::default()
        };
        planner.push(0, twice, false, Duration::ZERO);
        planner.flush(Duration::ZERO);
        let made = drain(&mut planner, Duration::ZERO);
        assert_eq!(
            made.iter().map(|(events, _)| events.len()).sum::<usize>(),
            2
        );
        assert_eq!(planner.next(Duration::ZERO), PlannerStep::Idle);
    }
}
