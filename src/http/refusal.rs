//! Refusals that are written without a handler: the same problem documents (RFC 9457) as everywhere else.

use actix_web::http::StatusCode;
use jiff::Timestamp;

use super::Problem;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRefusal {
    /// The bytes are not an HTTP/1 request, or can be read in two ways.
    Malformed,
    /// A head was not complete in time.
    LateHead,
    /// A head is larger than the limit.
    HeadTooLarge,
    /// The connection limit is reached.
    ConnectionLimitReached,
}

/// When to try again after [`ConnectionRefusal::ConnectionLimitReached`]: connections end all the time.
const RETRY_AFTER_SECONDS: u32 = 5;

impl ConnectionRefusal {
    fn problem(self) -> Problem {
        let (status, detail) = match self {
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "this is not a well-formed HTTP/1.1 request",
            ),
            Self::LateHead => (
                StatusCode::REQUEST_TIMEOUT,
                "the head of the request did not come in time",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request is too large",
            ),
            Self::ConnectionLimitReached => (
                StatusCode::SERVICE_UNAVAILABLE,
                "as many connections are open as may be",
            ),
        };
        Problem::of_callback(status, detail)
    }

    /// The complete response.
    pub(super) fn to_response_bytes(self) -> Vec<u8> {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or_default();
        let body = problem.to_json();
        let retry_after = match self {
            Self::ConnectionLimitReached => format!("retry-after: {RETRY_AFTER_SECONDS}\r\n"),
            Self::Malformed | Self::LateHead | Self::HeadTooLarge => String::new(),
        };
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n\
             content-length: {}\r\nconnection: close\r\n{retry_after}date: {date}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
