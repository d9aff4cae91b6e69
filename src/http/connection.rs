//! One connection, as actix-http reads and writes it: with deadlines, and with words of our own where it has none.
//!
//! Nothing here runs by itself. The dispatcher polls it: it reads first, then asks handlers, then writes and flushes. So the
//! time is checked where it reads, which is what a fired timer leads to, and the timer is set where it flushes, when all
//! that happened is known.

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
    farewell::Farewell,
    frame::{Fault, Frame},
    house::Guest,
    metrics::Cut,
    places::Place,
    refusal::Refusal,
    stream::Stream,
    turn::{Course, Phase, Shared},
};

/// How much is read behind a request at once while it is not answered.
const AHEAD: usize = 1_024;

/// One connection.
pub(super) struct Connection {
    stream: Stream,
    course: Rc<Course>,
    guest: Guest,
    /// The request that is coming.
    frame: Frame,
    /// What came behind it, until it is answered.
    held: BytesMut,
    /// It was read in vain because of that.
    parked: bool,
    /// Set to the next deadline or to an earlier instant: to set it again for each request would cost more than that it
    /// fires for nothing now and then.
    timer: Pin<Box<Sleep>>,
    /// The deadline at which it fired and nobody read.
    missed: Option<Instant>,
    /// Since when the peer does not take its answer.
    blocked: Option<Instant>,
    farewell: Option<Farewell>,
    /// The last words stand in for an answer of actix-http's.
    replaces: bool,
    _place: Place,
}

impl Connection {
    /// `course` has entered the house as `guest`.
    pub(super) fn new(stream: Stream, course: Rc<Course>, guest: Guest, place: Place) -> Self {
        let deadline = Instant::now() + guest.house.limits.head_timeout;
        Self {
            stream,
            course,
            guest,
            frame: Frame::default(),
            held: BytesMut::new(),
            parked: false,
            timer: Box::pin(sleep_until(deadline)),
            missed: None,
            blocked: None,
            farewell: None,
            replaces: false,
            _place: place,
        }
    }

    /// What its requests get to know of it.
    pub(super) fn shared(&self) -> Shared {
        Shared(self.course.clone())
    }

    /// Until when the peer must do what is waited for.
    fn deadline(&self) -> Option<Instant> {
        let limits = &self.guest.house.limits;
        // Who does not read his answer is not asked for his next request.
        if let Some(since) = self.blocked {
            return Some(since + limits.answer_timeout);
        }
        match self.course.phase() {
            Phase::Fresh(since) | Phase::Head(since) | Phase::Unread(since) => {
                Some(since + limits.head_timeout)
            }
            Phase::Idle(since) => Some(since + limits.idle_timeout),
            Phase::Handler => None,
        }
    }

    /// Ends the connection where it is time: then there is nothing more to read.
    fn is_over(&mut self) -> bool {
        if self.farewell.is_some() {
            return true;
        }
        let phase = self.course.phase();
        if phase == Phase::Handler {
            return false;
        }
        if self.guest.house.is_closed() || self.course.is_evicted() {
            self.end(None, matches!(phase, Phase::Unread(_)));
            return true;
        }
        if self.blocked.is_some()
            || !self.timer.is_elapsed()
            || self.deadline().is_none_or(|at| Instant::now() < at)
        {
            return false;
        }
        match phase {
            // Nobody waits for an answer.
            Phase::Fresh(_) | Phase::Idle(_) => self.end(None, false),
            Phase::Head(_) => self.refuse(Refusal::LateHead, Cut::LateHead),
            Phase::Unread(_) => {
                self.guest.house.counts.cut(Cut::UnreadBody);
                self.end(None, true);
            }
            Phase::Handler => return false,
        }
        true
    }

    fn refuse(&mut self, refusal: Refusal, cut: Cut) {
        self.guest.house.counts.cut(cut);
        self.end(Some(refusal), true);
    }

    fn end(&mut self, refusal: Option<Refusal>, lingers: bool) {
        let answer = refusal.map(Refusal::to_response_bytes).unwrap_or_default();
        self.farewell = Some(Farewell::new(answer, lingers, self.timer.as_mut()));
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.farewell {
            Some(farewell) => farewell.poll(&mut self.stream, self.timer.as_mut(), cx),
            None => Poll::Ready(()),
        }
    }

    /// Whether what comes now may be given to actix-http: never what follows a request that is not answered. Follows what
    /// handlers did.
    fn is_open(&mut self) -> bool {
        match self.course.phase() {
            Phase::Fresh(_) | Phase::Head(_) => !self.frame.is_full(),
            Phase::Handler => {
                self.frame.body(self.course.body());
                !self.frame.is_full()
            }
            // The connection ends with it, whatever comes.
            Phase::Unread(_) => true,
            Phase::Idle(_) => {
                let over = !self.course.is_answered() && self.blocked.is_none();
                if over && self.frame.is_full() {
                    self.frame = Frame::default();
                }
                over
            }
        }
    }

