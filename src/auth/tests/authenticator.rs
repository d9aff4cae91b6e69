//! Each way in which credentials can be wrong, and valid ones. The keys are in a file here.

use std::{fs, path::Path, time::Duration};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::{Acs, Audience, Jwt, KeySet, KeySource, Methods, SecretPlace, SharedSecret};

use crate::auth::{
    AuthChallenge, AuthRefusal,
    bearer::{TokenFault, verify},
    test_support::{AUDIENCE, Pair, Stage, claims, now, pace, rules, unsigned},
};

const WRONG: Result<(), AuthRefusal> = Err(AuthRefusal::Wrong(AuthChallenge::InvalidToken));

fn key_file(keys: &Value) -> (TempDir, KeySource) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    (dir, KeySource::File(path))
}

/// An app that trusts the key `a`.
async fn stage(change: impl FnOnce(&mut Jwt)) -> (TempDir, Stage) {
    let (dir, keys) = key_file(&json!([Pair(0).jwk("a")]));
    let mut rules = rules(keys);
    change(&mut rules);
    (dir, Stage::of(rules, pace()).await)
}

fn header() -> Value {
    json!({"alg": "RS256", "kid": "a", "typ": "JWT"})
}

/// A token with these changes to its claims is refused, and the operator reads this.
async fn refused(changes: Value, fault: TokenFault) {
    let (_dir, stage) = stage(|_| {}).await;
    let token = Pair(0).sign(&header(), &claims(changes));
    assert_eq!(stage.token(&token).await, WRONG, "{fault}");
    assert!(stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"token\"} 1"));
    let keys = json!({ "keys": [Pair(0).jwk("a")] }).to_string();
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let rules = rules(KeySource::File("keys".into()));
    assert_eq!(verify(&token, &rules, &keys), Err(fault));
}

#[tokio::test]
async fn a_good_token_is_accepted() {
    let (_dir, stage) = stage(|_| {}).await;
    assert_eq!(stage.token(&Pair(0).good("a")).await, Ok(()));
    // The scheme is written in any case (RFC 9110, 11.1); a list of audiences holds ours.
    let several = Pair(0).sign(&header(), &claims(json!({"aud": ["x", AUDIENCE]})));
    let value = format!("bEARER {several}");
    assert_eq!(stage.ask("", &[("authorization", &value)]).await, Ok(()));
    // With one key there is no doubt which.
    let unnamed = Pair(0).sign(&json!({"alg": "RS256"}), &claims(json!({})));
    assert_eq!(stage.token(&unnamed).await, Ok(()));
}

#[tokio::test]
async fn a_token_may_be_in_the_query_instead() {
    let (_dir, stage) = stage(|_| {}).await;
    let good = Pair(0).good("a");
    let escaped = good.replace('.', "%2E");
    for query in [
        format!("access_token={good}"),
        format!("a=b&access%5Ftoken={escaped}&c"),
    ] {
        assert_eq!(stage.ask(&query, &[]).await, Ok(()), "{query}");
    }
    // Two tokens count as none, wherever they are.
    let (query, value) = (format!("access_token={good}"), format!("Bearer {good}"));
    assert_eq!(stage.ask(&format!("{query}&{query}"), &[]).await, WRONG);
    assert_eq!(stage.ask(&query, &[("authorization", &value)]).await, WRONG);
    assert_eq!(stage.ask("access_token=", &[]).await, WRONG);
}

#[tokio::test]
async fn a_missing_token_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    let missing = Err(AuthRefusal::Missing(AuthChallenge::Bearer));
    assert_eq!(stage.ask("", &[]).await, missing);
    assert_eq!(
        stage.ask("", &[("authorization", "Basic YTpi")]).await,
        missing
    );
    assert!(stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"missing\"} 2"));
    // A token anywhere else does not count.
    let token = Pair(0).good("a");
    let query = format!("token={token}");
    assert_eq!(stage.ask(&query, &[("cookie", &token)]).await, missing);
}

#[tokio::test]
async fn an_expired_token_is_refused_after_the_leeway() {
    refused(
        json!({"nbf": now() - 400, "exp": now() - 61}),
        TokenFault::Expired,
    )
    .await;
    let (_dir, stage) = stage(|_| {}).await;
    let late = Pair(0).sign(&header(), &claims(json!({"exp": now() - 30})));
    assert_eq!(stage.token(&late).await, Ok(()));
}

