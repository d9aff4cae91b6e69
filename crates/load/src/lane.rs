//! The order of one call in one destination. Pure.

/// The effect of the next message of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneStep {
    /// It is above everything before it.
    Forward,
    /// It is the event just before it once more.
    RepeatInARow,
    /// A repeat, with other events in between.
    RepeatApart,
    /// It comes first now, after a later one.
    Inverted,
}

/// One call in one destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// In which queue of the destination it began.
    pub(super) queue: usize,
    /// Event of the last message.
    last: u32,
    highest: u32,
    /// Which receiver numbered the last message, and its number.
    instance: u128,
    sequence: i64,
}

impl Lane {
    /// The lane of a first message.
    pub(super) fn new(queue: usize, index: u32) -> Self {
        Self {
            queue,
            last: index,
            highest: index,
            instance: 0,
            sequence: 0,
        }
    }

    /// Takes the next message. `first_time` says whether the event is new in this destination.
    pub(super) fn step(&mut self, index: u32, first_time: bool) -> LaneStep {
        let step = if first_time && index >= self.highest {
            LaneStep::Forward
        } else if first_time {
            LaneStep::Inverted
        } else if index == self.last {
            LaneStep::RepeatInARow
        } else {
            LaneStep::RepeatApart
        };
        self.last = index;
        self.highest = self.highest.max(index);
        step
    }

    /// Takes the number of a message and says whether it was the one expected. Each receiver counts for itself:
    /// `numbers`, which the verifier keeps for all lanes, tells the numbers of a second receiver apart.
    pub(super) fn number(
        &mut self,
        instance: u128,
        sequence: i64,
        step: LaneStep,
        other: impl FnOnce(u128, Option<(u128, i64)>) -> i64,
    ) -> bool {
        if instance != self.instance {
            let left = (self.instance != 0).then_some((self.instance, self.sequence));
            self.sequence = other(instance, left);
            self.instance = instance;
        }
        let good = match step {
            // A repeat is recognized by its event; a copy must have the number of the original, which is not above the
            // last.
            LaneStep::RepeatInARow => sequence == self.sequence,
            LaneStep::RepeatApart => return true,
            LaneStep::Forward | LaneStep::Inverted => sequence == self.sequence + 1,
        };
        self.sequence = self.sequence.max(sequence);
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repeats_are_told_apart() {
        let check = |indices: &[u32], expected: &[LaneStep]| {
            let mut seen = std::collections::HashSet::new();
            let mut lane: Option<Lane> = None;
            let steps: Vec<LaneStep> = indices
                .iter()
                .map(|index| {
                    let first_time = seen.insert(*index);
                    lane.get_or_insert(Lane::new(0, *index))
                        .step(*index, first_time)
                })
                .collect();
            assert_eq!(steps, expected, "{indices:?}");
        };
        use LaneStep::{Forward, Inverted, RepeatApart, RepeatInARow};
        check(&[0, 1, 2], &[Forward; 3]);
        check(&[0, 3, 9], &[Forward; 3]);
        check(
            &[0, 0, 1, 1, 1],
            &[Forward, RepeatInARow, Forward, RepeatInARow, RepeatInARow],
        );
        check(&[0, 2, 1, 3], &[Forward, Forward, Inverted, Forward]);
        check(&[3, 1, 2], &[Forward, Inverted, Inverted]);
        check(&[0, 1, 0], &[Forward, Forward, RepeatApart]);
        check(&[0, 2, 1, 1], &[Forward, Forward, Inverted, RepeatInARow]);
        check(&[0, 1, 0, 1], &[Forward, Forward, RepeatApart, RepeatApart]);
    }
}
