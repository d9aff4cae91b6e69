//! Why the service refuses a request.

/// A refusal: the status and what the error body says (docs/src/reference/acs-rest-api.md; the body's form is the
/// generation's).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub(crate) struct ApiError {
    /// 400, 401, 403, 404, 409, ...
    pub(crate) status: u16,
    /// `code` of the error body. Not documented as a list; the 2021 generations use the status as a string.
    pub(crate) code: &'static str,
    /// `message` of the error body.
    pub(crate) message: String,
}

impl ApiError {
    /// The request contradicts itself or the documentation: 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The client is not authenticated: 401.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "Unauthorized", message)
    }

    /// The call, participant or recording does not exist (any more): 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NotFound", message)
    }

    /// The operation is not possible in this state: 409.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message)
    }

    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}
