//! Authentication, as the sender sees it.

use crate::ingress::test_support::{Listener, SECRET, problem_in, rang, settings};

#[tokio::test]
async fn a_callback_without_credentials_is_401_and_never_reaches_the_journal() {
    let mut door = Listener::open(settings());
    for (app, query, challenge) in [
        ("guarded", "", "SharedSecret"),
        ("guarded", "?code=guess", "SharedSecret"),
        ("signed", "", "Bearer"),
    ] {
        let request = door.post(&format!("/callbacks/{app}{query}"), rang("1").to_string());
        let response = request.send().await.unwrap();
        assert_eq!(
            response.headers()["www-authenticate"],
            challenge,
            "{app}{query}"
        );
        let problem = problem_in(response, 401).await;
        assert!(!problem.to_string().contains("guess"), "{problem}");
    }
    let token = door.post("/callbacks/signed", rang("1").to_string());
    let response = token.header("authorization", "Bearer x.y.z").send().await;
    let response = response.unwrap();
    assert_eq!(
        response.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    problem_in(response, 401).await;
    let request = door.post("/callbacks/guarded", rang("1").to_string());
    door.problem(request, 401).await;
    door.counted("hookswitch_callbacks_total{outcome=\"unauthorized\"} 5")
        .await;
    door.counted("hookswitch_auth_refusals_total{app=\"guarded\",class=\"missing\"} 2")
        .await;
    door.counted("hookswitch_auth_refusals_total{app=\"guarded\",class=\"shared_secret\"} 1")
        .await;
}

#[tokio::test]
async fn a_shared_secret_lets_in_and_goes_no_further() {
    let mut door = Listener::open(settings());
    let path = format!("/callbacks/guarded/c1?code={SECRET}&callerId=7");
    let request = door.post(&path, rang("1").to_string());
    let (response, callback) = door.kept(request).await;
    assert_eq!(response.status(), 202);
    assert_eq!(
        callback.offers[0].facts.query.as_deref(),
        Some("callerId=7")
    );
    assert!(!format!("{callback:?}").contains(SECRET));
    let request = door.post("/callbacks/guarded", rang("2").to_string());
    let (response, _) = door.kept(request.header("X-Callback-Key", SECRET)).await;
    assert_eq!(response.status(), 202);
    assert!(!door.metrics().contains(SECRET));
}

#[tokio::test]
async fn without_the_issuers_keys_a_token_is_503() {
    let mut door = Listener::open(settings());
    // {"alg":"RS256","kid":"a"} . {"iss":"https://issuer.example"} . a signature that is not checked
    let token =
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.AAAA";
    let request = door.post("/callbacks/signed", rang("1").to_string());
    let request = request.header("authorization", format!("Bearer {token}"));
    door.problem(request, 503).await;
    door.counted("hookswitch_auth_refusals_total{app=\"signed\",class=\"keys\"} 1")
        .await;
}
