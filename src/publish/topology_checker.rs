//! The connection on which objects are declared and checked, so that a refusal does not cost a publishing channel.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{config::Broker, route::DestinationId};

use super::{
    backoff::Backoff,
    broker_object::BrokerObject,
    connection::{BrokerConnection, Dialer},
    error::chain,
    supervisor::{pause, until_gone},
    topology::{self, CHECK_TIMEOUT, CheckDepth, TopologyCheck},
};

/// Checks in progress at once; a hanging check delays others only when this many hang.
const AT_ONCE: usize = 64;

/// A hanging check leaves its channel behind until the broker answers it, and a connection has a limited number of
/// channels: after this many hanging checks the connection is replaced.
const HUNG_LIMIT: u32 = 64;

struct TopologyRequest {
    object: BrokerObject,
    answer: oneshot::Sender<TopologyCheck>,
}

/// Sends requests to the topology checker; `None`: there is no broker, so that every object is good.
#[derive(Clone)]
pub(super) struct TopologyChecker(Option<mpsc::Sender<TopologyRequest>>);

impl TopologyChecker {
    pub(super) const WITHOUT_BROKER: Self = Self(None);

    /// Declares or checks `object`; waits for a connection if there is none.
    pub(super) async fn ask(&self, object: BrokerObject) -> TopologyCheck {
        let Some(questions) = &self.0 else {
            return TopologyCheck::Good;
        };
        let (answer, verdict) = oneshot::channel();
        let gone = || TopologyCheck::Held("the publisher is stopping".to_owned());
        if questions
            .send(TopologyRequest { object, answer })
            .await
            .is_err()
        {
            return gone();
        }
        verdict.await.unwrap_or_else(|_| gone())
    }
}

/// Reports of the checker.
#[derive(Debug)]
pub(super) enum TopologyReport {
    /// For a recheck that the dispatcher ordered.
    Rechecked(DestinationId, TopologyCheck),
    /// For a configured object.
    Surveyed(BrokerObject, TopologyCheck),
}

/// Declares or checks one configured object, repeatedly until it was found good or `round` ends.
pub(super) async fn watch(
    object: BrokerObject,
    topology_checker: TopologyChecker,
    topology_reports: mpsc::Sender<TopologyReport>,
    round: CancellationToken,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    while !round.is_cancelled() {
        let verdict = tokio::select! {
            verdict = topology_checker.ask(object.clone()) => verdict,
            () = round.cancelled() => return,
        };
        let good = verdict == TopologyCheck::Good;
        // The engine outlives its helpers; if it does not, there is no receiver left.
        drop(
            topology_reports
                .send(TopologyReport::Surveyed(object.clone(), verdict))
                .await,
        );
        if good {
            return;
        }
        pause(&mut backoff, &round).await;
    }
}

/// A handle for requests and the task that answers them until `halt`.
pub(super) fn topology_checker(
    dialer: Dialer,
    broker: Broker,
    halt: CancellationToken,
) -> (TopologyChecker, impl Future<Output = ()> + Send) {
    let (questions, asked) = mpsc::channel(AT_ONCE);
    (
        TopologyChecker(Some(questions)),
        answer(dialer, broker, asked, halt),
    )
}

async fn answer(
    mut dialer: Dialer,
    broker: Broker,
    mut asked: mpsc::Receiver<TopologyRequest>,
    halt: CancellationToken,
) {
    let depth = if broker.declare {
        CheckDepth::Declare
    } else {
        CheckDepth::Look
    };
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        let dialled = tokio::select! {
            dialled = dialer.dial() => dialled,
            () = halt.cancelled() => return,
        };
        let link = match dialled {
            Ok(link) => Arc::new(link),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "no topology connection to the broker");
                pause(&mut backoff, &halt).await;
                if halt.is_cancelled() {
                    return;
                }
                continue;
            }
        };
        backoff.reset();
        let mut checks = FuturesUnordered::new();
        let mut hung = 0;
        while hung < HUNG_LIMIT {
            tokio::select! {
                question = asked.recv(), if checks.len() < AT_ONCE => match question {
                    Some(question) => checks.push(settle(link.clone(), &broker, question, depth)),
                    None => return link.close().await,
                },
                Some(answered) = checks.next(), if !checks.is_empty() => hung += u32::from(!answered),
                () = until_gone(&link) => break,
                () = halt.cancelled() => return link.close().await,
            }
        }
        link.cut();
        // Those in progress notice it soon by themselves: their connection is gone.
        while checks.next().await.is_some() {}
        pause(&mut backoff, &halt).await;
    }
}

/// Returns false if the broker did not answer.
async fn settle(
    link: Arc<BrokerConnection>,
    broker: &Broker,
    question: TopologyRequest,
    depth: CheckDepth,
) -> bool {
    let checking = topology::check(&link.connection, &question.object, broker, depth);
    let checked = tokio::time::timeout(CHECK_TIMEOUT, checking).await;
    let answered = checked.is_ok();
    let verdict = match checked {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => TopologyCheck::Held(chain(&error)),
        Err(_) => TopologyCheck::Held(format!(
            "the broker did not answer within {CHECK_TIMEOUT:?}"
        )),
    };
    // The requester may have been stopped meanwhile.
    drop(question.answer.send(verdict));
    answered
}
