//! Some calls whose events are sent one after the other, and the events that were answered 202.

use super::{Expected, call_events, post, post_until_accepted};

/// More events than any test sends of one call.
const LONGEST: usize = 2_000;

/// Calls that grow side by side. One event of each in turn, each after the answer to the one before.
pub(crate) struct Calls {
    url: String,
    client: reqwest::Client,
    calls: Vec<(String, Vec<(String, String)>)>,
    sent: usize,
}

impl Calls {
    /// `count` new calls for the callback path at `url`.
    pub(crate) fn new(url: String, count: usize) -> Self {
        let calls = (0..count)
            .map(|_| {
                let call = uuid::Uuid::new_v4().to_string();
                let events = call_events(&call, LONGEST);
                (call, events)
            })
            .collect();
        Self {
            url,
            client: reqwest::Client::new(),
            calls,
            sent: 0,
        }
    }

    /// Sends `events` more of each call.
    pub(crate) async fn send(&mut self, events: usize) {
        for _ in 0..events {
            for (_, events) in &self.calls {
                post_until_accepted(&self.client, &self.url, body(events, self.sent)).await;
            }
            self.sent += 1;
        }
    }

    /// Sends one more event of the only call, once. It counts as sent only if it is answered 202.
    pub(crate) async fn try_one(&mut self) -> reqwest::Response {
        let answer = self.post_only(self.sent).await;
        if answer.status() == 202 {
            self.sent += 1;
        }
        answer
    }

    /// Sends the first event of the only call again.
    pub(crate) async fn repeat_first(&self) -> reqwest::Response {
        self.post_only(0).await
    }

    async fn post_only(&self, n: usize) -> reqwest::Response {
        let [(_, events)] = self.calls.as_slice() else {
            panic!("one call only");
        };
        post(&self.client, &self.url, body(events, n))
            .await
            .expect("an answer")
    }

    /// The number of events sent of each call.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// All sent events, for [`super::check_calls`].
    pub(crate) fn expected(&self) -> Expected {
        self.calls
            .iter()
            .map(|(call, events)| {
                let ids = events.iter().take(self.sent).map(|(id, _)| id.clone());
                (call.clone(), ids.collect())
            })
            .collect()
    }
}

fn body(events: &[(String, String)], n: usize) -> &str {
    let (_, body) = events
        .get(n)
        .expect("fewer events than the longest call has");
    body
}
