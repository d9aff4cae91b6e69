//! The line ends of heads.

use super::turn::Body;

/// Looks at each head while it comes, and says whether a line of it ends with a bare LF. The parser takes that for a line
/// end (as RFC 9112, 2.2 allows); a proxy in front that does not would have forwarded what it took for one header, and we
/// would read two of them.
///
/// A head is looked at where its first byte is known: on a connection's first, and where all that came before belonged
/// to requests that were answered. Who pipelines loses that; a proxy that shares connections among its clients does not.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where this head begins is not known.
    blind: bool,
    /// The line that is coming has a byte other than CR.
    begun: bool,
    after_cr: bool,
    /// There was a line that is not empty: empty ones before the request line are passed over (RFC 9112, 2.2).
    some: bool,
    over: bool,
    /// Bytes of the head, as far as it was looked at.
    head: u64,
    /// Bytes that came since its first one, with it.
    came: u64,
    /// The last of them.
    tail: [u8; 4],
}

impl Lines {
    /// The next head begins. `body` is that of the request before, which was read to its end.
    pub(super) fn next(&mut self, body: Body) {
        let known = match body {
            Body::Length(length) => self.over && self.came == self.head + length,
            // A head that ended so would have been taken already.
            Body::Chunked => self.tail == *b"\r\n\r\n",
        };
        *self = Self {
            blind: !known,
            ..Self::default()
        };
    }

    /// Counts what came, of heads and bodies.
    pub(super) fn count(&mut self, bytes: &[u8]) {
        self.came += bytes.len() as u64;
        for byte in bytes.get(bytes.len().saturating_sub(4)..).unwrap_or(bytes) {
            self.tail.rotate_left(1);
            if let Some(last) = self.tail.last_mut() {
                *last = *byte;
            }
        }
    }

    /// Looks at what comes of a head and perhaps of what follows it; false once there was a bare LF.
    pub(super) fn look(&mut self, bytes: &[u8]) -> bool {
        if self.over || self.blind {
            return true;
        }
        for byte in bytes {
            self.head += 1;
            match byte {
                b'\n' if !self.after_cr => return false,
                b'\n' if !self.begun && self.some => {
                    self.over = true;
                    return true;
                }
                b'\n' => {
                    self.some |= self.begun;
                    self.begun = false;
                }
                b'\r' => {}
                _ => self.begun = true,
            }
            self.after_cr = *byte == b'\r';
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

    fn comes(lines: &mut Lines, bytes: &str) -> bool {
        let good = lines.look(bytes.as_bytes());
        lines.count(bytes.as_bytes());
        good
    }

    #[track_caller]
    fn check(head: &str, good: bool) {
        assert_eq!(comes(&mut Lines::default(), head), good, "{head:?}");
        // And however it is cut.
        let mut cut = Lines::default();
        let all = head.as_bytes().chunks(1).all(|byte| cut.look(byte));
        assert_eq!(all, good, "{head:?} byte by byte");
    }

    #[test]
    fn a_bare_line_feed_is_found_in_the_head_and_not_in_the_body() {
        check(HEAD, true);
        check(&format!("{HEAD}body\nof lines\n\n"), true);
        check(&format!("\r\n\r\n{HEAD}a\nb"), true);
        check("GET / HTTP/1.1\nHost: h\r\n\r\n", false);
        check("GET / HTTP/1.1\r\nHost: h\n\r\n", false);
        check("GET / HTTP/1.1\r\nHost: h\r\n\n", false);
        check("\nGET / HTTP/1.1\r\n\r\n", false);
        check("\r\n\nGET / HTTP/1.1\r\n\r\n", false);
        check("GET / HTTP/1.1\r\n", true);
    }

    /// After `before`, whose request had this body, the next head is looked at, or not.
    #[track_caller]
    fn check_next(before: &[&str], body: Body, looked_at: bool) {
        let mut lines = Lines::default();
        for bytes in before {
            assert!(comes(&mut lines, bytes));
        }
        lines.next(body);
        assert_eq!(
            comes(&mut lines, "GET / HTTP/1.1\n"),
            !looked_at,
            "{before:?}"
        );
    }

    #[test]
    fn a_head_is_looked_at_only_where_its_first_byte_is_known() {
        check_next(&[HEAD], Body::Length(0), true);
        check_next(&[HEAD, "bo", "dy"], Body::Length(4), true);
        check_next(&[HEAD, "bodyGE"], Body::Length(4), false);
        check_next(&["GET / HTTP/1.1\r\n\r\nGET / HT"], Body::Length(0), false);
        check_next(&[HEAD, "1\r\na\r\n0\r", "\n\r", "\n"], Body::Chunked, true);
        check_next(&[HEAD, "1\r\na\r\n0\r\n\r\nGET"], Body::Chunked, false);
        // What was lost is found again behind chunks only.
        let mut lines = Lines::default();
        assert!(comes(&mut lines, &format!("{HEAD}G")));
        lines.next(Body::Length(0));
        assert!(comes(&mut lines, HEAD.trim_start_matches('G')));
        lines.next(Body::Length(0));
        assert!(comes(&mut lines, "GET / HTTP/1.1\n"));
        assert!(comes(&mut lines, "\r\n\r\n"));
        lines.next(Body::Chunked);
        assert!(!comes(&mut lines, "GET / HTTP/1.1\n"));
    }
}
