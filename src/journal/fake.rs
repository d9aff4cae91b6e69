//! A fake journal for tests of ingress: it decides what the test says and stores nothing.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::status::Ledger;

use super::{
    Admitted, Callback, Intake, JournalRefusal, Receipt,
    handles::{PendingCallback, WriterCommand},
};

/// The other end of an [`Intake`]. Unlike the real journal it counts only what the intake itself refuses.
#[derive(Debug)]
pub(crate) struct FakeJournal(UnboundedReceiver<OfferedCallback>);

/// A callback that waits for its outcome.
#[derive(Debug)]
pub(crate) struct OfferedCallback(PendingCallback);

impl FakeJournal {
    #[expect(
        clippy::disallowed_methods,
        reason = "the intake bounds what waits, as it does for the real journal"
    )]
    pub(crate) fn open(ledger: Arc<Ledger>) -> (Intake, Self) {
        let (commands, told) = mpsc::channel();
        let (offer, offered) = tokio::sync::mpsc::unbounded_channel();
        // The real journal blocks a thread on its commands; this one passes them on to a test that awaits them. It ends
        // with the last intake, or with the test.
        thread::spawn(move || {
            for command in told {
                let WriterCommand::Append(append) = command else {
                    continue;
                };
                if offer.send(OfferedCallback(append)).is_err() {
                    return;
                }
            }
        });
        (Intake::new(commands, ledger, Arc::default()), Self(offered))
    }

    /// The next callback offered.
    pub(crate) async fn next(&mut self) -> Option<OfferedCallback> {
        self.0.recv().await
    }
}

impl OfferedCallback {
    /// Makes it durable: in quarantine if the offer says so, else accepted.
    pub(crate) fn keep(self) -> Arc<Callback> {
        let outcomes = self
            .0
            .callback
            .offers
            .iter()
            .map(|offer| match offer.facts.quarantine {
                Some(_) => Admitted::Quarantined,
                None => Admitted::Accepted,
            })
            .collect();
        self.decide(outcomes)
    }

    /// Answers with these outcomes.
    pub(crate) fn decide(self, outcomes: Vec<Admitted>) -> Arc<Callback> {
        // The sender may have hung up, which some tests do.
        self.0.reply.send(Ok(Receipt { outcomes }));
        self.0.callback
    }

    /// Refuses it.
    pub(crate) fn refuse(self, refusal: JournalRefusal) {
        self.0.reply.send(Err(refusal));
    }
}
