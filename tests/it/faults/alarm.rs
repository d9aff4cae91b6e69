//! `connection.blocked`: the broker has an alarm and stops reading (P4: then everything waits in the journal).

use std::time::Duration;

use crate::support::{Calls, Node, Receiver, Scraper, check_calls, take_all, throughout};

use super::{app, url};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_blocks_publishing_and_nothing_is_resent_or_counted_as_a_stall() {
    let node = Node::start();
    let mut receiver = Receiver::new(&format!(
        "[delivery]\nstall_timeout = \"1s\"\n\n[broker]\n{}\n\n{}{}",
        url(node.url()),
        app("it", "quorum", "quorum"),
        app("other", "classic", "classic"),
    ));
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut calls = Calls::new(receiver.callback_url("it"), 4);
    let mut others = Calls::new(receiver.callback_url("other"), 4);
    calls.send(2).await;
    others.send(2).await;
    receiver.until_nothing_pending().await;

    node.memory_alarm(true);
    calls.send(10).await;
    others.send(10).await;
    receiver
        .until_metric("hookswitch_broker_blocked", |blocked| blocked == 1.0)
        .await;
    // Five times the time after which a publish counts as stalled.
    throughout(
        "blocked, ready, nothing stalled or lost",
        Duration::from_secs(5),
        || async {
            let (status, body) = receiver.ready().await.expect("an answer");
            assert_eq!(status, 200, "{body}");
            assert_eq!(body["broker"]["connected"], true, "{body}");
            assert_eq!(body["broker"]["blocked"], true, "{body}");
            assert!(!body.to_string().contains("stalled"), "{body}");
            receiver
                .metric("hookswitch_publish_total{result=\"lost\"}")
                .await
                == Some(0.0)
        },
    )
    .await;
    assert!(receiver.metric("hookswitch_deliveries_pending").await >= Some(1.0));
    calls.send(2).await;

    node.memory_alarm(false);
    receiver
        .until_metric("hookswitch_broker_blocked", |blocked| blocked == 0.0)
        .await;
    receiver.until_nothing_pending().await;
    assert_eq!(
        receiver.metric("hookswitch_broker_reconnects_total").await,
        Some(0.0)
    );
    scraper.finish().await;
    for (queue, calls) in [("quorum", &calls), ("classic", &others)] {
        let taken = take_all(node.url(), queue, Duration::from_secs(1), |_| false).await;
        assert!(
            taken
                .iter()
                .all(|message| message.headers["hookswitch-attempt"] == "1"),
            "nothing was sent twice"
        );
        assert_eq!(check_calls(queue, &[taken], &calls.expected()), 0);
    }
    assert_eq!(receiver.stop(), Some(0));
}
