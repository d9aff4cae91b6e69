//! A raw client: sends exactly the given bytes and reads the answers.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than any working step takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The number of a sender whose address is shared only with every two hundredth sender.
pub(super) const ONE_PEER: usize = 199;

/// The address of the sender with this number: one of 200 addresses of this machine, so that neither the ports of one
/// address nor the limit of one peer is used up.
pub(super) fn source(number: usize) -> Ipv4Addr {
    let last = u8::try_from(2 + number % 200).expect("below 202");
    Ipv4Addr::new(127, 0, 0, last)
}

/// An unconnected socket of the sender with this number.
pub(super) fn socket(number: usize) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source(number), 0).into())?;
    Ok(socket)
}

pub(super) fn listener(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A request line and headers; `more` are whole lines.
pub(super) fn head(line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\n{more}\r\n")
}

/// A callback with an announced length.
pub(super) fn callback(app: &str, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n", body.len());
    head(&format!("POST /callbacks/{app}"), &length) + body
}

/// The head of a callback in chunks.
pub(super) fn chunked_head(app: &str) -> String {
    head(
        &format!("POST /callbacks/{app}"),
        "Transfer-Encoding: chunked\r\n",
    )
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    /// Received, but not consumed yet.
    heard: Vec<u8>,
}

impl Client {
    pub(super) async fn open(port: u16) -> Self {
        Self::from(0, port).await.expect("a connection")
    }

    /// From the address of this sender.
    pub(super) async fn from(number: usize, port: u16) -> io::Result<Self> {
        let connecting = socket(number)?.connect(listener(port));
        let stream = timeout(TIMEOUT, connecting)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            heard: Vec::new(),
        })
    }

    /// Sends all bytes; the listener may close the connection meanwhile.
    pub(super) async fn try_say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_say(bytes).await.expect("the bytes are sent");
    }

    /// Closes the sending half and keeps reading.
    pub(super) async fn falls_silent(&mut self) {
        self.stream
            .shutdown()
            .await
            .expect("the sending half is closed");
    }

    /// The next answer; `None` if the connection ended before it was complete. An interim answer counts, too.
    pub(super) async fn try_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(self.heard.get(..end)?).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let end = end + length.unwrap_or(0);
        while self.heard.len() < end {
            self.more().await?;
        }
        let whole: Vec<u8> = self.heard.drain(..end).collect();
        let body = String::from_utf8_lossy(whole.get(head.len()..)?).into_owned();
        Some(Answer { status, head, body })
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> Answer {
        let answer = self.try_answer().await;
        answer.unwrap_or_else(|| panic!("no answer, but {:?}", self.heard()))
    }

    /// Everything received until the listener closes the connection.
    pub(super) async fn rest(mut self) -> String {
        while self.more().await.is_some() {}
        self.heard().into_owned()
    }

    /// Whether the listener has sent nothing more and has not closed the connection.
    pub(super) fn is_quiet(&self) -> bool {
        let nothing = self.stream.try_read(&mut [0]);
        self.heard.is_empty()
            && nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn heard(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.heard)
    }

    /// `None` at the end of the connection.
    async fn more(&mut self) -> Option<()> {
        let read = timeout(TIMEOUT, self.stream.read_buf(&mut self.heard)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing was received after {:?}", self.heard()));
        // A reset connection has ended, too.
        read.ok().filter(|count| *count > 0).map(drop)
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
