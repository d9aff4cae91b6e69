//! Careful senders: they wait for the answer and resend the same bytes until it is 2xx.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

pub(crate) async fn post(client: &Client, url: &str, body: &str) -> reqwest::Result<Response> {
    client
        .post(url)
        .header("content-type", "application/json")
        .body(body.to_owned())
        .send()
        .await
}

/// Sends until 202. Only a lost connection, a 503, or a 408 for a request that the server did not see in time leads to a
/// resend: any other answer is an error.
pub(crate) async fn post_until_accepted(client: &Client, url: &str, body: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match post(client, url, body).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => return,
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
            Ok(answer) => {
                let (status, text) = (answer.status(), answer.text().await);
                // The HTTP library answers a new connection without a head in time with an empty 408. On a very busy
                // machine it does so although the head has arrived and is not read yet.
                let unseen = status == StatusCode::REQUEST_TIMEOUT
                    && text.as_ref().is_ok_and(String::is_empty);
                assert!(unseen, "answered {status}: {text:?}");
            }
            Err(_) => {}
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not accepted within a minute"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
