//! Ends a connection so that its peer can still read the last answer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::AsyncWrite,
    time::{Instant, Sleep},
};

use super::stream::Stream;

/// How long a peer may take to read the end of an early answer before its connection is cut.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The last answer and what follows it.
pub(super) struct LingeringClose {
    words: Vec<u8>,
    /// The peer may still be sending. Closing with unread bytes in our socket makes the kernel send a reset, which discards
    /// what we wrote last before the peer has read it; so incoming bytes are read for a while.
    lingers: bool,
    step: CloseStep,
}

enum CloseStep {
    Say { written: usize },
    Flush,
    Close,
    Listen,
    Done,
}

impl LingeringClose {
    pub(super) fn new(words: Vec<u8>, lingers: bool, timer: Pin<&mut Sleep>) -> Self {
        timer.reset(Instant::now() + LINGER_TIMEOUT);
        Self {
            words,
            lingers,
            step: CloseStep::Say { written: 0 },
        }
    }

    /// Continues until the peer has gone or its time is over.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // The time first: a peer that never stops sending uses up the task's budget, and a timer that is polled after
        // that is always pending.
        if timer.poll(cx).is_pending() && self.steps(stream, cx).is_pending() {
            return Poll::Pending;
        }
        self.step = CloseStep::Done;
        Poll::Ready(())
    }

    fn steps(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.step {
                CloseStep::Say { written } => {
                    let rest = self.words.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        self.step = CloseStep::Flush;
                        continue;
                    }
                    match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                        0 => return Poll::Ready(Ok(())),
                        more => *written += more,
                    }
                }
                CloseStep::Flush => {
                    ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                    self.step = CloseStep::Close;
                }
                CloseStep::Close => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                    self.step = if self.lingers {
                        CloseStep::Listen
                    } else {
                        CloseStep::Done
                    };
                }
                CloseStep::Listen => {
                    if ready!(stream.poll_discard(cx))? {
                        self.step = CloseStep::Done;
                    }
                }
                CloseStep::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}
