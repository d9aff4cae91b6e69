//! A journal for tests of ingress: it decides what the test says and keeps nothing.

use tokio::sync::{mpsc, oneshot};

use super::{Admitted, Callback, Intake, Receipt, Refusal, doors::Command};

/// The other end of an [`Intake`].
#[derive(Debug)]
pub(crate) struct StandIn(mpsc::UnboundedReceiver<Command>);

/// A callback that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) callback: Callback,
    reply: oneshot::Sender<Result<Receipt, Refusal>>,
}

impl StandIn {
    #[expect(
        clippy::disallowed_methods,
        reason = "the same channel as the real journal's; the intake bounds what waits"
    )]
    pub(crate) fn open() -> (Intake, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Intake::new(sender), Self(receiver))
    }

    /// The next callback offered.
    pub(crate) async fn next(&mut self) -> Option<Waiting> {
        loop {
            match self.0.recv().await? {
                Command::Append { callback, reply } => return Some(Waiting { callback, reply }),
                Command::Settle(_) | Command::Close => {}
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
