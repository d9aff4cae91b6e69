//! Opens a journal: lock it, load or salvage it, feed the pending deliveries, start the threads.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    admit::AdmissionLimits,
    config,
    dispatch::PendingDelivery,
    status::{StallDetector, StallLimits},
};

use super::{
    FeedItem, Intake, JournalCloser, JournalError, OpenJournal, PayloadSource, SettlementSender,
    StatusHandles,
    cache::PayloadCache,
    clock::{Clock, Machine},
    commit_log::FOLD_BYTES,
    directory::JournalDirectory,
    disk_state::{DiskState, PanicGuard, is_disk_full},
    file_limit,
    file_watch::FileWatch,
    high_water_mark::{HighWaterMark, MarkValue, StoredMark},
    index::{JournalBounds, PendingAmount},
    inspect::JournalFiles,
    load::{LoadError, Loaded, count_opening, load, pending_at_open},
    metrics::JournalMetrics,
    reader::{CachedPayloadSource, PayloadReader},
    routing_keys::RoutingKeys,
    salvage::salvage,
    store::{FORMAT, Store},
    writer::{AccountingDelta, JournalWriter, PendingDeletes},
};

/// Deliveries in one item of the feed at start.
const FEED_BATCH: usize = 1_024;

/// Values that only tests change.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    pub(super) limits: AdmissionLimits,
    pub(super) cache_bytes: usize,
    pub(super) machine: Machine,
    pub(super) fold_bytes: usize,
    #[cfg(test)]
    pub(super) fault: super::fault_injection::FaultInjector,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            limits: AdmissionLimits::default(),
            cache_bytes: 64 * 1024 * 1024,
            machine: Machine::default(),
            fold_bytes: FOLD_BYTES,
            #[cfg(test)]
            fault: super::fault_injection::FaultInjector::default(),
        }
    }
}

