//! A disk that is really full: a small file system of the test (docs/src/internals/journal.md, "A full disk").

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::support::{
    Calls, Expected, Receiver, Scraper, call_events, check_calls, connect, delete, eventually,
    free_port, post, shared_amqp_url, skipped, take_all, throughout, unique,
};

use super::app;

/// A file system in memory; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` if this user may not mount file systems.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the mount point is created");
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

    /// Another file takes all free space.
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

    fn free_space(&self) {
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
async fn a_full_disk_refuses_new_events_delivers_pending_ones_and_resumes_by_itself() {
    let shared = shared_amqp_url();
    let queue = unique("full");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let address = dir.path().join("url");
    // No process listens there: the broker is away until the file is changed.
    let away = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    std::fs::write(&address, away).expect("written");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl_file = {address:?}\n\n{}",
        app("it", &queue, "quorum"),
    ));
    let Some(disk) = SmallDisk::mount(&receiver.dir().join("journal"), "64m") else {
        skipped("mounting a small disk is not permitted here: it needs root");
        return;
    };
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut many = Calls::new(receiver.callback_url("it"), 20);
    many.send(20).await;

    disk.fill();
    let mut one = Calls::new(receiver.callback_url("it"), 1);
    // The log file of the database may have free space: the first few events still fit.
    let refused = loop {
        let answer = one.try_one().await;
        if answer.status() != 202 {
            break answer;
        }
        assert!(one.sent() < 1_900, "the disk was never full");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.expect("a body");
    assert!(refused.contains("no room"), "{refused}");
    throughout(
        "not ready, alive, and new events refused",
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

    // A lane continues only when the confirmed delivery is deleted on disk. So if all events are delivered, deletes work.
    std::fs::write(&address, &shared).expect("written");
    receiver.until_nothing_pending().await;
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
    assert_eq!(salvages, Some(0.0), "a full disk was treated as damage");

    disk.free_space();
    eventually("it is ready again", Duration::from_secs(10), || async {
        (receiver.ready().await?.0 == 200).then_some(())
    })
    .await;
    many.send(2).await;
    one.send(2).await;
    receiver.until_nothing_pending().await;
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

/// Events of a quarter of a mebibyte each, all of one call.
struct LargeEvents {
    client: reqwest::Client,
    call: String,
    events: std::vec::IntoIter<(String, String)>,
    answered: Vec<String>,
}

impl LargeEvents {
    fn new() -> Self {
        let call = uuid::Uuid::new_v4().to_string();
        let padding = "x".repeat(256 * 1024);
        let events: Vec<_> = call_events(&call, 600)
            .into_iter()
            .map(|(id, body)| {
                let mut body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                let data = body.pointer_mut("/0/data").expect("one event with data");
                data["padding"] = padding.clone().into();
                (id, body.to_string())
            })
            .collect();
        Self {
            client: reqwest::Client::new(),
            call,
            events: events.into_iter(),
            answered: Vec::new(),
        }
    }

    /// Posts the next event and returns the status; with 202 the event counts as accepted.
    async fn send(&mut self, url: &str) -> u16 {
        let (id, body) = self.events.next().expect("the event exists");
        let answer = post(&self.client, url, &body).await.expect("an answer");
        let status = answer.status().as_u16();
        if status == 202 {
            self.answered.push(id);
        } else {
            assert!(answer.headers().contains_key("retry-after"));
            let text = answer.text().await.expect("a body");
            assert!(text.contains("no room"), "{status}: {text}");
        }
        status
    }

    /// Sends events until one is refused.
    async fn fill(&mut self, url: &str) {
        let before = self.answered.len();
        let status = loop {
            match self.send(url).await {
                202 => {}
                status => break status,
            }
        };
        assert_eq!(status, 503);
        let taken = self.answered.len() - before;
        assert!(taken > 40, "{taken} events in 40 MiB");
    }

    fn expected(&self) -> Expected {
        [(self.call.clone(), self.answered.clone())].into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_the_size_of_files_is_a_full_disk_and_not_a_crash() {
    const LIMIT: u64 = 40 * 1024 * 1024;
    let shared = shared_amqp_url();
    let queue = unique("fsize");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let address = dir.path().join("url");
    let away = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    std::fs::write(&address, &away).expect("written");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl_file = {address:?}\n\n{}",
        app("it", &queue, "quorum"),
    ));
    receiver.limit_file_bytes(Some(LIMIT));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let url = receiver.callback_url("it");
    let mut large = LargeEvents::new();

    large.fill(&url).await;
    throughout(
        "not ready, alive, and new events refused",
        Duration::from_secs(3),
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
    assert_eq!(large.send(&url).await, 503);
    for file in std::fs::read_dir(receiver.dir().join("journal")).expect("a directory") {
        let file = file.expect("a file");
        let bytes = file.metadata().expect("there").len();
        assert!(bytes <= LIMIT, "{:?} has {bytes} bytes", file.file_name());
    }

    // Under the same limit: pending events are delivered, which frees space.
    std::fs::write(&address, &shared).expect("written");
    receiver.until_nothing_pending().await;
    eventually("it is ready again", Duration::from_secs(10), || async {
        (receiver.ready().await?.0 == 200).then_some(())
    })
    .await;
    assert_eq!(large.send(&url).await, 202);
    receiver.until_nothing_pending().await;

    // Full once more, killed, and started without the limit.
    std::fs::write(&address, &away).expect("written");
    receiver.kill();
    receiver.start().await;
    let before = large.answered.len();
    large.fill(&url).await;
    let pending = large.answered.len() - before;
    receiver.kill();
    receiver.limit_file_bytes(None);
    receiver.start().await;
    let recovered = receiver.metric("hookswitch_deliveries_recovered").await;
    assert_eq!(recovered, Some(pending as f64));
    let salvages = receiver.metric("hookswitch_journal_salvages_total").await;
    assert_eq!(salvages, Some(0.0), "a limit was treated as damage");
    assert_eq!(large.send(&url).await, 202);
    std::fs::write(&address, &shared).expect("written");
    receiver.until_nothing_pending().await;
    scraper.finish().await;
    let taken = take_all(&shared, &queue, Duration::from_secs(1), |_| false).await;
    let repeats = check_calls(&queue, &[taken], &large.expected());
    println!("files that were limited: nothing lost, {repeats} repeats in a row");
    assert_eq!(receiver.stop(), Some(0));
    delete(&connect(&shared).await, &queue).await;
}
