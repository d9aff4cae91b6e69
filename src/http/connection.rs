//! One connection, as actix-http reads and writes it: with deadlines, and with our own error bodies where actix-http
//! has none.
//!
//! Nothing here runs by itself. The dispatcher polls it: it reads first, then calls handlers, then writes and flushes.
//! So the time is checked on read, which follows a fired timer, and the timer is set on flush, when everything that
//! happened is known.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use memchr::memmem;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    connection_permits::ConnectionPermit,
    connection_state::{ConnectionPhase, ConnectionState, Shared},
    connections::ConnectionGuard,
    frame::{FramingFault, RequestFrame},
    lingering_close::LingeringClose,
    metrics::CutReason,
    refusal::ConnectionRefusal,
    stream::Stream,
};

/// How much is read behind a request at once while it is not answered.
const AHEAD: usize = 1_024;

pub(super) struct Connection {
    stream: Stream,
    state: Rc<ConnectionState>,
    guard: ConnectionGuard,
    /// The incoming request.
    frame: RequestFrame,
    /// Bytes received after it, until it is answered.
    held: BytesMut,
    /// A read returned `Pending` because of that.
    parked: bool,
    /// Set to the next deadline or to an earlier instant: resetting it for each request would cost more than an
    /// occasional wake-up for nothing.
    timer: Pin<Box<Sleep>>,
    /// The deadline at which it fired without a read after it.
    missed: Option<Instant>,
    /// Since when the peer has not read its answer.
    blocked: Option<Instant>,
    closing: Option<LingeringClose>,
    /// The closing response replaces an answer of actix-http's.
    replaces: bool,
    _place: ConnectionPermit,
}

impl Connection {
    /// `state` is registered in the connections as `guard`.
    pub(super) fn new(
        stream: Stream,
        state: Rc<ConnectionState>,
        guard: ConnectionGuard,
        place: ConnectionPermit,
    ) -> Self {
        let deadline = Instant::now() + guard.connections.limits.head_timeout;
        Self {
            stream,
            state,
            guard,
            frame: RequestFrame::default(),
            held: BytesMut::new(),
            parked: false,
            timer: Box::pin(sleep_until(deadline)),
            missed: None,
            blocked: None,
            closing: None,
            replaces: false,
            _place: place,
        }
    }

    /// The state that its requests share with it.
    pub(super) fn shared(&self) -> Shared {
        Shared(self.state.clone())
    }

    /// Until when the peer must do what the connection waits for.
    fn deadline(&self) -> Option<Instant> {
        let limits = &self.guard.connections.limits;
        // A peer that does not read its answer is not asked for its next request.
        if let Some(since) = self.blocked {
            return Some(since + limits.answer_timeout);
        }
        match self.state.phase() {
            ConnectionPhase::Fresh(since)
            | ConnectionPhase::FramedHead(since)
            | ConnectionPhase::Unread(since) => Some(since + limits.head_timeout),
            ConnectionPhase::Idle(since) => Some(since + limits.idle_timeout),
            ConnectionPhase::Handler => None,
        }
    }

    /// Ends the connection if its time is over: then there is nothing more to read.
    fn is_over(&mut self) -> bool {
        if self.closing.is_some() {
            return true;
        }
        let phase = self.state.phase();
        if phase == ConnectionPhase::Handler {
            return false;
        }
        if self.guard.connections.is_closed() || self.state.is_evicted() {
            self.end(None, matches!(phase, ConnectionPhase::Unread(_)));
            return true;
        }
        if self.blocked.is_some()
            || !self.timer.is_elapsed()
            || self.deadline().is_none_or(|at| Instant::now() < at)
        {
            return false;
        }
        match phase {
            // No peer is waiting for an answer.
            ConnectionPhase::Fresh(_) | ConnectionPhase::Idle(_) => self.end(None, false),
            ConnectionPhase::FramedHead(_) => {
                self.refuse(ConnectionRefusal::LateHead, CutReason::LateHead)
            }
            ConnectionPhase::Unread(_) => {
                self.guard.connections.counts.cut(CutReason::UnreadBody);
                self.end(None, true);
            }
            ConnectionPhase::Handler => return false,
        }
        true
    }

