//! The body of a callback, read under every limit before it is decoded.

use std::{sync::Arc, time::Duration};

use actix_web::{error::PayloadError, web::Payload};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More than `server.body_limit_bytes`, by its head or by the received bytes.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    /// It was not complete within `server.request_timeout`.
    #[error("the body did not arrive in time")]
    Slow,
    /// All bodies in progress together have reached the memory limit.
    #[error("the callbacks in progress have reached their memory limit")]
    Crowded,
    /// The sender broke off, or its framing is wrong.
    #[error("the body is incomplete or wrongly framed")]
    Broken(#[source] PayloadError),
}

/// How much memory the bodies of all callbacks in progress may use together, counted in KiB as they grow: without it
/// the limit would be the product of the body limit and the number of callbacks.
#[derive(Clone, Debug)]
pub(super) struct BodyMemory(Arc<Semaphore>);

const KIB: usize = 1_024;

impl BodyMemory {
    /// Room for `bytes`, rounded up to whole KiB.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(KIB))))
    }

    fn take(&self, kib: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let kib = u32::try_from(kib).map_err(|_| BodyError::Crowded)?;
        self.0
            .clone()
            .try_acquire_many_owned(kib)
            .map_err(|_| BodyError::Crowded)
    }
}

/// A body and its share of the memory limit until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Checks the `Content-Length` of a body: one over the limit is refused before a byte is read.
pub(super) fn announced(length: Option<u64>, limit_bytes: usize) -> Result<usize, BodyError> {
    usize::try_from(length.unwrap_or(0))
        .ok()
        .filter(|length| *length <= limit_bytes)
        .ok_or(BodyError::TooLarge { limit_bytes })
}

/// Reads a body of at most `limit_bytes` until `timeout` has passed.
///
/// # Cancel safety
/// Dropping the future drops what was read.
pub(super) async fn read(
    payload: &mut Payload,
    announced: usize,
    limit_bytes: usize,
    timeout: Duration,
    room: &BodyMemory,
) -> Result<Body, BodyError> {
    let too_large = || BodyError::TooLarge { limit_bytes };
    let deadline = Instant::now() + timeout;
    let mut held = room.take(1)?;
    // An announced length is only a promise of the sender, not a reason to allocate memory.
    let mut bytes = BytesMut::with_capacity(announced.min(16 * KIB));
    loop {
        let chunk = match timeout_at(deadline, payload.next()).await {
            Err(_elapsed) => return Err(BodyError::Slow),
            Ok(Some(chunk)) => chunk.map_err(BodyError::Broken)?,
            Ok(None) => break,
        };
        let length = bytes.len() + chunk.len();
        if length > limit_bytes {
            return Err(too_large());
        }
        let missing = length.div_ceil(KIB).saturating_sub(held.num_permits());
        if missing > 0 {
            held.merge(room.take(missing)?);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body {
        bytes: bytes.freeze(),
        _room: held,
    })
}
