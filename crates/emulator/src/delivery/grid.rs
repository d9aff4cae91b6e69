//! Event Grid asks a webhook for its consent before it delivers (docs/src/reference/acs-events.md, "Event Grid
//! handshakes").

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use super::{
    super::wire::GridSchema,
    client,
    event::EventGrid,
    log::{Attempt, AttemptOutcome, milliseconds},
    post::{ORIGIN, Poster, SUBSCRIPTION, shown},
};
/// Type of the event that asks, in Event Grid's own schema.
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// How long the webhook may take to answer, in real time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// A subscription that waits for its webhook's consent.
pub(super) struct Handshake {
    pub(super) to: EventGrid,
    /// The resource that the events are of.
    pub(super) topic: String,
    /// The code that the webhook must return.
    pub(super) code: String,
    /// Where a webhook may consent later instead, by a GET.
    pub(super) later: Option<String>,
    /// Whether it has consented.
    pub(super) consent: watch::Sender<bool>,
}

#[derive(Deserialize)]
struct Validated {
    #[serde(rename = "validationResponse")]
    response: String,
}

impl Handshake {
    /// Asks until the webhook consents.
    pub(super) async fn run(&self, poster: &Poster) {
        let mut consented = self.consent.subscribe();
        let mut attempt = 1;
        while !*consented.borrow() {
            let (began, time) = (Instant::now(), Timestamp::now());
            let asked = timeout(HANDSHAKE_TIMEOUT, self.ask(poster)).await;
            let (status, refused) =
                asked.unwrap_or_else(|_| (None, Some("no answer within 30 s".to_owned())));
            let outcome = match refused {
                None => AttemptOutcome::Accepted,
                Some(_) => AttemptOutcome::Retried,
            };
            let finished = Attempt {
                time,
                event_grid: true,
                call: 0,
                connection: String::new(),
                url: shown(&self.to.url),
                types: vec![VALIDATION.to_owned()],
                ids: vec![self.code.clone()],
                attempt,
                status: status.map(|status| status.as_u16()),
                error: refused,
                milliseconds: milliseconds(began.elapsed()),
                outcome,
                misbehaviour: Vec::new(),
            };
            poster.log.finished(finished, &[]);
            if outcome == AttemptOutcome::Accepted {
                self.consent.send_replace(true);
                return;
            }
            attempt += 1;
            // The webhook may consent by a GET meanwhile; the sender lives as long as `self`.
            drop(timeout(poster.waits.consent, consented.wait_for(|yes| *yes)).await);
        }
    }

    /// The status, and why it is not a consent.
    async fn ask(&self, poster: &Poster) -> (Option<StatusCode>, Option<String>) {
        let url = match Url::parse(&self.to.url) {
            Ok(url) => url,
            Err(error) => return (None, Some(format!("the URL cannot be used: {error}"))),
        };
        let request = match self.to.schema {
            GridSchema::EventGrid => poster
                .client
                .post(url)
                .header("aeg-event-type", "SubscriptionValidation")
                .header("aeg-subscription-name", SUBSCRIPTION)
                .header(CONTENT_TYPE, "application/json")
                .body(self.event()),
            GridSchema::CloudEvents => {
                let request = poster
                    .client
                    .request(Method::OPTIONS, url)
                    .header("WebHook-Request-Origin", ORIGIN)
                    .header("WebHook-Request-Rate", "120");
                match &self.later {
                    Some(later) => request.header("WebHook-Request-Callback", later),
                    None => request,
                }
            }
        };
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                let refused = match self.to.schema {
                    GridSchema::EventGrid => self.validated(response).await,
                    GridSchema::CloudEvents => allowed(status, response.headers()),
                };
                (Some(status), refused.err())
            }
            Err(error) => (None, Some(client::chain(error))),
        }
    }

    fn event(&self) -> Bytes {
        let mut data = json!({"validationCode": self.code});
        if let (Some(later), Some(data)) = (&self.later, data.as_object_mut()) {
            data.insert("validationUrl".to_owned(), json!(later));
        }
        let event = json!([{
            "id": self.code,
            "topic": self.topic,
            "subject": "",
            "data": data,
            "eventType": VALIDATION,
            "eventTime": Timestamp::now().to_string(),
            "metadataVersion": "1",
            "dataVersion": "2",
        }]);
        Bytes::from(event.to_string())
    }

    async fn validated(&self, response: Response) -> Result<(), String> {
        // 202 and similar do not count.
        if response.status() != StatusCode::OK {
            return Err("consent needs the status 200".to_owned());
        }
        let validated: Validated = response.json().await.map_err(|error| {
            format!(
                "consent needs a body with validationResponse: {}",
                client::chain(error)
            )
        })?;
        (validated.response == self.code)
            .then_some(())
            .ok_or_else(|| "validationResponse is not the validationCode".to_owned())
    }
}

fn allowed(status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
    if status != StatusCode::OK {
        return Err("consent needs the status 200".to_owned());
    }
    let origin = headers
        .get("WebHook-Allowed-Origin")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match origin.as_deref().map(str::trim) {
        Some("*") => Ok(()),
        Some(origin) if origin.eq_ignore_ascii_case(ORIGIN) => Ok(()),
        Some(other) => Err(format!(
            "WebHook-Allowed-Origin is {other:?} and not {ORIGIN} or *"
        )),
        None => Err(format!(
            "the answer has no WebHook-Allowed-Origin: {ORIGIN} or * would consent"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_with_the_origin_or_a_star_is_consent() {
        let answer = |status, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert("webhook-allowed-origin", origin.parse().unwrap());
            }
            allowed(status, &headers)
        };
        assert_eq!(answer(StatusCode::OK, Some("*")), Ok(()));
        assert_eq!(answer(StatusCode::OK, Some("EventGrid.Azure.net")), Ok(()));
        for (status, origin) in [
            (StatusCode::OK, None),
            (StatusCode::OK, Some("example.org")),
            (StatusCode::NO_CONTENT, Some("*")),
        ] {
            answer(status, origin).expect_err("no consent");
        }
    }
}
