//! A journal for tests of ingress: it decides what the test says and keeps nothing.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, TryRecvError},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use crate::ops::Ledger;

use super::{
    Admitted, Callback, Intake, Receipt, Refusal,
    doors::{Append, Command},
};

/// The other end of an [`Intake`].
#[derive(Debug)]
pub(crate) struct StandIn(Receiver<Command>);

/// A callback that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) callback: Callback,
    reply: oneshot::Sender<Result<Receipt, Refusal>>,
}

impl StandIn {
    pub(crate) fn open() -> (Intake, Self) {
        let (sender, receiver) = mpsc::channel();
        (
            Intake::new(sender, Arc::new(Ledger::default())),
            Self(receiver),
        )
    }

    /// The next callback offered; `None` once nobody can offer one any more.
    pub(crate) async fn next(&mut self) -> Option<Waiting> {
        loop {
            match self.0.try_recv() {
                Ok(Command::Append(Append {
                    callback, reply, ..
                })) => return Some(Waiting { callback, reply }),
                Ok(Command::Settle(_) | Command::Close) => {}
                // The real journal waits on a thread; here the test's own runtime must go on.
                Err(TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(TryRecvError::Disconnected) => return None,
            }
        }
    }
}

impl Waiting {
    /// Makes it durable: quarantined where the offer says so, else accepted.
    pub(crate) fn keep(self) -> Callback {
        let outcomes = self
            .callback
            .offers
            .iter()
            .map(|offer| match offer.quarantine {
                Some(_) => Admitted::Quarantined,
                None => Admitted::Accepted,
            })
            .collect();
        self.decide(outcomes)
    }

    /// Answers with these outcomes.
    pub(crate) fn decide(self, outcomes: Vec<Admitted>) -> Callback {
        // The sender may have hung up, which is a test's business.
        drop(self.reply.send(Ok(Receipt { outcomes })));
        self.callback
    }

    /// Refuses it.
    pub(crate) fn refuse(self, refusal: Refusal) {
        drop(self.reply.send(Err(refusal)));
    }
}