/// Opens the journal in `settings.path`, and creates it if there is none. All its pending deliveries are in the feed
/// when this returns. A damaged journal is salvaged; that and its figures are in the log, the metrics and the health
/// notices.
///
/// # Errors
/// [`JournalError`]: the directory cannot be used, is in use, or has another format.
pub fn open(
    settings: &config::Journal,
    status: &StatusHandles,
) -> Result<OpenJournal, JournalError> {
    open_tuned(settings, status, Tuning::default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the feed is bounded by limit_deliveries"
)]
pub(super) fn open_tuned(
    settings: &config::Journal,
    status: &StatusHandles,
    tuning: Tuning,
) -> Result<OpenJournal, JournalError> {
    let directory = Arc::new(JournalDirectory::open(&settings.path)?);
    if let Some(bytes) = file_limit::bytes() {
        tracing::warn!(bytes, path = %settings.path.display(), "the size of files is limited (ulimit -f): the journal treats the limit as the size of its disk");
    }
    let metrics = JournalMetrics::register(&status.registry, settings.limit_bytes)
        .expect("the metrics are well named and a registry has one journal");
    let LoadedStore {
        store,
        loaded,
        clock,
        mark,
    } = load_or_salvage(&directory, &tuning, &metrics, status)?;
    #[cfg(test)]
    let store = store.with_fault(tuning.fault.clone());

    let database = |doing| {
        let path = settings.path.clone();
        move |source| JournalError::Database {
            path,
            doing,
            source,
        }
    };
    store
        .wait_for_locks(settings.stall_timeout)
        .map_err(database("set its options"))?;
    let reader = Store::reader(&directory.database()).map_err(database("open it for reading"))?;
    let mut condition = DiskState::new();
    if let Err(error) = directory.make_reserve() {
        tracing::warn!(%error, path = %settings.path.display(), "no room for the journal's reserve file");
        condition.found_disk_full();
    }

    let Loaded {
        instance,
        boot,
        destinations,
        admission,
        index,
        next_id,
        ..
    } = loaded;
    let (feed_sender, feed) = tokio::sync::mpsc::unbounded_channel();
    let mut batch: Vec<PendingDelivery> = Vec::with_capacity(FEED_BATCH);
    for (delivery, pending) in index.iter() {
        batch.extend(pending_at_open(
            delivery,
            pending,
            &destinations,
            &admission,
        ));
        if batch.len() == FEED_BATCH {
            drop(feed_sender.send(FeedItem::Pending(std::mem::take(&mut batch))));
        }
    }
    if !batch.is_empty() {
        drop(feed_sender.send(FeedItem::Pending(batch)));
    }
    status.ledger.update(|counts| {
        counts.recovered = index.deliveries();
        counts.pending = index.deliveries();
    });

    let cache = Arc::new(PayloadCache::new(tuning.cache_bytes));
    let (requests, asked) = mpsc::channel();
    let reader = PayloadReader {
        connection: reader,
        destinations: destinations.clone(),
        directory: directory.clone(),
        metrics: metrics.clone(),
        logged: HashSet::new(),
    };
    let reading = spawn("journal-reader", &settings.path, move || reader.run(&asked))?;
    let watch = FileWatch::begin(&directory).map_err(|source| JournalError::JournalDirectory {
        path: settings.path.clone(),
        source,
    })?;
    let mark_sync = match mark.clone() {
        Some(mark) => {
            let (stop, stopped) = mpsc::channel();
            let syncing = spawn("journal-mark", &settings.path, move || {
                mark.sync_until(&stopped);
            })?;
            Some((stop, syncing))
        }
        None => None,
    };
    let (commands, told) = mpsc::channel();
    let stored_destinations = destinations.count();
    let stall = Arc::new(StallDetector::new(StallLimits {
        stalled: settings.stall_timeout,
        dead: settings.liveness_timeout,
    }));
    status.health.watch(stall.clone());
    let mut writer = JournalWriter {
        directory,
        store,
        clock,
        admission,
        index,
        routing_keys: RoutingKeys::new(
            destinations.clone(),
            status.health.clone(),
            metrics.keys_diverted.clone(),
        ),
        destinations: destinations.clone(),
        stored_destinations,
        next_id,
        cache: cache.clone(),
        status: status.clone(),
        metrics,
        feed: feed_sender,
        bounds: bounds(settings),
        condition,
        fold_bytes: tuning.fold_bytes,
        deletes: PendingDeletes::default(),
        poisoned: Vec::new(),
        ended: Vec::new(),
        accounting: AccountingDelta::default(),
        last_group: 0,
        settle_due: None,
        lane_waits: false,
        reader: Some((requests.clone(), reading)),
        watch,
        mark,
        mark_sync,
        stall: stall.clone(),
    };
    writer.show();
    let health = status.health.clone();
    let writing = spawn("journal-writer", &settings.path, move || {
        let _notice = PanicGuard(health);
        writer.run(&told);
    })?;
    Ok(OpenJournal {
        instance,
        boot,
        intake: Intake::new(commands.clone(), status.ledger.clone(), stall),
        feed,
        settle: SettlementSender(commands.clone()),
        payloads: PayloadSource(Arc::new(CachedPayloadSource { cache, requests })),
        destinations,
        closer: JournalCloser {
            commands,
            thread: writing,
        },
    })
}

fn bounds(settings: &config::Journal) -> JournalBounds {
    JournalBounds {
        total: PendingAmount {
            bytes: settings.limit_bytes,
            deliveries: settings.limit_deliveries,
        },
        share: PendingAmount {
            bytes: settings.destination_bytes(),
            deliveries: settings.destination_deliveries(),
        },
    }
}

pub(super) fn spawn(
    name: &str,
    path: &Path,
    work: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, JournalError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| JournalError::JournalDirectory {
            path: path.to_owned(),
            source,
        })
}

/// An open store with everything that was loaded from it.
struct LoadedStore {
    store: Store,
    loaded: Loaded,
    clock: Clock,
    /// `None` if there was no room for one: then commits are not numbered.
    mark: Option<HighWaterMark>,
}

fn load_or_salvage(
    directory: &JournalDirectory,
    tuning: &Tuning,
    metrics: &JournalMetrics,
    status: &StatusHandles,
) -> Result<LoadedStore, JournalError> {
    // A salvage that was interrupted after its work was done.
    directory.take_salvaged()?;
    let files = JournalFiles::read(directory);
    let attempt = files.map_err(LoadError::JournalFiles).and_then(|files| {
        let in_use = || "damage was found while it was in use".to_owned();
        let damage = files.damage();
        match damage.or_else(|| directory.is_marked_damaged().then(in_use)) {
            Some(why) => Err(LoadError::Damaged(why)),
            None => try_load(directory, tuning),
        }
    });
    let why = match attempt {
        Ok(ready) => return Ok(ready),
        Err(LoadError::Damaged(why)) => why,
        Err(error) => return Err(refusal(directory, error)),
    };
    tracing::error!(
        why,
        path = %directory.path().display(),
        "the journal is damaged: what can be read goes into a new one"
    );
    let salvaged = in_spite_of_full_disk(directory, || {
        // Opening may have changed the log.
        salvage(directory, &JournalFiles::read(directory)?, tuning.limits)
    })
    .map_err(|error| refusal(directory, error))?;
    let aside = directory.set_aside()?;
    directory.take_salvaged()?;
    metrics.salvages.inc();
    metrics.salvaged.inc_by(salvaged.recovered);
    metrics.lost.inc_by(salvaged.lost);
    tracing::error!(
        recovered = salvaged.recovered,
        lost = salvaged.lost,
        aside = %aside.display(),
        "the journal was salvaged"
    );
    let notice = format!(
        "the journal was damaged ({why}): {} records were salvaged into a new one, {} are lost; the damaged one is in {}",
        salvaged.recovered,
        salvaged.lost,
        aside.display()
    );
    status.health.update(|view| view.notices.push(notice));
    try_load(directory, tuning).map_err(|error| refusal(directory, error))
}

