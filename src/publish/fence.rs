//! The fence (design 7): an exclusive queue that only one connection can hold. Whoever declares it knows that the
//! connection which held it before is gone at the broker, and that nothing sent on that one can land any more.

use std::time::Duration;

use lapin::{
    ErrorKind,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};

use super::{PublishError, backoff::Backoff, link::Link};

/// The name of the fence of connection `n` of an instance (design 8).
pub(super) fn name(instance: &str, n: u8) -> String {
    format!("hookswitch.fence.{instance}.{n}")
}

/// Waits until this connection holds the fence. `locked` is called, once, when another connection still has it.
///
/// # Errors
/// Where the broker says anything but "locked": no permission, or the connection is gone.
///
/// # Cancel safety
/// Dropping it leaves at most a channel that closes by itself, and perhaps the fence held by this connection.
pub(super) async fn take(
    link: &Link,
    name: &str,
    mut locked: impl FnMut(),
) -> Result<(), PublishError> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
    let mut said = false;
    loop {
        let failed = |source| PublishError::broker("declare the fence queue", source);
        let channel = link.connection.create_channel().await.map_err(failed)?;
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        match channel
            .queue_declare(name.into(), options, FieldTable::default())
            .await
        {
            Ok(_) => {
                if let Err(error) = channel.close(200, "OK".into()).await {
                    tracing::debug!(%error, "closing the fence's channel failed");
                }
                return Ok(());
            }
            Err(error) if is_locked(&error) => {
                if !std::mem::replace(&mut said, true) {
                    locked();
                }
                tokio::time::sleep(backoff.wait()).await;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Waits until the connection that held this fence is gone, and leaves it to whoever needs it next.
///
/// # Errors
/// As [`take`].
pub(super) async fn pass(
    link: &Link,
    name: &str,
    locked: impl FnMut(),
) -> Result<(), PublishError> {
    take(link, name, locked).await?;
    let failed = |source| PublishError::broker("give the fence queue up", source);
    let channel = link.connection.create_channel().await.map_err(failed)?;
    channel
        .queue_delete(name.into(), QueueDeleteOptions::default())
        .await
        .map_err(failed)?;
    if let Err(error) = channel.close(200, "OK".into()).await {
        tracing::debug!(%error, "closing the fence's channel failed");
    }
    Ok(())
}

fn is_locked(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said)
        if matches!(said.kind(), AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED)))
}
