//! The limits of the public listener.

use std::time::Duration;

use crate::{
    config::{AcceptAfter, Delivery, Server},
    http::ConnectionLimits,
};

/// How long the journal may take to make a callback durable before its sender is told to retry.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory for the bodies of all callbacks in progress, unless a few of the largest need more.
const BODY_ROOM_BYTES: usize = 64 * 1_024 * 1_024;

/// Limits of the public listener (P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressSettings {
    /// Largest body.
    pub body_limit_bytes: usize,
    /// Memory for the bodies of all callbacks in progress.
    pub body_room_bytes: usize,
    /// How long head and body may take together: half for each.
    pub request_timeout: Duration,
    /// How long a callback waits for the journal; what is stored after that is a duplicate when it is resent.
    pub store_timeout: Duration,
    /// How long a connection is kept between two requests.
    pub idle_timeout: Duration,
    /// Headers of one request.
    pub header_limit: usize,
    /// Request line and headers of one request.
    pub head_limit_bytes: usize,
    /// Connections in total.
    pub connection_limit: usize,
    /// Connections of one peer.
    pub peer_connection_limit: usize,
    /// Callbacks in progress at once.
    pub in_flight_limit: usize,
}

impl IngressSettings {
    /// The settings of a configuration.
    #[must_use]
    pub fn new(server: &Server, delivery: &Delivery) -> Self {
        Self {
            body_limit_bytes: server.body_limit_bytes,
            body_room_bytes: BODY_ROOM_BYTES.max(server.body_limit_bytes.saturating_mul(4)),
            request_timeout: server.request_timeout,
            // In `confirm` mode the journal answers by itself at `confirm_timeout`; this limit must be later.
            store_timeout: match delivery.accept_after {
                AcceptAfter::Journal => STORE_TIMEOUT,
                AcceptAfter::Confirm => STORE_TIMEOUT + delivery.confirm_timeout,
            },
            idle_timeout: server.idle_timeout,
            header_limit: server.header_limit,
            head_limit_bytes: server.head_limit_bytes,
            connection_limit: server.connection_limit,
            peer_connection_limit: server.peer_connection_limit,
            in_flight_limit: server.in_flight_limit,
        }
    }

    /// The limits of its connections.
    pub(super) fn limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections: self.connection_limit,
            connections_per_peer: self.peer_connection_limit,
            head_bytes: self.head_limit_bytes,
            // The other half is for the body.
            head_timeout: self.request_timeout / 2,
            idle_timeout: self.idle_timeout,
            // As long as the request may take.
            answer_timeout: self.request_timeout,
            evicts_idle: false,
        }
    }
}
