//! The socket of a listener.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Listens on `address`, with the longest accept queue that the machine allows (`net.core.somaxconn`).
///
/// The standard library asks for 128. A process that is paused for a moment finds more than that afterwards. The kernel
/// then drops the last segment of a peer's handshake without telling the peer: the peer believes that it is connected,
/// and until it sends something nothing ends that, not even our deadlines. Connections beyond our own limits are
/// accepted and answered.
///
/// # Errors
/// If the address is in use, or does not belong to this machine.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, i32::MAX)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use super::*;

    /// More than the queue size that the standard library asks for.
    const WAITING: usize = 300;

    #[test]
    fn connections_wait_to_be_accepted_and_are_not_dropped() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok());
        // It is known on Linux only. Elsewhere, and where it is low, only as many as allowed can wait.
        let waiting = WAITING.min(allowed.unwrap_or(64));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut peers: Vec<TcpStream> = (0..waiting)
            .map(|number| {
                // Less than the one second after which a dropped segment is sent again.
                TcpStream::connect_timeout(&address, Duration::from_millis(900))
                    .unwrap_or_else(|error| panic!("{number} wait, the next one: {error}"))
            })
            .collect();
        for peer in peers.drain(..) {
            let (_, of) = listener.accept().unwrap();
            assert_eq!(of, peer.local_addr().unwrap());
        }
    }
}
