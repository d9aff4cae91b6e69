//! One peer opens connection after connection while the process has a low limit of open files.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    OPEN, Stage,
    client::{self, Client, head},
};

/// Files that the receiver may have open.
const FILES: u32 = 700;

/// Connections that one peer tries to hold.
const TRIED: usize = 1_500;

/// Opens them from one address, which the normal senders do not use. A connection that is closed at once does not count.
async fn hold(port: u16) -> Vec<Client> {
    let all = (0..TRIED).map(|_| async move {
        let mut client = Client::from(client::ONE_PEER, port).await.ok()?;
        client
            .try_say(head("GET /callbacks/hostile", ""))
            .await
            .ok()?;
        let answer = client.try_answer().await?;
        (answer.status == 405).then_some(client)
    });
    join_all(all).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_peer_takes_neither_every_connection_nor_the_last_file() {
    let mut stage = Stage::prepare("", OPEN);
    stage.receiver.limit_files(FILES);
    let stage = stage.started().await;
    let files = stage.open_files().await;
    let held = hold(stage.port()).await;
    let places = held.len();
    println!("{TRIED} connections of one peer with {FILES} files: {places} held");
    assert!(places < FILES as usize / 2, "{places} are held");
    assert!(places > 0, "it may have some connections");

    // Probes are answered and name the problem; normal callbacks are accepted; the broker can be reached again.
    let ready = tokio::time::timeout(Duration::from_secs(60), stage.receiver.ready());
    let (status, body) = ready.await.expect("in time").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let notice = format!("only {FILES} files may be open");
    assert!(body.to_string().contains(&notice), "{body}");
    let live = reqwest::get(format!(
        "http://127.0.0.1:{}/livez",
        stage.receiver.admin_port
    ));
    assert_eq!(live.await.expect("an answer").status(), 200);
    stage.normal().window().await;
    drop(held);
    stage.is_left_by_all(files).await;
    stage.end().await;
}
