//! One request on the public listener, from its head to its answer.
//!
//! The order of the checks is a promise (docs/src/sender/answers.md): limits first, then authentication, then the
//! content. A handler may be dropped at any `.await` because the sender hung up; until the callback is handed to the
//! journal nothing has happened, and from then on the journal finishes it alone.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{ConnectionType, Method, header},
    web::{Data, Payload},
};
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use crate::{
    admit::Offer,
    auth::{self, Authenticators},
    config::{App, EventGrid},
    envelope::CallbackHead,
    http::RequestGuard,
    journal::{Admitted, Callback, Intake},
    report::Chain,
    status::{DriftCounts, EventOutcome, Ledger},
};

use super::{
    BodyError, IngressError, IngressMetrics, IngressSettings, Pipeline, Rejection, RequestFacts,
    answer, arrival,
    body::{self, Body, BodyMemory},
    error::{outcome_of, reject_reason},
    handshake::{self, POST_AND_OPTIONS},
    head,
    metrics::HandshakeKind,
    passthrough::{self, RequestPath},
    rate_limits::RateLimits,
};

/// Ids are cut to this length in logs: a sender chooses them.
const ID_SHOWN: usize = 128;

/// The label of types and generations that the catalogue does not know.
const OTHER: &str = "other";

/// What the handlers of one thread share; everything except the intake is shared by all threads.
#[derive(Clone)]
pub(super) struct CallbackHandler {
    pub(super) settings: IngressSettings,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) authenticators: Arc<Authenticators>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) intake: Intake,
    pub(super) ledger: Arc<Ledger>,
    pub(super) drift: Arc<DriftCounts>,
    pub(super) metrics: IngressMetrics,
    pub(super) permits: Arc<Semaphore>,
    pub(super) room: BodyMemory,
    pub(super) stopping: CancellationToken,
}

/// Answers one request.
pub(super) async fn answer(
    request: HttpRequest,
    payload: Payload,
    handler: Data<CallbackHandler>,
) -> HttpResponse {
    // First of all: "order of arrival" is defined by this instant.
    let arrival = arrival::next();
    let received = Timestamp::now();
    let turn = RequestGuard::take(&request);
    let place = RequestPath::of(request.uri().path());
    let timer = handler
        .metrics
        .timer(matches!(place, RequestPath::Callbacks { .. }));
    // At debug only: creating and filling it costs as much as validating the event, and at the levels above nothing is
    // logged inside it except our own bugs.
    let span = tracing::debug_span!(
        "callback",
        arrival,
        app = field::Empty,
        events = field::Empty,
        event_id = field::Empty,
        call_connection_id = field::Empty,
        correlation_id = field::Empty,
    );
    let answering = async {
        let turn = turn.as_ref().ok_or(IngressError::AfterLast)?;
        handler
            .callback(&request, (payload, turn), place, arrival, received)
            .await
    };
    let answered = caught(answering).instrument(span.clone()).await;
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => {
            let _in = span.enter();
            match &error {
                IngressError::Panic(_) => {
                    tracing::error!(arrival, error = %Chain(&error), "a callback failed because of a bug");
                }
                // Counted by class; a line for each at a higher level would flood the log of a busy day.
                _ => tracing::debug!(error = %Chain(&error), "callback refused"),
            }
            error.response()
        }
    };
    // What follows on the connection could be the rest of this request.
    let is_last = turn.as_ref().is_none_or(RequestGuard::is_early);
    if is_last || handler.stopping.is_cancelled() {
        // And when stopping, the sender's next request must go to another instance.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    let status = response.status();
    timer.answered(outcome_of(status), status.as_u16());
    response
}

/// A panic is a bug, and the sender must learn that from a status and not from a torn connection.
async fn caught<T>(
    handling: impl Future<Output = Result<T, IngressError>>,
) -> Result<T, IngressError> {
    // What a handler leaves half-done is dropped with it; what it shares with others is behind atomics and locks that
    // survive poisoning.
    AssertUnwindSafe(handling)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(IngressError::Panic(words_of(panic.as_ref()))))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

impl CallbackHandler {
    async fn callback(
        &self,
        request: &HttpRequest,
        (mut payload, turn): (Payload, &RequestGuard),
        place: RequestPath<'_>,
        arrival: u64,
        received: Timestamp,
    ) -> Result<HttpResponse, IngressError> {
        head::check(request, &self.settings.limits)?;
        let RequestPath::Callbacks { app, rest } = place else {
            return Err(IngressError::Path);
        };
        let app = self.pipeline.app(app).ok_or(IngressError::App)?;
        Span::current().record("app", app.name.as_str());
        let asks = !app.allowed_origins.is_empty();
        if asks && request.method() == Method::OPTIONS {
            let answer = handshake::consent(app, request.headers());
            self.metrics
                .handshake(HandshakeKind::CloudEvents, answer.is_ok());
            return Ok(answer?);
        }
        if request.method() != Method::POST {
            let allow = if asks { POST_AND_OPTIONS } else { "POST" };
            return Err(IngressError::Method { allow });
        }

        // Limits. Unauthenticated requests use the app's rate limit too: it limits the work, including that of
        // authentication.
        self.rate_limits
            .take(&app.name)
            .map_err(|wait| IngressError::TooOften { wait })?;
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(IngressError::ContentEncoding);
        }
        let path = passthrough::path(rest)?;
        let query = passthrough::query(request.query_string(), &app.pass_query)?;
        let announced = body::announced(
            content_length(request),
            self.settings.limits.body_limit_bytes,
        )?;

