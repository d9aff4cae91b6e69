//! Helpers of the journal's tests: a journal in a directory of its own, callbacks, and the law of P3.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    admit::{CallRule, EventFacts, EventIdentity, Offer, Quarantine, QuarantineReason},
    config,
    dispatch::{DeliveryId, PendingDelivery, Refused},
    event::{AppName, CallIds, Kind},
    route::{QueueType, Target},
    status::{Health, Ledger, LedgerCounts, LiveFeed},
};

use super::{
    Admitted, Callback, FeedItem, JournalError, JournalRefusal, OpenJournal, Receipt, Settlement,
    StatusHandles,
    open::{Tuning, open_tuned},
};

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn status() -> StatusHandles {
    StatusHandles {
        ledger: Arc::new(Ledger::default()),
        health: Arc::new(Health::default()),
        live: LiveFeed::default(),
        registry: prometheus::Registry::new(),
    }
}

pub(super) fn settings(path: &Path) -> config::Journal {
    config::Journal {
        path: path.to_owned(),
        limit_bytes: 64 * 1024 * 1024,
        destination_share: 0.5,
        limit_deliveries: 100_000,
        stall_timeout: Duration::from_secs(3),
        liveness_timeout: Duration::from_secs(60),
    }
}

/// An open journal and the status that it writes.
pub(super) struct Running {
    pub(super) journal: OpenJournal,
    pub(super) status: StatusHandles,
}

impl Running {
    pub(super) fn open(path: &Path) -> Self {
        Self::tuned(&settings(path), Tuning::default()).expect("the journal opens")
    }

    pub(super) fn tuned(settings: &config::Journal, tuning: Tuning) -> Result<Self, JournalError> {
        let deadline = std::time::Instant::now() + Duration::from_secs(2);
        loop {
            let status = status();
            match open_tuned(settings, &status, tuning.clone()) {
                // A process that another test starts has a copy of every open file, including locks, until it has
                // executed another program.
                Err(JournalError::Locked { .. }) if std::time::Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => {
                    return opened.map(|journal| Self { journal, status });
                }
            }
        }
    }

    pub(super) async fn submit(&self, offers: Vec<Offer>) -> Result<Vec<Admitted>, JournalRefusal> {
        let receipt = tokio::time::timeout(TIMEOUT, self.journal.intake.submit(callback(offers)))
            .await
            .expect("the journal answers in time");
        self.check_law();
        receipt.map(|receipt: Receipt| receipt.outcomes().to_vec())
    }

    pub(super) async fn accept(&self, offers: Vec<Offer>) {
        let outcomes = self.submit(offers).await.expect("it is taken");
        assert!(
            outcomes
                .iter()
                .all(|outcome| *outcome == Admitted::Accepted)
        );
    }

    /// The next `count` deliveries of the feed.
    pub(super) async fn owed(&mut self, count: usize) -> Vec<PendingDelivery> {
        let mut owed = Vec::new();
        while owed.len() < count {
            let item = tokio::time::timeout(TIMEOUT, self.journal.feed.recv())
                .await
                .unwrap_or_else(|_| panic!("only {} of {count} deliveries came", owed.len()))
                .expect("the feed is open");
            match item {
                FeedItem::Pending(more) => owed.extend(more),
                // The caller does not wait for this.
                FeedItem::Settled(_) => {}
                FeedItem::Withdraw(ids) => panic!("withdrawn: {ids:?}"),
            }
        }
        assert_eq!(owed.len(), count);
        owed
    }

    /// The next deliveries that the feed reports as deleted from the disk.
    pub(super) async fn settled(&mut self) -> Vec<DeliveryId> {
        match tokio::time::timeout(TIMEOUT, self.journal.feed.recv()).await {
            Ok(Some(FeedItem::Settled(ids))) => ids,
            other => panic!("not settled: {other:?}"),
        }
    }

    pub(super) fn deliver(&self, deliveries: impl IntoIterator<Item = DeliveryId>) {
        self.journal
            .settle
            .report(deliveries.into_iter().map(Settlement::Delivered).collect());
    }

