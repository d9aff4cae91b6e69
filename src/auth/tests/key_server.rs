//! Keys that are fetched over the network: rotated, missing, late, or never.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use crate::config::{Jwt, KeySource};

use crate::auth::{
    AuthChallenge, AuthRefusal,
    key_source::RefreshPace,
    test_support::{ISSUER, KeyServer, Manner, Pair, Stage, pace, rules},
};

const WRONG: Result<(), AuthRefusal> = Err(AuthRefusal::Wrong(AuthChallenge::InvalidToken));

fn only_a() -> Manner {
    Manner::Keys(json!([Pair(0).jwk("a")]))
}

fn a_and_b() -> Manner {
    Manner::Keys(json!([Pair(0).jwk("a"), Pair(1).jwk("b")]))
}

fn from(server: &KeyServer) -> Jwt {
    rules(KeySource::Url(server.url.clone()))
}

fn has_no_keys(answer: Result<(), AuthRefusal>) -> bool {
    matches!(answer, Err(AuthRefusal::NoKeys { retry_after }) if retry_after >= 1)
}

/// An app whose key server misbehaves from the start gets no keys from it, and gets them when it behaves.
async fn never_had(manner: Manner, pace: RefreshPace) {
    let server = KeyServer::start(manner).await;
    let stage = Stage::of(from(&server), pace).await;
    let token = Pair(0).good("a");
    let answer = stage.token(&token).await;
    assert!(has_no_keys(answer), "{answer:?}");
    // The refresher's next attempt, not the ten minutes between fetches for unknown keys.
    let soon =
        |answer| matches!(answer, Err(AuthRefusal::NoKeys { retry_after }) if retry_after < 60);
    assert!(soon(answer), "{answer:?}");
    assert!(stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"keys\"} 1"));
    let notices = stage.health.view().notices;
    assert_eq!(
        notices,
        [format!("the keys of issuer {ISSUER} cannot be fetched")]
    );
    // A request without credentials is refused without any doubt.
    let missing = Err(AuthRefusal::Missing(AuthChallenge::Bearer));
    assert_eq!(stage.ask("", &[]).await, missing);
    server.is_now(only_a());
    stage.until(&token, |answer| answer.is_ok()).await;
    assert_eq!(stage.health.view().notices, [""; 0]);
}

#[tokio::test]
async fn a_key_server_that_is_down_at_start_is_503_until_it_is_up() {
    never_had(Manner::Error, pace()).await;
}

#[tokio::test]
async fn a_slow_key_server_is_given_up() {
    let impatient = RefreshPace {
        answer: Duration::from_millis(100),
        ..pace()
    };
    never_had(Manner::Slow, impatient).await;
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    never_had(Manner::Huge, pace()).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = KeyServer::start(only_a()).await;
    never_had(Manner::Redirect(elsewhere.url.to_string()), pace()).await;
    assert_eq!(elsewhere.asked(), 0);
}

#[tokio::test]
async fn an_unreachable_key_server_is_503() {
    let server = KeyServer::start(only_a()).await;
    let url: Url = server.url.clone();
    drop(server);
    let stage = Stage::of(rules(KeySource::Url(url)), pace()).await;
    assert!(has_no_keys(stage.token(&Pair(0).good("a")).await));
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_and_refused_when_there_is_none() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        unknown: Duration::ZERO,
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    assert_eq!(server.asked(), 1);
    assert_eq!(stage.token(&Pair(1).good("b")).await, WRONG);
    assert_eq!(server.asked(), 2);
    // A known key needs no fetch.
    assert_eq!(stage.token(&Pair(0).good("a")).await, Ok(()));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_the_first_token_names_it() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        unknown: Duration::ZERO,
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    server.is_now(a_and_b());
    assert_eq!(stage.token(&Pair(1).good("b")).await, Ok(()));
    server.is_now(Manner::Keys(json!([Pair(1).jwk("b")])));
    // The old key goes with the next fetch.
    assert_eq!(stage.token(&Pair(0).good("c")).await, WRONG);
    assert_eq!(stage.token(&Pair(0).good("a")).await, WRONG);
}

