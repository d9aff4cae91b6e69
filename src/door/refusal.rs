//! What is said where no handler is asked: problem documents (RFC 9457) of the same form as everybody else's.

use jiff::Timestamp;
use serde_json::json;

/// Why a connection is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What came is no request of HTTP/1, or one that can be read in two ways.
    Malformed,
    /// A head did not come in time.
    LateHead,
    /// A head is larger than can be read at all.
    HeadTooLarge,
    /// There is no place for one more connection.
    Full,
}

/// When whoever found no place may come again: connections end all the time.
const RETRY_AFTER_SECONDS: u32 = 5;

impl Refusal {
    /// The answer from its first byte to its last.
    pub(super) fn words(self) -> Vec<u8> {
        let (status, phrase, class, detail) = match self {
            Self::Malformed => (
                400,
                "Bad Request",
                "urn:hookswitch:problem:not-a-callback",
                "this is no well-formed HTTP/1.1 request",
            ),
            Self::LateHead => (
                408,
                "Request Timeout",
                "about:blank",
                "the head of the request did not come in time",
            ),
            Self::HeadTooLarge => (
                431,
                "Request Header Fields Too Large",
                "about:blank",
                "the head of the request is too large",
            ),
            Self::Full => (
                503,
                "Service Unavailable",
                "urn:hookswitch:problem:not-now",
                "there are as many connections as may be",
            ),
        };
        let title = match self {
            Self::Malformed => "Not a callback",
            Self::Full => "Not now",
            Self::LateHead | Self::HeadTooLarge => phrase,
        };
        let body = json!({
            "type": class, "title": title, "status": status, "detail": detail, "errors": [],
        })
        .to_string();
        let retry_after = match self {
            Self::Full => format!("retry-after: {RETRY_AFTER_SECONDS}\r\n"),
            Self::Malformed | Self::LateHead | Self::HeadTooLarge => String::new(),
        };
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        format!(
            "HTTP/1.1 {status} {phrase}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             content-length: {}\r\nconnection: close\r\n{retry_after}date: {date}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
