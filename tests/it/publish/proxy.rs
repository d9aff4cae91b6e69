//! A TCP proxy between the publisher and the broker that can be cut and that can fall silent.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Lives as long as it is held.
pub(crate) struct Proxy {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    mute: watch::Sender<bool>,
    _stop: tokio_util::sync::DropGuard,
    _task: JoinSet<()>,
}

impl Proxy {
    /// In front of the broker at `url`.
    pub(crate) async fn before(url: &str) -> Self {
        let upstream = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let (cuts, cut) = watch::channel(0);
        let (mute, muted) = watch::channel(false);
        let mut task = JoinSet::new();
        let stopped = stop.clone();
        task.spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        lines.spawn(line(client, upstream.clone(), cut.clone(), muted.clone()));
                    }
                    () = stopped.cancelled() => return,
                }
            }
        });
        Self {
            address,
            cuts,
            mute,
            _stop: stop.drop_guard(),
            _task: task,
        }
    }

    /// `url` with this proxy's address.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(authority(url), &self.address.to_string())
    }

    /// Drops every connection that stands now.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// While true, what the broker says does not arrive; what it is sent does.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.send_replace(mute);
    }
}

fn authority(url: &str) -> &str {
    let rest = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once("://").map_or(rest, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

async fn line(
    client: TcpStream,
    upstream: String,
    mut cut: watch::Receiver<u64>,
    mut muted: watch::Receiver<bool>,
) {
    let Ok(broker) = TcpStream::connect(&upstream).await else {
        return;
    };
    cut.mark_unchanged();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let up = tokio::io::copy(&mut from_client, &mut to_broker);
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_broker.read(&mut buffer).await.unwrap_or(0);
            if read == 0 || muted.wait_for(|muted| !muted).await.is_err() {
                return;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            if to_client.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
        _ = cut.changed() => {}
    }
}
