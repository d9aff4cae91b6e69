//! What is going to happen, in the order in which it will.

use std::{collections::BTreeMap, time::Duration};

use super::{super::event::Tone, Told, recognize::Outcome};

/// A change to come. It finds out itself, when it is due, whether it still can be made.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Tell(Told),
    /// The callee of an outgoing call or an invitation does what it does.
    Rung {
        conversation: u64,
        invitation: String,
    },
    /// A leg that the application asked for is there: answered, connected.
    Joined {
        leg: String,
    },
    /// What a leg plays, or waits for, ends.
    MediaEnds {
        leg: String,
        operation: String,
    },
    /// What a leg recognizes is decided: the prompt is over.
    Recognized {
        leg: String,
        operation: String,
        outcome: Outcome,
    },
    /// A participant presses its next key.
    Press {
        leg: String,
        listening: String,
        left: Vec<Tone>,
    },
    /// A participant leaves by itself.
    Leaves {
        conversation: u64,
        participant: String,
    },
    /// A call comes in, this and so many later ones.
    Incoming {
        index: usize,
        left: u32,
    },
    /// Tones were sent, or could not be.
    TonesSent {
        leg: String,
        pending: String,
        sent: bool,
    },
    /// A transfer is accepted or not.
    Transferred {
        leg: String,
        transfer: Box<super::transfer::Transferring>,
    },
}

/// By time, and what is due at the same time in the order in which it was planned.
#[derive(Debug, Default)]
pub(super) struct Plan {
    acts: BTreeMap<(Duration, u64), Act>,
    last: u64,
}

impl Plan {
    pub(super) fn add(&mut self, at: Duration, act: Act) {
        self.last += 1;
        self.acts.insert((at, self.last), act);
    }

    /// Forgets what was to become of a conversation, or of a leg of it, that has ended.
    pub(super) fn forget(&mut self, conversation: Option<u64>, ended: &str) {
        self.acts.retain(|_, act| match act {
            Act::Tell(_) | Act::Incoming { .. } => true,
            Act::Rung {
                conversation: of, ..
            }
            | Act::Leaves {
                conversation: of, ..
            } => Some(*of) != conversation,
            Act::Joined { leg }
            | Act::MediaEnds { leg, .. }
            | Act::Recognized { leg, .. }
            | Act::Press { leg, .. }
            | Act::TonesSent { leg, .. }
            | Act::Transferred { leg, .. } => leg != ended,
        });
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.acts.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next one that is due at `now`, with its time.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Duration, Act)> {
        let first = self.acts.first_entry()?;
        let (at, _) = *first.key();
        (at <= now).then(|| (at, first.remove()))
    }
}
