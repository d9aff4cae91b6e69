//! Senders that behave as a careful one would: wait for the answer, resend the same bytes until it is 2xx.

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

/// Sends until 202. Only a lost connection or a 503 is a reason to send again: anything else is a wrong answer.
pub(crate) async fn post_until_accepted(client: &Client, url: &str, body: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match post(client, url, body).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => return,
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {}
            Ok(answer) => panic!("answered {}: {:?}", answer.status(), answer.text().await),
            Err(_) => {}
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not accepted within a minute"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
