//! The thread that owns the store: all waiting commands become one transaction, one fsync, and then the answers.

use std::{
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    admit::{Admission, AdmissionDecision},
    dispatch::{DeliveryId, PendingDelivery, RecordId, Refused},
    status::{EventOutcome, JournalState, LiveStage, StallDetector},
};

use super::{
    Admitted, Destinations, FeedItem, JournalRefusal, Receipt, Record, Settlement, StatusHandles,
    cache::PayloadCache,
    clock::Clock,
    directory::JournalDirectory,
    disk_state::{DiskState, is_busy},
    file_watch::FileWatch,
    handles::{PendingCallback, ShareId, WriterCommand},
    high_water_mark::HighWaterMark,
    index::{IndexedDelivery, JournalBounds, PendingAmount, PendingIndex},
    metrics::JournalMetrics,
    reader::{ReadRequest, read_payload},
    reply::ReplyBatch,
    routing_keys::RoutingKeys,
    stage::{NewRecord, StagedCallback, live_line, new_record, outcome},
    store::Store,
};

/// Commands that one commit may take.
const GROUP_LIMIT: usize = 512;

/// A commit costs the disk the same for one callback as for many. After a group of this many callbacks the writer waits
/// a moment for the next ones, so that under load there are fewer and larger commits (like PostgreSQL's `commit_delay`
/// with `commit_siblings`); after a smaller group no callback waits.
const CROWD: usize = 8;
const GATHER: Duration = Duration::from_micros(700);

/// How long a delivered event may wait for the next callback's commit before it gets one of its own. This
/// applies only if nothing else of its call is pending. Otherwise its lane is waiting for that commit, which is made at
/// once.
const SETTLE_DELAY: Duration = Duration::from_millis(10);

/// How long the writer waits for a command before it maintains the store.
const IDLE: Duration = Duration::from_secs(1);

/// Free pages that are worth returning, and how many at once: the writer must not delay callbacks for it.
const FREE_PAGES: i64 = 1_024;
const VACUUM_PAGES: u32 = 2_048;

/// Rows that are no longer pending and still on disk.
#[derive(Debug, Default)]
pub(super) struct PendingDeletes {
    pub(super) deliveries: Vec<DeliveryId>,
    pub(super) records: Vec<RecordId>,
}

/// Changes of the counters since they were last written.
#[derive(Debug, Default)]
pub(super) struct AccountingDelta {
    outcomes: Vec<EventOutcome>,
    owed: u64,
    delivered: u64,
    pub(super) moved: u64,
}

#[derive(Debug)]
pub(super) struct JournalWriter {
    pub(super) directory: Arc<JournalDirectory>,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) admission: Admission,
    pub(super) index: PendingIndex,
    pub(super) destinations: Destinations,
    pub(super) routing_keys: RoutingKeys,
    /// Destinations with a lower id are on disk.
    pub(super) stored_destinations: u32,
    pub(super) next_id: u64,
    pub(super) cache: Arc<PayloadCache>,
    pub(super) status: StatusHandles,
    pub(super) metrics: JournalMetrics,
    pub(super) feed: UnboundedSender<FeedItem>,
    pub(super) bounds: JournalBounds,
    pub(super) condition: DiskState,
    /// The log of commits is folded when it has this length.
    pub(super) fold_bytes: usize,
    pub(super) deletes: PendingDeletes,
    pub(super) poisoned: Vec<(DeliveryId, Refused)>,
    /// Deliveries of calls that ended: the dispatcher holds their lanes until that is on disk.
    pub(super) ended: Vec<DeliveryId>,
    pub(super) accounting: AccountingDelta,
    /// Callbacks in the previous group.
    pub(super) last_group: usize,
    /// When delivered events get a commit of their own, unless another one comes first.
    pub(super) settle_due: Option<Instant>,
    /// A lane waits for the next commit.
    pub(super) lane_waits: bool,
    pub(super) reader: Option<(Sender<ReadRequest>, JoinHandle<()>)>,
    pub(super) watch: FileWatch,
    /// `None` if commits are not numbered.
    pub(super) mark: Option<HighWaterMark>,
    /// Stops when the sender is dropped.
    pub(super) mark_sync: Option<(Sender<()>, JoinHandle<()>)>,
    pub(super) stall: Arc<StallDetector>,
}

