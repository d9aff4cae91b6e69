//! Several broker URLs, and a file of them that is read again (docs/src/operator/configuration.md).

use std::time::Duration;

use crate::support::{
    Calls, Node, Receiver, check_calls, connect, delete, eventually, free_port, shared_amqp_url,
    take_all, unique,
};

use super::one_queue;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_url_is_passed_over_for_the_next_one() {
    let url = shared_amqp_url();
    let queue = unique("urls");
    let dead = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    let mut receiver = Receiver::new(&one_queue(
        "",
        &format!("url = [\"{dead}\", \"{url}\"]"),
        &queue,
    ));
    receiver.start().await;
    let mut calls = Calls::new(receiver.callback_url("it"), 3);
    calls.send(3).await;
    receiver.until_nothing_pending().await;
    let taken = take_all(&url, &queue, Duration::from_secs(1), |_| false).await;
    assert_eq!(check_calls(&queue, &[taken], &calls.expected()), 0);
    assert!(
        !receiver.log().contains("guest:guest"),
        "{}",
        receiver.log()
    );
    assert_eq!(receiver.stop(), Some(0));
    delete(&connect(&url).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_url_file_takes_effect_at_the_next_connection() {
    let node = Node::start();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("urls");
    std::fs::write(&file, format!("{}\n", node.url())).expect("written");
    let mut receiver = Receiver::new(&one_queue("", &format!("url_file = {file:?}"), "rotated"));
    receiver.start().await;
    let mut calls = Calls::new(receiver.callback_url("it"), 2);
    calls.send(2).await;
    receiver.until_nothing_pending().await;

    // The password changes at the broker and all connections are closed; the file still holds the old one.
    node.ctl(&["add_user", "next", "secret"]);
    node.ctl(&["set_permissions", "next", ".*", ".*", ".*"]);
    node.ctl(&["change_password", "guest", "other"]);
    node.close_connections_every_second(1);
    calls.send(2).await;
    let why = eventually("the refusal is known", Duration::from_secs(20), || async {
        let (state, why) = receiver.destination("queue rotated").await?;
        (state == "held" && why.contains("ACCESS_REFUSED")).then_some(why)
    })
    .await;
    // The receiver waits for a file that is incomplete or invalid, and keeps running.
    std::fs::write(&file, "").expect("written");
    let why_empty = eventually(
        "the reason names the file",
        Duration::from_secs(20),
        || async {
            let (_, why) = receiver.destination("queue rotated").await?;
            why.contains("urls").then_some(why)
        },
    )
    .await;
    let port = node.url().rsplit(':').next().expect("a port").to_owned();
    let next = format!("amqp://next:secret@127.0.0.1:{port}");
    std::fs::write(&file, format!("{next}\n")).expect("written");
    receiver.until_nothing_pending().await;
    println!("held meanwhile: {why}; then: {why_empty}");
    assert!(!receiver.log().contains("secret"), "{}", receiver.log());
    let taken = take_all(&next, "rotated", Duration::from_secs(1), |_| false).await;
    check_calls("rotated", &[taken], &calls.expected());
    assert_eq!(receiver.stop(), Some(0));
}
