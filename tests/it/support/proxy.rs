//! A TCP proxy between the publisher and the broker that can cut connections, fall silent, and delay data on its way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Stops when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    mute: watch::Sender<bool>,
    held: watch::Sender<Held>,
    lines: Arc<AtomicU64>,
    _stop: tokio_util::sync::DropGuard,
    _task: JoinSet<()>,
}

impl Proxy {
    /// A proxy in front of the broker at `url`.
    pub(crate) async fn before(url: &str) -> Self {
        let upstream = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let (cuts, cut) = watch::channel(0);
        let (mute, muted) = watch::channel(false);
        let (held, holding) = watch::channel(Held::default());
        let lines = Arc::new(AtomicU64::new(0));
        let count = lines.clone();
        let mut task = JoinSet::new();
        let stopped = stop.clone();
        task.spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        let holding = Hold {
                            number: count.fetch_add(1, Ordering::Relaxed),
                            held: holding.clone(),
                        };
                        let (upstream, cut, muted) = (upstream.clone(), cut.clone(), muted.clone());
                        lines.spawn(line(client, upstream, cut, muted, holding));
                    }
                    () = stopped.cancelled() => return,
                }
            }
        });
        Self {
            address,
            cuts,
            mute,
            held,
            lines,
            _stop: stop.drop_guard(),
            _task: task,
        }
    }

    /// `url` with this proxy's address.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(authority(url), &self.address.to_string())
    }

    /// Drops every open connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Holds up every open connection: nothing arrives any more in either direction, not even its end, and new connections
    /// work. Held data arrives when [`Self::let_go`] is called.
    pub(crate) fn hold_up(&self) {
        self.hold(false);
    }

    /// The same, except that the publisher sees each of these connections end at once, and the broker does not.
    pub(crate) fn hold_up_and_hang_up(&self) {
        self.hold(true);
    }

    pub(crate) fn let_go(&self) {
        self.held.send_replace(Held::default());
    }

    fn hold(&self, hung_up: bool) {
        let below = self.lines.load(Ordering::Relaxed);
        self.held.send_replace(Held { below, hung_up });
    }

    /// While true, data from the broker does not arrive; data to the broker does.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.send_replace(mute);
    }
}

fn authority(url: &str) -> &str {
    let rest = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once("://").map_or(rest, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The connections that the proxy holds up.
#[derive(Clone, Copy, Default)]
struct Held {
    /// Connections with a lower number are held.
    below: u64,
    hung_up: bool,
}

/// The state of one connection.
#[derive(Clone)]
struct Hold {
    number: u64,
    held: watch::Receiver<Held>,
}

impl Hold {
    async fn over(&mut self) {
        let number = self.number;
        // It fails only at the proxy's end.
        drop(self.held.wait_for(|held| number >= held.below).await);
    }

    async fn hung_up(&mut self) {
        let number = self.number;
        let held = self
            .held
            .wait_for(|held| held.hung_up && number < held.below);
        drop(held.await);
    }
}

async fn line(
    client: TcpStream,
    upstream: String,
    mut cut: watch::Receiver<u64>,
    muted: watch::Receiver<bool>,
    hold: Hold,
) {
    let Ok(broker) = TcpStream::connect(&upstream).await else {
        return;
    };
    cut.mark_unchanged();
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let mut hanging_up = hold.clone();
    tokio::select! {
        () = up(from_client, to_broker, hold.clone()) => {}
        () = down(from_broker, to_client, muted, hold, &mut hanging_up) => {}
        _ = cut.changed() => {}
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut hold: Hold) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        hold.over().await;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut muted: watch::Receiver<bool>,
    mut hold: Hold,
    hanging_up: &mut Hold,
) {
    let mut buffer = vec![0; 64 * 1024];
    let carrying = async {
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            hold.over().await;
            if muted.wait_for(|muted| !muted).await.is_err() {
                return;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() || to.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = carrying => return,
        () = hanging_up.hung_up() => {}
    }
    // Data on its way to the broker is sent later; then that half ends the connection.
    drop(to);
    std::future::pending().await
}
