//! The kernel's view of the connections between this process and the receiver: both ends of each, separately.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use crate::support::eventually;

/// All TCP sockets over IPv4 of this machine, at one instant.
pub(super) struct Sockets {
    /// By local and remote address.
    all: BTreeMap<(SocketAddr, SocketAddr), Socket>,
    /// The open sockets of the receiver's process, by inode.
    of_process: BTreeSet<u64>,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    /// The kernel's number of the TCP state.
    state: &'static str,
    /// Bytes that the peer has not acknowledged.
    unsent: u64,
    /// Received bytes that were not read.
    unread: u64,
    /// 0 if no process has the socket any more.
    inode: u64,
}

/// The state of the receiver's end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It does not exist: the kernel dropped the last segment of the handshake because the listener's accept queue was
    /// full. Then only the peer has the connection, and keeps it as long as it sends nothing.
    Missing,
    /// Not accepted yet.
    InQueue(String),
    /// The receiver has it open.
    InProcess(String),
    /// The receiver has closed it, and the kernel still has bytes to send.
    Closed(String),
}

impl Sockets {
    /// A snapshot. `process` is the receiver's process id.
    pub(super) fn of(process: u32) -> Self {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process exists");
        let of_process = files
            .filter_map(|file| {
                let target = std::fs::read_link(file.ok()?.path()).ok()?;
                let inode = target.to_str()?.strip_prefix("socket:[")?;
                inode.strip_suffix(']')?.parse().ok()
            })
            .collect();
        let mut all = BTreeMap::new();
        // The table changes while it is read, so one reading may miss a socket.
        for _ in 0..3 {
            let table = std::fs::read_to_string("/proc/net/tcp").expect("the TCP sockets");
            all.extend(table.lines().skip(1).filter_map(parse));
        }
        Self { all, of_process }
    }

    /// The receiver's end of the connection from `peer` to `listener`.
    pub(super) fn receivers_end(&self, peer: SocketAddr, listener: SocketAddr) -> End {
        let Some(socket) = self.all.get(&(listener, peer)) else {
            return End::Missing;
        };
        let text = socket.to_string();
        if self.of_process.contains(&socket.inode) {
            End::InProcess(text)
        } else if matches!(socket.state, "ESTABLISHED" | "SYN_RECV" | "CLOSE_WAIT") {
            End::InQueue(text)
        } else {
            End::Closed(text)
        }
    }

    /// The peer's own end.
    pub(super) fn peers_end(&self, peer: SocketAddr, listener: SocketAddr) -> String {
        self.all
            .get(&(peer, listener))
            .map_or_else(|| "nowhere".to_owned(), Socket::to_string)
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            unsent,
            unread,
            inode,
        } = self;
        write!(
            f,
            "{state}, {unsent} bytes unsent, {unread} unread, inode {inode}"
        )
    }
}

/// A line of the table: number, local address, remote address, state, queues, and so on; the inode is the tenth field.
fn parse(line: &str) -> Option<((SocketAddr, SocketAddr), Socket)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, own, other, state, queues, _, _, _, _, inode, ..] = fields.as_slice() else {
        return None;
    };
    let (unsent, unread) = queues.split_once(':')?;
    let socket = Socket {
        state: state_of(state)?,
        unsent: u64::from_str_radix(unsent, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
        inode: inode.parse().ok()?,
    };
    Some(((address(own)?, address(other)?), socket))
}

/// An address is printed as a native integer of its bytes in network order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(ip, port).into())
}

fn state_of(number: &str) -> Option<&'static str> {
    Some(match number {
        "01" => "ESTABLISHED",
        "02" => "SYN_SENT",
        "03" => "SYN_RECV",
        "04" => "FIN_WAIT1",
        "05" => "FIN_WAIT2",
        "06" => "TIME_WAIT",
        "07" => "CLOSE",
        "08" => "CLOSE_WAIT",
        "09" => "LAST_ACK",
        "0A" => "LISTEN",
        "0B" => "CLOSING",
        "0C" => "NEW_SYN_RECV",
        _ => return None,
    })
}

/// Handshakes that the kernel dropped on this machine because the queue of a listener was full.
pub(super) fn listen_drops() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = both.find(|(name, _)| *name == "ListenDrops")?;
    value.parse().ok()
}

#[tokio::test]
async fn the_end_of_a_connection_is_found_wherever_it_is() {
    use std::io::Write as _;

    let process = std::process::id();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    let peer = client.local_addr().expect("its address");
    let found = || Sockets::of(process).receivers_end(peer, address);
    assert!(matches!(found(), End::InQueue(_)), "{:?}", found());

    let (accepted, _) = listener.accept().expect("accepted");
    client.write_all(b"four").expect("sent");
    let expected = |text: &str| text.starts_with("ESTABLISHED, 0 bytes unsent, 4 unread, inode ");
    assert!(
        matches!(found(), End::InProcess(text) if expected(&text)),
        "{:?}",
        found()
    );
    let own = Sockets::of(process).peers_end(peer, address);
    assert!(own.starts_with("ESTABLISHED, 0 bytes unsent"), "{own}");

    accepted
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    // On a busy machine the kernel may do its part a moment later.
    let until = async |what: &str, is: &dyn Fn(End) -> bool| {
        let seen = || std::future::ready(is(found()).then_some(()));
        eventually(what, Duration::from_secs(10), seen).await;
    };
    let half_closed = |end| matches!(end, End::InProcess(text) if text.starts_with("FIN_WAIT2"));
    until("half closed", &half_closed).await;
    // Closed with unread bytes: the kernel resets the connection and keeps nothing.
    drop(accepted);
    until("gone", &|end| end == End::Missing).await;
}
