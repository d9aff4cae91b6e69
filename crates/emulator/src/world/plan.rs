//! Planned changes, in the order in which they will happen.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        event::{GridNotice, Notice, Tone},
        identity::Identifier,
    },
    recognize::RecognizeOutcome,
    request::Operation,
};

/// An event for a recipient.
#[derive(Clone, Debug)]
pub(crate) enum QueuedNotice {
    /// To the application of a call.
    Call(Notice),
    /// To Event Grid's subscriber.
    Grid(GridNotice),
}

/// A planned change. It checks itself, when it is due, whether it still can be made.
#[derive(Clone, Debug)]
pub(super) enum PlannedAct {
    Tell(QueuedNotice),
    /// The callee of an outgoing call or an invitation does what it does.
    Rung {
        conversation: u64,
        invitation: String,
    },
    /// A leg that the application asked for is established: answered, connected.
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
        outcome: RecognizeOutcome,
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
    /// A call comes in, this one and this many later ones.
    Incoming {
        index: usize,
        left: u32,
    },
    /// Tones were sent, or sending failed.
    TonesSent {
        leg: String,
        pending: String,
        sent: bool,
    },
    /// A transfer is accepted or not.
    Transferred {
        leg: String,
        transfer: Box<Transferring>,
    },
}

/// A transfer that the target has not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Transferring {
    pub(super) target: Identifier,
    pub(super) transferee: Identifier,
    pub(super) operation: Operation,
    pub(super) pending: String,
}

/// By time, and within the same time in the order of planning.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    acts: BTreeMap<(Duration, u64), PlannedAct>,
    last: u64,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Duration, act: PlannedAct) {
        self.last += 1;
        self.acts.insert((at, self.last), act);
    }

    /// Forgets what was planned for a conversation, or for a leg of it, that has ended.
    pub(super) fn forget(&mut self, conversation: Option<u64>, ended: &str) {
        self.acts.retain(|_, act| match act {
            PlannedAct::Tell(_) | PlannedAct::Incoming { .. } => true,
            PlannedAct::Rung {
                conversation: of, ..
            }
            | PlannedAct::Leaves {
                conversation: of, ..
            } => Some(*of) != conversation,
            PlannedAct::Joined { leg }
            | PlannedAct::MediaEnds { leg, .. }
            | PlannedAct::Recognized { leg, .. }
            | PlannedAct::Press { leg, .. }
            | PlannedAct::TonesSent { leg, .. }
            | PlannedAct::Transferred { leg, .. } => leg != ended,
        });
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.acts.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next one that is due at `now`, with its time.
    pub(super) fn take(&mut self, now: Duration) -> Option<(Duration, PlannedAct)> {
        let first = self.acts.first_entry()?;
        let (at, _) = *first.key();
        (at <= now).then(|| (at, first.remove()))
    }
}
