//! Problem documents (RFC 9457): the body of every refusal of either listener.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde::Serialize;

/// A refusal as the sender sees it. Names the broken field, never a host, a path on disk or a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// URI reference that names the class (RFC 9457, 3.1.1).
    #[serde(rename = "type")]
    pub class: &'static str,
    /// The title of the class; the same for every occurrence.
    pub title: &'static str,
    pub status: u16,
    /// The description of this occurrence.
    pub detail: String,
    /// By JSON Pointer from the body's root; extension member.
    pub errors: Vec<ProblemError>,
}

/// One thing wrong with the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemError {
    /// JSON Pointer (RFC 6901) from the body's root.
    pub pointer: String,
    pub message: String,
    /// Byte position in the body, where that says more than the pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
}

impl Problem {
    /// A problem without `errors`.
    #[must_use]
    pub fn new(
        status: StatusCode,
        class: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            class,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// A refused callback: its class follows from the status.
    pub(crate) fn of_callback(status: StatusCode, detail: impl Into<String>) -> Self {
        let (class, title) = match status.as_u16() {
            422 => (
                "urn:hookswitch:problem:events-not-taken",
                "Events not taken",
            ),
            400 => ("urn:hookswitch:problem:not-a-callback", "Not a callback"),
            503 => ("urn:hookswitch:problem:not-now", "Not now"),
            // Where the status says everything, RFC 9457 (4.2.1) asks for `about:blank` and the status phrase.
            _ => (
                "about:blank",
                status.canonical_reason().unwrap_or("Refused"),
            ),
        };
        Self::new(status, class, title, detail)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always written as JSON")
    }

    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        response.insert_header((
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        ));
        // A cache between the sender and us must not answer for us.
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        response.body(self.to_json())
    }
}
