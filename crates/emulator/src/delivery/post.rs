//! Posts one request until it is accepted or given up.
//!
//! What the real service does about a failed callback is not known (docs/src/reference/acs-events.md, "How callbacks
//! are delivered"). Here: no answer within 10 s, 408, 429 and 5xx are retried by a schedule, anything else but 2xx is
//! given up at once. Meanwhile the callbacks behind it to the same URL of the same call wait. Event Grid's rules are
//! published: 200 to 204 are success, 400, 401, 403 and 413 are never retried, everything else is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::{
    Client, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{
    super::{
        event::Generation,
        wire::{Body, GridSchema},
    },
    client,
    event::{EventGrid, EventTarget, Form, InFlightEvent},
    log::{Attempt, AttemptOutcome, DeliveryLog, milliseconds},
    misbehave::ConnectionDrop,
    plan::PlannedPost,
    token::Signer,
};
/// `aeg-subscription-name`.
pub(super) const SUBSCRIPTION: &str = "HOOKSWITCH-EMULATOR";
/// The origin that asks for consent, and that delivers later.
pub(super) const ORIGIN: &str = "eventgrid.azure.net";
/// For the answer to a callback, in real time: the receiver is not faster because calls are.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(10);
/// For Event Grid's (docs/src/reference/acs-events.md, "How Event Grid delivers").
const GRID_TIMEOUT: Duration = Duration::from_secs(30);
/// A longer `Retry-After` is cut to this: a development run should not wait longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The recipient of a lane.
#[derive(Clone, Debug)]
pub(super) struct Recipient {
    /// The call's ordinal.
    pub(super) ordinal: u64,
    /// `callConnectionId`, or `serverCallId` for Event Grid.
    pub(super) connection: String,
    /// The callback URL, or the webhook of the subscription.
    pub(super) url: String,
    pub(super) dress: EventTarget,
}

impl Recipient {
    pub(super) fn callback(ordinal: u64, connection: &str, url: &str, of: Generation) -> Self {
        Self {
            ordinal,
            connection: connection.to_owned(),
            url: url.to_owned(),
            dress: EventTarget::Callback(of),
        }
    }

    pub(super) fn grid(ordinal: u64, server_call: &str, to: &EventGrid) -> Self {
        Self {
            ordinal,
            connection: server_call.to_owned(),
            url: to.url.clone(),
            dress: EventTarget::Grid(to.schema),
        }
    }
}

/// How long to wait before a retry, in real time: the receiver is not faster because calls are.
#[derive(Clone, Debug)]
pub(crate) struct RetryDelays {
    /// Between the attempts of a callback; one more attempt than there are waits.
    pub(super) callback: Vec<Duration>,
    /// Between those of Event Grid.
    pub(super) grid: Vec<Duration>,
    /// Between two requests for consent.
    pub(super) consent: Duration,
}

impl RetryDelays {
    /// With Event Grid's own schedule, up to the length that is practical in development.
    pub(crate) fn with(callback: Vec<Duration>) -> Self {
        Self {
            callback,
            grid: [10, 30, 60, 300, 600].map(Duration::from_secs).to_vec(),
            consent: Duration::from_secs(5),
        }
    }
}

/// Call time and real time.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeScale {
    start: Instant,
    speed: f64,
}

impl TimeScale {
    pub(super) fn new(speed: f64) -> Self {
        // Outside of this range a wait would be zero or endless.
        let speed = if speed.is_finite() { speed } else { 1.0 };
        Self {
            start: Instant::now(),
            speed: speed.clamp(0.001, 1_000_000.0),
        }
    }

    /// Call time from the start.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed().mul_f64(self.speed)
    }

    /// How long this much call time takes in real time.
    pub(super) fn real(&self, call_time: Duration) -> Duration {
        call_time.div_f64(self.speed)
    }
}

