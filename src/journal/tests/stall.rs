//! A journal whose commit does not finish.

use std::{path::Path, pin::pin, time::Duration};

use crate::{config, status::JournalState};

use crate::journal::{
    JournalRefusal,
    fault_injection::{FaultInjector, InjectedFault},
    open::Tuning,
    test_support::{Running, callback, event, settings},
};

/// A journal that is stalled after a second, in a directory of its own.
fn impatient(path: &Path, tuning: Tuning) -> Running {
    let settings = config::Journal {
        stall_timeout: Duration::from_secs(1),
        liveness_timeout: Duration::from_millis(1_500),
        ..settings(path)
    };
    Running::tuned(&settings, tuning).unwrap()
}

impl Running {
    /// Waits until the health status says that the journal is stalled, with this in its reason, and dead.
    async fn until_stalled(&self, reason: &str) {
        self.until("stalled", |_| {
            let view = self.status.health.view();
            let why = view.journal_why.unwrap_or_default();
            view.journal == JournalState::Stalled && why.contains(reason) && view.journal_dead
        })
        .await;
    }

    async fn until_writable(&self) {
        self.until("writable", |_| {
            let view = self.status.health.view();
            view.journal == JournalState::Writable && !view.journal_dead
        })
        .await;
    }
}

#[tokio::test]
async fn a_commit_that_hangs_refuses_what_comes_after_and_is_over_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let fault = FaultInjector::default();
    let tuning = Tuning {
        fault: fault.clone(),
        ..Tuning::default()
    };
    let mut running = impatient(directory.path(), tuning);
    fault.set(Some(InjectedFault::Hang));
    let intake = running.journal.intake.clone();
    let mut first = pin!(intake.submit(callback(vec![event("c", "1", &["q"])])));
    let overdue = running.journal.intake.overdue(Duration::from_secs(3_600));
    tokio::select! {
        answer = &mut first => panic!("answered: {answer:?}"),
        () = overdue => {}
    }
    let second = vec![event("c", "2", &["q"])];
    assert_eq!(
        running.submit(second.clone()).await,
        Err(JournalRefusal::Stalled)
    );
    running.until_stalled("has not finished a commit").await;
    fault.set(None);
    drop(first.await.expect("it is taken after all"));
    running.until_writable().await;
    running.accept(second).await;
    let owed = running.owed(2).await;
    let expected = [("1".to_owned(), Some(1)), ("2".to_owned(), Some(2))];
    assert_eq!(running.read(&owed).await, expected);
    running.close();
}

#[tokio::test]
async fn another_programs_write_lock_is_named_and_noticed_without_a_callback() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = impatient(directory.path(), Tuning::default());
    running.accept(vec![event("c", "1", &["q"])]).await;
    let other = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    running
        .until_stalled("another program has held a write lock")
        .await;
    let second = vec![event("c", "2", &["q"])];
    assert_eq!(
        running.submit(second.clone()).await,
        Err(JournalRefusal::Stalled)
    );
    other.execute_batch("ROLLBACK").unwrap();
    running.until_writable().await;
    running.accept(second).await;
    let owed = running.owed(2).await;
    let expected = [("1".to_owned(), Some(1)), ("2".to_owned(), Some(2))];
    assert_eq!(running.read(&owed).await, expected);
    drop(other);
    running.close();
}