fn try_load(directory: &JournalDirectory, tuning: &Tuning) -> Result<LoadedStore, LoadError> {
    in_spite_of_full_disk(directory, || {
        let store = Store::open(&directory.database())?;
        let mut loaded = load(&store, tuning.limits)?;
        let latest = loaded.admission.now();
        let clock = Clock::resume(tuning.machine.clone(), loaded.stamp, latest);
        let mark = find_mark(directory, &loaded)?;
        if mark.is_some() {
            store.number_commits()?;
        }
        loaded.boot = match count_opening(&store, &clock.opened()) {
            // There is no room for the fold. What was loaded is the same without it.
            Err(error) if is_disk_full(&error) => {
                store.roll_back();
                store.begin()?;
                count_opening(&store, &clock.opened())?
            }
            counted => counted?,
        };
        let ready = LoadedStore {
            store,
            loaded,
            clock,
            mark,
        };
        ready.set_mark();
        Ok(ready)
    })
}

impl LoadedStore {
    fn set_mark(&self) {
        if let (Some(mark), Some(number)) = (&self.mark, self.store.number()) {
            mark.set(number, self.loaded.index.records());
        }
    }
}

/// The mark of the journal that was loaded, a new one if there is none.
fn find_mark(
    directory: &JournalDirectory,
    loaded: &Loaded,
) -> Result<Option<HighWaterMark>, LoadError> {
    let path = directory.mark();
    let made = match StoredMark::read(&path) {
        Ok(StoredMark::Is(marked)) if marked.instance == loaded.instance => {
            HighWaterMark::resume(&path, marked)
        }
        Ok(StoredMark::Is(marked)) => {
            return Err(LoadError::Damaged(format!(
                "its database is of journal {}, its mark of journal {}",
                loaded.instance, marked.instance
            )));
        }
        Ok(StoredMark::Absent | StoredMark::Unreadable) => {
            let marked = MarkValue {
                instance: loaded.instance,
                commit: 0,
                records: loaded.index.records(),
            };
            HighWaterMark::make(&path, marked)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(mark) => Ok(Some(mark)),
        Err(error) => {
            directory.give_up_reserve();
            tracing::warn!(%error, path = %path.display(), "cannot write the journal's mark: damage may go unnoticed until the next start");
            Ok(None)
        }
    }
}

/// Opening writes a little, and a salvage more; the reserve exists to be released.
fn in_spite_of_full_disk<T>(
    directory: &JournalDirectory,
    attempt: impl Fn() -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    match attempt() {
        Err(error) if is_full(&error) => {
            directory.give_up_reserve();
            attempt()
        }
        other => other,
    }
}

fn is_full(error: &LoadError) -> bool {
    match error {
        LoadError::Database(error) => is_disk_full(error),
        LoadError::JournalFiles(error) => matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge
        ),
        LoadError::Format(_) | LoadError::Damaged(_) => false,
    }
}

fn refusal(directory: &JournalDirectory, error: LoadError) -> JournalError {
    let path = directory.path().to_owned();
    match error {
        LoadError::Format(found) => JournalError::Format {
            path,
            found,
            known: FORMAT,
        },
        LoadError::Damaged(why) => JournalError::Database {
            path,
            doing: "read what was salvaged",
            source: rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some(why),
            ),
        },
        LoadError::Database(source) => JournalError::Database {
            path,
            doing: "open it",
            source,
        },
        LoadError::JournalFiles(source) => JournalError::JournalDirectory { path, source },
    }
}