    fn refuse(&mut self, refusal: ConnectionRefusal, cut: CutReason) {
        self.guard.connections.counts.cut(cut);
        self.end(Some(refusal), true);
    }

    fn end(&mut self, refusal: Option<ConnectionRefusal>, lingers: bool) {
        let answer = refusal
            .map(ConnectionRefusal::to_response_bytes)
            .unwrap_or_default();
        self.closing = Some(LingeringClose::new(answer, lingers, self.timer.as_mut()));
    }

    fn poll_lingering_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.closing {
            Some(closing) => closing.poll(&mut self.stream, self.timer.as_mut(), cx),
            None => Poll::Ready(()),
        }
    }

    /// Whether the next bytes may be given to actix-http: never what follows a request that is not answered. Also
    /// updates the phase after handlers ran.
    fn is_open(&mut self) -> bool {
        match self.state.phase() {
            ConnectionPhase::Fresh(_) | ConnectionPhase::FramedHead(_) => !self.frame.is_full(),
            ConnectionPhase::Handler => {
                self.frame.body(self.state.body());
                !self.frame.is_full()
            }
            // The connection ends after it, whatever follows.
            ConnectionPhase::Unread(_) => true,
            ConnectionPhase::Idle(_) => {
                let over = !self.state.is_answered() && self.blocked.is_none();
                if over && self.frame.is_full() {
                    self.frame = RequestFrame::default();
                }
                over
            }
        }
    }

    /// How many of the received bytes belong to the request.
    fn received(&mut self, bytes: &[u8]) -> Result<usize, FramingFault> {
        self.state.received();
        if let ConnectionPhase::Unread(_) = self.state.phase() {
            return Ok(bytes.len());
        }
        let limit = self.guard.connections.limits.head_bytes;
        self.frame.take(bytes, limit)
    }

    /// Reads while a handler is at work, to notice whether the peer has gone. Received bytes are kept, and then nothing
    /// more is read.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.parked = true;
        if self.held.is_empty() {
            let mut scratch = [0; AHEAD];
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }

    /// Sets the timer to wake the task at the next deadline.
    fn set_timer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.closing.is_some() {
            // The timer is registered now.
            return Ok(());
        }
        let Some(deadline) = self.deadline() else {
            return Ok(());
        };
        if self.timer.is_elapsed() || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() < deadline {
                self.timer.as_mut().reset(deadline);
                continue;
            }
            // The deadline has just passed. The next read ends the connection; if there is no further read, it ends
            // here.
            if self.missed == Some(deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.missed = Some(deadline);
            cx.waker().wake_by_ref();
            break;
        }
        Ok(())
    }

    /// The peer does not read what is written: it may pause for a while.
    fn wait_to_write<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.closing.is_some() {
            ready!(self.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let since = *self.blocked.get_or_insert_with(Instant::now);
        if Instant::now() >= since + self.guard.connections.limits.answer_timeout {
            self.guard.connections.counts.cut(CutReason::UnreadAnswer);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.set_timer(cx)?;
        Poll::Pending
    }

    /// Replaces actix-http's refusal with a problem document, and returns only when the peer has gone, because
    /// actix-http drops the connection at once.
    fn replace(&mut self, cut: CutReason, refusal: ConnectionRefusal) {
        self.replaces = true;
        match self.state.phase() {
            // The request was answered already, and this is about the rest of its body: the peer would take a second
            // answer for that of the next request.
            ConnectionPhase::Unread(_) => {
                self.guard.connections.counts.cut(CutReason::Malformed);
                self.end(None, true);
            }
            ConnectionPhase::Fresh(_)
            | ConnectionPhase::FramedHead(_)
            | ConnectionPhase::Idle(_)
            | ConnectionPhase::Handler => {
                self.refuse(refusal, cut);
            }
        }
    }
}

/// Where in `bytes` a refusal by actix-http begins, and which one: a head at the end, without a body. Those of handlers
/// have a body.
fn refusal_at_end(bytes: &[u8]) -> Option<(usize, CutReason, ConnectionRefusal)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = memmem::rfind(bytes, b"HTTP/1.")?;
    // After "HTTP/1.1".
    let (cut, refusal) = match bytes.get(start + 8..start + 13)? {
        b" 400 " => (CutReason::Malformed, ConnectionRefusal::Malformed),
        b" 408 " => (CutReason::LateHead, ConnectionRefusal::LateHead),
        b" 431 " => (CutReason::HeadTooLarge, ConnectionRefusal::HeadTooLarge),
        _ => return None,
    };
    Some((start, cut, refusal))
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_over() {
            return Poll::Ready(Ok(()));
        }
        if !this.is_open() {
            return this.poll_ahead(cx);
        }
        let before = buffer.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else {
            let length = this.held.len().min(buffer.remaining());
            buffer.put_slice(&this.held.split_to(length));
        }
        let came = buffer.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match this.received(came) {
            Ok(taken) => {
                if let Some(more) = came.get(taken..).filter(|more| !more.is_empty()) {
                    let mut held = BytesMut::from(more);
                    held.unsplit(this.held.split());
                    this.held = held;
                    buffer.set_filled(before + taken);
                }
            }
            Err(fault) => {
                // The dispatcher takes this for the end.
                buffer.set_filled(before);
                match fault {
                    FramingFault::BareLineFeed => {
                        this.refuse(ConnectionRefusal::Malformed, CutReason::Malformed)
                    }
                    FramingFault::HeadTooLarge => {
                        this.refuse(ConnectionRefusal::HeadTooLarge, CutReason::HeadTooLarge)
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.replaces {
            ready!(this.poll_lingering_close(cx));
            return Poll::Ready(Ok(bytes.len()));
        }
        let answered = this.state.take_answered();
        let part = match refusal_at_end(bytes) {
            Some((0, cut, refusal)) if !answered => {
                this.replace(cut, refusal);
                ready!(this.poll_lingering_close(cx));
                return Poll::Ready(Ok(bytes.len()));
            }
            // After an answer of a handler, which is sent first.
            Some((start @ 1.., _, _)) => bytes.get(..start).unwrap_or(bytes),
            Some(_) | None => bytes,
        };
        match Pin::new(&mut this.stream).poll_write(cx, part) {
            Poll::Ready(written) => {
                this.state.wrote();
                Poll::Ready(written)
            }
            Poll::Pending => this.wait_to_write(cx),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.replaces {
            return Poll::Ready(Ok(()));
        }
        if Pin::new(&mut this.stream).poll_flush(cx)?.is_pending() {
            return this.wait_to_write(cx);
        }
        this.blocked = None;
        this.state.remember(cx.waker());
        if this.parked && this.is_open() {
            this.parked = false;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(this.set_timer(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            let lingers = matches!(this.state.phase(), ConnectionPhase::Unread(_));
            this.end(None, lingers);
        }
        this.poll_lingering_close(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<(usize, ConnectionRefusal)>) {
        let found = refusal_at_end(bytes.as_bytes());
        let found = found.map(|(start, _, refusal)| (start, refusal));
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn only_refusals_without_a_body_are_taken_for_those_of_the_parser() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        check(bare, Some((0, ConnectionRefusal::Malformed)));
        check(
            &bare.replace("1.1", "1.0"),
            Some((0, ConnectionRefusal::Malformed)),
        );
        let before = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
        let both = format!("{before}{bare}");
        check(&both, Some((before.len(), ConnectionRefusal::Malformed)));
        check(
            "HTTP/1.1 431 Too\r\n\r\n",
            Some((0, ConnectionRefusal::HeadTooLarge)),
        );
        check(
            "HTTP/1.1 408 Late\r\n\r\n",
            Some((0, ConnectionRefusal::LateHead)),
        );
        for other in [
            before,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.",
            "0\r\n\r\n",
            "",
        ] {
            check(other, None);
        }
    }
}
