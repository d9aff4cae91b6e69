//! Connections that arrive while the receiver is stopped and cannot accept them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{OPEN, Stage, client, sockets::Sockets};

/// More than 128, the default size of a listener's queue.
const ARRIVALS: usize = 2_000;

/// The time for which the process is stopped at most: longer than a peer waits before it repeats its first segment.
const STALL: Duration = Duration::from_millis(1_500);

/// The time in which all must end: the limit for a head is 7.5 s, and a handshake may have been repeated a few times.
const LIMIT: Duration = Duration::from_secs(60);

/// The kernel's limit for the queue of a listener.
fn queue_limit() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("the kernel's limit");
    text.trim().parse().expect("a number")
}

/// Connects, sends nothing, and waits until the receiver closes the connection. Returns the connection if it does not.
async fn silent(number: usize, port: u16, connected: Arc<AtomicUsize>) -> Option<TcpStream> {
    let connecting = client::socket(number)
        .expect("a socket")
        .connect(client::listener(port));
    let mut stream = timeout(LIMIT, connecting)
        .await
        .expect("in time")
        .expect("a connection");
    connected.fetch_add(1, Ordering::Relaxed);
    let ended = timeout(LIMIT, stream.read(&mut [0])).await;
    ended.is_err().then_some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_opened_while_the_process_is_stopped_all_end() {
    let stage = Stage::start("", OPEN).await;
    let files = stage.open_files().await;
    let arrivals = ARRIVALS.min(queue_limit() / 2);
    let connected = Arc::new(AtomicUsize::new(0));
    stage.receiver.suspend();
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for number in 0..arrivals {
        senders.spawn(silent(number, stage.port(), connected.clone()));
    }
    while connected.load(Ordering::Relaxed) < arrivals && begun.elapsed() < STALL {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let at_once = connected.load(Ordering::Relaxed);
    stage.receiver.resume();

    let all = senders.join_all().await;
    let connections: Vec<TcpStream> = all.into_iter().flatten().collect();
    let sockets = Sockets::of(stage.receiver.pid());
    let listener = client::listener(stage.port());
    let ends: Vec<_> = connections
        .iter()
        .take(5)
        .map(|stream| {
            let address = stream.local_addr().expect("its address");
            (address, sockets.receivers_end(address, listener))
        })
        .collect();
    assert!(
        connections.is_empty(),
        "{} of {arrivals} are still open, {at_once} were connected at once; the receiver's end of some: {ends:?}",
        connections.len()
    );
    println!(
        "{arrivals} connections while the process was stopped: {at_once} at once, all ended after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.is_left_by_all(files).await;
    stage.normal().window().await;
    stage.end().await;
}
