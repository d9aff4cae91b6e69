//! Token header and claims: only what the issuer signed and the rules allow is accepted.
//!
//! The input is a query string, a line end, and the value of `Authorization`; if it begins with `@`, a token's header,
//! a line end, and its claims, which are signed here as the issuer would.

use std::{
    sync::{Arc, LazyLock},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hookswitch::{
    auth::{AuthRefusal, Authenticators, RequestHead},
    config::{self, Sources},
    event::AppName,
    status,
};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "00000000-0000-4000-8000-00000000a001";
const SECRET: &str = "a-shared-secret-of-the-fuzz-target";

struct Fixture {
    key: KeyPair,
    authenticators: Authenticators,
    app: AppName,
    runtime: tokio::runtime::Runtime,
    /// The one valid token: any other token that is accepted unsigned is a forgery.
    token: String,
    _files: tempfile::TempDir,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let files = tempfile::tempdir().expect("a temporary directory");
    let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = key.public_key();
    let number = |number: aws_lc_rs::io::Positive<'_>| {
        URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero())
    };
    let set = json!({ "keys": [{
        "kty": "RSA", "use": "sig", "kid": "k",
        "n": number(public.modulus()), "e": number(public.exponent()),
    }]});
    let (jwks, secrets) = (files.path().join("jwks.json"), files.path().join("secrets"));
    std::fs::write(&jwks, set.to_string()).expect("the key set is written");
    std::fs::write(&secrets, SECRET).expect("the secret is written");
    let text = format!(
        "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\n[apps.auth]\n\
         jwt = [{{ issuer = \"{ISSUER}\", audience = [\"{AUDIENCE}\"], jwks_file = {jwks:?}, claims = {{ tid = \"t\" }} }}]\n\
         shared_secret = [{{ query = \"code\", value_file = {secrets:?} }}]\n\
         [[routes]]\nname = \"r\"\nqueue = \"q\"\n"
    );
    let (config, _) =
        config::load(&Sources::text("fuzz", &text)).expect("the configuration is good");
    let registry = status::new_registry().expect("a registry");
    // The refresher would fetch keys; those of a file are read at once.
    let (authenticators, _refresher) = Authenticators::new(&config.apps, &registry, Arc::default())
        .expect("the files can be used");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let token = signed(
        &key,
        br#"{"alg":"RS256","kid":"k"}"#,
        good_claims().to_string().as_bytes(),
    );
    Fixture {
        app: config.apps.first().expect("one app").name.clone(),
        key,
        authenticators,
        runtime,
        token,
        _files: files,
    }
});

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(now.as_secs()).expect("a date of this era")
}

fn good_claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 86_400, "nbf": now() - 5, "tid": "t" })
}

fn signed(key: &KeyPair, header: &[u8], claims: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let said = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        said.as_bytes(),
        &mut signature,
    )
    .expect("signed");
    format!("{said}.{}", part(&signature))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let claims = [
        good_claims(),
        json!({ "iss": ISSUER, "aud": ["x", AUDIENCE], "exp": 4_102_444_800_u64, "tid": "t" }),
        json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": 1, "tid": "t" }),
        json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": 4_102_444_800_u64, "nbf": 4_102_444_000_u64, "tid": "t" }),
        json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": 4_102_444_800_u64, "nbf": now() + 200, "tid": "t" }),
    ];
    let headers = [
        r#"{"alg":"RS256","kid":"k"}"#,
        r#"{"alg":"RS256","typ":"JWT"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256","kid":"k"}"#,
        r#"{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}"#,
        r#"{"alg":"RS256","kid":"k","jku":"http://127.0.0.1/","jwk":{"kty":"RSA"}}"#,
    ];
    let mut all: Vec<Vec<u8>> = headers
        .iter()
        .flat_map(|header| {
            claims
                .iter()
                .map(move |claims| format!("@{header}\n{claims}").into_bytes())
        })
        .collect();
    all.push(format!("\nBearer {}", FIXTURE.token).into_bytes());
    all.push(format!("code={SECRET}&x=%20\nBasic abc").into_bytes());
    all.push(b"code=wrong&code=\nbearer a.b.c".to_vec());
    all
}

pub(crate) fn run(input: &[u8]) {
    let fixture = &*FIXTURE;
    let signed_here = input.strip_prefix(b"@");
    let mut parts = signed_here
        .unwrap_or(input)
        .splitn(2, |byte| *byte == b'\n');
    let (first, second) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if signed_here.is_some() {
        let token = format!("Bearer {}", signed(&fixture.key, first, second));
        match judged(fixture, "", token.as_bytes()) {
            Ok(()) => assert_rules(first, second, 61.0),
            // A sender is told to retry only if everything but `nbf` is valid.
            Err(AuthRefusal::NotYetValid { retry_after }) => {
                assert!((1..=300).contains(&retry_after), "{retry_after}");
                assert_rules(first, second, 301.0);
            }
            Err(_) => {}
        }
    } else {
        // A request's query is visible ASCII: the listener refuses the rest.
        let query = std::str::from_utf8(first).unwrap_or_default();
        let judged = judged(fixture, query, second);
        assert!(
            !matches!(judged, Err(AuthRefusal::NotYetValid { .. })),
            "the one token signed here is valid already"
        );
        if judged.is_ok() {
            let by_secret = query.contains("code=");
            let value = String::from_utf8_lossy(second);
            // Everything except the signature, whose last character has unused bits.
            let (said, _) = fixture.token.rsplit_once('.').expect("three parts");
            assert!(
                by_secret || value.contains(said),
                "admitted: {query:?} {value:?}"
            );
        }
    }
}

fn judged(fixture: &Fixture, query: &str, authorization: &[u8]) -> Result<(), AuthRefusal> {
    let head = RequestHead {
        query,
        header: &|name| match name {
            "authorization" => vec![authorization],
            _ => Vec::new(),
        },
    };
    fixture
        .runtime
        .block_on(fixture.authenticators.admit(&fixture.app, &head))
}

/// What must be true of an accepted token, checked with another reader. Its `nbf` may be this many seconds ahead.
fn assert_rules(header: &[u8], claims: &[u8], ahead: f64) {
    let read = |json: &[u8]| serde_json::from_slice::<Value>(json).expect("both are JSON");
    let (header, claims) = (read(header), read(claims));
    assert_eq!(header.get("alg"), Some(&"RS256".into()));
    for name in ["crit", "jku", "jwk", "x5u"] {
        assert!(
            header.get(name).is_none_or(Value::is_null),
            "{name} in {header}"
        );
    }
    assert!(
        header
            .get("kid")
            .is_none_or(|kid| kid.is_null() || kid == "k"),
        "{header}"
    );
    assert_eq!(claims.get("iss"), Some(&ISSUER.into()));
    assert_eq!(claims.get("tid"), Some(&"t".into()));
    let audience = claims.get("aud").expect("it has an audience");
    let named = audience == AUDIENCE
        || audience
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one == AUDIENCE));
    assert!(named, "{audience}");
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this era fit")]
    let (now, leeway) = (now() as f64, 61.0);
    assert!(
        time("exp").expect("it has an end") > now - leeway,
        "{claims}"
    );
    assert!(
        time("nbf").is_none_or(|begin| begin < now + ahead),
        "{claims}"
    );
}