#[derive(Debug, Default)]
struct CommitGroup {
    appends: Vec<PendingCallback>,
    settlements: Vec<Settlement>,
    closing: bool,
}

impl CommitGroup {
    fn take(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Append(append) => self.appends.push(append),
            WriterCommand::Settle(settlements) => self.settlements.extend(settlements),
            WriterCommand::Close => self.closing = true,
        }
    }
}

impl JournalWriter {
    /// Runs until it is told to close or all senders of commands are gone.
    pub(super) fn run(mut self, commands: &Receiver<WriterCommand>) {
        loop {
            let mut group = CommitGroup::default();
            let patience = self
                .settle_due
                .map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
            match commands.recv_timeout(patience) {
                Ok(command) => group.take(command),
                Err(RecvTimeoutError::Timeout) => {
                    if self.settle_due.is_some() {
                        self.process(CommitGroup::default());
                    } else {
                        self.idle();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let mut count = 1;
            if self.last_group >= CROWD {
                std::thread::sleep(GATHER);
            }
            while count < GROUP_LIMIT
                && !group.closing
                && let Ok(command) = commands.try_recv()
            {
                group.take(command);
                count += 1;
            }
            let closing = group.closing;
            self.last_group = group.appends.len();
            self.settle(std::mem::take(&mut group.settlements));
            if group.appends.is_empty() && !closing && self.may_settle_later() {
                self.settle_due
                    .get_or_insert_with(|| Instant::now() + SETTLE_DELAY);
                // Not shown yet: the counters show what is on disk.
                continue;
            }
            self.process(group);
            if closing {
                break;
            }
        }
        self.finish();
    }

    /// Whether nothing waits for the deletion of these deliveries to be durable.
    fn may_settle_later(&self) -> bool {
        let overdue = self.settle_due.is_some_and(|due| due <= Instant::now());
        !overdue && !self.lane_waits && self.poisoned.is_empty()
    }

    fn process(&mut self, group: CommitGroup) {
        let CommitGroup { mut appends, .. } = group;
        self.stall.begin();
        self.settle_due = None;
        self.lane_waits = false;
        self.probe();
        self.look_after_files();

        appends.sort_by_key(|append| append.callback.arrival);
        if !appends.is_empty() {
            self.admission.begin(self.clock.now());
        }
        let mut staged = Vec::new();
        let mut refused = Vec::new();
        for append in appends {
            match self.stage(append) {
                (callback, Ok(())) => staged.push(callback),
                (callback, Err(refusal)) => refused.push((callback, refusal)),
            }
        }

        let (answers, owed) = match self.write(&staged) {
            Ok(written) => {
                let mut owed = written.moved;
                if written.committed {
                    self.admission.commit();
                }
                owed.extend(self.committed(&staged));
                (Ok(()), owed)
            }
            Err(refusal) => {
                for delivery in staged.iter().flat_map(StagedCallback::deliveries) {
                    self.index.remove(delivery.owed.delivery);
                }
                self.admission.roll_back();
                (Err(refusal), Vec::new())
            }
        };
        self.stall.end();
        for callback in &staged {
            match &answers {
                Ok(()) => self
                    .accounting
                    .outcomes
                    .extend(callback.outcomes.iter().copied().map(outcome)),
                Err(_) => self.count_refused(callback.events),
            }
        }
        for (callback, _) in &refused {
            self.count_refused(callback.events);
        }
        self.show();

        let mut replies = ReplyBatch::default();
        for callback in staged {
            let answer = match &answers {
                Ok(()) => Ok(Receipt {
                    outcomes: callback.outcomes,
                }),
                Err(refusal) => Err(refusal.clone()),
            };
            replies.add(callback.reply, answer);
        }
        for (callback, refusal) in refused {
            replies.add(callback.reply, Err(refusal));
        }
        replies.send();
        self.deliver(owed);
        self.let_lanes_go_on();
    }

    /// Tells the dispatcher which deliveries have been deleted from the disk. If the journal has failed, nothing is
    /// deleted before the restart that `/livez` asks for: each lane then stays behind the event that the next process
    /// sends again.
    fn let_lanes_go_on(&mut self) {
        if !self.condition.writes() || !self.deletes.deliveries.is_empty() {
            return;
        }
        // Deletes have room where a move to the quarantine does not: only the lanes of deliveries that are to be moved
        // wait for that.
        let waits = |delivery: &DeliveryId| self.poisoned.iter().any(|(id, _)| id == delivery);
        let settled;
        (self.ended, settled) = std::mem::take(&mut self.ended).into_iter().partition(waits);
        if !settled.is_empty() {
            // As above: the publisher has ended.
            drop(self.feed.send(FeedItem::Settled(settled)));
        }
    }

    /// Passes newly pending deliveries to the dispatcher.
    fn deliver(&self, owed: Vec<PendingDelivery>) {
        if !owed.is_empty() {
            // The publisher has ended: they stay pending for the next process.
            drop(self.feed.send(FeedItem::Pending(owed)));
        }
    }

    fn count_refused(&mut self, events: usize) {
        self.accounting
            .outcomes
            .extend(std::iter::repeat_n(EventOutcome::Refused, events));
    }

    /// Records the outcomes of deliveries. They are true whatever happens to the next commit.
    fn settle(&mut self, settlements: Vec<Settlement>) {
        if !settlements.is_empty() {
            // Having been pending until now counts as a use: not only until the last callback, which may be days ago.
            self.admission.begin(self.clock.now());
        }
        for settlement in settlements {
            match settlement {
                Settlement::Delivered(delivery) => self.delivered(delivery),
                Settlement::Poisoned(delivery, refused) => {
                    let waits = self.poisoned.iter().any(|(known, _)| *known == delivery);
                    if let Some(pending) = self.index.get(delivery)
                        && !waits
                    {
                        if pending.line.is_some() {
                            self.ended.push(delivery);
                        }
                        self.poisoned.push((delivery, refused));
                    }
                }
                // Nothing is withdrawn from a journal; what is durable stays pending.
                Settlement::Forgotten(delivery) => {
                    tracing::error!(delivery = delivery.0, "a journalled delivery was withdrawn");
                }
            }
        }
    }

    fn delivered(&mut self, delivery: DeliveryId) {
        let Some((pending, last)) = self.index.remove(delivery) else {
            return;
        };
        self.accounting.delivered += 1;
        if let Some(line) = pending.line {
            self.lane_waits |= self.admission.settled(line);
            self.ended.push(delivery);
        }
        if self.condition.writes() {
            self.deletes.deliveries.push(delivery);
            if last {
                self.deletes.records.push(pending.record);
            }
        }
        let cached = self.cache.remove(delivery);
        if self.status.live.has_listeners()
            && let Some(payload) = cached.or_else(|| {
                read_payload(self.store.connection(), &self.destinations, delivery)
                    .ok()
                    .flatten()
            })
        {
            self.status
                .live
                .send(|| live_line(LiveStage::Delivered, payload.record.about(), Some(&payload)));
        }
    }

    /// Admits one callback, all or nothing.
    fn stage(&mut self, append: PendingCallback) -> (StagedCallback, Result<(), JournalRefusal>) {
        let PendingCallback {
            callback,
            reply,
            permit,
        } = append;
        let mut staged = StagedCallback {
            reply,
            _permit: permit,
            events: callback.offers.len(),
            outcomes: Vec::with_capacity(callback.offers.len()),
            records: Vec::new(),
        };
        if !self.condition.writes() || self.condition.files_gone() {
            return (staged, Err(JournalRefusal::Failed));
        }
        let mark = self.admission.mark();
        for offer in &callback.offers {
            let routing_keys = &mut self.routing_keys;
            let verdict = self
                .admission
                .decide(&callback.app, offer, &mut |destination| {
                    routing_keys.id(&callback.app, destination)
                });
            let AdmissionDecision::New { call, placed } = verdict else {
                staged.outcomes.push(Admitted::Duplicate);
                continue;
            };
            staged.outcomes.push(if offer.facts.quarantine.is_some() {
                Admitted::Quarantined
            } else {
                Admitted::Accepted
            });
            let record = Arc::new(Record {
                id: RecordId(self.next_id),
                call,
                facts: offer.facts.clone(),
                body: offer.body.clone(),
            });
            let placed: Vec<_> = placed
                .into_iter()
                .filter_map(|placed| {
                    let interned = self.destinations.interned(placed.destination)?;
                    Some((placed, interned))
                })
                .collect();
            self.next_id += placed.len().max(1) as u64;
            staged
                .records
                .push(new_record(record, &offer.facts_json, &placed));
        }
        if let Some(refusal) = self.no_space(&staged.records) {
            self.admission.roll_back_to(mark);
            return (staged, Err(refusal));
        }
        for delivery in staged.deliveries() {
            self.index.add(
                delivery.owed.delivery,
                IndexedDelivery {
                    record: delivery.payload.record.id,
                    destination: delivery.owed.destination,
                    share: delivery.share,
                    line: delivery.line,
                    bytes: delivery.row.bytes,
                    received: delivery.row.received,
                },
                false,
            );
        }
        (staged, Ok(()))
    }

    /// Why these records cannot be accepted, if so. Without records no space is needed.
    fn no_space(&mut self, records: &[NewRecord]) -> Option<JournalRefusal> {
        if records.is_empty() {
            return None;
        }
        if self.condition.disk_full() {
            return Some(JournalRefusal::DiskFull);
        }
        let mut needed = PendingAmount::default();
        let mut shares: Vec<(ShareId, PendingAmount)> = Vec::new();
        for record in records {
            for (position, delivery) in record.deliveries.iter().enumerate() {
                let amount = PendingAmount::delivery(delivery.row.bytes);
                match shares
                    .iter_mut()
                    .find(|(share, _)| *share == delivery.share)
                {
                    Some((_, needed)) => needed.add(amount),
                    None => shares.push((delivery.share, amount)),
                }
                needed.deliveries += 1;
                if position == 0 {
                    needed.bytes += amount.bytes;
                }
            }
        }
        let total = self.bounds.total;
        if let Some(bound) = PendingAmount::default().exceeds(needed, total) {
            return Some(JournalRefusal::NeverFits(bound));
        }
        if let Some(bound) = self.index.amount().exceeds(needed, total) {
            self.condition.found_full(needed);
            return Some(JournalRefusal::Full(bound));
        }
        shares.into_iter().find_map(|(share, needed)| {
            let limit = self.bounds.share;
            if let Some(bound) = PendingAmount::default().exceeds(needed, limit) {
                return Some(JournalRefusal::NeverFits(bound));
            }
            let bound = self.index.pending_for(share).exceeds(needed, limit)?;
            Some(JournalRefusal::DestinationFull {
                destination: self.destinations.share_name(share).unwrap_or_default(),
                bound,
            })
        })
    }

    /// The group is durable: it can be passed to the publisher.
    fn committed(&mut self, staged: &[StagedCallback]) -> Vec<PendingDelivery> {
        let mut owed = Vec::new();
        let mut payloads = Vec::new();
        let mut events = 0_u32;
        for record in staged.iter().flat_map(|callback| &callback.records) {
            events += 1;
            for delivery in &record.deliveries {
                owed.push(delivery.owed);
                payloads.push((delivery.owed.delivery, delivery.payload.clone()));
            }
            let about = record.record.about();
            self.status.live.send(|| match about.0.quarantine {
                Some(_) => live_line(
                    LiveStage::Quarantined,
                    about,
                    record.deliveries.first().map(|delivery| &delivery.payload),
                ),
                None => live_line(LiveStage::Accepted, about, None),
            });
        }
        if events > 0 {
            self.metrics.batch_size.observe(f64::from(events));
        }
        self.accounting.owed += owed.len() as u64;
        self.cache.insert_all(payloads);
        owed
    }

    /// Updates the counters, the gauges and the health status.
    pub(super) fn show(&mut self) {
        let accounting = std::mem::take(&mut self.accounting);
        let pending = self.index.deliveries();
        self.status.ledger.update(|counts| {
            counts.decide(accounting.outcomes);
            counts.owed += accounting.owed;
            counts.delivered += accounting.delivered;
            counts.moved += accounting.moved;
            counts.pending = pending;
        });
        let gauges = &self.metrics.gauges;
        gauges.bytes.store(self.index.bytes(), Ordering::Relaxed);
        gauges
            .records
            .store(self.index.records(), Ordering::Relaxed);
        gauges
            .oldest
            .store(self.index.oldest().map_or(0, i64::from), Ordering::Relaxed);
        self.metrics
            .call_keys
            .set(i64::try_from(self.admission.calls()).unwrap_or(i64::MAX));
        self.metrics
            .duplicates_evicted
            .inc_by(self.admission.take_duplicates_evicted());
        self.metrics
            .calls_evicted
            .inc_by(self.admission.take_calls_evicted());
        if let Some(state) = self.condition.news(&self.index, &self.bounds) {
            tracing::info!(?state, "journal state");
            let why = self.condition.why();
            self.status.health.update(|view| {
                view.journal = state;
                view.journal_why = why;
            });
        }
    }

    pub(super) fn count_moved(&mut self, moved: u64) {
        self.accounting.moved += moved;
        self.accounting.owed += moved;
    }

    /// Nothing to do for a while: retries what failed for lack of room, returns free pages.
    fn idle(&mut self) {
        self.stall.begin();
        self.probe();
        self.look_after_files();
        if self.has_leftovers() {
            let owed = self.write_leftovers();
            self.show();
            self.deliver(owed);
            self.let_lanes_go_on();
        } else if self.condition.state() == JournalState::Writable
            && self
                .store
                .free_pages()
                .is_ok_and(|pages| pages > FREE_PAGES)
            && let Err(error) = self.store.vacuum(VACUUM_PAGES)
            && !is_busy(&error)
        {
            self.failed(&error);
        }
        self.try_lock();
        self.stall.end();
        self.show();
    }

    /// Writes what is left although nothing new arrived. A failure has been handled; it is retried.
    fn write_leftovers(&mut self) -> Vec<PendingDelivery> {
        match self.write(&[]) {
            Ok(written) => {
                if written.committed {
                    self.admission.commit();
                }
                written.moved
            }
            Err(_) => Vec::new(),
        }
    }

    fn finish(mut self) {
        if self.has_leftovers() {
            // The publisher has ended; the next process delivers what moved to the quarantine.
            drop(self.write_leftovers());
        }
        self.show();
        if let Some((requests, thread)) = self.reader.take() {
            drop(requests.send(ReadRequest::Stop));
            if thread.join().is_err() {
                tracing::error!("the thread that reads the journal panicked");
            }
        }
        if let Err(error) = self.fold_log() {
            tracing::debug!(%error, "the log of commits is left to the next start");
        }
        if let Err(error) = self.store.close() {
            tracing::warn!(%error, "the journal was not closed cleanly; nothing is lost by that");
        }
        if let Some((stop, thread)) = self.mark_sync.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread that syncs the journal's mark panicked");
            }
        }
    }
}