/// What all lanes share for posting.
pub(super) struct Poster {
    pub(super) client: Client,
    pub(super) signer: Arc<Signer>,
    pub(super) form: Box<dyn Form>,
    pub(super) log: Arc<DeliveryLog>,
    pub(super) pace: TimeScale,
    pub(super) waits: RetryDelays,
}

/// The result of a post.
enum PostResult {
    Status(u16, Option<Duration>),
    /// Why there was no answer.
    Nothing(String),
    /// Why there can never be one.
    Never(String),
}

impl Poster {
    /// Posts until the events are accepted or given up.
    pub(super) async fn deliver(&self, to: &Recipient, post: &PlannedPost<Arc<InFlightEvent>>) {
        self.log.misbehaved(&post.acts, post.inversions);
        tokio::time::sleep(self.pace.real(post.delay)).await;
        let events: Vec<_> = post.events.iter().map(|event| &event.rendered).collect();
        let body = self.form.body(to.dress, &events);
        let mut waits = match to.dress {
            EventTarget::Callback(_) => self.waits.callback.iter(),
            EventTarget::Grid(_) => self.waits.grid.iter(),
        };
        let mut attempt = 1;
        loop {
            let (began, time) = (Instant::now(), Timestamp::now());
            let cut = post.cut.filter(|_| attempt == 1);
            let answer = self.attempt(to, &body, attempt, cut).await;
            let (outcome, wait) = judge(to.dress, &answer, &mut waits);
            let (status, error) = match answer {
                PostResult::Status(status, _) => (Some(status), None),
                PostResult::Nothing(error) | PostResult::Never(error) => (None, Some(error)),
            };
            let finished = Attempt {
                time,
                event_grid: matches!(to.dress, EventTarget::Grid(_)),
                call: to.ordinal,
                connection: to.connection.clone(),
                url: shown(&to.url),
                types: events.iter().map(|event| event.kind.clone()).collect(),
                ids: events.iter().map(|event| event.id.clone()).collect(),
                attempt,
                status,
                error,
                milliseconds: milliseconds(began.elapsed()),
                outcome,
                misbehaviour: post.acts.iter().map(|act| act.name()).collect(),
            };
            self.log.finished(finished, &post.events);
            if outcome != AttemptOutcome::Retried {
                return;
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        to: &Recipient,
        body: &Body,
        attempt: u32,
        cut: Option<ConnectionDrop>,
    ) -> PostResult {
        let url = match target(&to.url) {
            Ok(url) => url,
            Err(error) => return PostResult::Never(error),
        };
        let headers = self.headers(to.dress, body.content_type, attempt);
        let bytes = body.bytes.clone();
        let (posting, limit) = match to.dress {
            EventTarget::Callback(_) => (CALLBACK_TIMEOUT, "10 s"),
            EventTarget::Grid(_) => (GRID_TIMEOUT, "30 s"),
        };
        let posting = tokio::time::timeout(posting, async {
            match cut {
                Some(how) => client::cut(&self.client, &url, &headers, bytes, how)
                    .await
                    .map_or_else(
                        |error| PostResult::Nothing(format!("{:#}", anyhow::Error::new(error))),
                        |()| {
                            PostResult::Nothing(
                                "connection dropped before the answer was read".into(),
                            )
                        },
                    ),
                None => self.post(url, headers, bytes).await,
            }
        });
        posting
            .await
            .unwrap_or_else(|_| PostResult::Nothing(format!("no answer within {limit}")))
    }

    async fn post(&self, url: Url, headers: HeaderMap, body: bytes::Bytes) -> PostResult {
        let sent = self.client.post(url).headers(headers).body(body).send();
        match sent.await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = response.headers().get(RETRY_AFTER).and_then(retry_after);
                // Read to its end, so that the connection can be reused; only the status matters.
                drop(response.bytes().await);
                PostResult::Status(status, retry_after)
            }
            Err(error) => PostResult::Nothing(client::chain(error)),
        }
    }

