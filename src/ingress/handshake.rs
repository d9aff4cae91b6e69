//! Handshakes: a service asks for consent before it sends events (docs/src/sender/handshakes.md). Pure except for the
//! answers.
//!
//! Consent is given at once, in the answer, or not at all: neither `validationUrl` nor `WebHook-Request-Callback` is
//! followed, so no request can make us send one anywhere. Consent is not authentication, and does not replace it.
//!
//! Public sources disagree whether Event Grid's validation request carries the token that its deliveries carry. An app
//! can therefore have it answered without credentials (`event_grid = { handshake = "open" }`), but no other request.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use crate::{
    config::App,
    envelope::{self, Element},
    event::{EnvelopeForm, Event},
};

/// The type of Event Grid's validation event.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";

/// Methods of an app that answers the handshake of CloudEvents.
pub(super) const POST_AND_OPTIONS: &str = "POST, OPTIONS";

/// Why a handshake is not answered with consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// `aeg-event-type` announces Event Grid's validation request, and the body is something else.
    #[error(
        "a subscription validation is an array of exactly one {VALIDATION} with a validationCode"
    )]
    Validation,
    /// No `WebHook-Request-Origin`, or more than one, or no text.
    #[error("OPTIONS asks for consent here and names its origin in one WebHook-Request-Origin")]
    OriginMissing,
    /// `apps.allowed_origins` does not have it.
    #[error("this origin is not allowed to send here")]
    OriginRefused,
}

/// Largest body that is read without credentials to look for a validation request. Event Grid's is below 2 KiB.
pub(super) const OPEN_LIMIT_BYTES: usize = 8_192;

/// Whether a request can be a validation request by its head: `aeg-event-type` does not say otherwise.
pub(super) fn may_be_validation(headers: &HeaderMap) -> bool {
    announces_validation(headers) != Some(false)
}

/// Whether `aeg-event-type` announces a validation request; `None` without that header.
fn announces_validation(headers: &HeaderMap) -> Option<bool> {
    let word = headers.get("aeg-event-type")?.as_bytes().trim_ascii();
    Some(word.eq_ignore_ascii_case(b"SubscriptionValidation"))
}

/// The code to return if a callback is Event Grid's validation request; `None` if it is an ordinary callback. With
/// `aeg-event-type` that header decides (docs/src/reference/acs-events.md, "Event Grid handshakes"): an event of that
/// type within a delivery is one that was published to the topic. Without the header the body decides.
///
/// # Errors
/// [`HandshakeError::Validation`].
pub(super) fn validation_code<'e>(
    headers: &HeaderMap,
    body: &[u8],
    elements: &'e [Element],
) -> Result<Option<&'e str>, HandshakeError> {
    let announced = announces_validation(headers);
    if announced == Some(false) {
        return Ok(None);
    }
    match elements {
        [Element::Event(event)] if envelope::is_array(body) && is_validation(event) => event
            .data
            .get("validationCode")
            .and_then(Value::as_str)
            .filter(|code| !code.is_empty())
            .map(Some)
            .ok_or(HandshakeError::Validation),
        _ if announced == Some(true) => Err(HandshakeError::Validation),
        _ => Ok(None),
    }
}

fn is_validation(event: &Event) -> bool {
    event.form != EnvelopeForm::CloudEvents && event.attributes.event_type == VALIDATION
}

/// Event Grid accepts only 200 as consent.
pub(super) fn validated(code: &str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(json!({ "validationResponse": code }))
}

/// Consent for the origin of an `OPTIONS` request (CloudEvents webhooks 1.0.2, 4.2). The rate is that of the app's
/// configuration, whatever was requested.
///
/// # Errors
/// [`HandshakeError::OriginMissing`], [`HandshakeError::OriginRefused`].
pub(super) fn consent(app: &App, headers: &HeaderMap) -> Result<HttpResponse, HandshakeError> {
    let mut asking = headers.get_all("webhook-request-origin");
    let (Some(origin), None) = (asking.next(), asking.next()) else {
        return Err(HandshakeError::OriginMissing);
    };
    let name = origin.to_str().map(str::trim).unwrap_or_default();
    if name.is_empty() {
        return Err(HandshakeError::OriginMissing);
    }
    let allowed = app
        .allowed_origins
        .iter()
        .find(|allowed| *allowed == "*" || allowed.eq_ignore_ascii_case(name))
        .ok_or(HandshakeError::OriginRefused)?;
    let origin = match allowed.as_str() {
        "*" => HeaderValue::from_static("*"),
        // As requested, including letter case (4.2.1).
        _ => origin.clone(),
    };
    let rate = app.allowed_rate.map_or_else(
        || HeaderValue::from_static("*"),
        |rate| HeaderValue::from(rate.get()),
    );
    Ok(HttpResponse::Ok()
        .insert_header(("webhook-allowed-origin", origin))
        .insert_header(("webhook-allowed-rate", rate))
        .insert_header((header::ALLOW, POST_AND_OPTIONS))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}
