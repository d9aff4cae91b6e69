//! Reads the watched queues: one connection, a channel for each queue, acknowledged after judging. A lost connection is
//! reopened.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    tcp::{OwnedIdentity, OwnedTLSConfig},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    BrokerTls, ConsumePlan, LoadError,
    clock::Clock,
    state::Shared,
    verifier::{Message, MessageOrigin},
};

/// Messages that a queue may give before one is acknowledged.
pub(super) const PREFETCH: u16 = 300;
/// Messages judged in one go, and acknowledged together.
const CHUNK: usize = 64;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The library does not announce every end of a connection.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two tries to connect.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);
/// How long a receiver that is starting may take to declare its queues.
const DECLARED_WITHIN: Duration = Duration::from_secs(10);

/// How long the broker may still list a consumer that has just left.
const LEFT_WITHIN: Duration = Duration::from_secs(3);

/// Connects to the broker of a plan.
struct Dialer {
    uri: AMQPUri,
    host: String,
    tls: OwnedTLSConfig,
}

impl Dialer {
    async fn new(watch: &ConsumePlan) -> Result<Self, LoadError> {
        let mut uri: AMQPUri =
            watch
                .url
                .parse()
                .map_err(|reason: String| LoadError::BrokerUrl {
                    // The URL contains a password.
                    reason: reason.replace(&watch.url, "***"),
                })?;
        uri.query.heartbeat = Some(10);
        Ok(Self {
            host: format!("{}:{}", uri.authority.host, uri.authority.port),
            uri,
            tls: tls(&watch.tls).await?,
        })
    }

    async fn dial(&self) -> Result<Connection, LoadError> {
        let runtime = lapin::runtime::default_runtime().map_err(|source| LoadError::Broker {
            host: self.host.clone(),
            source: Box::new(source),
        })?;
        let connecting = Connection::connect_uri_with_config(
            self.uri.clone(),
            ConnectionProperties::default().with_connection_name("hookswitch load".into()),
            self.tls.clone(),
            runtime,
        );
        match tokio::time::timeout(OPEN_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(source)) => Err(LoadError::Broker {
                host: self.host.clone(),
                source: Box::new(source),
            }),
            Err(_) => Err(LoadError::BrokerSilent {
                host: self.host.clone(),
                after: OPEN_TIMEOUT,
            }),
        }
    }
}

async fn tls(files: &BrokerTls) -> Result<OwnedTLSConfig, LoadError> {
    async fn read(path: &std::path::Path) -> Result<Vec<u8>, LoadError> {
        tokio::fs::read(path)
            .await
            .map_err(|source| LoadError::TlsFile {
                path: path.to_owned(),
                source,
            })
    }
    let cert_chain = match &files.ca_file {
        Some(path) => Some(String::from_utf8_lossy(&read(path).await?).into_owned()),
        None => None,
    };
    let identity = match (&files.cert_file, &files.key_file) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read(cert).await?,
            key: read(key).await?,
        }),
        _ => None,
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain,
    })
}

/// Looks at every queue before anything is sent: it must exist, and have no other consumer. Unless messages are
/// expected, it must be empty, because verifying consumes what it finds.
pub(super) async fn inspect(watch: &ConsumePlan, may_hold_messages: bool) -> Result<(), LoadError> {
    let connection = Dialer::new(watch).await?.dial().await?;
    let result = async {
        for queue in &watch.queues {
            let mut found = declared(&connection, &queue.name).await?;
            let deadline = tokio::time::Instant::now() + LEFT_WITHIN;
            while found.consumer_count() > 0 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(200)).await;
                found = declared(&connection, &queue.name).await?;
            }
            if found.consumer_count() > 0 {
                return Err(LoadError::Occupied {
                    queue: queue.name.clone(),
                    consumers: found.consumer_count(),
                });
            }
            if found.message_count() > 0 && !may_hold_messages && !watch.drain_foreign {
                return Err(LoadError::NotEmpty {
                    queue: queue.name.clone(),
                    messages: found.message_count(),
                });
            }
        }
        Ok(())
    }
    .await;
    close(&connection).await;
    result
}

/// What the broker says of a queue; asked again for a while where it is not there yet.
async fn declared(connection: &Connection, queue: &str) -> Result<lapin::Queue, LoadError> {
    let deadline = tokio::time::Instant::now() + DECLARED_WITHIN;
    loop {
        // Asking for a queue that does not exist closes the channel.
        let asking = async {
            let channel = connection.create_channel().await?;
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let found = channel
                .queue_declare(queue.into(), passive, FieldTable::default())
                .await?;
            channel.close(200, "seen".into()).await?;
            Ok::<_, lapin::Error>(found)
        };
        match asking.await {
            Ok(found) => return Ok(found),
            Err(_) if tokio::time::Instant::now() < deadline && connection.status().connected() => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(source) => {
                return Err(LoadError::Queue {
                    queue: queue.to_owned(),
                    source: Box::new(source),
                });
            }
        }
    }
}

async fn close(connection: &Connection) {
    // What was consumed is acknowledged already; a broker that does not answer closes by itself.
    drop(tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "done".into())).await);
}