#[tokio::test]
async fn a_token_of_the_future_is_refused() {
    refused(
        json!({"nbf": now() + 330, "exp": now() + 900}),
        TokenFault::NotYet("nbf"),
    )
    .await;
    refused(json!({"nbf": 1e300}), TokenFault::NotYet("nbf")).await;
    refused(
        json!({"iat": now() + 330, "exp": now() + 900}),
        TokenFault::NotYet("iat"),
    )
    .await;
    refused(json!({"iat": "once"}), TokenFault::Claim("iat".into())).await;
}

/// The seconds after which the sender is told to retry; `None` for any other answer.
fn retry_after_of(answer: Result<(), AuthRefusal>) -> Option<u16> {
    match answer {
        Err(AuthRefusal::NotYetValid { retry_after }) => Some(retry_after),
        _ => None,
    }
}

#[tokio::test]
async fn a_token_whose_nbf_is_within_five_minutes_is_told_when_to_retry() {
    let (_dir, stage) = stage(|_| {}).await;
    // Within the leeway.
    for ahead in [0, 30, 59] {
        let token = Pair(0).sign(&header(), &claims(json!({"nbf": now() + ahead})));
        assert_eq!(stage.token(&token).await, Ok(()), "{ahead}");
    }
    for (ahead, shortest) in [(90, 25), (180, 115), (299, 234)] {
        let token = Pair(0).sign(
            &header(),
            &claims(json!({"nbf": now() + ahead, "exp": now() + 900})),
        );
        let seconds = retry_after_of(stage.token(&token).await).expect("a wait");
        // Until `nbf` less the leeway, and some seconds may have passed since.
        let longest = u16::try_from(ahead).unwrap() - 60;
        assert!(
            (shortest..=longest).contains(&seconds),
            "{ahead}: {seconds}"
        );
    }
    // A token that was issued in the future says the same.
    let issued = json!({"iat": now() + 90, "exp": now() + 900});
    let token = Pair(0).sign(&header(), &claims(issued));
    assert!(retry_after_of(stage.token(&token).await).is_some());
    // A fraction of a second is a number too.
    let nbf: f64 = format!("{}.5", now() + 90).parse().unwrap();
    let later = json!({"nbf": nbf, "exp": now() + 900});
    let token = Pair(0).sign(&header(), &claims(later));
    assert!(retry_after_of(stage.token(&token).await).is_some());
    assert!(
        stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"not_yet_valid\"} 5")
    );
    assert!(stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"token\"} 0"));
}

