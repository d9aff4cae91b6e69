//! Where a request ends, as far as a connection must know it: what follows waits until the request is answered.
//!
//! actix-http decodes up to sixteen requests ahead, and remembers of the last one whether it was a HEAD, its version,
//! and whether the connection goes on: an answer to an earlier request would be framed by that. It also keeps a head of
//! up to 128 KiB before it refuses it. So it is given each request alone, and not more of a head than the limit.
//!
//! This is not a second parser: the length of a body is the one that the handler was given. Where the two disagree
//! about the end of a chunked body, either the body does not end, which is a 408, or more is decoded ahead.

use memchr::memchr_iter;

use super::connection_state::BodyEnd;

/// Why received bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingFault {
    /// A line of a head ends with a bare LF. The parser takes that for a line end (as RFC 9112, 2.2 allows); a proxy in
    /// front that does not would have forwarded what it took for one header, and we would read two.
    BareLineFeed,
    /// The head is larger than the limit.
    HeadTooLarge,
}

/// One incoming request.
#[derive(Debug)]
pub(super) enum RequestFrame {
    FramedHead(FramedHead),
    /// Its head is complete, and no handler has it yet.
    Parsed,
    /// This many bytes of its body are still missing.
    Length(u64),
    /// Its body is chunked.
    Chunks(Chunks),
    /// It is complete.
    Done,
}

impl Default for RequestFrame {
    fn default() -> Self {
        Self::FramedHead(FramedHead::default())
    }
}

impl RequestFrame {
    /// A handler has the request, and this is its body.
    pub(super) fn body(&mut self, body: BodyEnd) {
        if matches!(self, Self::Parsed) {
            *self = match body {
                BodyEnd::Length(0) => Self::Done,
                BodyEnd::Length(length) => Self::Length(length),
                BodyEnd::Chunked => Self::Chunks(Chunks::default()),
            };
        }
    }