        // Authentication, before a byte of the body is read.
        let credentials = auth::RequestHead {
            query: request.query_string(),
            header: &|name| {
                let values = request.headers().get_all(name);
                values.map(header::HeaderValue::as_bytes).collect()
            },
        };
        if app.event_grid == EventGrid::Open
            && announced <= handshake::OPEN_LIMIT_BYTES
            && handshake::may_be_validation(request.headers())
            && self
                .authenticators
                .lacks_credentials(&app.name, &credentials)
            && let Some(answer) = self
                .open_handshake(app, request, &mut payload, turn)
                .await?
        {
            return Ok(answer);
        }
        self.authenticators.admit(&app.name, &credentials).await?;

        let limit_bytes = self.settings.limits.body_limit_bytes;
        let body = self.body(&mut payload, announced, limit_bytes).await?;
        turn.body_is_read();
        // Not earlier: slow senders would hold all permits. The memory of their bodies is limited by `room`.
        let _place = self.take_permit()?;

        // The content.
        let elements = self.pipeline.read(&envelope_head(request), &body.bytes)?;
        if app.event_grid != EventGrid::Off {
            let code = handshake::validation_code(request.headers(), &body.bytes, &elements)
                .inspect_err(|_| self.metrics.handshake(HandshakeKind::EventGrid, false))?;
            if let Some(code) = code {
                self.metrics.handshake(HandshakeKind::EventGrid, true);
                return Ok(handshake::validated(code));
            }
        }
        let (traceparent, tracestate) = trace_context(request);
        let facts = RequestFacts {
            received,
            path,
            query,
            traceparent,
            tracestate,
            body_bytes: body.bytes.len(),
        };
        let offers = self
            .pipeline
            .prepare(app, elements, &facts)
            .inspect_err(|rejection| self.count_rejection(rejection))?;
        self.note(&offers);
        let callback = Callback {
            arrival,
            app: app.name.clone(),
            offers,
        };
        self.store(Arc::new(callback)).await
    }

    /// Answers Event Grid's validation request if it arrives without credentials. `None` for any other body: the caller
    /// then refuses the request for its missing credentials, and the answer says nothing about the body.
    async fn open_handshake(
        &self,
        app: &App,
        request: &HttpRequest,
        payload: &mut Payload,
        turn: &RequestGuard,
    ) -> Result<Option<HttpResponse>, IngressError> {
        let limit_bytes = self
            .settings
            .limits
            .body_limit_bytes
            .min(handshake::OPEN_LIMIT_BYTES);
        let body = match self.body(payload, 0, limit_bytes).await {
            Ok(body) => body,
            Err(BodyError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        turn.body_is_read();
        let _place = self.take_permit()?;
        let Ok(elements) = self.pipeline.read(&envelope_head(request), &body.bytes) else {
            return Ok(None);
        };
        let code = handshake::validation_code(request.headers(), &body.bytes, &elements);
        let Ok(Some(code)) = code else {
            return Ok(None);
        };
        let taken = self.rate_limits.take_handshake(&app.name);
        self.metrics
            .handshake(HandshakeKind::EventGridOpen, taken.is_ok());
        taken.map_err(|wait| IngressError::HandshakeTooOften { wait })?;
        // The rate limit applies to this line too.
        tracing::info!(app = %app.name, "Event Grid's validation request was answered without credentials");
        Ok(Some(handshake::validated(code)))
    }

    async fn body(
        &self,
        payload: &mut Payload,
        announced: usize,
        limit_bytes: usize,
    ) -> Result<Body, BodyError> {
        // The other half was for the head.
        let timeout = self.settings.limits.request_timeout / 2;
        body::read(payload, announced, limit_bytes, timeout, &self.room).await
    }

    fn take_permit(&self) -> Result<SemaphorePermit<'_>, IngressError> {
        self.permits
            .try_acquire()
            .map_err(|_| IngressError::Crowded {
                limit: self.settings.limits.in_flight_limit,
            })
    }

    async fn store(&self, callback: Arc<Callback>) -> Result<HttpResponse, IngressError> {
        let stored = tokio::select! {
            biased;
            stored = self.intake.submit(callback.clone()) => stored,
            // The journal may still accept the callback, and counts the outcome; a resend is a duplicate.
            () = self.intake.overdue(self.settings.store_timeout) => {
                return Err(IngressError::StoreTimeout);
            }
        };
        let receipt = match stored {
            Ok(receipt) => receipt,
            Err(refusal) => {
                self.metrics
                    .rejected(reject_reason(&refusal), callback.offers.len());
                self.count(&callback.offers, std::iter::repeat(EventOutcome::Refused));
                return Err(refusal.into());
            }
        };
        self.count(
            &callback.offers,
            receipt.outcomes().iter().map(|admitted| match admitted {
                Admitted::Accepted => EventOutcome::Accepted,
                Admitted::Duplicate => EventOutcome::Duplicate,
                Admitted::Quarantined => EventOutcome::Quarantined,
            }),
        );
        tracing::debug!("callback accepted");
        Ok(answer::accepted(&receipt, &callback.offers))
    }

    /// The journal counts what it decides; what is refused before it must be counted here (P3).
    fn count_rejection(&self, rejection: &Rejection) {
        if let Rejection::Events { reason, offers } = rejection {
            self.note(offers);
            self.ledger
                .decide(std::iter::repeat_n(EventOutcome::Refused, offers.len()));
            self.metrics.rejected(*reason, offers.len());
            self.count(offers, std::iter::repeat(EventOutcome::Refused));
        }
    }

    fn count(&self, offers: &[Offer], outcomes: impl Iterator<Item = EventOutcome>) {
        for (offer, outcome) in offers.iter().zip(outcomes) {
            let (event_type, generation) = labels(offer);
            self.metrics.event(event_type, generation, outcome);
        }
    }

    /// Records the ids of the events on the span, and their drift.
    fn note(&self, offers: &[Offer]) {
        let span = Span::current();
        span.record("events", offers.len());
        if let [only] = offers
            && !span.is_disabled()
        {
            for (name, id) in [
                ("event_id", only.id()),
                ("call_connection_id", only.ids.connection.as_deref()),
                ("correlation_id", only.facts.correlation_id.as_deref()),
            ] {
                if let Some(id) = id {
                    span.record(name, shown(id));
                }
            }
        }
        for offer in offers {
            tracing::debug!(
                event_id = offer.id().map(shown),
                event_type = offer.event_type().map(shown),
                call_connection_id = offer.ids.connection.as_deref().map(shown),
                faults = offer.faults.len(),
                "event received"
            );
            for pointer in &offer.drift {
                self.drift.note(labels(offer).0, pointer);
                self.metrics.drift();
            }
        }
    }
}

