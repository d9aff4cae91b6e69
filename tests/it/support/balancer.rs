//! A plain load balancer: HTTP/1.1, each request goes to the next backend, independent of its connection. It does not know
//! calls and does not check readiness.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Stops when it is dropped.
pub(crate) struct Balancer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
    _task: JoinSet<()>,
}

struct Shared {
    backends: Vec<Backend>,
    next: AtomicUsize,
    /// How long a backend may take to answer.
    timeout: Duration,
    given_up: AtomicUsize,
}

struct Backend {
    address: String,
    idle: Mutex<Vec<TcpStream>>,
    answered: AtomicUsize,
}

impl Balancer {
    /// A balancer in front of these ports on loopback.
    pub(crate) async fn before(ports: &[u16], timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let backends = ports.iter().map(|port| Backend {
            address: format!("127.0.0.1:{port}"),
            idle: Mutex::default(),
            answered: AtomicUsize::new(0),
        });
        let shared = Arc::new(Shared {
            backends: backends.collect(),
            next: AtomicUsize::new(0),
            timeout,
            given_up: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let (stopped, sharing) = (stop.clone(), shared.clone());
        task.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        clients.spawn(serve(client, sharing.clone()));
                    }
                    () = stopped.cancelled() => return,
                }
            }
        });
        Self {
            address,
            shared,
            _stop: stop.drop_guard(),
            _task: task,
        }
    }

    pub(crate) fn callback_url(&self, app: &str) -> String {
        format!("http://{}/callbacks/{app}", self.address)
    }

    /// Requests that each backend answered.
    pub(crate) fn answered(&self) -> Vec<usize> {
        let backends = self.shared.backends.iter();
        backends
            .map(|backend| backend.answered.load(Ordering::Relaxed))
            .collect()
    }

    /// Requests that a backend received and did not answer.
    pub(crate) fn given_up(&self) -> usize {
        self.shared.given_up.load(Ordering::Relaxed)
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let mut read = Vec::new();
    while let Some(request) = message(&mut client, &mut read).await {
        let answer = tokio::time::timeout(shared.timeout, shared.forward(&request)).await;
        let Ok(Some(answer)) = answer else {
            // The backend may have read it, so no other backend gets it: the sender decides whether to send it again.
            shared.given_up.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

impl Shared {
    async fn forward(&self, request: &[u8]) -> Option<Vec<u8>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for backend in self
            .backends
            .iter()
            .cycle()
            .skip(first % self.backends.len())
            .take(self.backends.len())
        {
            // A backend that refuses the connection received nothing, so the next one may get the request.
            let Some(mut stream) = backend.connection().await else {
                continue;
            };
            stream.write_all(request).await.ok()?;
            let answer = message(&mut stream, &mut Vec::new()).await?;
            backend.answered.fetch_add(1, Ordering::Relaxed);
            if header(&answer, "connection").as_deref() != Some("close") {
                backend.idle.lock().expect("no panic").push(stream);
            }
            return Some(answer);
        }
        None
    }
}

impl Backend {
    async fn connection(&self) -> Option<TcpStream> {
        loop {
            let Some(stream) = self.idle.lock().expect("no panic").pop() else {
                return TcpStream::connect(&self.address).await.ok();
            };
            // Anything except "nothing to read" is the end of an idle connection.
            let mut byte = [0];
            if matches!(stream.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
            {
                return Some(stream);
            }
        }
    }
}

/// The next message of a stream, head and body; `None` if the stream ends first. Further bytes stay in `read`.
async fn message(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = read.get(..end + 4)?;
            let body: usize = match header(head, "content-length") {
                Some(length) => length.parse().ok()?,
                None => 0,
            };
            if read.len() >= end + 4 + body {
                return Some(read.drain(..end + 4 + body).collect());
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(message: &[u8], name: &str) -> Option<String> {
    String::from_utf8_lossy(message)
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_ascii_lowercase())
}
