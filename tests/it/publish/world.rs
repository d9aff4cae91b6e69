//! A journal and a publisher in this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hookswitch::{
    admit::{CallRule, EventFacts, EventIdentity, Offer},
    config::{AcceptAfter, Broker, BrokerEndpoint, Delivery, Journal, Secret, Tls},
    event::{AppName, CallIds, CallKey},
    journal::{self, Callback, Intake, JournalCloser, StatusHandles},
    publish::{self, PublishError, Publisher},
    route::{QueueType, Route, Sink, Target},
    status::{DestinationState, Health, Ledger, LiveFeed},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::eventually;

/// The time limit of every wait here.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a world, which can be changed before it is opened.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) broker: Broker,
    pub(crate) delivery: Delivery,
    pub(crate) routes: Vec<Route>,
}

impl Plan {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            broker: Broker {
                endpoint: BrokerEndpoint::Amqp(vec![Secret::new(url.to_owned())]),
                exchange: String::new(),
                declare: true,
                max_message_bytes: 16 * 1024 * 1024,
                tls: Tls::default(),
            },
            delivery: Delivery {
                accept_after: AcceptAfter::Journal,
                confirm_timeout: Duration::from_secs(5),
                stall_timeout: Duration::from_secs(120),
                window: 16,
            },
            routes: Vec::new(),
        }
    }

    pub(crate) fn queue(mut self, name: &str, queue_type: QueueType) -> Self {
        self.routes.push(route(Sink::Queue {
            name: name.to_owned(),
            partitions: None,
            queue_type,
        }));
        self
    }
}

fn route(sink: Sink) -> Route {
    Route {
        name: "it".to_owned(),
        app: None,
        kinds: Vec::new(),
        types: Vec::new(),
        generations: Vec::new(),
        filters: Vec::new(),
        sink,
    }
}

pub(crate) fn to_queue(name: &str, queue_type: QueueType) -> Target {
    Target::Queue {
        name: name.into(),
        partitions: None,
        queue_type,
    }
}

/// A journal directory and, while it is open, the publisher that empties it.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) health: Arc<Health>,
    pub(crate) registry: prometheus::Registry,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) instance: uuid::Uuid,
    intake: Intake,
    arrivals: AtomicU64,
    publisher: JoinSet<Result<(), PublishError>>,
    drain: CancellationToken,
    stop: CancellationToken,
    closer: JournalCloser,
}

impl World {
    pub(crate) fn open(plan: &Plan) -> Self {
        Self::open_in(
            tempfile::tempdir().expect("a temporary directory"),
            plan,
            |_| {},
        )
    }

    /// `before` sees the journal's id before the publisher starts.
    pub(crate) fn open_in(
        dir: tempfile::TempDir,
        plan: &Plan,
        before: impl FnOnce(uuid::Uuid),
    ) -> Self {
        let health = Arc::new(Health::default());
        let ledger = Arc::new(Ledger::default());
        let registry = prometheus::Registry::new();
        let opened = journal::open(
            &Journal {
                path: dir.path().join("journal"),
                limit_bytes: 1 << 30,
                destination_share: 0.9,
                limit_deliveries: 1_000_000,
                stall_timeout: Duration::from_secs(3),
                liveness_timeout: Duration::from_secs(60),
            },
            &StatusHandles {
                ledger: ledger.clone(),
                health: health.clone(),
                live: LiveFeed::default(),
                registry: registry.clone(),
            },
        )
        .expect("the journal opens");
        before(opened.instance);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut publisher = JoinSet::new();
        publisher.spawn(publish::run(
            Publisher {
                instance: opened.instance,
                boot: opened.boot,
                feed: opened.feed,
                settle: opened.settle,
                payloads: opened.payloads,
                destinations: opened.destinations,
                name: "it".to_owned(),
                broker: plan.broker.clone(),
                delivery: plan.delivery,
                routes: plan.routes.clone(),
                health: health.clone(),
                registry: registry.clone(),
            },
            drain.clone(),
            stop.clone(),
        ));
        Self {
            dir,
            health,
            registry,
            ledger,
            instance: opened.instance,
            intake: opened.intake,
            arrivals: AtomicU64::new(0),
            publisher,
            drain,
            stop,
            closer: opened.closer,
        }
    }

    /// Makes the events durable, in one callback each, and returns their ids.
    pub(crate) async fn submit(
        &self,
        target: &Target,
        call: &str,
        events: std::ops::Range<usize>,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        for n in events {
            ids.push(self.submit_sized(target, call, n, 0).await);
        }
        ids
    }

    /// One event whose body is at least `padding` bytes long.
    pub(crate) async fn submit_sized(
        &self,
        target: &Target,
        call: &str,
        n: usize,
        padding: usize,
    ) -> String {
        let id = format!("{call}/{n}");
        let body = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"it","type":"It","data":"{}"}}"#,
            "x".repeat(padding)
        );
        let app = AppName::try_from("it".to_owned()).expect("a name");
        let identity = EventIdentity {
            named: Some(("it".to_owned(), id.clone())),
            digest: uuid::Uuid::new_v4().as_u128(),
        };
        let call = (CallIds::default(), CallRule::Path(CallKey::new(call)));
        let facts = EventFacts {
            event_type: "It".to_owned(),
            event_id: id.clone(),
            ..EventFacts::new(app.clone(), jiff::Timestamp::now())
        };
        let offer = Offer::new(identity, call, vec![target.clone()], facts, body.into());
        let receipt = self
            .intake
            .submit(Arc::new(Callback {
                arrival: self.arrivals.fetch_add(1, Ordering::Relaxed),
                app,
                offers: vec![offer],
            }))
            .await
            .expect("the journal accepts it");
        drop(receipt);
        id
    }

    pub(crate) fn pending(&self) -> u64 {
        self.ledger.snapshot().pending
    }

    pub(crate) async fn until_delivered(&self) {
        eventually("nothing is pending any more", TIMEOUT, || async {
            (self.pending() == 0).then_some(())
        })
        .await;
    }

    /// Waits until a destination has this state.
    pub(crate) async fn until_state(&self, name: &str, state: DestinationState) -> Option<String> {
        eventually(
            &format!("{name} is {}", state.as_str()),
            TIMEOUT,
            || async {
                let view = self.health.view();
                let (now, why) = view.destinations.get(name)?;
                (*now == state).then(|| why.clone())
            },
        )
        .await
    }

    /// A counter or gauge, by the whole name with labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("metrics are text");
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name} is missing in\n{text}"))
    }

    /// Stops at once, as at the end of the shutdown timeout; the directory can be opened again.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.finish().await
    }

    /// Delivers what is pending, then stops.
    pub(crate) async fn drain(self) -> tempfile::TempDir {
        self.drain.cancel();
        self.finish().await
    }

    async fn finish(mut self) -> tempfile::TempDir {
        tokio::time::timeout(TIMEOUT, self.publisher.join_next())
            .await
            .expect("the publisher stops in time")
            .expect("there is a publisher")
            .expect("it does not panic")
            .expect("it stops without an error");
        let closer = self.closer;
        tokio::task::spawn_blocking(move || closer.close())
            .await
            .expect("the journal closes");
        self.dir
    }
}