    /// How much of what came belongs to the request.
    fn received(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        self.course.received();
        if let Phase::Unread(_) = self.course.phase() {
            return Ok(bytes.len());
        }
        let limit = self.guest.house.limits.head_bytes;
        self.frame.take(bytes, limit)
    }

    /// Reads while a handler is at work, to see whether the peer has gone. What comes is kept, and then nothing more is read.
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

    /// Has the timer wake the task at the next deadline.
    fn set_timer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.farewell.is_some() {
            // It has the timer now.
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
            // It has just come. Whoever reads next ends the connection; where nobody reads any more it ends here.
            if self.missed == Some(deadline) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.missed = Some(deadline);
            cx.waker().wake_by_ref();
            break;
        }
        Ok(())
    }

    /// The peer does not take what is written: it may wait, for a while.
    fn wait_to_write<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.farewell.is_some() {
            ready!(self.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let since = *self.blocked.get_or_insert_with(Instant::now);
        if Instant::now() >= since + self.guest.house.limits.answer_timeout {
            self.guest.house.counts.cut(Cut::UnreadAnswer);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.set_timer(cx)?;
        Poll::Pending
    }

    /// Says in our words what actix-http refuses, and lets it go on only when the peer has gone: it drops the connection at
    /// once.
    fn replace(&mut self, cut: Cut, refusal: Refusal) {
        self.replaces = true;
        match self.course.phase() {
            // The request was answered already, and this is about the rest of its body: a second answer would be taken for
            // that of the next request.
            Phase::Unread(_) => {
                self.guest.house.counts.cut(Cut::Malformed);
                self.end(None, true);
            }
            Phase::Fresh(_) | Phase::Head(_) | Phase::Idle(_) | Phase::Handler => {
                self.refuse(refusal, cut);
            }
        }
    }
}

/// Where in `bytes` a refusal begins that actix-http made, and which: a head at their end, without a body. Those of handlers
/// have one.
fn refusal_at_end(bytes: &[u8]) -> Option<(usize, Cut, Refusal)> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = memmem::rfind(bytes, b"HTTP/1.")?;
    // After "HTTP/1.1".
    let (cut, refusal) = match bytes.get(start + 8..start + 13)? {
        b" 400 " => (Cut::Malformed, Refusal::Malformed),
        b" 408 " => (Cut::LateHead, Refusal::LateHead),
        b" 431 " => (Cut::HeadTooLarge, Refusal::HeadTooLarge),
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
                // To the dispatcher this is the end.
                buffer.set_filled(before);
                match fault {
                    Fault::BareLineFeed => this.refuse(Refusal::Malformed, Cut::Malformed),
                    Fault::HeadTooLarge => this.refuse(Refusal::HeadTooLarge, Cut::HeadTooLarge),
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
            ready!(this.poll_farewell(cx));
            return Poll::Ready(Ok(bytes.len()));
        }
        let answered = this.course.take_answered();
        let part = match refusal_at_end(bytes) {
            Some((0, cut, refusal)) if !answered => {
                this.replace(cut, refusal);
                ready!(this.poll_farewell(cx));
                return Poll::Ready(Ok(bytes.len()));
            }
            // Behind an answer of a handler's, which goes first.
            Some((start @ 1.., _, _)) => bytes.get(..start).unwrap_or(bytes),
            Some(_) | None => bytes,
        };
        match Pin::new(&mut this.stream).poll_write(cx, part) {
            Poll::Ready(written) => {
                this.course.wrote();
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
        this.course.remember(cx.waker());
        if this.parked && this.is_open() {
            this.parked = false;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(this.set_timer(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.farewell.is_none() {
            let lingers = matches!(this.course.phase(), Phase::Unread(_));
            this.end(None, lingers);
        }
        this.poll_farewell(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<(usize, Refusal)>) {
        let found = refusal_at_end(bytes.as_bytes());
        let found = found.map(|(start, _, refusal)| (start, refusal));
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn only_refusals_without_a_body_are_taken_for_those_of_the_parser() {
        let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        check(bare, Some((0, Refusal::Malformed)));
        check(&bare.replace("1.1", "1.0"), Some((0, Refusal::Malformed)));
        let before = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
        let both = format!("{before}{bare}");
        check(&both, Some((before.len(), Refusal::Malformed)));
        check("HTTP/1.1 431 Too\r\n\r\n", Some((0, Refusal::HeadTooLarge)));
        check("HTTP/1.1 408 Late\r\n\r\n", Some((0, Refusal::LateHead)));
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