    /// Whether no more bytes can be taken now.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Parsed | Self::Done)
    }

    /// How many of these bytes, from the first one on, belong to it. `limit` is the limit of its head.
    pub(super) fn take(&mut self, bytes: &[u8], limit: usize) -> Result<usize, FramingFault> {
        match self {
            Self::FramedHead(head) => {
                let end = head.end(bytes)?;
                head.length += end.unwrap_or(bytes.len());
                if head.length > limit {
                    return Err(FramingFault::HeadTooLarge);
                }
                let Some(end) = end else {
                    return Ok(bytes.len());
                };
                *self = Self::Parsed;
                Ok(end)
            }
            Self::Length(left) => {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Chunks(chunks) => {
                let (taken, last) = chunks.take(bytes);
                if last {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Parsed | Self::Done => Ok(0),
        }
    }
}

/// An incoming head.
#[derive(Debug, Default)]
pub(super) struct FramedHead {
    /// Bytes of it so far.
    length: usize,
    /// Bytes of its last line so far.
    line: usize,
    /// The last byte was CR.
    after_cr: bool,
    /// There was a line that is not empty: empty ones before the request line are passed over (RFC 9112, 2.2).
    some: bool,
}

impl FramedHead {
    /// Where it ends in these bytes: after its empty line.
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingFault> {
        let mut start = 0;
        for at in memchr_iter(b'\n', bytes) {
            let after_cr = match at.checked_sub(1) {
                Some(before) => bytes.get(before) == Some(&b'\r'),
                None => self.after_cr,
            };
            if !after_cr {
                return Err(FramingFault::BareLineFeed);
            }
            // With its CR, without its LF.
            let line = self.line + at - start;
            if line == 1 && self.some {
                return Ok(Some(at + 1));
            }
            self.some |= line > 1;
            self.line = 0;
            start = at + 1;
        }
        self.line += bytes.len() - start;
        self.after_cr = match bytes.last() {
            Some(last) => *last == b'\r',
            None => self.after_cr,
        };
        Ok(None)
    }
}

/// An incoming chunked body (RFC 9112, 7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Bytes of a chunk that are still missing, including the line end after it.
    data: u64,
    /// The size named by the current line.
    size: u64,
    /// After the digits of the size.
    named: bool,
    /// The last chunk has been read; the trailers follow.
    last: bool,
    /// Whether the current line has a byte other than CR.
    begun: bool,
    /// The last byte of it was CR.
    after_cr: bool,
}

impl Chunks {
    /// How many of the bytes belong to it, and whether it ends there.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.data > 0 {
                let taken = usize::try_from(self.data)
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                self.data -= taken as u64;
                at += taken;
                continue;
            }
            for byte in rest {
                at += 1;
                if self.byte(*byte) {
                    return (at, true);
                }
                if self.data > 0 {
                    break;
                }
            }
        }
        (at, false)
    }

    /// One byte of a line; true with the last one of the body.
    fn byte(&mut self, byte: u8) -> bool {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if self.last => {
                let empty = !self.begun;
                self.begun = false;
                return empty && after_cr;
            }
            b'\n' => {
                self.last = self.size == 0;
                if !self.last {
                    self.data = self.size.saturating_add(2);
                }
                (self.size, self.named, self.begun) = (0, false, false);
            }
            b'\r' => self.named = true,
            _ => {
                self.begun = true;
                match char::from(byte).to_digit(16).filter(|_| !self.named) {
                    Some(digit) => {
                        self.size = self.size.saturating_mul(16).saturating_add(digit.into());
                    }
                    None => self.named = true,
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: h\r\n\r\n";
    const LIMIT: usize = 64;

    /// Passes all of the text to a frame in pieces of this size; returns how many bytes it takes.
    fn given(frame: &mut RequestFrame, text: &str, size: usize) -> Result<usize, FramingFault> {
        let mut taken = 0;
        for piece in text.as_bytes().chunks(size) {
            let some = frame.take(piece, LIMIT)?;
            taken += some;
            if some < piece.len() || frame.is_full() {
                break;
            }
        }
        Ok(taken)
    }

    /// However it is cut.
    #[track_caller]
    fn check(
        make: impl Fn() -> RequestFrame,
        text: &str,
        expected: Result<(usize, bool), FramingFault>,
    ) {
        for size in 1..=text.len() {
            let mut frame = make();
            let taken = given(&mut frame, text, size).map(|taken| (taken, frame.is_full()));
            assert_eq!(taken, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn a_head_ends_behind_its_empty_line() {
        let all = Ok((HEAD.len(), true));
        check(RequestFrame::default, HEAD, all);
        check(RequestFrame::default, &format!("{HEAD}GET / HTTP/1.1"), all);
        check(RequestFrame::default, &format!("{HEAD}\na body"), all);
        let late = format!("\r\n\r\n{HEAD}");
        check(RequestFrame::default, &late, Ok((late.len(), true)));
        let part = "GET / HTTP/1.1\r\nHost: h\r\n";
        check(RequestFrame::default, part, Ok((part.len(), false)));
    }

    #[test]
    fn a_bare_line_feed_is_found_in_a_head() {
        for text in [
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\n\r\n",
        ] {
            check(RequestFrame::default, text, Err(FramingFault::BareLineFeed));
        }
    }

    #[test]
    fn a_head_may_be_as_large_as_the_limit_and_no_larger() {
        let of = |length: usize| {
            let line = "GET / HTTP/1.1\r\nA: ";
            format!("{line}{}\r\n\r\n", "a".repeat(length - line.len() - 4))
        };
        check(RequestFrame::default, &of(LIMIT), Ok((LIMIT, true)));
        check(
            RequestFrame::default,
            &of(LIMIT + 1),
            Err(FramingFault::HeadTooLarge),
        );
        check(
            RequestFrame::default,
            &"a".repeat(LIMIT + 1),
            Err(FramingFault::HeadTooLarge),
        );
        check(
            RequestFrame::default,
            &"\r\n".repeat(LIMIT),
            Err(FramingFault::HeadTooLarge),
        );
        // What follows a head does not belong to it.
        let behind = format!("{HEAD}{}", "b".repeat(2 * LIMIT));
        check(RequestFrame::default, &behind, Ok((HEAD.len(), true)));
    }

    #[test]
    fn a_body_ends_where_it_was_said_to_and_what_follows_is_not_taken() {
        let with = |body: BodyEnd| {
            move || {
                let mut frame = RequestFrame::Parsed;
                frame.body(body);
                frame
            }
        };
        check(with(BodyEnd::Length(4)), "bodyGET /", Ok((4, true)));
        check(with(BodyEnd::Length(9)), "body", Ok((4, false)));
        check(with(BodyEnd::Length(0)), "GET /", Ok((0, true)));
        for chunks in [
            "0\r\n\r\n",
            "4\r\nbody\r\n0\r\n\r\n",
            "1\r\n\n\r\n2\r\n0\r\r\n0\r\n\r\n",
            "A;a=\"0\r\n0123456789\r\n000;0\r\nX: y\r\nZ: 0\r\n\r\n",
            "b \r\n0123456789a\r\n0\r\n\r\n",
            "0\r\n\n\r\n",
        ] {
            let whole = Ok((chunks.len(), true));
            check(with(BodyEnd::Chunked), chunks, whole);
            check(with(BodyEnd::Chunked), &format!("{chunks}0\r\n\r\n"), whole);
            let part = &chunks.get(..chunks.len() - 1).unwrap();
            check(with(BodyEnd::Chunked), part, Ok((part.len(), false)));
        }
        // Invalid sizes never end here.
        let endless = "fffffffffffffffffffff\r\n0\r\n\r\n";
        check(with(BodyEnd::Chunked), endless, Ok((endless.len(), false)));
    }

    #[test]
    fn a_whole_head_waits_for_its_handler() {
        let mut frame = RequestFrame::default();
        assert_eq!(frame.take(HEAD.as_bytes(), LIMIT), Ok(HEAD.len()));
        assert!(frame.is_full());
        assert_eq!(frame.take(b"body", LIMIT), Ok(0));
        frame.body(BodyEnd::Length(4));
        assert_eq!(frame.take(b"body", LIMIT), Ok(4));
        assert!(frame.is_full());
        // Once is enough.
        frame.body(BodyEnd::Length(4));
        assert!(frame.is_full());
    }
}