    fn headers(&self, dress: EventTarget, content_type: &'static str, attempt: u32) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        match dress {
            EventTarget::Callback(_) => {
                let mut bearer = HeaderValue::try_from(format!(
                    "Bearer {}",
                    self.signer.token(Timestamp::now())
                ))
                .expect("a token is base64 and dots");
                bearer.set_sensitive(true);
                headers.insert(AUTHORIZATION, bearer);
            }
            EventTarget::Grid(GridSchema::EventGrid) => {
                let named = |name| HeaderName::from_static(name);
                headers.insert(
                    named("aeg-event-type"),
                    HeaderValue::from_static("Notification"),
                );
                headers.insert(
                    named("aeg-subscription-name"),
                    HeaderValue::from_static(SUBSCRIPTION),
                );
                headers.insert(named("aeg-delivery-count"), HeaderValue::from(attempt - 1));
                headers.insert(named("aeg-data-version"), HeaderValue::from_static("1.0"));
                headers.insert(named("aeg-metadata-version"), HeaderValue::from_static("1"));
            }
            EventTarget::Grid(GridSchema::CloudEvents) => {
                headers.insert(reqwest::header::ORIGIN, HeaderValue::from_static(ORIGIN));
            }
        }
        headers
    }
}

/// What an answer means, and how long to wait in real time before the next attempt.
fn judge<'w>(
    dress: EventTarget,
    answer: &PostResult,
    waits: &mut impl Iterator<Item = &'w Duration>,
) -> (AttemptOutcome, Duration) {
    let (accepted, again) = match (answer, dress) {
        (PostResult::Nothing(_), _) => (false, true),
        (PostResult::Never(_), _) => (false, false),
        (PostResult::Status(status, _), EventTarget::Callback(_)) => (
            (200..300).contains(status),
            matches!(status, 408 | 429 | 500..=599),
        ),
        (PostResult::Status(status, _), EventTarget::Grid(_)) => (
            (200..=204).contains(status),
            !matches!(status, 400 | 401 | 403 | 413),
        ),
    };
    if accepted {
        return (AttemptOutcome::Accepted, Duration::ZERO);
    }
    let Some(wait) = again.then(|| waits.next()).flatten() else {
        return (AttemptOutcome::GivenUp, Duration::ZERO);
    };
    let asked = match answer {
        PostResult::Status(_, Some(asked)) => (*asked).min(LONGEST_RETRY_AFTER),
        _ => Duration::ZERO,
    };
    (AttemptOutcome::Retried, (*wait).max(asked))
}
/// The URL without user information, which would make a second `Authorization` header.
fn target(url: &str) -> Result<Url, String> {
    let mut url = Url::parse(url).map_err(|error| format!("the URL cannot be used: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "the URL cannot be used: its scheme is {} and not http or https",
            url.scheme()
        ));
    }
    // Only URLs without a host refuse this, and http has one.
    url.set_username("").ok();
    url.set_password(None).ok();
    Ok(url)
}

/// A URL without what may be secret in it.
pub(super) fn shown(url: &str) -> String {
    target(url).map_or_else(
        |_| "(no URL of http or https)".to_owned(),
        |mut url| {
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        },
    )
}

/// Seconds or a date (RFC 9110, 10.2.3), as a real wait from now.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Duration::try_from(at.timestamp().duration_since(Timestamp::now())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(
            shown("https://me:pw@host:8443/a/b?code=secret#x"),
            "https://host:8443/a/b"
        );
        assert_eq!(shown("file:///etc/passwd"), "(no URL of http or https)");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("soon"), None);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        let hour = Timestamp::now() + Duration::from_secs(3600);
        let hour = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&hour);
        let far = read(&hour.unwrap()).expect("a date to come");
        assert!(far > LONGEST_RETRY_AFTER);
    }

    #[test]
    fn speed_shortens_waits() {
        let pace = TimeScale::new(20.0);
        assert_eq!(
            pace.real(Duration::from_secs(10)),
            Duration::from_millis(500)
        );
        let real = TimeScale::new(f64::NAN).real(Duration::from_secs(1));
        assert_eq!(real, Duration::from_secs(1));
    }
}
