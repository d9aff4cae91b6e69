//! Two thousand slow connections: each is cut when its request times out, and normal callbacks are accepted beside them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use crate::support::eventually;

use super::{
    Stage,
    client::{self, Client, callback, chunked_head, head},
    process::Process,
    sockets::{self, Sockets},
};

/// Slow connections at any time.
const SLOW: usize = 2_000;

/// The pause between two bytes of one sender.
const PAUSE: Duration = Duration::from_secs(1);

/// In what way a sender is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Manner {
    /// Connects and sends nothing.
    Silent,
    /// Sends the head of its first request byte by byte.
    Head,
    /// The same after an answered request.
    LaterHead,
    /// Stops in the middle of a head.
    HalfHead,
    /// Sends the body byte by byte.
    Body,
    /// The same in chunks.
    Chunks,
    /// Stops in the middle of a body.
    HalfBody,
    /// Does not read its answers.
    Unread,
}

impl Manner {
    const ALL: [Self; 8] = [
        Self::Unread,
        Self::Silent,
        Self::Head,
        Self::LaterHead,
        Self::HalfHead,
        Self::Body,
        Self::Chunks,
        Self::HalfBody,
    ];

    /// The manner of the sender with this number. A long answer costs milliseconds in an unoptimised build, which is work
    /// and not slowness, so only one in a hundred requests it.
    fn of(number: usize) -> Self {
        let [unread, others @ ..] = &Self::ALL;
        match number % 100 {
            0 => *unread,
            rest => *others.get(rest % others.len()).expect("below their number"),
        }
    }

    /// Sent at once.
    fn first(self) -> String {
        let long = "Content-Length: 100000\r\n";
        match self {
            Self::Silent | Self::Head | Self::LaterHead => String::new(),
            Self::HalfHead => "POST /callbacks/hostile HTTP/1.1\r\nHost: it\r\nX-Half".to_owned(),
            Self::Body => head("POST /callbacks/hostile", long),
            Self::Chunks => chunked_head("hostile"),
            Self::HalfBody => head("POST /callbacks/hostile", long) + "[{\"id\":\"half",
            Self::Unread => long_answer(),
        }
    }

    /// Sent byte by byte, again and again.
    fn drip(self) -> &'static [u8] {
        match self {
            Self::Silent | Self::HalfHead | Self::HalfBody => b"",
            Self::Head | Self::LaterHead => {
                b"POST /callbacks/hostile HTTP/1.1\r\nHost: it\r\nX-Slow: and still more of it: "
            }
            Self::Body => b" ",
            Self::Chunks => b"1\r\n \r\n",
            // Has no effect between requests. It shows whether the connection is still open.
            Self::Unread => b"\r\n",
        }
    }
}

/// A request whose answer is as long as the request: a subscription validation, whose code is sent back.
fn long_answer() -> String {
    let validation = serde_json::json!([{
        "id": "1", "topic": "t", "subject": "", "metadataVersion": "1", "dataVersion": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-02T03:04:05Z",
        "data": { "validationCode": "c".repeat(150_000) },
    }]);
    callback("hostile", &validation.to_string())
}

/// How the receiver closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// After a 408.
    Timeout,
    /// Without an answer.
    Closed,
    /// After another answer.
    Answered(u16),
}

impl End {
    fn after(heard: &[u8]) -> Self {
        let status = String::from_utf8_lossy(heard.get(9..12).unwrap_or_default()).parse();
        match status {
            Ok(408) => Self::Timeout,
            Ok(status) => Self::Answered(status),
            Err(_) => Self::Closed,
        }
    }
}

async fn connect(manner: Manner, number: usize, port: u16) -> io::Result<TcpStream> {
    if manner == Manner::LaterHead {
        let mut client = Client::from(number, port).await?;
        client.try_say(head("GET /callbacks/hostile", "")).await?;
        let answer = client.try_answer().await;
        let answered = answer.is_some_and(|answer| answer.status == 405);
        return answered
            .then(|| client.into_stream())
            .ok_or_else(|| io::Error::other("no answer to the first request"));
    }
    let socket = client::socket(number)?;
    if manner == Manner::Unread {
        // With small segments little fits into the buffers on the way, so that the answer stalls in the receiver.
        socket.set_recv_buffer_size(4_096)?;
        SockRef::from(&socket).set_tcp_mss(536)?;
    }
    socket.connect(client::listener(port)).await
}

/// Is slow in this manner until the receiver closes the connection.
async fn until_cut(manner: Manner, number: usize, mut stream: TcpStream) -> End {
    let mut heard = Vec::new();
    if stream.write_all(manner.first().as_bytes()).await.is_err() {
        return End::Closed;
    }
    let mut drip = manner.drip().iter().cycle();
    // Not all at the same instant.
    let offset = PAUSE.mul_f64((number % 500) as f64 / 500.0);
    let mut beat = interval_at(Instant::now() + offset, PAUSE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reading, mut writing) = stream.split();
    loop {
        tokio::select! {
            read = reading.read_buf(&mut heard), if manner != Manner::Unread => {
                if !read.is_ok_and(|count| count > 0) {
                    return End::after(&heard);
                }
            }
            _ = beat.tick(), if manner.drip() != b"" => {
                let byte = [*drip.next().expect("the bytes repeat")];
                match writing.try_write(&byte) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                        // The receiver closed meanwhile; an earlier answer can still be read.
                        if manner != Manner::Unread {
                            drop(reading.read_to_end(&mut heard).await);
                        }
                        return End::after(&heard);
                    }
                    _ => {}
                }
            }
        }
        // It was answered, and the receiver treats it as gone.
        if manner != Manner::Unread && End::after(&heard) != End::Closed {
            drop(writing.shutdown().await);
        }
    }
}

