//! A storm of tokens with unknown key ids, without an algorithm, and malformed ones: it causes no more fetches than
//! promised.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{call_events, eventually, unique};

use super::{
    Stage,
    client::{Answer, Client, callback},
    key_server::{Issuer, unproven},
};

/// The issuer of the service's callbacks, and the resource of the app `acs`.
const SERVICE: &str = "https://acscallautomation.communication.azure.com";
const RESOURCE: &str = "00000000-0000-4000-8000-000000009100";

/// The issuer of the app `hostile`.
const OTHER: &str = "https://issuer.example/";
const AUDIENCE: &str = "hookswitch";

/// An app under attack, with the issuer and audience of its tokens and the path of the issuer's keys.
struct TargetApp {
    app: &'static str,
    issuer: &'static str,
    audience: &'static str,
    keys: &'static str,
}

static TARGETS: [TargetApp; 2] = [
    TargetApp {
        app: "hostile",
        issuer: OTHER,
        audience: AUDIENCE,
        keys: "/jwt",
    },
    TargetApp {
        app: "acs",
        issuer: SERVICE,
        audience: RESOURCE,
        keys: "/acs",
    },
];

async fn stage(issuer: &Issuer) -> Stage {
    let [jwt, acs] = TARGETS.each_ref().map(|target| issuer.url(target.keys));
    Stage::start(
        "",
        &format!(
            "auth = {{ jwt = [{{ issuer = \"{OTHER}\", audience = [\"{AUDIENCE}\"], jwks_url = \"{jwt}\" }}] }}\n\n\
             [[routes]]\nname = \"acs\"\napp = \"acs\"\nqueue = \"QUEUE\"\n\n\
             [[apps]]\nname = \"acs\"\n\
             auth = {{ acs = {{ resource_id = \"{RESOURCE}\", keys_url = \"{acs}\" }} }}\n"
        ),
    )
    .await
}

/// A bad token of one of six kinds, and the status of its answer.
fn bad(target: &TargetApp, number: usize) -> (String, u16) {
    let (issuer, audience) = (target.issuer, target.audience);
    let kid = Uuid::new_v4().to_string();
    match number % 6 {
        // A newer key could verify it: not proven bad.
        0 | 1 => (
            unproven(&json!({ "alg": "RS256", "kid": kid }), issuer, audience),
            503,
        ),
        2 => (unproven(&json!({ "alg": "none" }), issuer, audience), 401),
        3 => (
            unproven(&json!({ "alg": "HS256", "kid": kid }), issuer, audience),
            401,
        ),
        4 => (
            unproven(
                &json!({ "alg": "RS256", "kid": kid, "jku": "http://127.0.0.1:9/" }),
                issuer,
                audience,
            ),
            401,
        ),
        _ => (format!("{kid}.{kid}"), 401),
    }
}

async fn post(client: &mut Client, app: &str, token: &str) -> Answer {
    let (_, body) = call_events(&unique("call"), 1).remove(0);
    let bearer = format!("Authorization: Bearer {token}\r\nHost");
    client
        .say(callback(app, &body).replacen("Host", &bearer, 1))
        .await;
    client.answer().await
}

/// Posts one bad token after another, each on a new connection, because the bodies of refused callbacks are not read.
async fn storm(port: u16, sender: usize, target: &TargetApp, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let (token, status) = bad(target, number);
        let mut client = Client::from(sender, port).await.expect("a connection");
        let answer = post(&mut client, target.app, &token).await;
        assert_eq!(answer.status, status, "{token}: {answer:?}");
        let head = answer.head.to_ascii_lowercase();
        assert_eq!(head.contains("retry-after:"), status == 503, "{answer:?}");
        let challenge = "www-authenticate: bearer error=\"invalid_token\"";
        assert_eq!(head.contains(challenge), status == 401, "{answer:?}");
        // The answer does not repeat the token.
        assert!(!answer.body.contains("127.0.0.1:9"), "{answer:?}");
    }
}