/// Consumes until `halt`, over as many connections as it takes.
pub(super) async fn consume(
    watch: Arc<ConsumePlan>,
    shared: Shared,
    clock: Clock,
    halt: CancellationToken,
) -> Result<(), LoadError> {
    let dialer = Dialer::new(&watch).await?;
    while !halt.is_cancelled() {
        let dialled = tokio::select! {
            dialled = dialer.dial() => dialled,
            () = halt.cancelled() => return Ok(()),
        };
        match dialled {
            Ok(connection) => {
                session(&connection, &watch, &shared, clock, &halt).await?;
                let mut state = shared.lock();
                state.connected_us = None;
                if let Some(verifier) = &mut state.verifier {
                    verifier.connection_lost();
                }
            }
            Err(error) => tracing::debug!(%error, "consuming again later"),
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_AFTER) => {}
            () = halt.cancelled() => {}
        }
    }
    Ok(())
}

/// Consumes every queue on one connection until that is lost or `halt`. Only what a new connection would not solve is
/// an error.
async fn session(
    connection: &Connection,
    watch: &ConsumePlan,
    shared: &Shared,
    clock: Clock,
    halt: &CancellationToken,
) -> Result<(), LoadError> {
    let over = halt.child_token();
    let mut readers = JoinSet::new();
    for (number, queue) in watch.queues.iter().enumerate() {
        let opening = tokio::time::timeout(OPEN_TIMEOUT, open(connection, &queue.name)).await;
        let Ok(Ok((channel, consumer))) = opening else {
            tracing::debug!(queue = queue.name, "cannot consume now");
            over.cancel();
            break;
        };
        let reader = Reader {
            number,
            channel,
            drain_foreign: watch.drain_foreign,
            held: 0,
            shared: shared.clone(),
            clock,
        };
        readers.spawn(reader.read(consumer, over.clone()));
    }
    shared.lock().connected_us = Some(clock.now_us());
    let mut result = Ok(());
    let gone = async {
        while connection.status().connected() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        ended = readers.join_next() => {
            if let Some(Ok(ReadEnd::OnlyForeign(number))) = ended {
                let queue = watch.queues.get(number).map(|queue| queue.name.clone());
                result = Err(LoadError::OnlyForeign { queue: queue.unwrap_or_default() });
            }
        }
        () = gone => {}
        () = over.cancelled() => {}
    }
    // The other readers judge what they have, so that what is judged is a prefix of what the queue gave.
    over.cancel();
    while readers.join_next().await.is_some() {}
    close(connection).await;
    result
}

async fn open(connection: &Connection, queue: &str) -> lapin::Result<(Channel, lapin::Consumer)> {
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let consumer = channel
        .basic_consume(
            queue.into(),
            "hookswitch-load".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok((channel, consumer))
}

/// Reads one queue.
struct Reader {
    number: usize,
    channel: Channel,
    drain_foreign: bool,
    /// Foreign messages that are not acknowledged.
    held: u16,
    shared: Shared,
    clock: Clock,
}

/// Why a queue is not read any further.
enum ReadEnd {
    Over,
    /// Every message that the queue may give unacknowledged is foreign.
    OnlyForeign(usize),
}

impl Reader {
    async fn read(mut self, consumer: lapin::Consumer, over: CancellationToken) -> ReadEnd {
        let mut chunks = consumer.ready_chunks(CHUNK);
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = over.cancelled() => return ReadEnd::Over,
            };
            let Some(chunk) = chunk else {
                return ReadEnd::Over;
            };
            let mut broken = false;
            let mut ours = Vec::with_capacity(chunk.len());
            {
                let mut state = self.shared.lock();
                let state = &mut *state;
                let at_us = self.clock.now_us();
                for delivery in chunk {
                    let (Ok(delivery), Some(verifier)) = (delivery, &mut state.verifier) else {
                        broken = true;
                        break;
                    };
                    let message = message(self.number, &delivery, at_us);
                    let ruling = verifier.take(&mut state.sent_events, &message);
                    if ruling == MessageOrigin::Ours || self.drain_foreign {
                        ours.push(delivery.delivery_tag);
                    } else {
                        self.held += 1;
                    }
                }
            }
            if broken || self.acknowledge(&ours).await.is_err() {
                return ReadEnd::Over;
            }
            if self.held >= PREFETCH {
                return ReadEnd::OnlyForeign(self.number);
            }
        }
    }

    /// All at once where nothing in between is held.
    async fn acknowledge(&self, tags: &[u64]) -> lapin::Result<()> {
        if self.held == 0 {
            if let Some(last) = tags.last() {
                let all = BasicAckOptions { multiple: true };
                self.channel.basic_ack(*last, all).await?;
            }
            return Ok(());
        }
        for tag in tags {
            let one = BasicAckOptions { multiple: false };
            self.channel.basic_ack(*tag, one).await?;
        }
        Ok(())
    }
}

fn message(queue: usize, delivery: &Delivery, at_us: u64) -> Message<'_> {
    let header = |name| header(&delivery.properties, name);
    let text = |name| match header(name) {
        Some(AMQPValue::LongString(text)) => Some(text.as_bytes()),
        _ => None,
    };
    Message {
        queue,
        body: &delivery.data,
        redelivered: delivery.redelivered,
        delivery: text("hookswitch-delivery"),
        sequence: match header("hookswitch-sequence") {
            Some(AMQPValue::LongLongInt(number)) => Some(*number),
            _ => None,
        },
        instance: text("hookswitch-instance"),
        at_us,
    }
}

fn header<'d>(properties: &'d BasicProperties, name: &str) -> Option<&'d AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}