/// Type and generation of an event for metrics: those of the catalogue, or `other`.
pub(super) fn labels(offer: &Offer) -> (&str, &str) {
    offer
        .facts
        .generation
        .as_ref()
        .map_or((OTHER, OTHER), |generation| {
            (&offer.facts.event_type, generation.as_str())
        })
}

/// What the envelope needs of a request's head.
fn envelope_head(request: &HttpRequest) -> CallbackHead<'_> {
    let mut head = CallbackHead::default();
    for (name, value) in request.headers() {
        head.header(name.as_str(), value.as_bytes());
    }
    head
}

fn shown(id: &str) -> &str {
    id.get(..id.floor_char_boundary(ID_SHOWN)).unwrap_or(id)
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    // actix has refused a head in which it is not a number.
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn trace_context(request: &HttpRequest) -> (Option<String>, Option<String>) {
    let mut parents = request.headers().get_all("traceparent");
    let parent = parents
        .next()
        .and_then(|value| value.to_str().ok())
        .and_then(passthrough::traceparent)
        // More than one is not a trace context (Trace Context, 3.2.1).
        .filter(|_| parents.next().is_none());
    // Without its parent, the state says nothing (3.3).
    let state = parent.as_ref().and_then(|_| {
        let lines: Vec<&str> = request
            .headers()
            .get_all("tracestate")
            .map(|value| value.to_str().unwrap_or("not text"))
            .collect();
        passthrough::tracestate(lines.into_iter())
    });
    (parent, state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_500_that_says_nothing_about_it() {
        let outcome: Result<(), _> = caught(async { panic!("the inner {}", "words") }).await;
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("the inner words"), "{error}");
        let response = error.response();
        assert_eq!(response.status(), 500);
        let body = actix_web::body::to_bytes(response.into_body())
            .await
            .unwrap_or_default();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains("\"status\":500"), "{body}");
        assert!(!body.contains("inner words"), "{body}");
    }

    #[test]
    fn long_ids_are_cut_between_characters() {
        assert_eq!(shown("short"), "short");
        let long = format!("{}ä", "x".repeat(ID_SHOWN - 1));
        assert_eq!(shown(&long).len(), ID_SHOWN - 1);
    }
}
