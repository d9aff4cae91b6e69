//! The RabbitMQ definitions of `deploy/`, on a node that loads them as in the compose file: each user has exactly the
//! rights that it needs, and the policies work.

use std::{path::Path, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Channel, Confirmation,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
        ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

use crate::support::{
    Calls, Node, Receiver, call_events, check_calls, connect, eventually, post, take_all,
};

const QUEUES: [&str; 4] = [
    "contoso.calls.0",
    "contoso.calls.1",
    "contoso.calls.2",
    "contoso.calls.3",
];
const OTHERS: [&str; 3] = [
    "contoso.digits",
    "hookswitch.unrouted",
    "hookswitch.quarantine",
];

/// A file of `deploy/`.
fn deploy(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A broker that has loaded the definitions, in a directory that lives as long.
fn broker() -> (Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, file) in [
        ("10-topology.json", "rabbitmq/definitions.json"),
        (
            "20-development-users.json",
            "rabbitmq/development-users.json",
        ),
    ] {
        std::fs::write(dir.path().join(name), deploy(file)).expect("written");
    }
    let settings = deploy("rabbitmq/rabbitmq.conf")
        .replace(
            "/etc/rabbitmq/definitions",
            dir.path().to_str().expect("UTF-8"),
        )
        // The test machine may have little disk space left.
        .replace("disk_free_limit.absolute = 1GB", "");
    (Node::start_with(&settings), dir)
}

/// The URL of a file of the compose system, with the port that this node has.
fn at(node: &Node, url: &str) -> String {
    let (_, port) = node.url().rsplit_once(':').expect("a port");
    let (port, _) = port.split_once('/').expect("a vhost");
    let here = format!("@127.0.0.1:{port}/");
    assert!(url.contains("@rabbitmq:5672/"), "{url}");
    url.trim().replace("@rabbitmq:5672/", &here)
}

fn receiver_url(node: &Node) -> String {
    at(node, &deploy("compose/receiver-amqp-url"))
}

/// The consumer's URL, as in the compose file.
fn consumer_url(node: &Node) -> String {
    let text = deploy("compose.yaml");
    let url = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("AMQP_URL: "));
    at(node, url.expect("AMQP_URL in compose.yaml"))
}

fn operator_url(node: &Node) -> String {
    receiver_url(node).replace(
        "hookswitch:hookswitch-development@",
        "operator:operator-development@",
    )
}

/// The receiver of the compose file; only addresses and paths differ.
fn receiver(broker: &str) -> Receiver {
    let text = deploy("compose/hookswitch.toml");
    let (_, apps) = text.split_once("[[apps]]").expect("apps");
    Receiver::new(&format!("[broker]\n{broker}\n\n[[apps]]{apps}"))
}

/// The lines of its `[broker]` table, with the secret in `file`.
fn broker_table(file: &Path) -> String {
    let text = deploy("compose/hookswitch.toml");
    let (_, table) = text.split_once("[broker]\n").expect("a broker");
    let (table, _) = table.split_once("[[apps]]").expect("apps");
    assert!(table.contains("/run/secrets/hookswitch/amqp-url"));
    table.replace(
        "/run/secrets/hookswitch/amqp-url",
        file.to_str().expect("UTF-8"),
    )
}