    /// The broker has refused this delivery alone.
    pub(super) fn poison(&self, delivery: DeliveryId) {
        let refused = Refused {
            code: 406,
            text: "PRECONDITION_FAILED".to_owned(),
        };
        self.journal
            .settle
            .report(vec![Settlement::Poisoned(delivery, refused)]);
    }

    /// Event id and sequence of these deliveries.
    pub(super) async fn read(&self, owed: &[PendingDelivery]) -> Vec<(String, Option<i64>)> {
        let mut read = Vec::new();
        for owed in owed {
            let payload = self
                .journal
                .payloads
                .fetch(owed.delivery)
                .await
                .expect("it can be read");
            assert_eq!(payload.record.body, body(&payload.record.facts.event_id));
            read.push((payload.record.facts.event_id.clone(), payload.sequence));
        }
        read
    }

    /// Waits until the counters satisfy the condition.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&LedgerCounts) -> bool) {
        let waiting = async {
            loop {
                let counts = self.check_law();
                if holds(&counts) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waiting)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.status.ledger.snapshot()));
    }

    pub(super) fn check_law(&self) -> LedgerCounts {
        let counts = self.status.ledger.snapshot();
        assert_eq!(
            counts.received,
            counts.accepted + counts.duplicate + counts.quarantined + counts.refused,
            "{counts:?}"
        );
        assert_eq!(
            counts.owed + counts.recovered,
            counts.delivered + counts.moved + counts.pending,
            "{counts:?}"
        );
        counts
    }

    pub(super) fn close(self) -> LedgerCounts {
        self.journal.closer.close();
        let counts = self.status.ledger.snapshot();
        assert_eq!(
            counts.owed + counts.recovered,
            counts.delivered + counts.moved + counts.pending
        );
        counts
    }
}

/// The content of an event with this id.
pub(super) fn body(id: &str) -> Bytes {
    Bytes::from(format!(
        "{{\"id\":{id:?},\"padding\":\"{}\"}}",
        "x".repeat(600)
    ))
}

pub(super) fn callback(offers: Vec<Offer>) -> Arc<Callback> {
    static ARRIVAL: AtomicU64 = AtomicU64::new(1);
    Arc::new(Callback {
        arrival: ARRIVAL.fetch_add(1, Ordering::Relaxed),
        app: app(),
        offers,
    })
}

fn app() -> AppName {
    AppName::try_from("contoso".to_owned()).unwrap()
}

/// An event `id` of `call`, for these queues.
pub(super) fn event(call: &str, id: &str, queues: &[&str]) -> Offer {
    event_of(
        CallIds {
            connection: Some(call.to_owned()),
            ..CallIds::default()
        },
        id,
        queues,
    )
}

pub(super) fn event_of(ids: CallIds, id: &str, queues: &[&str]) -> Offer {
    let targets = queues
        .iter()
        .map(|name| Target::Queue {
            name: (*name).into(),
            partitions: None,
            queue_type: QueueType::Quorum,
        })
        .collect();
    offer(ids, id, targets, None)
}

/// An event that goes to quarantine.
pub(super) fn broken(id: &str) -> Offer {
    let ids = CallIds {
        connection: Some("c".to_owned()),
        ..CallIds::default()
    };
    let quarantine = Quarantine {
        reason: QuarantineReason::Invalid,
        faults: Vec::new(),
    };
    offer(ids, id, vec![Target::quarantine()], Some(quarantine))
}

fn offer(ids: CallIds, id: &str, targets: Vec<Target>, quarantine: Option<Quarantine>) -> Offer {
    let identity = EventIdentity {
        named: Some(("source".into(), id.into())),
        digest: xxhash_rust::xxh3::xxh3_128(id.as_bytes()),
    };
    let facts = EventFacts {
        kind: Kind::CallState,
        event_type: "Microsoft.Communication.CallConnected".into(),
        event_id: id.into(),
        path: Some("calls/1".into()),
        quarantine,
        ..EventFacts::new(app(), Timestamp::now())
    };
    Offer::new(identity, (ids, CallRule::Auto), targets, facts, body(id))
}
