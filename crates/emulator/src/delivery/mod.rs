//! Posts the events of calls: in order for each call and URL, signed, retried, and on request with the misbehaviour
//! that the real service shows on a bad day.

mod client;
mod event;
mod grid;
mod lane;
mod log;
mod misbehave;
mod plan;
mod post;
#[cfg(test)]
mod tests;
mod token;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use rand::RngExt;
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::event::{GridNotice, Notice};

pub use self::event::EventGrid;
pub use self::log::{Attempt, AttemptOutcome, Summary};
pub use self::misbehave::{Misbehaviour, MisbehaviourError};
pub(crate) use self::{
    client::ClientError,
    event::{EventTarget, Form},
    log::DeliveryLog,
    post::RetryDelays,
    token::{NoKey, Signer},
};
use self::{
    grid::Handshake,
    lane::Lanes,
    misbehave::{EventCoordinates, MisbehaviourKind, randomness},
    post::{Poster, Recipient, TimeScale},
};

/// How deliveries are made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// How many times faster than real time calls run; delays are shorter by this factor.
    pub(crate) speed: f64,
    pub(crate) misbehave: Misbehaviour,
    pub(crate) waits: RetryDelays,
    /// The audience of tokens.
    pub(crate) resource_id: String,
    pub(crate) event_grid: Option<EventGrid>,
    /// The topic in Event Grid's validation event.
    pub(crate) topic: String,
    /// Where `GET {this}?id={code}` is routed to [`Deliveries::consent`]; if `None`, webhooks do not get this URL.
    pub(crate) consent_url: Option<String>,
    /// PEM; authorities besides the machine's own.
    pub(crate) callback_ca: Option<PathBuf>,
}

/// Why deliveries cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot sign callbacks")]
    Key(#[source] NoKey),
    #[error("cannot post callbacks")]
    Client(#[source] ClientError),
}

/// All deliveries of a run.
pub(crate) struct Deliveries {
    lanes: Arc<Lanes>,
    signer: Arc<Signer>,
    log: Arc<DeliveryLog>,
    handshake: Option<Arc<Handshake>>,
}

impl Deliveries {
    /// Begins; with Event Grid, by asking its webhook for consent.
    ///
    /// # Errors
    /// There is no key for tokens, or an authority's certificate cannot be read.
    pub(crate) fn start(
        options: Options,
        form: impl Form,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        let signer = Arc::new(Signer::new(&options.resource_id).map_err(StartError::Key)?);
        let log = Arc::new(DeliveryLog::new(options.seed));
        let client = client::client(options.callback_ca.as_deref()).map_err(StartError::Client)?;
        let poster = Poster {
            client,
            signer: Arc::clone(&signer),
            form: Box::new(form),
            log: Arc::clone(&log),
            pace: TimeScale::new(options.speed),
            waits: options.waits,
        };
        // A webhook that need not be asked has consented.
        let unasked = options.event_grid.as_ref().is_some_and(|to| !to.handshake);
        let (consent, consented) = watch::channel(unasked);
        let lanes = Lanes::new(
            poster,
            options.seed,
            options.misbehave,
            consented,
            runtime.clone(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        let handshake = options.event_grid.map(|to| {
            let code = code(options.seed);
            Arc::new(Handshake {
                to,
                topic: options.topic,
                later: options.consent_url.map(|url| format!("{url}?id={code}")),
                code,
                consent,
            })
        });
        if let Some(handshake) = &handshake {
            let (lanes_of_it, handshake) = (Arc::clone(&lanes), Arc::clone(handshake));
            let run = async move {
                // `None`: the run ended first.
                lanes_of_it
                    .stop
                    .run_until_cancelled(handshake.run(&lanes_of_it.poster))
                    .await;
            };
            lanes.tasks.spawn_on(run, runtime);
        }
        Ok(Self {
            lanes,
            signer,
            log,
            handshake,
        })
    }

    /// Queues an event for an application, which happened `at` this time.
    pub(crate) fn tell(&self, notice: &Notice, at: Timestamp) {
        let call = &notice.call;
        let to = Recipient::callback(call.ordinal, &call.connection, &notice.to, call.generation);
        let form = &self.lanes.poster.form;
        let extra = notice
            .happened
            .is_unstarted_recording()
            .then_some(MisbehaviourKind::Inactive);
        self.lanes
            .tell(to, extra, |id| form.callback(notice, id, at));
    }

    /// Queues an event for Event Grid, if there is a subscription.
    pub(crate) fn tell_grid(&self, notice: &GridNotice, at: Timestamp) {
        let Some(handshake) = &self.handshake else {
            return;
        };
        let to = Recipient::grid(notice.ordinal, &notice.server_call, &handshake.to);
        let form = &self.lanes.poster.form;
        self.lanes.tell(to, None, |id| {
            Some(form.grid(notice, id, at, handshake.to.schema))
        });
    }

    /// A webhook consents by fetching the URL that it was given. Returns whether `code` is right.
    pub(crate) fn consent(&self, code: &str) -> bool {
        let handshake = self
            .handshake
            .as_ref()
            .filter(|handshake| handshake.code == code);
        handshake
            .map(|handshake| handshake.consent.send_replace(true))
            .is_some()
    }

    /// The signer of the tokens.
    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Every attempt.
    pub(crate) fn log(&self) -> &DeliveryLog {
        &self.log
    }

    /// Everything counted so far, except the calls.
    pub(crate) fn summary(&self) -> Summary {
        self.log.summary()
    }

    /// Returns when nothing is queued, held, in flight or waiting for another attempt. While Event Grid waits for
    /// consent, its events are queued.
    pub(crate) async fn idle(&self) {
        self.lanes.idle().await;
    }

    /// Releases what is held, waits until nothing is left or `within` (real time) is over, and stops. Returns how many
    /// events are left.
    pub(crate) async fn close(&self, within: Duration) -> u64 {
        self.lanes.flush();
        // What is left shows whether it finished.
        drop(timeout(within, self.idle()).await);
        self.lanes.stop.cancel();
        self.lanes.tasks.close();
        self.lanes.tasks.wait().await;
        let summary = self.summary();
        summary.events - summary.accepted - summary.given_up
    }
}

/// The validation code of the run.
fn code(seed: u64) -> String {
    let of = EventCoordinates {
        grid: true,
        ordinal: 0,
        index: 0,
    };
    uuid::Builder::from_random_bytes(randomness(seed, of, b'v').random())
        .into_uuid()
        .to_string()
}