/// Sends calls, and in the middle of them has the broker close every connection if `cut`; reads them back
/// as the consumer does.
async fn sends_and_delivers(receiver: &Receiver, node: &Node, cut: bool) {
    let mut calls = Calls::new(receiver.callback_url("contoso"), 8);
    calls.send(5).await;
    if cut {
        node.close_connections_every_second(1);
        // The next connection waits for the fence of the one before; and ours is opened only after all were closed.
        receiver
            .until_metric("hookswitch_broker_reconnects_total", |count| count >= 1.0)
            .await;
    }
    calls.send(5).await;
    receiver.until_nothing_pending().await;
    let reader = consumer_url(node);
    let mut taken = Vec::new();
    for queue in QUEUES {
        taken.push(take_all(&reader, queue, Duration::from_millis(500), |_| false).await);
    }
    check_calls("contoso", &taken, &calls.expected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_receivers_user_is_enough_for_a_receiver_that_loses_its_connections_and_is_killed() {
    let (node, dir) = broker();
    let secret = dir.path().join("amqp-url");
    std::fs::write(&secret, receiver_url(&node)).expect("written");
    let mut receiver = receiver(&broker_table(&secret));
    receiver.start().await;
    for queue in QUEUES.into_iter().chain(OTHERS) {
        receiver
            .until_destination(&format!("queue {queue}"), "ready")
            .await;
    }
    sends_and_delivers(&receiver, &node, true).await;

    // A killed process leaves fences behind, and the next process declares all of them.
    receiver.kill();
    receiver.start().await;
    sends_and_delivers(&receiver, &node, false).await;

    // An event that does not match its schema goes to a queue that only the operator may read.
    let (_, body) = call_events("broken", 1).pop().expect("one");
    let body = body.replace("\"serverCallId\":\"server-broken\"", "\"serverCallId\":7");
    let answer = post(
        &reqwest::Client::new(),
        &receiver.callback_url("contoso"),
        &body,
    )
    .await
    .expect("an answer");
    assert_eq!(answer.status(), 202);
    let taken = take_all(
        &operator_url(&node),
        "hookswitch.quarantine",
        Duration::from_secs(10),
        |taken| taken.len() == 1,
    )
    .await;
    assert_eq!(taken.len(), 1, "one event in quarantine");
    assert_eq!(receiver.stop(), Some(0));
}

/// An action of a user; a refused one costs its channel.
enum Try {
    Consume(&'static str),
    Declare(&'static str),
    Bind(&'static str, &'static str),
    Publish(&'static str, &'static str),
}

impl Try {
    async fn on(&self, channel: &Channel) -> Result<(), lapin::Error> {
        let arguments = FieldTable::default;
        match self {
            Self::Consume(queue) => channel
                .basic_consume(
                    (*queue).into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    arguments(),
                )
                .await
                .map(drop),
            Self::Declare(queue) => channel
                .queue_declare((*queue).into(), QueueDeclareOptions::durable(), arguments())
                .await
                .map(drop),
            Self::Bind(queue, exchange) => {
                channel
                    .queue_bind(
                        (*queue).into(),
                        (*exchange).into(),
                        "key".into(),
                        QueueBindOptions::default(),
                        arguments(),
                    )
                    .await
            }
            Self::Publish(exchange, key) => {
                channel
                    .confirm_select(ConfirmSelectOptions::default())
                    .await?;
                let confirmation = channel
                    .basic_publish(
                        (*exchange).into(),
                        (*key).into(),
                        BasicPublishOptions::default(),
                        b"x",
                        lapin::BasicProperties::default(),
                    )
                    .await?
                    .await?;
                assert!(
                    matches!(confirmation, Confirmation::Ack(None)),
                    "{confirmation:?}"
                );
                Ok(())
            }
        }
    }
}

async fn tries(url: &str, may: &[Try], may_not: &[Try]) {
    let connection = connect(url).await;
    for (n, one) in may.iter().enumerate() {
        let channel = connection.create_channel().await.expect("a channel");
        one.on(&channel)
            .await
            .unwrap_or_else(|error| panic!("try {n}, which is allowed: {error}"));
        channel.close(200, "done".into()).await.expect("closed");
    }
    for (n, one) in may_not.iter().enumerate() {
        let channel = connection.create_channel().await.expect("a channel");
        let error = one
            .on(&channel)
            .await
            .err()
            .unwrap_or_else(|| panic!("try {n}, which is not allowed, succeeded"));
        assert!(
            error.to_string().contains("ACCESS_REFUSED"),
            "try {n}: {error}"
        );
    }
    connection.close(200, "done".into()).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broker_user_may_only_do_its_own_task() {
    let (node, _dir) = broker();
    tries(
        &receiver_url(&node),
        &[Try::Publish("hookswitch.events", "contoso.digits")],
        &[
            Try::Consume("contoso.digits"),
            Try::Consume("hookswitch.quarantine"),
            Try::Consume("hookswitch.dead-letter"),
            Try::Declare("contoso.calls.0"),
            Try::Declare("another"),
            Try::Bind("contoso.digits", "hookswitch.events"),
            Try::Publish("", "contoso.digits"),
            Try::Publish("hookswitch.dead-letter", ""),
            Try::Publish("amq.topic", "key"),
        ],
    )
    .await;
    tries(
        &consumer_url(&node),
        &[
            Try::Consume("contoso.digits"),
            Try::Consume("contoso.calls.3"),
        ],
        &[
            Try::Consume("hookswitch.quarantine"),
            Try::Consume("hookswitch.dead-letter"),
            Try::Declare("contoso.digits"),
            Try::Declare("hookswitch.fence.mine"),
            Try::Bind("contoso.digits", "hookswitch.events"),
            Try::Publish("", "contoso.digits"),
            Try::Publish("hookswitch.events", "contoso.digits"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queue_has_a_policy_and_what_is_redelivered_too_often_is_kept_as_a_dead_letter() {
    let (node, _dir) = broker();
    let queues = node.ctl(&[
        "list_queues",
        "-p",
        "hookswitch",
        "--no-table-headers",
        "name",
        "policy",
    ]);
    let mut under: Vec<Vec<&str>> = queues
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    under.sort();
    let mut expected: Vec<Vec<&str>> = QUEUES
        .into_iter()
        .chain(OTHERS)
        .map(|queue| vec![queue, "hookswitch-events"])
        .collect();
    expected.push(vec!["hookswitch.dead-letter", "hookswitch-dead-letter"]);
    expected.sort();
    assert_eq!(under, expected);

    let sender = connect(&receiver_url(&node)).await;
    let channel = sender.create_channel().await.expect("a channel");
    Try::Publish("hookswitch.events", "contoso.digits")
        .on(&channel)
        .await
        .expect("published");
    // A consumer that returns the same message again and again. The policy's limit is 20.
    let consumer = connect(&consumer_url(&node)).await;
    let channel = consumer.create_channel().await.expect("a channel");
    let mut deliveries = channel
        .basic_consume(
            "contoso.digits".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("consuming");
    for n in 0..=20 {
        let next = tokio::time::timeout(Duration::from_secs(10), deliveries.next()).await;
        let message = next
            .unwrap_or_else(|_| panic!("gone after {n} returns"))
            .expect("the consumer continues")
            .expect("a message");
        message
            .reject(BasicRejectOptions { requeue: true })
            .await
            .expect("given back");
    }

    let operator = connect(&operator_url(&node)).await;
    let channel = operator.create_channel().await.expect("a channel");
    let letter = eventually("the dead letter", Duration::from_secs(20), || async {
        channel
            .basic_get("hookswitch.dead-letter".into(), BasicGetOptions::default())
            .await
            .expect("asked")
    })
    .await;
    assert_eq!(letter.data, b"x");
    let headers = letter.properties.headers().clone().expect("headers");
    for (header, expected) in [
        ("x-first-death-reason", "delivery_limit"),
        ("x-first-death-queue", "contoso.digits"),
    ] {
        let value = headers.inner().get(header);
        assert_eq!(
            value,
            Some(&AMQPValue::LongString(expected.into())),
            "{header}"
        );
    }
}

/// The commands in the README's block, by the comment before each: `declare = …, exchange = …`.
fn permissions() -> Vec<(String, Vec<String>)> {
    let text = deploy("README.md");
    let mut settings = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# declare = ") {
            settings = format!("declare = {}", comment.replace(", ", "\n"));
        } else if let Some(command) = line.strip_prefix("rabbitmqctl ")
            && !settings.is_empty()
        {
            // Arguments that need quotes are in single quotes, which are not used otherwise.
            let words = command.split('\'').enumerate();
            let words = words.flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            found.push((std::mem::take(&mut settings), words.collect()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_permissions_are_enough_for_each_way_to_run() {
    let (node, dir) = broker();
    let ways = permissions();
    assert_eq!(ways.len(), 4, "{ways:?}");
    for (settings, command) in ways {
        println!("with {settings:?}: {command:?}");
        let declares = settings.contains("declare = true");
        let afresh = || {
            node.ctl(&["delete_vhost", "hookswitch"]);
            let definitions = dir.path().join("again.json");
            std::fs::write(&definitions, definitions_in_one(declares)).expect("written");
            node.ctl(&["import_definitions", definitions.to_str().expect("UTF-8")]);
        };
        afresh();
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        node.ctl(&command);
        let url = receiver_url(&node);
        let table = format!("url = \"{url}\"\n{settings}");
        let mut allowed = receiver(&table);
        allowed.start().await;
        for queue in ["queue contoso.digits", "queue hookswitch.quarantine"] {
            allowed.until_destination(queue, "ready").await;
        }
        sends_and_delivers(&allowed, &node, false).await;
        assert_eq!(allowed.stop(), Some(0));

        // If any right of the command is missing, a destination is held or nothing is sent.
        for right in 4..7 {
            let Some(given) = command.get(right).filter(|given| **given != "^$") else {
                continue;
            };
            let mut less = command.clone();
            *less.get_mut(right).expect("there") = "^$";
            // Before RabbitMQ 4.2.6 checking an existing queue needs no right, so with `declare` the queues must be missing.
            if declares {
                afresh();
            }
            node.ctl(&less);
            let mut confined = receiver(&table);
            confined.spawn();
            refused(&confined, given).await;
        }
    }
}

/// The definitions and permissions in one file; without queues for a receiver that declares its own.
fn definitions_in_one(without_queues: bool) -> String {
    let read = |path| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&deploy(path)).expect("a JSON object")
    };
    let mut all = read("rabbitmq/definitions.json");
    all.append(&mut read("rabbitmq/development-users.json"));
    if without_queues {
        all.remove("queues");
        all.remove("bindings");
    }
    serde_json::Value::Object(all).to_string()
}

/// Waits until an event for the digits queue is held because a right is missing.
async fn refused(receiver: &Receiver, right: &str) {
    let client = reqwest::Client::new();
    let (_, body) = call_events("refused", 3).pop().expect("the tone");
    eventually(
        &format!("held without {right:?}"),
        Duration::from_secs(30),
        || async {
            // Another id each time, so that a publish is tried and needs the right to write.
            let body = body.replace("refused/2", &uuid::Uuid::new_v4().to_string());
            post(&client, &receiver.callback_url("contoso"), &body)
                .await
                .ok()?;
            let (_, why) = receiver.destination("queue contoso.digits").await?;
            why.contains("ACCESS_REFUSED").then_some(())
        },
    )
    .await;
}