/// Posts good tokens until it is cancelled, and returns their number; each is accepted at once.
async fn good(
    stage: &Stage,
    issuer: &Issuer,
    target: &TargetApp,
    over: &CancellationToken,
) -> usize {
    let token = issuer.sign(target.issuer, target.audience);
    let mut client = Client::open(stage.port()).await;
    let mut count = 0;
    while !over.is_cancelled() {
        let answer = post(&mut client, target.app, &token).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_unknown_keys_causes_one_fetch_in_thirty_seconds_and_blocks_no_sender() {
    let issuer = Issuer::start().await;
    let begun = Instant::now();
    let stage = stage(&issuer).await;
    let port = stage.port();
    // Fetches that begin 30 s apart, the first one after `begun`.
    let allowed = || 1 + usize::try_from(begun.elapsed().as_secs() / 30).expect("few");
    let check = |what: &str| {
        for target in &TARGETS {
            let asked = issuer.asked(target.keys);
            let allowed = allowed();
            assert!(
                (1..=allowed).contains(&asked),
                "{what}: {asked} fetches for {}, {allowed} may be",
                target.app
            );
        }
    };
    check("at the start");

    // 6,000 at full speed.
    let over = CancellationToken::new();
    let senders = async {
        let storms = TARGETS.iter().flat_map(|target| {
            (0..4).map(move |sender| storm(port, sender, target, 750 * sender..750 * (sender + 1)))
        });
        join_all(storms).await;
        over.cancel();
    };
    let goods = join_all(
        TARGETS
            .iter()
            .map(|target| good(&stage, &issuer, target, &over)),
    );
    let ((), first) = tokio::join!(senders, goods);
    check("after 6,000 of them");

    // The storm continues, a few per second, until it has caused the next fetch. That one is not answered yet.
    issuer.answers(false);
    let number = std::sync::atomic::AtomicUsize::new(0);
    eventually(
        "the next fetch of each issuer's keys",
        Duration::from_secs(90),
        || async {
            let next = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            join_all(
                TARGETS
                    .iter()
                    .map(|target| storm(port, 0, target, next..next + 1)),
            )
            .await;
            let all = TARGETS.iter().all(|target| issuer.asked(target.keys) >= 2);
            all.then_some(())
        },
    )
    .await;
    check("when it caused the second");

    // A good token does not wait for the fetch, even while many unknown ones do.
    let over = CancellationToken::new();
    let crowd = join_all(
        TARGETS
            .iter()
            .flat_map(|target| (0..150).map(move |sender| storm(port, sender, target, 0..1))),
    );
    let goods = join_all(
        TARGETS
            .iter()
            .map(|target| good(&stage, &issuer, target, &over)),
    );
    let until = async {
        let accepted = "hookswitch_callbacks_total{outcome=\"accepted\"}";
        let before = stage.receiver.metric(accepted).await.expect("it is there");
        stage
            .receiver
            .until_metric(accepted, |count| count >= before + 100.0)
            .await;
        over.cancel();
        issuer.answers(true);
    };
    let (_, second, ()) = tokio::join!(crowd, goods, until);
    check("at the end");

    let refusals = async |app: &str, class: &str| {
        let name = format!("hookswitch_auth_refusals_total{{app=\"{app}\",class=\"{class}\"}}");
        stage.receiver.metric(&name).await.expect("it is there")
    };
    let mut told = BTreeMap::new();
    for target in &TARGETS {
        for class in ["unknown_key", "token"] {
            told.insert((target.app, class), refusals(target.app, class).await);
        }
    }
    assert!(told.values().all(|count| *count >= 1_000.0), "{told:?}");
    println!(
        "bad tokens {told:?}: fetches {:?} in {} s, good ones {first:?} and {second:?} accepted meanwhile",
        TARGETS.each_ref().map(|target| issuer.asked(target.keys)),
        begun.elapsed().as_secs()
    );
    stage.end().await;
}
