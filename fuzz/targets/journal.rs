//! Recovery: whatever a journal's file contains, the next start keeps what is readable, unchanged, and works.
//!
//! The input is a database file; if it begins with `@`, changes to a valid one: `c` and two bytes cut it there (in
//! 65,536ths), any other byte with three bytes of position and one of value changes a byte.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hookswitch::{
    config,
    journal::{self, Callback, FeedItem, JournalError, OpenJournal, StatusHandles},
    status::{Health, Ledger, LiveFeed},
};

use super::{body, seeds};

/// Events in the valid journal, of three calls.
const EVENTS: usize = 60;

struct Fixture {
    directory: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    good: Vec<u8>,
    mark: Vec<u8>,
    bodies: HashSet<Bytes>,
}

/// One at a time: all runs use one directory, so that the reserve file of a journal need not be written each time.
static FIXTURE: LazyLock<Mutex<Fixture>> = LazyLock::new(|| {
    // In memory if possible: the test is about reading, not about the disk.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let directory = directory.expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (journal, _) = open(directory.path()).expect("a new journal opens");
    let bodies = (0..EVENTS)
        .map(|number| {
            let event = format!(
                "{{\"specversion\":\"1.0\",\"id\":\"{number}\",\"source\":\"s\",\"type\":\"T\",\
                 \"data\":{{\"callConnectionId\":\"call-{}\",\"padding\":\"{}\"}}}}",
                number % 3,
                "x".repeat(400)
            );
            submit(&runtime, &journal, &event);
            Bytes::from(event)
        })
        .collect();
    journal.closer.close();
    let good = fs::read(database(directory.path())).expect("the journal's file");
    let mark = fs::read(directory.path().join("mark")).expect("the journal's mark");
    Mutex::new(Fixture {
        directory,
        runtime,
        good,
        mark,
        bodies,
    })
});

fn database(directory: &Path) -> PathBuf {
    directory.join("journal.db")
}

fn open(path: &Path) -> Result<(OpenJournal, StatusHandles), JournalError> {
    let handles = StatusHandles {
        ledger: Arc::new(Ledger::default()),
        health: Arc::new(Health::default()),
        live: LiveFeed::default(),
        registry: prometheus::Registry::new(),
    };
    let settings = config::Journal {
        path: path.to_owned(),
        limit_bytes: 64 * 1024 * 1024,
        destination_share: 0.5,
        limit_deliveries: 100_000,
        stall_timeout: Duration::from_secs(3),
        liveness_timeout: Duration::from_secs(60),
    };
    journal::open(&settings, &handles).map(|opened| (opened, handles))
}

fn submit(runtime: &tokio::runtime::Runtime, journal: &OpenJournal, event: &str) {
    let (app, offers) = body::offers(event);
    let callback = Callback {
        arrival: 1,
        app,
        offers,
    };
    let receipt = runtime.block_on(journal.intake.submit(Arc::new(callback)));
    assert!(receipt.is_ok(), "{receipt:?}");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all = seeds::files(&seeds::root().join("tests/data/journal"), ".db");
    all.push(b"@".to_vec());
    for cut in [0_u8, 1, 64, 128, 200, 255] {
        all.push(vec![b'@', b'c', cut, 0]);
    }
    // The header, the schema, and later pages.
    for place in [
        [0, 0, 16],
        [0, 0, 100],
        [0, 16, 0],
        [0, 33, 8],
        [0, 80, 3],
        [0, 140, 9],
    ] {
        all.push([&b"@x"[..], &place, &[0xA5]].concat());
    }
    all
}

pub(crate) fn run(input: &[u8]) {
    // An earlier run that found something has panicked here.
    let fixture = FIXTURE.lock().unwrap_or_else(PoisonError::into_inner);
    let (file, damage) = match input.strip_prefix(b"@") {
        Some(changes) => changed(&fixture.good, changes),
        None => (input.to_vec(), Damage::Other),
    };
    let path = fixture.directory.path();
    for entry in fs::read_dir(path).expect("the directory") {
        let entry = entry.expect("the directory");
        if entry.file_name() == "reserve" {
            continue;
        }
        // What an earlier input made the journal set aside is in a directory.
        let removed = if entry.path().is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.expect("a file of the journal");
    }
    fs::write(database(path), file).expect("written");
    // Without it a valid journal would count as an older copy; a file that is not our journal has none.
    if input.starts_with(b"@") {
        fs::write(path.join("mark"), &fixture.mark).expect("written");
    }
    let (mut journal, handles) = match open(path) {
        Ok(opened) => opened,
        Err(JournalError::Format { .. }) if damage != Damage::None => return,
        Err(error) => panic!("recovery always starts: {error:?}"),
    };
    let (mut kept, mut missed) = (0, 0);
    while let Ok(item) = journal.feed.try_recv() {
        let FeedItem::Pending(owed) = item else {
            panic!("nothing was settled: {item:?}");
        };
        for owed in owed {
            match fixture
                .runtime
                .block_on(journal.payloads.fetch(owed.delivery))
            {
                Ok(payload) if input.starts_with(b"@") => {
                    let record = &payload.record;
                    assert!(
                        fixture.bodies.contains(&record.body),
                        "an event was changed"
                    );
                    let id = format!("\"id\":\"{}\",", record.facts.event_id);
                    let body = String::from_utf8_lossy(&record.body);
                    assert!(body.contains(&id), "an event has another's facts");
                    kept += 1;
                }
                Ok(_) => kept += 1,
                Err(_) => missed += 1,
            }
        }
    }
    let noticed = missed > 0 || !handles.health.view().notices.is_empty();
    match damage {
        Damage::None => assert!(
            kept == EVENTS && !noticed,
            "{kept} of {EVENTS} kept, said: {noticed}"
        ),
        Damage::Cut => assert!(
            kept == EVENTS || noticed,
            "{kept} of {EVENTS} kept, and nothing said"
        ),
        Damage::Other => {}
    }
    // It is a working journal.
    submit(
        &fixture.runtime,
        &journal,
        "{\"specversion\":\"1.0\",\"id\":\"new\",\"source\":\"new\",\"type\":\"T\"}",
    );
    journal.closer.close();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    Cut,
    Other,
}

fn changed(good: &[u8], changes: &[u8]) -> (Vec<u8>, Damage) {
    let mut file = good.to_vec();
    let (mut cut, mut other) = (false, false);
    let mut rest = changes;
    loop {
        match *rest {
            [b'c', high, low, ref more @ ..] => {
                let part = usize::from(u16::from_be_bytes([high, low]));
                let length = good.len() * part / 65_536;
                cut |= length < file.len();
                file.truncate(length);
                rest = more;
            }
            [_, a, b, c, value, ref more @ ..] => {
                let place = u32::from_be_bytes([0, a, b, c]) as usize;
                if let Some(byte) = file.get_mut(place % good.len()) {
                    other |= *byte != value;
                    *byte = value;
                }
                rest = more;
            }
            _ => break,
        }
    }
    let damage = match (cut, other) {
        (false, false) => Damage::None,
        (true, false) => Damage::Cut,
        (_, true) => Damage::Other,
    };
    (file, damage)
}
