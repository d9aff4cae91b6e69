//! The limits of the public listener.

use std::time::Duration;

use crate::{
    config::{AcceptAfter, Delivery, ServerLimits},
    http::ConnectionLimits,
};

/// How long the journal may take to make a callback durable before its sender is told to retry.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// Memory for the bodies of all callbacks in progress, unless a few of the largest need more.
const BODY_MEMORY_BYTES: usize = 64 * 1_024 * 1_024;

/// Limits of the public listener (P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressSettings {
    /// What the configuration says.
    pub limits: ServerLimits,
    /// Memory for the bodies of all callbacks in progress.
    pub body_memory_bytes: usize,
    /// How long a callback waits for the journal; what is stored after that is a duplicate when it is sent again.
    pub store_timeout: Duration,
}

impl IngressSettings {
    /// What the configuration says, and what follows from it.
    #[must_use]
    pub fn new(limits: ServerLimits, delivery: &Delivery) -> Self {
        Self {
            limits,
            body_memory_bytes: BODY_MEMORY_BYTES.max(limits.body_limit_bytes.saturating_mul(4)),
            // In `confirm` mode the journal answers by itself at `confirm_timeout`; this bound must lie behind it.
            store_timeout: match delivery.accept_after {
                AcceptAfter::Journal => STORE_TIMEOUT,
                AcceptAfter::Confirm => STORE_TIMEOUT + delivery.confirm_timeout,
            },
        }
    }

    /// What bounds its connections.
    pub(super) fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections: self.limits.connection_limit,
            connections_per_peer: self.limits.peer_connection_limit,
            head_bytes: self.limits.head_limit_bytes,
            // The other half is for the body.
            head_timeout: self.limits.request_timeout / 2,
            idle_timeout: self.limits.idle_timeout,
            // As long as it had for the request.
            answer_timeout: self.limits.request_timeout,
            evicts_idle: false,
        }
    }
}
