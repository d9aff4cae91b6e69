//! The calls, and what happens to them: a state machine without I/O. The time is passed in, counted in call time
//! (faster than real time where the emulator runs faster) from the start.
//!
//! A request changes the state at once, or plans a change; [`World::advance`] makes the planned changes that are due.
//! The resulting events accumulate until [`World::take`].

mod calls;
mod conversation;
mod ending;
mod incoming;
mod media;
mod participants;
mod plan;
mod recognize;
mod recordings;
mod request;
#[cfg(test)]
mod tests;
mod transfer;
mod view;

use std::{collections::BTreeMap, time::Duration};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{
    api_error::ApiError,
    event::{GridHappened, GridNotice, Happened, Notice, ResultInformation},
    identity::Identifier,
    scenario::{Callee, Scenario},
};

use self::{
    conversation::{Conversation, Incoming, Leg, LegState, Recording},
    plan::{PlannedAct, Schedule},
};
pub(crate) use self::{
    plan::QueuedNotice,
    request::{
        Add, Answer, Api, Choice, Connect, Create, DtmfOptions, Input, Media, Operation, Place,
        Play, Recognize, Recorded, Source, StartRecording, Subscription, Transfer, Wants,
    },
    view::{CallView, RecordingView},
};

/// What a world is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    /// The immutable resource id: part of the application's own identity.
    pub(crate) resource_id: String,
    /// What time it is at the start.
    pub(crate) epoch: jiff::Timestamp,
    /// How many times faster than real time calls go.
    pub(crate) speed: f64,
    /// The share of recordings that are reported as `inactive` before they start; from 0 to 1.
    pub(crate) inactive_first: f64,
}

