//! How answers come back to the callers that offered callbacks: those of one commit together, thread by thread.
//!
//! Each answer wakes a task. If each were woken from another thread, a thread that waits for socket events would wake
//! up, run and sleep again for each of them; so its answers are sent together, and it wakes its own tasks.

use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};

use super::{JournalRefusal, Receipt};

/// The outcome of a callback.
pub(super) type Answer = Result<Receipt, JournalRefusal>;

type Answered = Vec<(oneshot::Sender<Answer>, Answer)>;

/// The recipient of one answer.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) waiting: oneshot::Sender<Answer>,
    /// The sender for the waiting thread, if it has one.
    pub(super) counter: Option<ReplySender>,
}

impl PendingReply {
    /// Gives one answer. The caller may have hung up; a resend is then a duplicate.
    pub(super) fn send(self, answer: Answer) {
        let mut answers = ReplyBatch::default();
        answers.add(self, answer);
        answers.send();
    }
}

/// Where the answers for one thread are sent.
#[derive(Clone, Debug)]
pub(super) struct ReplySender(UnboundedSender<Answered>);

impl ReplySender {
    #[expect(
        clippy::disallowed_methods,
        reason = "what waits is bounded by the places of the intake"
    )]
    pub(super) fn open() -> (Self, ReplyReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ReplyReceiver(receiver))
    }
}

/// Receives the replies for one thread.
#[derive(Debug)]
pub struct ReplyReceiver(UnboundedReceiver<Answered>);

impl ReplyReceiver {
    /// Delivers answers until the intake that it belongs to is gone and no callback waits any more. Run it on the
    /// thread on which the callbacks wait.
    pub async fn deliver(mut self) {
        while let Some(answers) = self.0.recv().await {
            give(answers);
        }
    }
}

/// Answers that are given together.
#[derive(Debug, Default)]
pub(super) struct ReplyBatch {
    by_thread: Vec<(ReplySender, Answered)>,
    others: Answered,
}

impl ReplyBatch {
    pub(super) fn add(&mut self, reply: PendingReply, answer: Answer) {
        let PendingReply { waiting, counter } = reply;
        let Some(counter) = counter else {
            self.others.push((waiting, answer));
            return;
        };
        let known = self
            .by_thread
            .iter_mut()
            .find(|(other, _)| other.0.same_channel(&counter.0));
        match known {
            Some((_, answers)) => answers.push((waiting, answer)),
            None => self.by_thread.push((counter, vec![(waiting, answer)])),
        }
    }

    pub(super) fn send(self) {
        give(self.others);
        for (counter, answers) in self.by_thread {
            if let Err(returned) = counter.0.send(answers) {
                // Its thread has stopped delivering; a caller may still wait.
                give(returned.0);
            }
        }
    }
}

fn give(answers: Answered) {
    for (waiting, answer) in answers {
        // The caller may have hung up; a resend is then a duplicate.
        drop(waiting.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(counter: Option<&ReplySender>) -> (PendingReply, oneshot::Receiver<Answer>) {
        let (waiting, answer) = oneshot::channel();
        let counter = counter.cloned();
        (PendingReply { waiting, counter }, answer)
    }

    #[tokio::test]
    async fn answers_for_one_thread_come_in_one_piece() {
        let (counter, mut mailbox) = ReplySender::open();
        let (other, mut other_mailbox) = ReplySender::open();
        let mut answers = ReplyBatch::default();
        let mut waiting = Vec::new();
        for counter in [&counter, &other, &counter] {
            let (reply, answer) = ask(Some(counter));
            answers.add(reply, Err(JournalRefusal::Busy));
            waiting.push(answer);
        }
        answers.send();
        let first = mailbox.0.recv().await.unwrap();
        assert_eq!(first.len(), 2);
        assert!(mailbox.0.is_empty());
        give(first);
        give(other_mailbox.0.recv().await.unwrap());
        for answer in waiting {
            assert_eq!(answer.await.unwrap().unwrap_err(), JournalRefusal::Busy);
        }
    }

    #[tokio::test]
    async fn a_waiting_caller_gets_its_answer_without_delivery() {
        let (counter, mailbox) = ReplySender::open();
        drop(mailbox);
        let (reply, answer) = ask(Some(&counter));
        reply.send(Err(JournalRefusal::Closing));
        assert_eq!(answer.await.unwrap().unwrap_err(), JournalRefusal::Closing);
        let (reply, answer) = ask(None);
        reply.send(Err(JournalRefusal::Busy));
        assert_eq!(answer.await.unwrap().unwrap_err(), JournalRefusal::Busy);
    }

    #[tokio::test]
    async fn handing_out_ends_with_its_intake() {
        let (counter, mailbox) = ReplySender::open();
        let (reply, answer) = ask(Some(&counter));
        drop(counter);
        reply.send(Err(JournalRefusal::Busy));
        mailbox.deliver().await;
        assert_eq!(answer.await.unwrap().unwrap_err(), JournalRefusal::Busy);
    }
}
