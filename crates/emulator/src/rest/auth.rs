//! The HMAC of the access key (docs/src/reference/acs-rest-api.md, "Authentication"): authenticates the client and
//! protects the request against changes.

use std::time::{Duration, SystemTime};

use actix_web::http::header::HttpDate;
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::api_error::ApiError;

/// The scheme, and the only list of signed headers that the service's clients send.
const SCHEME: &str = "HMAC-SHA256 ";
const SIGNED_HEADERS: &str = "x-ms-date;host;x-ms-content-sha256";

/// How far the date of a request may be from ours, in either direction.
const DATE_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The parts of a request, as sent, that its signature covers.
pub(super) struct SignedRequest<'a> {
    pub(super) method: &'a str,
    /// Exactly as sent, percent-encoding and `api-version` included.
    pub(super) path_and_query: &'a str,
    /// With the port, as the `Host` header has it.
    pub(super) host: Option<&'a str>,
    /// `x-ms-date`.
    pub(super) date: Option<&'a str>,
    /// `x-ms-content-sha256`.
    pub(super) content_hash: Option<&'a str>,
    /// `Authorization`.
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl SignedRequest<'_> {
    /// Checks the signature with the access key, already decoded from its base64.
    ///
    /// # Errors
    /// 401 that says what is missing or differs. It never shows the key or a valid signature.
    pub(super) fn check(&self, key: &[u8], now: SystemTime) -> Result<(), ApiError> {
        if let Some(authorization) = self.authorization {
            is_hmac(authorization)?;
        }
        let (Some(authorization), Some(date), Some(content_hash), Some(host)) =
            (self.authorization, self.date, self.content_hash, self.host)
        else {
            return Err(self.missing());
        };
        let signature = signature_of(authorization)?;
        let hash = STANDARD.encode(Sha256::digest(self.body));
        if hash != content_hash {
            return Err(ApiError::unauthorized(format!(
                "x-ms-content-sha256 is {content_hash:?}, but the body of {} bytes has {hash:?}: was it changed after signing?",
                self.body.len(),
            )));
        }
        near(date, now)?;

        let text = format!(
            "{}\n{}\n{date};{host};{content_hash}",
            self.method, self.path_and_query
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        // `verify_slice` takes the same time wherever the first wrong byte is.
        mac.verify_slice(&signature).map_err(|_| {
            ApiError::unauthorized(format!(
                "the signature differs: it has to be of {text:?} (verb, path and query, then date;host;hash), \
                 with the access key that the emulator was started with, decoded from its base64"
            ))
        })
    }

    fn missing(&self) -> ApiError {
        let headers = [
            ("Authorization", self.authorization),
            ("x-ms-date", self.date),
            ("x-ms-content-sha256", self.content_hash),
            ("Host", self.host),
        ];
        let absent: Vec<_> = headers
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| *name)
            .collect();
        ApiError::unauthorized(format!(
            "headers are missing: {}; sign requests with the access key, or start the emulator with --no-auth",
            absent.join(", ")
        ))
    }
}

fn is_hmac(authorization: &str) -> Result<(), ApiError> {
    if with_scheme(authorization, SCHEME).is_some() {
        return Ok(());
    }
    let message = if with_scheme(authorization, "Bearer ").is_some() {
        "the emulator cannot check tokens of Entra ID: use the access key (HMAC-SHA256)"
    } else {
        "the scheme of Authorization is not HMAC-SHA256: use the access key"
    };
    Err(ApiError::unauthorized(message))
}

/// What follows the scheme, which is compared without regard to case (RFC 9110, 11.1).
fn with_scheme<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (head, tail) = authorization.split_at_checked(scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then_some(tail)
}

fn signature_of(authorization: &str) -> Result<Vec<u8>, ApiError> {
    let parameters = with_scheme(authorization, SCHEME).unwrap_or_default();
    let parameter = |name: &str| {
        parameters
            .split('&')
            .filter_map(|part| part.trim().split_once('='))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    match parameter("SignedHeaders") {
        Some(headers) if headers.eq_ignore_ascii_case(SIGNED_HEADERS) => {}
        Some(headers) => {
            return Err(ApiError::unauthorized(format!(
                "SignedHeaders is {headers:?}: it has to be {SIGNED_HEADERS}"
            )));
        }
        None => {
            return Err(ApiError::unauthorized(
                "Authorization has no SignedHeaders: HMAC-SHA256 SignedHeaders=...&Signature=...",
            ));
        }
    }
    let signature = parameter("Signature").ok_or_else(|| {
        ApiError::unauthorized(
            "Authorization has no Signature: HMAC-SHA256 SignedHeaders=...&Signature=...",
        )
    })?;
    STANDARD
        .decode(signature)
        .map_err(|_| ApiError::unauthorized("the Signature of Authorization is not base64"))
}

fn near(date: &str, now: SystemTime) -> Result<(), ApiError> {
    let sent: SystemTime = date
        .parse::<HttpDate>()
        .map_err(|_| {
            ApiError::unauthorized(format!(
                "x-ms-date {date:?} is not a date like \"Sat, 21 Nov 2026 12:00:00 GMT\""
            ))
        })?
        .into();
    let (apart, which) = match now.duration_since(sent) {
        Ok(age) => (age, "behind"),
        Err(ahead) => (ahead.duration(), "ahead of"),
    };
    if apart > DATE_TOLERANCE {
        return Err(ApiError::unauthorized(format!(
            "x-ms-date {date:?} is {} seconds {which} the emulator's clock: at most {} are allowed",
            apart.as_secs(),
            DATE_TOLERANCE.as_secs()
        )));
    }
    Ok(())
}