/// The calling service.
///
/// Methods that an application calls fail with an [`ApiError`]: 404 where the call, participant or recording does not
/// exist (any more), 409 where the operation is not possible in this state, 400 where the request contradicts itself.
#[derive(Debug)]
pub(crate) struct World {
    setup: Setup,
    rng: StdRng,
    now: Duration,
    plan: Schedule,
    told: Vec<QueuedNotice>,
    conversations: BTreeMap<u64, Conversation>,
    last_conversation: u64,
    /// Legs of the application by `callConnectionId`, also those that ended.
    legs: BTreeMap<String, Leg>,
    last_leg: u64,
    /// Incoming calls that have not been answered, by their `incomingCallContext`.
    incoming: BTreeMap<String, Incoming>,
    recordings: BTreeMap<String, Recording>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut plan = Schedule::default();
        for (index, incoming) in setup.scenario.incoming.iter().enumerate() {
            if let Some(left) = incoming.count.checked_sub(1) {
                plan.add(incoming.at, PlannedAct::Incoming { index, left });
            }
        }
        Self {
            rng: StdRng::seed_from_u64(setup.seed),
            setup,
            now: Duration::ZERO,
            plan,
            told: Vec::new(),
            conversations: BTreeMap::new(),
            last_conversation: 0,
            legs: BTreeMap::new(),
            last_leg: 0,
            incoming: BTreeMap::new(),
            recordings: BTreeMap::new(),
        }
    }

    /// Makes every planned change that is due at `now`, in order.
    pub(crate) fn advance(&mut self, now: Duration) {
        while let Some((at, act)) = self.plan.take(now) {
            self.now = self.now.max(at);
            self.make(act);
        }
        self.now = self.now.max(now);
    }

    /// When there is something to [`World::advance`] to.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.plan.next()
    }

    /// The events since the last time, in order.
    pub(crate) fn take(&mut self) -> Vec<QueuedNotice> {
        std::mem::take(&mut self.told)
    }

    fn make(&mut self, act: PlannedAct) {
        match act {
            PlannedAct::Tell(told) => self.told.push(told),
            PlannedAct::Rung {
                conversation,
                invitation,
            } => self.rung(conversation, &invitation),
            PlannedAct::Joined { leg } => self.joined(&leg),
            PlannedAct::MediaEnds { leg, operation } => self.media_ends(&leg, &operation),
            PlannedAct::Recognized {
                leg,
                operation,
                outcome,
            } => self.recognized(&leg, &operation, outcome),
            PlannedAct::Press {
                leg,
                listening,
                left,
            } => self.press(&leg, &listening, &left),
            PlannedAct::Leaves {
                conversation,
                participant,
            } => self.leaves(conversation, &participant),
            PlannedAct::TonesSent { leg, pending, sent } => self.tones_sent(&leg, &pending, sent),
            PlannedAct::Incoming { index, left } => self.comes_in(index, left),
            PlannedAct::Transferred { leg, transfer } => self.transferred(&leg, *transfer),
        }
    }

    fn after(&mut self, delay: Duration, act: PlannedAct) {
        self.plan.add(self.now + delay, act);
    }

    /// Reports an event to the application of a leg, at the URL of the operation if it has one.
    fn tell(
        &mut self,
        leg: &str,
        operation: &Operation,
        result: Option<ResultInformation>,
        happened: Happened,
    ) {
        let Some(known) = self.legs.get(leg) else {
            return;
        };
        let Some(conversation) = self.conversations.get(&known.conversation) else {
            return;
        };
        let notice = Notice {
            call: conversation.facts(leg, known.ordinal, &known.api),
            to: operation
                .callback
                .clone()
                .unwrap_or_else(|| known.callback.clone()),
            context: operation.context.clone(),
            result,
            happened,
        };
        // An event before the answer to the request that caused it is a rare case of the service
        // (docs/src/reference/acs-events.md, "How callbacks are delivered").
        self.after(
            self.setup.scenario.line.latency,
            PlannedAct::Tell(QueuedNotice::Call(notice)),
        );
    }

    /// Reports an event to the subscriber of Event Grid.
    fn tell_grid(&mut self, conversation: u64, happened: GridHappened) {
        let Some(known) = self.conversations.get(&conversation) else {
            return;
        };
        let notice = GridNotice {
            ordinal: self
                .legs
                .values()
                .filter(|leg| leg.conversation == conversation)
                .map(|leg| leg.ordinal)
                .min()
                .unwrap_or_default(),
            server_call: known.server_call.clone(),
            correlation: known.correlation.clone(),
            happened,
        };
        self.after(
            self.setup.scenario.line.latency,
            PlannedAct::Tell(QueuedNotice::Grid(notice)),
        );
    }

    /// A leg that has not ended.
    fn live(&self, id: &str) -> Result<&Leg, ApiError> {
        self.legs
            .get(id)
            .filter(|leg| leg.state != LegState::Disconnected)
            .ok_or_else(|| ApiError::not_found(format!("there is no call {id}, or it has ended")))
    }

    /// A leg that is connected, for operations that need this.
    fn connected(&mut self, id: &str) -> Result<&mut Leg, ApiError> {
        let state = self.live(id)?.state;
        match self.legs.get_mut(id) {
            Some(leg) if leg.state == LegState::Connected => Ok(leg),
            _ => Err(ApiError::conflict(format!(
                "the call is {}, and this needs it to be connected",
                state.name()
            ))),
        }
    }

    fn conversation_of(&mut self, leg: &str) -> Option<(u64, &mut Conversation)> {
        let key = self.legs.get(leg)?.conversation;
        Some((key, self.conversations.get_mut(&key)?))
    }

    /// Legs of the application in a conversation that have not ended, the oldest first.
    fn legs_in(&self, conversation: u64) -> Vec<String> {
        let mut legs: Vec<_> = self
            .legs
            .iter()
            .filter(|(_, leg)| {
                leg.conversation == conversation && leg.state != LegState::Disconnected
            })
            .map(|(id, leg)| (leg.ordinal, id.clone()))
            .collect();
        legs.sort();
        legs.into_iter().map(|(_, id)| id).collect()
    }

    fn callee(&self, who: &Identifier) -> Callee {
        self.setup.scenario.callee(&who.short())
    }

    fn guid(&mut self) -> String {
        guid(&mut self.rng)
    }

    /// Randomness that depends on the seed and on which call it is, and not on when its requests arrive.
    fn chance_of(&self, what: u8, ordinal: u64) -> StdRng {
        let digest = Sha256::new()
            .chain_update(self.setup.seed.to_le_bytes())
            .chain_update([what])
            .chain_update(ordinal.to_le_bytes())
            .finalize();
        StdRng::from_seed(digest.into())
    }

    /// An identity of the resource, as an application has one.
    fn identity(&mut self) -> Identifier {
        let user: [u8; 8] = self.rng.random();
        let user: String = user.iter().map(|byte| format!("{byte:02x}")).collect();
        Identifier::User {
            id: format!("8:acs:{}_{user}", self.setup.resource_id),
        }
    }

    /// The time of day at this moment of the calls.
    fn time(&self) -> jiff::Timestamp {
        let passed = self.now.div_f64(self.setup.speed);
        jiff::SignedDuration::try_from(passed)
            .ok()
            .and_then(|passed| self.setup.epoch.checked_add(passed).ok())
            .unwrap_or(self.setup.epoch)
    }
}

fn guid(rng: &mut StdRng) -> String {
    uuid::Builder::from_random_bytes(rng.random())
        .into_uuid()
        .to_string()
}

/// Standard base64 of a URL. The service's hosts have names of different lengths, so that some ids are padded, and in some
/// the `?` of the URL comes out as `/`. Here it is one id in three that has the `/`, beginning with the first.
fn new_server_call(rng: &mut StdRng, ordinal: u64) -> String {
    let name: [u8; 16] = rng.random();
    let name = BASE64_URL_SAFE_NO_PAD.encode(name);
    let host = match ordinal % 3 {
        1 => "conv-1",
        2 => "conv-01",
        _ => "conv-001",
    };
    BASE64_STANDARD.encode(format!(
        "https://{host}.emulator.invalid/conv/{name}?i=10-60-1"
    ))
}