#[tokio::test]
async fn a_leeway_of_five_minutes_covers_five_minutes() {
    let (_dir, stage) = stage(|rules| rules.leeway = Duration::from_secs(300)).await;
    for (ahead, expected) in [(290, Ok(())), (330, WRONG)] {
        let changes = json!({"nbf": now() + ahead, "exp": now() + 900});
        let token = Pair(0).sign(&header(), &claims(changes));
        assert_eq!(stage.token(&token).await, expected, "{ahead}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_and_wrong_otherwise_is_refused() {
    let (_dir, stage) = stage(|rules| rules.claims = vec![("tid".into(), "t".into())]).await;
    let later = |changes: Value| {
        let mut all = json!({"nbf": now() + 120, "exp": now() + 900, "tid": "t"});
        let named = all.as_object_mut().unwrap();
        named.extend(changes.as_object().unwrap().clone());
        claims(all)
    };
    let good = Pair(0).sign(&header(), &later(json!({})));
    assert!(retry_after_of(stage.token(&good).await).is_some());
    for (what, token) in [
        ("its signature", Pair(1).sign(&header(), &later(json!({})))),
        ("no signature", unsigned(&later(json!({})))),
        (
            "the public key for a secret",
            Pair(0).sign_with_public_half(&later(json!({}))),
        ),
        (
            "its issuer",
            Pair(0).sign(&header(), &later(json!({"iss": "https://other.example/"}))),
        ),
        (
            "its audience",
            Pair(0).sign(&header(), &later(json!({"aud": "x"}))),
        ),
        (
            "a claim",
            Pair(0).sign(&header(), &later(json!({"tid": "u"}))),
        ),
        (
            "its end",
            Pair(0).sign(&header(), &later(json!({"exp": now() - 120}))),
        ),
    ] {
        assert_eq!(stage.token(&token).await, WRONG, "{what}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_does_not_refuse_what_another_method_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::write(&path, OLD).unwrap();
    let (_keys, keys) = key_file(&json!([Pair(0).jwk("a")]));
    let patient = Jwt {
        leeway: Duration::from_secs(300),
        audience: vec![Audience::Exact("patient".into())],
        ..rules(keys.clone())
    };
    let other = Jwt {
        leeway: Duration::from_secs(30),
        ..rules(keys.clone())
    };
    let methods = Methods {
        jwt: vec![other, rules(keys), patient],
        ..secrets(&path)
    };
    let stage = Stage::open(methods, pace()).await;
    let later = |audience: Value| {
        let changes = json!({"aud": audience, "nbf": now() + 120, "exp": now() + 900});
        format!("Bearer {}", Pair(0).sign(&header(), &claims(changes)))
    };
    let ask = async |query: &str, value: &str| stage.ask(query, &[("authorization", value)]).await;
    let early = later(json!(AUDIENCE));
    // The rule that accepts it first decides.
    let seconds = retry_after_of(ask("", &early).await).expect("a wait");
    assert!((50..=60).contains(&seconds), "{seconds}");
    assert_eq!(ask(&format!("code={OLD}"), &early).await, Ok(()));
    assert!(retry_after_of(ask("code=guess", &early).await).is_some());
    assert_eq!(ask("", &later(json!(["patient", AUDIENCE]))).await, Ok(()));
}

#[tokio::test]
async fn a_token_needs_exp_and_any_nbf_must_be_readable() {
    let (_dir, stage) = stage(|_| {}).await;
    let always = Pair(0).sign(&header(), &claims(json!({"nbf": null})));
    assert_eq!(stage.token(&always).await, Ok(()));
    refused(json!({"nbf": "once"}), TokenFault::Claim("nbf".into())).await;
    refused(json!({"exp": null}), TokenFault::Claim("exp".into())).await;
    refused(json!({"exp": "never"}), TokenFault::Claim("exp".into())).await;
}

#[tokio::test]
async fn a_wrong_issuer_is_refused() {
    refused(
        json!({"iss": "https://issuer.example"}),
        TokenFault::Claim("iss".into()),
    )
    .await;
    refused(json!({"iss": null}), TokenFault::Claim("iss".into())).await;
    // A list with ours in it is not an issuer.
    refused(
        json!({"iss": ["https://issuer.example/"]}),
        TokenFault::Claim("iss".into()),
    )
    .await;
}

#[tokio::test]
async fn a_wrong_audience_is_refused_and_the_operator_reads_both() {
    let fault = TokenFault::Audience {
        expected: vec!["another".into(), AUDIENCE.into()],
        received: "\"/subscriptions/x\"".into(),
    };
    assert_eq!(
        fault.to_string(),
        format!(
            "its audience is \"/subscriptions/x\", expected one of [\"another\", \"{AUDIENCE}\"]"
        )
    );
    refused(json!({"aud": "/subscriptions/x"}), fault).await;
    refused(json!({"aud": null}), TokenFault::Claim("aud".into())).await;
}

#[tokio::test]
async fn a_wrong_algorithm_is_refused_unless_it_is_listed() {
    let token = Pair(0).sign(&json!({"alg": "RS384", "kid": "a"}), &claims(json!({})));
    let (_dir, strict) = stage(|_| {}).await;
    assert_eq!(strict.token(&token).await, WRONG);
    let (_dir, listed) = stage(|rules| rules.algorithms.push(Algorithm::RS384)).await;
    assert_eq!(listed.token(&token).await, Ok(()));
    assert_eq!(listed.token(&Pair(0).good("a")).await, Ok(()));
}

#[tokio::test]
async fn an_unsigned_token_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    assert_eq!(stage.token(&unsigned(&claims(json!({})))).await, WRONG);
    let good = Pair(0).good("a");
    let (said, _) = good.rsplit_once('.').unwrap();
    assert_eq!(stage.token(&format!("{said}.")).await, WRONG);
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    let token = Pair(0).sign_with_public_half(&claims(json!({})));
    assert_eq!(stage.token(&token).await, WRONG);
}

#[tokio::test]
async fn a_token_signed_with_another_key_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    assert_eq!(stage.token(&Pair(1).good("a")).await, WRONG);
    // A signature of another token under our claims.
    let (said, _) = Pair(0)
        .good("a")
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let other = Pair(0).sign(&header(), &claims(json!({"x": 1})));
    let (_, signature) = other.rsplit_once('.').unwrap();
    assert_eq!(stage.token(&format!("{said}.{signature}")).await, WRONG);
}

#[tokio::test]
async fn a_token_that_brings_its_own_key_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    for (name, value) in [
        ("jku", json!("https://attacker.example/keys")),
        ("x5u", json!("https://attacker.example/certificate")),
        ("jwk", Pair(0).jwk("a")),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
    ] {
        let mut header = header();
        header[name] = value;
        let token = Pair(0).sign(&header, &claims(json!({})));
        assert_eq!(stage.token(&token).await, WRONG, "{name}");
    }
}

#[tokio::test]
async fn a_malformed_token_is_refused() {
    let (_dir, stage) = stage(|_| {}).await;
    let good = Pair(0).good("a");
    for odd in [
        "",
        ".",
        "..",
        "a.b.c",
        "ä",
        &format!("{good}.x"),
        &format!("{good}="),
        &"x".repeat(20_000),
    ] {
        assert_eq!(stage.token(odd).await, WRONG, "{odd}");
    }
    // Two of them: it is undefined which one counts.
    let value = format!("Bearer {good}");
    let twice = [("authorization", value.as_str()); 2];
    assert_eq!(stage.ask("", &twice).await, WRONG);
}

#[tokio::test]
async fn required_claims_are_required() {
    let (_dir, stage) = stage(|rules| {
        rules.claims = vec![("tid".into(), "t1".into()), ("roles".into(), "grid".into())];
    })
    .await;
    for (changes, expected) in [
        (json!({"tid": "t1", "roles": ["x", "grid"]}), Ok(())),
        (json!({"tid": "t2", "roles": ["grid"]}), WRONG),
        (json!({"tid": "t1"}), WRONG),
        (json!({"tid": ["t1"], "roles": "grid"}), Ok(())),
        (json!({"tid": 1, "roles": "grid"}), WRONG),
    ] {
        let token = Pair(0).sign(&header(), &claims(changes.clone()));
        assert_eq!(stage.token(&token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn several_issuers_are_accepted_each_with_its_own_key_only() {
    let (_dir, ours) = key_file(&json!([Pair(0).jwk("a")]));
    let (_other, theirs) = key_file(&json!([Pair(1).jwk("a")]));
    let entra = Jwt {
        issuer: "https://sts.example/tenant/".into(),
        ..rules(theirs)
    };
    let methods = Methods {
        jwt: vec![rules(ours), entra],
        ..Methods::default()
    };
    let stage = Stage::open(methods, pace()).await;
    let of = |pair: Pair, issuer: &str| pair.sign(&header(), &claims(json!({"iss": issuer})));
    assert_eq!(stage.token(&Pair(0).good("a")).await, Ok(()));
    assert_eq!(
        stage
            .token(&of(Pair(1), "https://sts.example/tenant/"))
            .await,
        Ok(())
    );
    assert_eq!(
        stage
            .token(&of(Pair(0), "https://sts.example/tenant/"))
            .await,
        WRONG
    );
    assert_eq!(stage.token(&Pair(1).good("a")).await, WRONG);
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_when_it_changes() {
    let (dir, stage) = stage(|_| {}).await;
    let new = Pair(1).good("b");
    assert_eq!(stage.token(&new).await, WRONG);
    let keys = json!({"keys": [Pair(0).jwk("a"), Pair(1).jwk("b")]}).to_string();
    fs::write(dir.path().join("keys.json"), keys).unwrap();
    stage.until(&new, |answer| answer.is_ok()).await;
    // An unusable file changes nothing.
    fs::write(dir.path().join("keys.json"), "{").unwrap();
    until_metric(&stage, "hookswitch_auth_reload_failures_total 1").await;
    assert_eq!(stage.token(&new).await, Ok(()));
}

async fn until_metric(stage: &Stage, line: &str) {
    let found = tokio::time::timeout(Duration::from_secs(10), async {
        while !stage.metric(line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(found.await.is_ok(), "{line}");
}

const OLD: &str = "the-old-secret-of-contoso";
const NEW: &str = "the new+secret%of&contoso";

fn secrets(path: &Path) -> Methods {
    let secret = |place| SharedSecret {
        place,
        value_file: path.to_owned(),
    };
    Methods {
        shared_secret: vec![
            secret(SecretPlace::Query("code".into())),
            secret(SecretPlace::Header("x-callback-key".into())),
        ],
        ..Methods::default()
    }
}

#[tokio::test]
async fn a_shared_secret_is_accepted_in_the_query_or_a_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    let odd = "odd+secret/of&contoso=%41";
    fs::write(&path, format!("{OLD}\n\n{odd}\n")).unwrap();
    let stage = Stage::open(secrets(&path), pace()).await;
    let wrong = Err(AuthRefusal::Wrong(AuthChallenge::SharedSecret));
    let missing = Err(AuthRefusal::Missing(AuthChallenge::SharedSecret));
    for (query, expected) in [
        (format!("code={OLD}"), Ok(())),
        (format!("a=b&c%6Fde={OLD}&d"), Ok(())),
        (
            "code=odd%2Bsecret%2Fof%26contoso%3D%2541".to_owned(),
            Ok(()),
        ),
        ("code=odd+secret%2Fof%26contoso=%2541".to_owned(), Ok(())),
        (format!("code=x&code={OLD}"), Ok(())),
        (format!("code={OLD}x"), wrong),
        (format!("code={}", OLD.to_uppercase()), wrong),
        ("code=".to_owned(), wrong),
        ("code".to_owned(), missing),
        (format!("Code={OLD}"), missing),
        (format!("key={OLD}"), missing),
        (String::new(), missing),
    ] {
        assert_eq!(stage.ask(&query, &[]).await, expected, "{query}");
    }
    let header = |value| [("x-callback-key", value)];
    assert_eq!(stage.ask("", &header(OLD)).await, Ok(()));
    assert_eq!(stage.ask("", &header(odd)).await, Ok(()));
    assert_eq!(stage.ask("", &header("guess")).await, wrong);
    assert!(
        stage.metric("hookswitch_auth_refusals_total{app=\"contoso\",class=\"shared_secret\"} 4")
    );
}

#[tokio::test]
async fn secrets_rotate_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::write(&path, OLD).unwrap();
    let stage = Stage::open(secrets(&path), pace()).await;
    let new = "the-new-secret-of-contoso";
    let wrong = Err(AuthRefusal::Wrong(AuthChallenge::SharedSecret));
    let ask = async |secret: &str| stage.ask(&format!("code={secret}"), &[]).await;
    let until = async |secret: &str, expected: Result<(), AuthRefusal>| {
        let found = tokio::time::timeout(Duration::from_secs(10), async {
            while ask(secret).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(found.await.is_ok(), "{secret} is not {expected:?}");
    };
    assert_eq!(ask(new).await, wrong);
    // Both are good while senders change over.
    fs::write(&path, format!("{OLD}\n{new}\n")).unwrap();
    until(new, Ok(())).await;
    assert_eq!(ask(OLD).await, Ok(()));
    fs::write(&path, new).unwrap();
    until(OLD, wrong).await;
    assert_eq!(ask(new).await, Ok(()));
    // A file without a secret changes nothing.
    fs::write(&path, NEW).unwrap();
    until_metric(&stage, "hookswitch_auth_reload_failures_total 1").await;
    fs::remove_file(&path).unwrap();
    until_metric(&stage, "hookswitch_auth_reload_failures_total 2").await;
    assert_eq!(ask(new).await, Ok(()));
}

#[tokio::test]
async fn one_valid_method_is_enough_whatever_is_wrong_with_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::write(&path, OLD).unwrap();
    let (_keys, keys) = key_file(&json!([Pair(0).jwk("a")]));
    let methods = Methods {
        jwt: vec![rules(keys)],
        ..secrets(&path)
    };
    let stage = Stage::open(methods, pace()).await;
    let (good, query) = (Pair(0).good("a"), format!("code={OLD}"));
    let bearer = |token: &str| format!("Bearer {token}");
    let ask = async |query: &str, token: &str| {
        stage.ask(query, &[("authorization", &bearer(token))]).await
    };
    assert_eq!(ask(&query, "x.y.z").await, Ok(()));
    assert_eq!(ask("code=guess", &good).await, Ok(()));
    assert_eq!(ask("code=guess", "x.y.z").await, WRONG);
    let wrong = Err(AuthRefusal::Wrong(AuthChallenge::Bearer));
    assert_eq!(stage.ask("code=guess", &[]).await, wrong);
}

/// The preset of the calling service, with our key.
async fn service(resources: &[&str]) -> (TempDir, Stage) {
    let (dir, keys) = key_file(&json!([Pair(0).jwk("a")]));
    let acs = resources.iter().map(|id| Acs {
        resource_id: (*id).to_owned(),
        keys_url: None,
    });
    let preset = Methods {
        acs: acs.collect(),
        ..Methods::default()
    };
    let [issuer] = &preset.issuers()[..] else {
        panic!("one issuer for all resources");
    };
    let rules = Jwt {
        keys,
        ..issuer.clone()
    };
    (dir, Stage::of(rules, pace()).await)
}

#[tokio::test]
async fn the_service_may_write_the_id_of_a_resource_in_any_letter_case() {
    let ids = [
        "abcdef00-0000-4000-8000-00000000000a",
        "abcdef00-0000-4000-8000-00000000000b",
    ];
    let (_dir, stage) = service(&ids).await;
    let of = |audience: Value| {
        let changes =
            json!({"iss": "https://acscallautomation.communication.azure.com", "aud": audience});
        Pair(0).sign(&header(), &claims(changes))
    };
    for good in [
        json!(ids[0]),
        json!(ids[1].to_uppercase()),
        json!("ABCDEF00-0000-4000-8000-00000000000a"),
        json!(["x", ids[1].to_uppercase()]),
    ] {
        assert_eq!(stage.token(&of(good.clone())).await, Ok(()), "{good}");
    }
    for bad in [
        json!("abcdef00-0000-4000-8000-00000000000c"),
        // Only the form with hyphens is compared as a GUID.
        json!("abcdef0000004000800000000000000a"),
        json!("{abcdef00-0000-4000-8000-00000000000a}"),
        json!(format!("urn:uuid:{}", ids[0])),
        json!(7),
        json!([]),
        json!([7]),
    ] {
        assert_eq!(stage.token(&of(bad.clone())).await, WRONG, "{bad}");
    }
}

#[tokio::test]
async fn an_issuer_and_the_audience_of_another_are_compared_to_the_letter() {
    let tenant = "https://sts.windows.net/abcdef00-0000-4000-8000-00000000000a/";
    let audience = "abcdef00-0000-4000-8000-00000000000b";
    let (_dir, stage) = stage(|rules| {
        rules.issuer = tenant.into();
        rules.audience = vec![Audience::Exact(audience.into())];
    })
    .await;
    let other = tenant.replace("abcdef", "ABCDEF");
    for (iss, aud, expected) in [
        (tenant, audience.to_owned(), Ok(())),
        (&other, audience.to_owned(), WRONG),
        (tenant, audience.to_uppercase(), WRONG),
    ] {
        let token = Pair(0).sign(&header(), &claims(json!({"iss": iss, "aud": aud})));
        assert_eq!(stage.token(&token).await, expected, "{iss} {aud}");
    }
}

#[tokio::test]
async fn a_request_without_credentials_has_neither_token_nor_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    fs::write(&path, OLD).unwrap();
    let (_keys, keys) = key_file(&json!([Pair(0).jwk("a")]));
    let both = Methods {
        jwt: vec![rules(keys)],
        ..secrets(&path)
    };
    let both = Stage::open(both, pace()).await;
    for (query, value, lacks) in [
        ("", "Basic YTpi", true),
        ("other=1", "", true),
        ("code=", "", false),
        ("code=guess", "", false),
        ("", "Bearer x", false),
        ("", "bearer ", false),
        ("access_token=", "", false),
    ] {
        let headers = [("authorization", value)];
        assert_eq!(both.lacks(query, &headers), lacks, "{query} {value}");
    }
    assert!(!both.lacks("", &[("x-callback-key", "")]));
    // For an app without issuers a token is not a credential.
    let secret_only = Stage::open(secrets(&path), pace()).await;
    assert!(secret_only.lacks("", &[("authorization", "Bearer x")]));
}

#[tokio::test]
async fn the_preset_of_the_service_asks_for_its_issuer_and_the_resource_id() {
    let preset = Methods {
        acs: vec![Acs {
            resource_id: AUDIENCE.to_owned(),
            keys_url: None,
        }],
        ..Methods::default()
    };
    let [rules] = &preset.issuers()[..] else {
        panic!("one issuer");
    };
    assert_eq!(
        rules.issuer,
        "https://acscallautomation.communication.azure.com"
    );
    assert_eq!(rules.audience, [Audience::Guid(AUDIENCE.to_owned())]);
    assert_eq!(rules.algorithms, [Algorithm::RS256]);
    assert_eq!(rules.leeway, Duration::from_secs(60));
    let keys = "https://acscallautomation.communication.azure.com/calling/keys";
    assert_eq!(rules.keys, KeySource::Url(keys.parse().unwrap()));
}