/// The number of connections by manner and end.
type Ends = BTreeMap<(Manner, End), usize>;

/// An open connection.
#[derive(Clone, Copy)]
struct OpenConnection {
    manner: Manner,
    /// The sender's address.
    address: SocketAddr,
    since: Instant,
}

/// The open connections by the number of their sender.
#[derive(Clone, Default)]
struct OpenConnections(Arc<Mutex<BTreeMap<usize, OpenConnection>>>);

impl OpenConnections {
    fn add(&self, number: usize, open: OpenConnection) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(number, open);
    }

    fn remove(&self, number: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&number);
    }

    fn now(&self) -> BTreeMap<usize, OpenConnection> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

/// Slow senders that reconnect as soon as they are cut.
struct SlowSenders {
    port: u16,
    process: u32,
    /// Handshakes that the kernel had dropped before.
    drops: Option<u64>,
    open: OpenConnections,
    over: CancellationToken,
    senders: JoinSet<Ends>,
}

impl SlowSenders {
    fn start(stage: &Stage) -> Self {
        let port = stage.port();
        let open = OpenConnections::default();
        let over = CancellationToken::new();
        let drops = sockets::listen_drops();
        let mut senders = JoinSet::new();
        for number in 0..SLOW {
            senders.spawn(sender(number, port, open.clone(), over.clone()));
        }
        Self {
            port,
            process: stage.receiver.pid(),
            drops,
            open,
            over,
            senders,
        }
    }

    fn open(&self) -> usize {
        self.open.now().len()
    }

    /// Stops reconnecting, waits until every connection is cut, and returns how all of them ended.
    async fn stop(mut self) -> Ends {
        self.over.cancel();
        let mut all = Ends::new();
        let limit = Duration::from_secs(120);
        let rest = tokio::time::timeout(limit, async {
            while let Some(ends) = self.senders.join_next().await {
                for (end, count) in ends.expect("a sender") {
                    *all.entry(end).or_default() += count;
                }
            }
        });
        if rest.await.is_err() {
            panic!(
                "{} slow connections are still open:\n{}ended: {all:?}",
                self.open(),
                self.remaining()
            );
        }
        all
    }

    /// Each open connection as both ends see it, to find the end at fault.
    fn remaining(&self) -> String {
        let listener = client::listener(self.port);
        let sockets = Sockets::of(self.process);
        let mut text = String::new();
        for (number, open) in self.open.now() {
            let OpenConnection {
                manner,
                address,
                since,
            } = open;
            writeln!(
                text,
                "sender {number} ({manner:?}) from {address}, {} s: its own end {}; the receiver's end {:?}",
                since.elapsed().as_secs(),
                sockets.peers_end(address, listener),
                sockets.receivers_end(address, listener)
            )
            .expect("written");
        }
        let (before, now) = (self.drops, sockets::listen_drops());
        writeln!(
            text,
            "handshakes dropped at full listeners: {before:?} before, {now:?} now"
        )
        .expect("written");
        text
    }
}

async fn sender(number: usize, port: u16, all: OpenConnections, over: CancellationToken) -> Ends {
    let manner = Manner::of(number);
    let mut ends = Ends::new();
    // Spread evenly over the time limit of a head or a body (7.5 s), so that they do not reconnect in waves.
    tokio::time::sleep(Duration::from_micros(3_750 * number as u64)).await;
    while !over.is_cancelled() {
        // Tried again if the listener's queue is full.
        let Ok(stream) = connect(manner, number, port).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(address) = stream.local_addr() else {
            continue;
        };
        let since = Instant::now();
        all.add(
            number,
            OpenConnection {
                manner,
                address,
                since,
            },
        );
        let end = until_cut(manner, number, stream).await;
        all.remove(number);
        *ends.entry((manner, end)).or_default() += 1;
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_connections_are_cut_and_normal_callbacks_come_in_beside_them() {
    let asks = "auth = \"none\"\nevent_grid = true";
    let stage = Stage::start("", asks).await;
    let normal = stage.normal();
    // A warm-up.
    normal.window().await;
    let before = normal.window().await;
    let files = stage.open_files().await;

    let slow = SlowSenders::start(&stage);
    let process = Process::of(&stage.receiver);
    eventually(
        "nearly two thousand are open at once",
        Duration::from_secs(60),
        || async { (process.open_files() >= files + SLOW * 9 / 10).then_some(()) },
    )
    .await;
    // Twice the time limit of a head or a body, so that many are cut and reconnect meanwhile.
    let mut during = Vec::new();
    for _ in 0..4 {
        during.push(normal.window().await);
    }
    println!(
        "{} slow connections: p99 of normal callbacks {before:.1} ms before, {during:.1?} ms meanwhile",
        slow.open(),
    );

    let ends = slow.stop().await;
    println!("how slow connections ended: {ends:?}");
    for manner in Manner::ALL {
        let cut: usize = [End::Timeout, End::Closed]
            .iter()
            .filter_map(|end| ends.get(&(manner, *end)))
            .sum();
        let senders = (0..SLOW).filter(|number| Manner::of(*number) == manner);
        assert!(cut >= senders.count(), "{manner:?}: {ends:?}");
    }
    let answered = ends.keys().find(|(_, end)| matches!(end, End::Answered(_)));
    assert_eq!(
        answered, None,
        "no connection was refused for another reason"
    );
    let unread = "hookswitch_connections_cut_total{listener=\"public\",reason=\"unread_answer\"}";
    let unread = stage.receiver.metric(unread).await;
    assert!(
        unread >= Some(20.0),
        "{unread:?} did not read their answers"
    );
    stage.is_left_by_all(files).await;
    normal.window().await;
    stage.end().await;
}
