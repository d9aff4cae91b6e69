//! The journal's bounds (P4, P5): a status with `Retry-After`, and only for the callbacks that are affected.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions},
    types::FieldTable,
};
use serde_json::Value;

use crate::support::{
    Calls, Node, Receiver, Scraper, call_events, check_calls, connect, declare, delete, eventually,
    post, shared_amqp_url, take_all, unique,
};

use super::{app, url};

/// Sends until the journal refuses an event; returns that answer.
async fn until_refused(calls: &mut Calls) -> reqwest::Response {
    loop {
        let answer = calls.try_one().await;
        if answer.status() != 202 {
            return answer;
        }
        assert!(calls.sent() < 1_000, "the bound was never reached");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_refuses_new_events_and_takes_duplicates_until_the_broker_is_back() {
    let node = Node::stopped();
    let mut receiver = Receiver::with_server(
        &format!(
            "limit_bytes = 65536\ndestination_share = 1.0\n\n[broker]\n{}\n\n{}",
            url(node.url()),
            app("it", "bounded", "quorum"),
        ),
        "body_limit_bytes = 65536",
    );
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut calls = Calls::new(receiver.callback_url("it"), 1);
    let refused = until_refused(&mut calls).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.expect("a body");
    assert!(refused.contains("the journal is full"), "{refused}");
    assert!(calls.sent() > 30, "{} fitted", calls.sent());

    let duplicate = calls.repeat_first().await;
    assert_eq!(duplicate.status(), 202);
    let duplicate: Value = duplicate.json().await.expect("JSON");
    assert_eq!(duplicate["duplicates"], 1);
    let (status, body) = receiver.ready().await.expect("an answer");
    assert_eq!((status, &body["journal"]), (503, &"full".into()), "{body}");

    node.start_again();
    receiver.until_nothing_pending().await;
    eventually("it is ready again", Duration::from_secs(10), || async {
        (receiver.ready().await?.0 == 200).then_some(())
    })
    .await;
    assert_eq!(calls.try_one().await.status(), 202);
    receiver.until_nothing_pending().await;
    scraper.finish().await;
    let taken = take_all(node.url(), "bounded", Duration::from_secs(1), |_| false).await;
    assert_eq!(check_calls("bounded", &[taken], &calls.expected()), 0);
    assert_eq!(receiver.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_queue_fills_its_share_and_only_its_callbacks_are_refused() {
    let shared = shared_amqp_url();
    let (gone, here) = (unique("gone"), unique("here"));
    let admin = connect(&shared).await;
    declare(&admin, &here, "quorum").await;
    let mut receiver = Receiver::with_server(
        &format!(
            "limit_bytes = 131072\n\n[broker]\ndeclare = false\n{}\n\n{}{}[[apps]]\nname = \"both\"\nauth = \"none\"\n\n\
         [[routes]]\nname = \"both-1\"\napp = \"both\"\nqueue = \"{gone}\"\n\n[[routes]]\nname = \"both-2\"\napp = \"both\"\nqueue = \"{here}\"\n",
            url(&shared),
            app("gone", &gone, "quorum"),
            app("here", &here, "quorum"),
        ),
        "body_limit_bytes = 65536",
    );
    receiver.start().await;
    let scraper = Scraper::start(receiver.metrics_url());
    let mut lost = Calls::new(receiver.callback_url("gone"), 1);
    let refused = until_refused(&mut lost).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = refused.text().await.expect("a body");
    assert!(refused.contains("a destination"), "{refused}");
    let mut both = Calls::new(receiver.callback_url("both"), 1);
    assert_eq!(
        both.try_one().await.status(),
        503,
        "all or nothing of a callback"
    );
    assert_eq!(
        receiver
            .metric("hookswitch_events_rejected_total{reason=\"destination_full\"}")
            .await,
        Some(2.0)
    );

    // More than the other half in all, but it does not stay there.
    let mut fine = Calls::new(receiver.callback_url("here"), 1);
    let pending = receiver.metric("hookswitch_deliveries_pending").await;
    for _ in 0..10 {
        for _ in 0..20 {
            assert_eq!(fine.try_one().await.status(), 202);
        }
        receiver
            .until_metric("hookswitch_deliveries_pending", |now| Some(now) == pending)
            .await;
    }
    let (status, body) = receiver.ready().await.expect("an answer");
    assert_eq!((status, &body["journal"]), (200, &"writable".into()));
    let taken = take_all(&shared, &here, Duration::from_secs(10), |taken| {
        taken.len() == 200
    })
    .await;
    assert_eq!(check_calls(&here, &[taken], &fine.expected()), 0);

    declare(&admin, &gone, "quorum").await;
    receiver.until_nothing_pending().await;
    assert_eq!(lost.try_one().await.status(), 202);
    assert_eq!(both.try_one().await.status(), 202);
    receiver.until_nothing_pending().await;
    scraper.finish().await;
    let taken = take_all(&shared, &gone, Duration::from_secs(1), |_| false).await;
    let mut expected = lost.expected();
    expected.extend(both.expected());
    check_calls(&gone, &[taken], &expected);
    assert_eq!(receiver.stop(), Some(0));
    delete(&admin, &gone).await;
    delete(&admin, &here).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_of_a_missing_queue_fill_one_share_and_not_the_journal() {
    let shared = shared_amqp_url();
    let admin = connect(&shared).await;
    for bound in [
        "limit_bytes = 131072",
        "limit_bytes = 10000000\nlimit_deliveries = 100",
    ] {
        let (gone, here) = (unique("gone"), unique("here"));
        declare(&admin, &here, "quorum").await;
        let mut receiver = Receiver::with_server(
            &format!(
                "{bound}\n\n[broker]\ndeclare = false\n{}\n\n{}partitions = 4\n\n{}",
                url(&shared),
                app("gone", &gone, "quorum").trim_end().to_owned() + "\n",
                app("here", &here, "quorum"),
            ),
            "body_limit_bytes = 65536\nbatch_limit = 10",
        );
        receiver.start().await;
        let scraper = Scraper::start(receiver.metrics_url());
        // Enough calls for every partition to have some.
        let mut refused = None;
        for _ in 0..200 {
            let answer = Calls::new(receiver.callback_url("gone"), 1).try_one().await;
            if answer.status() != 202 {
                refused = Some(answer.text().await.expect("a body"));
                break;
            }
        }
        let refused = refused.expect("the share was never used up");
        assert!(refused.contains("a destination"), "{refused}");

        let mut fine = Calls::new(receiver.callback_url("here"), 1);
        for _ in 0..50 {
            assert_eq!(fine.try_one().await.status(), 202, "{bound}");
        }
        let (status, body) = receiver.ready().await.expect("an answer");
        assert_eq!((status, &body["journal"]), (200, &"writable".into()));
        scraper.finish().await;
        let taken = take_all(&shared, &here, Duration::from_secs(10), |taken| {
            taken.len() == 50
        })
        .await;
        assert_eq!(check_calls(&here, &[taken], &fine.expected()), 0);
        // A graceful stop would wait for the missing queue.
        receiver.kill();
        delete(&admin, &here).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_types_of_one_app_leave_the_routing_keys_of_another_alone() {
    let shared = shared_amqp_url();
    let (exchange, queue) = (unique("calls"), unique("all"));
    let admin = connect(&shared).await;
    let channel = admin.create_channel().await.expect("a channel");
    let topic = ExchangeKind::Topic;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            exchange.as_str().into(),
            topic,
            durable,
            FieldTable::default(),
        )
        .await
        .expect("an exchange");
    declare(&admin, &queue, "quorum").await;
    channel
        .queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a binding");
    let mut receiver = Receiver::new(&format!(
        "[broker]\n{}\n\n[[apps]]\nname = \"good\"\nauth = \"none\"\n\n[[apps]]\nname = \"bad\"\nauth = \"none\"\n\n\
         [[routes]]\nname = \"all\"\nexchange = \"{exchange}\"\n",
        url(&shared),
    ));
    receiver.start().await;
    let client = reqwest::Client::new();
    const MADE_UP: usize = 2_000;
    let events: Vec<Value> = (0..MADE_UP)
        .map(|n| serde_json::json!({"id": unique("id"), "source": "s", "specversion": "1.0", "type": format!("x.t{n}"), "data": {}}))
        .collect();
    let answer = post(
        &client,
        &receiver.callback_url("bad"),
        &Value::from(events).to_string(),
    )
    .await
    .expect("an answer");
    assert_eq!(answer.status(), 202);
    for (_, body) in call_events("call", 5) {
        let answer = post(&client, &receiver.callback_url("good"), &body)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 202);
    }
    receiver.until_nothing_pending().await;
    let diverted = receiver
        .metric("hookswitch_routing_keys_diverted_total")
        .await;
    assert_eq!(diverted, Some(0.0));
    let taken = take_all(&shared, &queue, Duration::from_secs(10), |taken| {
        taken.len() == MADE_UP + 5
    })
    .await;
    let of = |app: &str| {
        let app = Some(app.to_owned());
        taken
            .iter()
            .filter(|one| one.headers.get("hookswitch-app") == app.as_ref())
            .count()
    };
    assert_eq!((of("bad"), of("good")), (MADE_UP, 5));
    assert_eq!(receiver.stop(), Some(0));
    delete(&admin, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_never_fits_is_413_and_leaves_the_receiver_ready() {
    let shared = shared_amqp_url();
    let queue = unique("never-fits");
    for mode in ["journal", "confirm"] {
        let mut receiver = Receiver::with_server(
            &format!(
                "limit_deliveries = 100\ndestination_share = 1.0\n\n[delivery]\naccept_after = \"{mode}\"\n\n[broker]\n{}\n\n{}",
                url(&shared),
                app("it", &queue, "quorum"),
            ),
            "body_limit_bytes = 1048576",
        );
        receiver.start().await;
        assert!(receiver.log().contains("such a callback gets 413"));
        let events: Vec<Value> = call_events("call", 101)
            .iter()
            .flat_map(|(_, body)| serde_json::from_str::<Vec<Value>>(body).expect("an array"))
            .collect();
        let body = Value::from(events).to_string();
        let answer = post(&reqwest::Client::new(), &receiver.callback_url("it"), &body)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 413, "{mode}");
        let answer = answer.text().await.expect("a body");
        assert!(answer.contains("101 deliveries"), "{answer}");
        let (status, ready) = receiver.ready().await.expect("an answer");
        assert_eq!((status, &ready["journal"]), (200, &"writable".into()));
        let mut calls = Calls::new(receiver.callback_url("it"), 1);
        assert_eq!(calls.try_one().await.status(), 202);
        assert_eq!(receiver.stop(), Some(0));
    }
    delete(&connect(&shared).await, &queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_confirm_mode_a_missing_queue_leaves_places_for_the_others() {
    let shared = shared_amqp_url();
    let (gone, here) = (unique("gone"), unique("here"));
    let admin = connect(&shared).await;
    declare(&admin, &here, "quorum").await;
    let mut receiver = Receiver::with_server(
        &format!(
            "[delivery]\naccept_after = \"confirm\"\nconfirm_timeout = \"30s\"\n\n[broker]\ndeclare = false\n{}\n\n{}{}",
            url(&shared),
            app("gone", &gone, "quorum"),
            app("here", &here, "quorum"),
        ),
        "in_flight_limit = 32",
    );
    receiver.start().await;
    let client = reqwest::Client::new();
    let mut lost = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (client, url) = (client.clone(), receiver.callback_url("gone"));
        let (_, body) = call_events(&format!("gone-{n}"), 1).remove(0);
        lost.spawn(async move {
            post(&client, &url, &body)
                .await
                .expect("an answer")
                .status()
        });
    }
    // Half of the places are taken, and the other callbacks were refused at once.
    let mut refused = 0;
    while refused < 84 {
        let status = lost.join_next().await.expect("16 wait").expect("no panic");
        assert_eq!(status, 503);
        refused += 1;
    }
    let mut fine = Calls::new(receiver.callback_url("here"), 1);
    for _ in 0..50 {
        assert_eq!(fine.try_one().await.status(), 202);
    }
    let refused = receiver
        .metric("hookswitch_events_rejected_total{reason=\"destination_full\"}")
        .await;
    assert!(refused > Some(0.0), "{refused:?}");
    // Waiting callbacks would see the queue disappear.
    drop(lost);
    receiver.kill();
    delete(&admin, &here).await;
}
