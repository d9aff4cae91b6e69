//! A disk whose syncs do not return, and a database that another program holds locked.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::support::{
    Calls, Receiver, Scraper, check_calls, connect, delete, eventually, shared_amqp_url, take_all,
    unique,
};

use super::{app, url};

/// Makes every sync of a receiver hang until it is released.
struct HangingDisk {
    flag: PathBuf,
}

impl HangingDisk {
    /// For later starts of `receiver`.
    fn under(receiver: &mut Receiver) -> Self {
        let library = receiver.dir().join("hanging_disk.so");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/faults/hanging_disk.c"
        );
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .status()
            .expect("cc, which the build of SQLite needs as well, runs");
        assert!(compiled.success(), "{source} is compiled");
        let flag = receiver.dir().join("hangs");
        receiver.set_variable("LD_PRELOAD", library.to_string_lossy());
        receiver.set_variable("HANG_WHILE", flag.to_string_lossy());
        Self { flag }
    }

    fn hang(&self) {
        std::fs::write(&self.flag, "").expect("written");
    }

    fn go_on(&self) {
        std::fs::remove_file(&self.flag).expect("removed");
    }
}

fn impatient(queue: &str) -> Receiver {
    Receiver::new(&format!(
        "stall_timeout = \"1s\"\nliveness_timeout = \"10s\"\n\n[broker]\n{}\n\n{}",
        url(&shared_amqp_url()),
        app("it", queue, "quorum")
    ))
}

impl Receiver {
    async fn until_stalled(&self, reason: &str) {
        eventually("it is stalled", Duration::from_secs(20), || async {
            let (status, body) = self.ready().await?;
            let named = body.get("reasons")?.to_string().contains(reason);
            (status == 503 && body.get("journal")? == "stalled" && named).then_some(())
        })
        .await;
    }

    async fn until_ready(&self) {
        eventually("it is ready again", Duration::from_secs(20), || async {
            (self.ready().await?.0 == 200).then_some(())
        })
        .await;
    }

    async fn live(&self) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}/livez", self.admin_port);
        let answer = reqwest::get(url).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }
}

/// A callback is refused without waiting for the journal.
async fn check_refused_at_once(calls: &mut Calls) {
    let refused = calls.try_one().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.expect("a body");
    assert!(refused.contains("does not finish"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_is_seen_by_the_probes_and_refuses_early() {
    let queue = unique("hang");
    let mut receiver = impatient(&queue);
    let disk = HangingDisk::under(&mut receiver);
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut one = Calls::new(receiver.callback_url("it"), 1);
    one.send(3).await;

    disk.hang();
    // Part of the commit that hangs.
    let waited = one.try_one().await;
    assert_eq!(waited.status(), 503);
    receiver.until_stalled("has not finished a commit").await;
    check_refused_at_once(&mut one).await;
    let dead = eventually("liveness fails", Duration::from_secs(30), || async {
        let (status, body) = receiver.live().await?;
        (status == 503).then_some(body)
    })
    .await;
    assert!(dead.contains("has not finished a commit"), "{dead}");

    disk.go_on();
    receiver.until_ready().await;
    assert_eq!(receiver.live().await.expect("an answer").0, 200);
    one.send(3).await;
    receiver.until_nothing_pending().await;
    scraper.finish().await;
    let taken = take_all(&shared_amqp_url(), &queue, Duration::from_secs(1), |_| {
        false
    })
    .await;
    check_calls(&queue, &[taken], &one.expected());
    delete(&connect(&shared_amqp_url()).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_hangs_does_not_keep_the_process_from_stopping() {
    let queue = unique("hang-stop");
    let mut receiver = impatient(&queue);
    let disk = HangingDisk::under(&mut receiver);
    receiver.start().await;
    let mut one = Calls::new(receiver.callback_url("it"), 1);
    one.send(3).await;
    receiver.until_nothing_pending().await;
    disk.hang();
    assert_eq!(receiver.stop_under_load().await, Some(0));
    let log = receiver.log();
    assert!(
        log.contains("the journal could not be closed cleanly"),
        "{log}"
    );

    disk.go_on();
    receiver.start().await;
    one.send(3).await;
    receiver.until_nothing_pending().await;
    let taken = take_all(&shared_amqp_url(), &queue, Duration::from_secs(1), |_| {
        false
    })
    .await;
    check_calls(&queue, &[taken], &one.expected());
    delete(&connect(&shared_amqp_url()).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_write_lock_is_named_by_the_probes_and_refuses_early() {
    let queue = unique("lock");
    let mut receiver = impatient(&queue);
    receiver.start().await;
    let mut one = Calls::new(receiver.callback_url("it"), 1);
    one.send(3).await;

    let database = receiver.dir().join("journal/journal.db");
    let other = rusqlite::Connection::open(database).expect("the database opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    receiver
        .until_stalled("another program has held a write lock")
        .await;
    check_refused_at_once(&mut one).await;
    other
        .execute_batch("ROLLBACK")
        .expect("the lock is released");
    receiver.until_ready().await;
    drop(other);
    one.send(3).await;
    receiver.until_nothing_pending().await;
    let taken = take_all(&shared_amqp_url(), &queue, Duration::from_secs(1), |_| {
        false
    })
    .await;
    check_calls(&queue, &[taken], &one.expected());
    delete(&connect(&shared_amqp_url()).await, &queue).await;
}
