//! Why a callback is not answered 2xx, and the one place where that becomes a status.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::{
    auth::{self, AuthChallenge},
    envelope::DecodeError,
    http::{Problem, ProblemError},
    journal::JournalRefusal,
};

use super::{
    BodyError, CallbackOutcome, HandshakeError, HeadError, PassthroughError, RejectReason,
    Rejection, answer::ERRORS_SHOWN, handshake::POST_AND_OPTIONS,
};

/// Why a callback is not answered 2xx.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The head is too large, or requests something other than HTTP/1.1.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// It follows a request that said `Connection: close`.
    #[error("the previous request announced the end of this connection")]
    AfterLast,
    /// Nothing is served at this path.
    #[error("nothing is served at this path: callbacks go to /callbacks/{{app}}")]
    Path,
    /// No app has this name.
    #[error("no app has this name")]
    App,
    /// Only POST is answered, and OPTIONS where the app has origins to allow.
    #[error("callbacks are sent with POST")]
    Method {
        /// The methods that are answered.
        allow: &'static str,
    },
    /// A request for consent that is not granted, or not valid.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The body is encoded.
    #[error("a content-encoding is not supported: send the body without it")]
    ContentEncoding,
    /// Its sender is not authenticated for the app.
    #[error(transparent)]
    Auth(#[from] auth::AuthRefusal),
    /// Path or query cannot be passed on.
    #[error(transparent)]
    Passthrough(#[from] PassthroughError),
    /// The body was refused.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The callback was refused because of its content.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The app exceeds its rate limit.
    #[error("the app exceeds its limit of callbacks per second")]
    TooOften {
        /// Until one more is accepted.
        wait: Duration,
    },
    /// More validation requests without credentials than are answered.
    #[error("too many validation requests without credentials")]
    HandshakeTooOften {
        /// Until the next one is answered.
        wait: Duration,
    },
    /// Too many callbacks are in progress.
    #[error("{limit} callbacks are in progress, which is the limit")]
    Crowded { limit: usize },
    /// The journal refused it.
    #[error(transparent)]
    Journal(#[from] JournalRefusal),
    /// The journal took too long.
    #[error("the journal did not answer in time")]
    StoreTimeout,
    /// A bug.
    #[error("the handler panicked: {0}")]
    Panic(String),
}

/// The one place where an error becomes a status, and so a promise about who acts next.
pub(super) fn status_of(error: &IngressError) -> StatusCode {
    match error {
        IngressError::Head(HeadError::Headers { .. }) => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        IngressError::Head(HeadError::Upgrade) | IngressError::AfterLast => StatusCode::BAD_REQUEST,
        IngressError::Path | IngressError::App => StatusCode::NOT_FOUND,
        IngressError::Method { .. } | IngressError::Head(HeadError::Connect) => {
            StatusCode::METHOD_NOT_ALLOWED
        }
        IngressError::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngressError::Auth(auth::AuthRefusal::Missing(_) | auth::AuthRefusal::Wrong(_)) => {
            StatusCode::UNAUTHORIZED
        }
        // Perhaps a valid callback: its sender must not take it for refused.
        IngressError::Auth(
            auth::AuthRefusal::NoKeys { .. } | auth::AuthRefusal::NotYetValid { .. },
        ) => StatusCode::SERVICE_UNAVAILABLE,
        // The same request will succeed later (RFC 6585, 4).
        IngressError::TooOften { .. } | IngressError::HandshakeTooOften { .. } => {
            StatusCode::TOO_MANY_REQUESTS
        }
        // The same request will fail again.
        IngressError::Passthrough(_)
        | IngressError::Handshake(HandshakeError::Validation | HandshakeError::OriginMissing) => {
            StatusCode::BAD_REQUEST
        }
        IngressError::Handshake(HandshakeError::OriginRefused) => StatusCode::FORBIDDEN,
        IngressError::Body(error) => match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        },
        IngressError::Rejected(Rejection::Envelope(error)) => {
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
        }
        IngressError::Rejected(Rejection::Events { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
        // It would not fit into an empty journal either.
        IngressError::Journal(JournalRefusal::NeverFits(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        // A valid callback that we could not keep: the sender still owns it and will retry.
        IngressError::Crowded { .. } | IngressError::Journal(_) | IngressError::StoreTimeout => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        IngressError::Panic(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The class under which a refusal is counted: a function of its status.
pub(super) fn outcome_of(status: StatusCode) -> CallbackOutcome {
    match status.as_u16() {
        200 => CallbackOutcome::Handshake,
        202 => CallbackOutcome::Accepted,
        400 => CallbackOutcome::BadRequest,
        401 => CallbackOutcome::Unauthorized,
        403 => CallbackOutcome::Forbidden,
        404 => CallbackOutcome::NotFound,
        405 => CallbackOutcome::Method,
        408 => CallbackOutcome::Timeout,
        413 => CallbackOutcome::TooLarge,
        415 => CallbackOutcome::Unsupported,
        422 => CallbackOutcome::Invalid,
        429 => CallbackOutcome::TooOften,
        431 => CallbackOutcome::HeadTooLarge,
        503 => CallbackOutcome::Unavailable,
        _ => CallbackOutcome::Error,
    }
}

/// Seconds after which a sender may retry. Short for what passes by itself, long for what needs an operator.
fn retry_after(error: &IngressError) -> Option<u16> {
    Some(match error {
        IngressError::Crowded { .. } | IngressError::Body(BodyError::Crowded) => 1,
        IngressError::StoreTimeout => 5,
        // Rounded up: an earlier retry would fail.
        IngressError::TooOften { wait } | IngressError::HandshakeTooOften { wait } => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            u16::try_from(seconds).unwrap_or(u16::MAX).max(1)
        }
        IngressError::Auth(
            auth::AuthRefusal::NoKeys { retry_after }
            | auth::AuthRefusal::NotYetValid { retry_after },
        ) => *retry_after,
        IngressError::Journal(refusal) => match refusal {
            JournalRefusal::Busy => 1,
            JournalRefusal::Stalled | JournalRefusal::Closing | JournalRefusal::NotConfirmed => 5,
            JournalRefusal::Full(_) | JournalRefusal::DestinationFull { .. } => 10,
            JournalRefusal::DiskFull => 30,
            JournalRefusal::Failed => 60,
            JournalRefusal::NeverFits(_) => return None,
        },
        _ => return None,
    })
}

/// The methods to use instead (RFC 9110, 15.5.6). They are not a consent, which is given by headers of its own.
fn allow(error: &IngressError) -> Option<&'static str> {
    match error {
        IngressError::Method { allow } => Some(allow),
        IngressError::Head(HeadError::Connect) => Some("POST"),
        IngressError::Handshake(HandshakeError::OriginMissing | HandshakeError::OriginRefused) => {
            Some(POST_AND_OPTIONS)
        }
        _ => None,
    }
}

/// Why the journal refused events, for metrics.
pub(super) fn reject_reason(refusal: &JournalRefusal) -> RejectReason {
    match refusal {
        JournalRefusal::Full(_) => RejectReason::JournalFull,
        JournalRefusal::DestinationFull { .. } => RejectReason::DestinationFull,
        JournalRefusal::NeverFits(_) => RejectReason::NeverFits,
        JournalRefusal::DiskFull => RejectReason::DiskFull,
        JournalRefusal::Failed => RejectReason::JournalFailed,
        JournalRefusal::Stalled => RejectReason::JournalStalled,
        JournalRefusal::Busy => RejectReason::Busy,
        JournalRefusal::Closing => RejectReason::Closing,
        JournalRefusal::NotConfirmed => RejectReason::NotConfirmed,
    }
}

/// The text for the sender. Names the class and the broken field; never a host, a queue, a path on disk or a secret,
/// which is why it does not show the error's own text where that may contain one.
fn detail_of(error: &IngressError) -> String {
    match error {
        IngressError::Journal(refusal) => match refusal {
            JournalRefusal::NeverFits(_) => return refusal.to_string(),
            JournalRefusal::Full(_) => "the journal is full",
            JournalRefusal::DestinationFull { .. } => {
                "a destination of this callback's events has reached its limit of pending deliveries"
            }
            JournalRefusal::DiskFull => "there is no room to keep the callback",
            JournalRefusal::Failed => "the journal failed",
            JournalRefusal::Stalled => "the journal does not finish what it writes",
            JournalRefusal::Busy => "too many callbacks wait to be kept",
            JournalRefusal::Closing => "shutting down",
            JournalRefusal::NotConfirmed => "the broker did not confirm in time",
        }
        .to_owned(),
        IngressError::Rejected(Rejection::Envelope(error)) => error.to_string(),
        IngressError::Panic(_) => "a bug in the receiver; its log has details".to_owned(),
        other => other.to_string(),
    }
}

/// Pointers from the root of the body, taken as an array of events: `/0/data/…`.
fn errors_of(error: &IngressError) -> Vec<ProblemError> {
    match error {
        IngressError::Rejected(Rejection::Events { offers, .. }) => offers
            .iter()
            .enumerate()
            .flat_map(|(index, offer)| {
                offer.faults.iter().map(move |fault| ProblemError {
                    pointer: format!("/{index}{}", fault.pointer),
                    message: fault.message.clone(),
                    offset: None,
                })
            })
            .take(ERRORS_SHOWN)
            .collect(),
        IngressError::Rejected(Rejection::Envelope(error)) => envelope_errors(error),
        _ => Vec::new(),
    }
}

fn envelope_errors(error: &DecodeError) -> Vec<ProblemError> {
    error
        .errors()
        .into_iter()
        .map(|found| ProblemError {
            pointer: found.index.map_or_else(
                || found.fault.pointer.clone(),
                |index| format!("/{index}{}", found.fault.pointer),
            ),
            message: found.fault.message,
            offset: found.offset,
        })
        .collect()
}

/// The challenge of a 401 (RFC 9110, 11.6.1), which says nothing about the reason beyond the class (RFC 6750, 3).
fn challenge_of(error: &IngressError) -> Option<&'static str> {
    match error {
        IngressError::Auth(
            auth::AuthRefusal::Missing(challenge) | auth::AuthRefusal::Wrong(challenge),
        ) => Some(match challenge {
            AuthChallenge::Bearer => "Bearer",
            AuthChallenge::InvalidToken => "Bearer error=\"invalid_token\"",
            AuthChallenge::SharedSecret => "SharedSecret",
        }),
        _ => None,
    }
}

impl IngressError {
    pub(super) fn response(&self) -> HttpResponse {
        let status = status_of(self);
        let problem = Problem {
            errors: errors_of(self),
            ..Problem::of_callback(status, detail_of(self))
        };
        let mut response = problem.response();
        if let Some(seconds) = retry_after(self) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge_of(self) {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Some(methods) = allow(self) {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
