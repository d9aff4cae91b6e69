//! Checks of a head before anything in it is used.

use actix_web::{
    HttpRequest,
    http::{Method, header},
};

use crate::config::ServerLimits;

/// Why a head was refused.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// More than `server.header_limit`.
    #[error("the request has {headers} headers, the limit is {limit}")]
    Headers { headers: usize, limit: usize },
    /// The sender requests a tunnel.
    #[error("this is not a proxy")]
    Connect,
    /// The sender requests another protocol, and what follows the head is in it.
    #[error("only HTTP/1.1 is supported")]
    Upgrade,
}

/// Checks what can be checked without looking at what the request wants.
pub(super) fn check(request: &HttpRequest, limits: &ServerLimits) -> Result<(), HeadError> {
    let headers = request.headers();
    let count = headers.len();
    if count > limits.header_limit {
        return Err(HeadError::Headers {
            headers: count,
            limit: limits.header_limit,
        });
    }
    // The parser takes everything after these two for the body, without an end.
    if request.method() == Method::CONNECT {
        return Err(HeadError::Connect);
    }
    let websocket = headers.get_all(header::UPGRADE).any(|value| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"websocket")
    });
    if websocket {
        return Err(HeadError::Upgrade);
    }
    Ok(())
}
