//! A disk that is full for real: a small file system of the test's own (design 6).

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::harness::{
    Calls, Receiver, Scraper, check_calls, connect, delete, eventually, free_port, shared_amqp_url,
    take_all, throughout, unique,
};

use super::app;

/// A file system in memory; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where this user may not mount anything.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the mount point is made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "hookswitch"])
            .arg(path)
            .output()
            .ok()?;
        mounted.status.success().then(|| Self {
            path: path.to_owned(),
        })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Somebody else's file takes every byte that is left.
    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("a file");
        for size in [1 << 20, 4096] {
            let block = vec![0_u8; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the receiver, which is killed later, may still have files open there.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_is_new_delivers_what_is_owed_and_resumes_by_itself() {
    let shared = shared_amqp_url();
    let queue = unique("full");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let address = dir.path().join("url");
    // Nobody listens there: the broker is away until the file says otherwise.
    let away = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    std::fs::write(&address, away).expect("written");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl_file = {address:?}\n\n{}",
        app("it", &queue, "quorum"),
    ));
    let Some(disk) = SmallDisk::mount(&receiver.dir().join("journal"), "64m") else {
        eprintln!("NOT RUN: mounting a small disk is not permitted here (it needs root)");
        return;
    };
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut many = Calls::new(receiver.callback_url("it"), 20);
    many.send(20).await;

    disk.fill();
    let mut one = Calls::new(receiver.callback_url("it"), 1);
    // The log file of the database may have room in it: the first few still fit.
    let refused = loop {
        let answer = one.try_one().await;
        if answer.status() != 202 {
            break answer;
        }
        assert!(one.sent() < 1_900, "the disk never was full");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.expect("a body");
    assert!(refused.contains("no room"), "{refused}");
    throughout(
        "not ready, alive, and everything new refused",
        Duration::from_secs(5),
        || async {
            let (status, body) = receiver.ready().await.expect("an answer");
            assert_eq!(
                (status, &body["journal"]),
                (503, &"disk_full".into()),
                "{body}"
            );
            let live = reqwest::get(format!("http://127.0.0.1:{}/livez", receiver.admin_port));
            live.await.expect("an answer").status() == 200
        },
    )
    .await;
    for _ in 0..20 {
        assert_eq!(one.try_one().await.status(), 503);
    }
    assert_eq!(
        one.repeat_first().await.status(),
        if one.sent() > 0 { 202 } else { 503 }
    );

    // A lane goes on only when what was confirmed is deleted on disk: that all of it leaves shows that deletes work.
    std::fs::write(&address, &shared).expect("written");
    receiver.owes_nothing().await;
    let (status, body) = receiver.ready().await.expect("an answer");
    assert_eq!(
        (status, &body["journal"]),
        (503, &"disk_full".into()),
        "{body}"
    );
    receiver.kill();
    receiver.spawn();
    eventually(
        "it is up on the full disk",
        Duration::from_secs(10),
        || async { (receiver.ready().await?.1["journal"] == "disk_full").then_some(()) },
    )
    .await;
    assert_eq!(
        receiver.metric("hookswitch_deliveries_recovered").await,
        Some(0.0)
    );
    let salvages = receiver.metric("hookswitch_journal_salvages_total").await;
    assert_eq!(salvages, Some(0.0), "a full disk was taken for damage");

    disk.make_room();
    eventually("it is ready again", Duration::from_secs(10), || async {
        (receiver.ready().await?.0 == 200).then_some(())
    })
    .await;
    many.send(2).await;
    one.send(2).await;
    receiver.owes_nothing().await;
    assert_eq!(
        receiver
            .metric("hookswitch_events_total{outcome=\"refused\"}")
            .await,
        Some(0.0),
        "since the restart nothing was refused"
    );
    scraper.finish().await;
    let taken = take_all(&shared, &queue, Duration::from_secs(1), |_| false).await;
    let mut expected = many.expected();
    expected.extend(one.expected());
    let repeats = check_calls(&queue, &[taken], &expected);
    println!("a disk that was full: nothing lost, {repeats} repeats in a row");
    assert_eq!(receiver.stop(), Some(0));
    delete(&connect(&shared).await, &queue).await;
}
