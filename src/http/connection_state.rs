//! Which side a connection waits for: the peer, which has a deadline, or a handler, which has time limits of its own.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
};

use actix_web::{
    HttpRequest,
    http::{ConnectionType, Method, header},
};
use tokio::time::Instant;

/// What a connection waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionPhase {
    /// Its first request, of which nothing has been received.
    Fresh(Instant),
    /// The rest of a head.
    FramedHead(Instant),
    /// A handler.
    Handler,
    /// The rest of a body that is not needed any more: its request was answered, and is the last of the connection.
    Unread(Instant),
    /// The next request.
    Idle(Instant),
}

/// How the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// After this many bytes.
    Length(u64),
    /// With a chunk.
    Chunked,
}

/// The state that a connection and the handlers of its requests share. All of it is on one thread.
#[derive(Debug)]
pub(super) struct ConnectionState {
    phase: Cell<ConnectionPhase>,
    /// The body of the last request that a handler got.
    body: Cell<BodyEnd>,
    /// A handler has returned an answer that is not yet written.
    answered: Cell<bool>,
    /// No further request is taken.
    last: Cell<bool>,
    /// Another connection needs its permit.
    evicted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Cell::new(ConnectionPhase::Fresh(now)),
            body: Cell::new(BodyEnd::Length(0)),
            answered: Cell::new(false),
            last: Cell::new(false),
            evicted: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    pub(super) fn phase(&self) -> ConnectionPhase {
        self.phase.get()
    }

    /// Since when it waits for its peer; `None` while a handler is at work, or if it is about to end already.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        match self.phase.get() {
            ConnectionPhase::Fresh(since)
            | ConnectionPhase::FramedHead(since)
            | ConnectionPhase::Idle(since) => (!self.evicted.get()).then_some(since),
            ConnectionPhase::Handler | ConnectionPhase::Unread(_) => None,
        }
    }

    /// Ends the connection as soon as none of its handlers is at work.
    pub(super) fn evict(&self) {
        self.evicted.set(true);
        self.wake();
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.get()
    }

    /// Records that bytes were received.
    pub(super) fn received(&self) {
        match self.phase.get() {
            // The time limit of the first head starts when the connection is accepted.
            ConnectionPhase::Fresh(since) => self.phase.set(ConnectionPhase::FramedHead(since)),
            ConnectionPhase::Idle(_) => self.phase.set(ConnectionPhase::FramedHead(Instant::now())),
            ConnectionPhase::FramedHead(_)
            | ConnectionPhase::Handler
            | ConnectionPhase::Unread(_) => {}
        }
    }

    /// The body of the request that a handler has.
    pub(super) fn body(&self) -> BodyEnd {
        self.body.get()
    }

    /// Whether a handler has returned an answer of which nothing is written.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Records that a part of an answer was written: a streaming answer is not idle.
    pub(super) fn wrote(&self) {
        if let ConnectionPhase::Idle(_) = self.phase.get() {
            self.phase.set(ConnectionPhase::Idle(Instant::now()));
        }
    }

    /// Whether a handler has answered since the last call.
    pub(super) fn take_answered(&self) -> bool {
        self.answered.take()
    }

    /// The waker of the task, for when the listener stops.
    pub(super) fn remember(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// What `on_connect_ext` hands to the requests of a connection.
#[derive(Clone, Debug)]
pub(super) struct Shared(pub(super) Rc<ConnectionState>);

/// A handler's work on a request, from its head to its answer; it ends when this is dropped.
#[derive(Debug)]
pub struct RequestGuard {
    state: Option<Rc<ConnectionState>>,
    whole: Cell<bool>,
}

impl RequestGuard {
    /// Starts `request`. `None` where an earlier request of its connection said `Connection: close`, or was answered
    /// before its end: what comes after that must not be processed (RFC 9112, 9.6).
    #[must_use]
    pub fn take(request: &HttpRequest) -> Option<Self> {
        let state = request.conn_data::<Shared>().map(|Shared(state)| state);
        let body = body_of(request);
        // Where the parser sees no end, nothing else does.
        let endless =
            request.method() == Method::CONNECT || request.headers().contains_key(header::UPGRADE);
        if let Some(state) = state {
            if state.last.get() {
                return None;
            }
            state.phase.set(ConnectionPhase::Handler);
            state.body.set(body);
            let head = request.head();
            state
                .last
                .set(head.connection_type() != ConnectionType::KeepAlive);
        }
        Some(Self {
            state: state.cloned(),
            whole: Cell::new(body == BodyEnd::Length(0) && !endless),
        })
    }

    /// Records that the request's body was read to its end.
    pub fn body_is_read(&self) {
        self.whole.set(true);
    }

    /// Whether a part of the request has not been read. Then the answer must say that the connection ends.
    #[must_use]
    pub fn is_early(&self) -> bool {
        !self.whole.get()
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            let now = Instant::now();
            if self.is_early() {
                state.last.set(true);
                state.phase.set(ConnectionPhase::Unread(now));
            } else {
                state.phase.set(ConnectionPhase::Idle(now));
            }
            state.answered.set(true);
        }
    }
}

/// actix-http has refused anything else.
fn body_of(request: &HttpRequest) -> BodyEnd {
    let headers = request.headers();
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return BodyEnd::Chunked;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|text| text.to_str().ok()?.trim().parse().ok());
    BodyEnd::Length(length.unwrap_or(0))
}