#[tokio::test]
async fn keys_are_fetched_again_in_the_background() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        refresh: Duration::from_millis(20),
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    server.is_now(a_and_b());
    stage
        .until(&Pair(1).good("b"), |answer| answer.is_ok())
        .await;
}

#[tokio::test]
async fn a_storm_of_unknown_keys_causes_no_more_than_one_fetch_in_its_time() {
    let server = KeyServer::start(only_a()).await;
    let stage = Stage::of(from(&server), pace()).await;
    for number in 0..200 {
        let answer = stage.token(&Pair(1).good(&format!("storm-{number}"))).await;
        // Not proven bad: the keys at hand are older than the token. The sender retries when a fetch may be made.
        assert!(has_no_keys(answer), "{answer:?}");
    }
    assert_eq!(server.asked(), 1);
    assert_eq!(stage.token(&Pair(0).good("a")).await, Ok(()));
    // Any client can cause this, so it must not look like missing keys, which need an operator.
    let refused = |class, count| {
        format!("hookswitch_auth_refusals_total{{app=\"contoso\",class=\"{class}\"}} {count}")
    };
    assert!(stage.metric(&refused("unknown_key", 200)));
    assert!(stage.metric(&refused("keys", 0)));
}

#[tokio::test]
async fn callbacks_that_meet_a_new_key_together_wait_for_one_fetch() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        unknown: Duration::from_secs(1),
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    server.is_now(a_and_b());
    // The time itself is what is tested: before it is over no fetch may begin.
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let token = Pair(1).good("b");
    let all = futures_util::future::join_all((0..50).map(|_| stage.token(&token))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn the_last_good_keys_are_used_while_the_server_is_down_later() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        refresh: Duration::from_millis(20),
        unknown: Duration::from_millis(20),
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    server.is_now(Manner::Error);
    failed(&stage).await;
    assert_eq!(stage.token(&Pair(0).good("a")).await, Ok(()));
    // A key that we cannot ask for now is not proven bad.
    let unknown = stage.token(&Pair(1).good("b")).await;
    assert!(has_no_keys(unknown), "{unknown:?}");
}

#[tokio::test]
async fn the_last_good_keys_expire() {
    let server = KeyServer::start(only_a()).await;
    let pace = RefreshPace {
        refresh: Duration::from_millis(20),
        unknown: Duration::from_millis(20),
        last_good: Duration::from_millis(500),
        ..pace()
    };
    let stage = Stage::of(from(&server), pace).await;
    let token = Pair(0).good("a");
    assert_eq!(stage.token(&token).await, Ok(()));
    server.is_now(Manner::Error);
    stage.until(&token, has_no_keys).await;
    assert!(!stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"keys\"} 0"));
    server.is_now(only_a());
    stage.until(&token, |answer| answer.is_ok()).await;
}

/// Waits until a fetch failed.
async fn failed(stage: &Stage) {
    let found = tokio::time::timeout(Duration::from_secs(10), async {
        while stage.metric("hookswitch_auth_key_fetches_total{outcome=\"failed\"} 0") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(found.await.is_ok());
}

/// Keys through a discovery document; whether a valid token is accepted.
async fn discovered(document: impl FnOnce(&str) -> Value) -> bool {
    let server = KeyServer::start(Manner::Error).await;
    let keys = json!([Pair(0).jwk("a")]);
    server.is_now(Manner::Discovery(document(server.url.as_str()), keys));
    let place = server.url.join("/openid").unwrap();
    let stage = Stage::of(rules(KeySource::Discovery(place)), pace()).await;
    let answer = stage.token(&Pair(0).good("a")).await;
    assert!(answer.is_ok() || has_no_keys(answer), "{answer:?}");
    answer.is_ok()
}

#[tokio::test]
async fn a_discovery_document_leads_to_the_keys_of_its_own_issuer_only() {
    assert!(discovered(|keys| json!({"issuer": ISSUER, "jwks_uri": keys})).await);
    assert!(!discovered(|keys| json!({"issuer": "https://x.example", "jwks_uri": keys})).await);
    assert!(!discovered(|_| json!({"issuer": ISSUER, "jwks_uri": "http://x.example/keys"})).await);
    assert!(!discovered(|_| json!({"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"})).await);
    assert!(!discovered(|_| json!({"issuer": ISSUER})).await);
}
