//! Authentication, as the sender sees it.

use crate::ingress::test_support::{Listener, SECRET, problem_in, rang, settings};

#[tokio::test]
async fn a_callback_without_credentials_is_401_and_never_reaches_the_journal() {
    let mut listener = Listener::open(settings());
    for (app, query, challenge) in [
        ("guarded", "", "SharedSecret"),
        ("guarded", "?code=guess", "SharedSecret"),
        ("signed", "", "Bearer"),
    ] {
        let request = listener.post(&format!("/callbacks/{app}{query}"), rang("1").to_string());
        let response = request.send().await.unwrap();
        assert_eq!(
            response.headers()["www-authenticate"],
            challenge,
            "{app}{query}"
        );
        let problem = problem_in(response, 401).await;
        assert!(!problem.to_string().contains("guess"), "{problem}");
    }
    let token = listener.post("/callbacks/signed", rang("1").to_string());
    let response = token.header("authorization", "Bearer x.y.z").send().await;
    let response = response.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    problem_in(response, 401).await;
    let request = listener.post("/callbacks/guarded", rang("1").to_string());
    listener.problem(request, 401).await;
    listener
        .counted("hookswitch_callbacks_total{outcome=\"unauthorized\"} 5")
        .await;
    listener
        .counted("hookswitch_auth_refusals_total{app=\"guarded\",class=\"missing\"} 2")
        .await;
    listener
        .counted("hookswitch_auth_refusals_total{app=\"guarded\",class=\"shared_secret\"} 1")
        .await;
}

#[tokio::test]
async fn a_shared_secret_is_accepted_and_not_passed_on() {
    let mut listener = Listener::open(settings());
    let path = format!("/callbacks/guarded/c1?code={SECRET}&callerId=7");
    let request = listener.post(&path, rang("1").to_string());
    let (response, callback) = listener.kept(request).await;
    assert_eq!(response.status(), 202);
    assert_eq!(
        callback.offers[0].facts.query.as_deref(),
        Some("callerId=7")
    );
    assert!(!format!("{callback:?}").contains(SECRET));
    let request = listener.post("/callbacks/guarded", rang("2").to_string());
    let (response, _) = listener
        .kept(request.header("X-Callback-Key", SECRET))
        .await;
    assert_eq!(response.status(), 202);
    assert!(!listener.metrics().contains(SECRET));
}

#[tokio::test]
async fn without_the_issuers_keys_a_token_is_503() {
    let mut listener = Listener::open(settings());
    // {"alg":"RS256","kid":"a"} . {"iss":"https://issuer.example"} . a signature that is not checked
    let token =
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AAAA";
    let request = listener.post("/callbacks/signed", rang("1").to_string());
    let request = request.header("authorization", format!("Bearer {token}"));
    listener.problem(request, 503).await;
    listener
        .counted("hookswitch_auth_refusals_total{app=\"signed\",class=\"keys\"} 1")
        .await;
}
