//! A key server on loopback that misbehaves on request, keys, and tokens signed with them.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use prometheus::{Registry, TextEncoder};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    config::{App, Audience, Auth, EventGrid, Jwt, KeySource, Methods, OnInvalid, OnUnknown},
    event::AppName,
    status::Health,
};

use super::{AuthRefusal, Authenticators, RequestHead, key_source::RefreshPace};

pub(super) const ISSUER: &str = "https://issuer.example/";
pub(super) const AUDIENCE: &str = "00000000-0000-4000-8000-000000000001";

static KEYS: LazyLock<[KeyPair; 2]> =
    LazyLock::new(|| [(), ()].map(|()| KeyPair::generate(KeySize::Rsa2048).unwrap()));

/// One of two key pairs.
#[derive(Clone, Copy)]
pub(super) struct Pair(pub(super) usize);

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

impl Pair {
    /// The public half, as an issuer publishes it.
    pub(super) fn jwk(self, id: &str) -> Value {
        let public = KEYS[self.0].public_key();
        let number = |number: aws_lc_rs::io::Positive<'_>| {
            URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero())
        };
        json!({
            "kty": "RSA", "use": "sig", "kid": id,
            "n": number(public.modulus()), "e": number(public.exponent()),
        })
    }

    pub(super) fn sign(self, header: &Value, claims: &Value) -> String {
        let said = format!("{}.{}", part(header), part(claims));
        let key = &KEYS[self.0];
        let mut signature = vec![0; key.public_modulus_len()];
        let padding = if header["alg"] == "RS384" {
            &RSA_PKCS1_SHA384
        } else {
            &RSA_PKCS1_SHA256
        };
        key.sign(
            padding,
            &SystemRandom::new(),
            said.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The classic attack: the public key, which is known to all, taken for a secret.
    pub(super) fn sign_with_public_half(self, claims: &Value) -> String {
        let said = format!(
            "{}.{}",
            part(&json!({"alg": "HS256", "kid": "a"})),
            part(claims)
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEYS[self.0].public_key().as_ref());
        let signature = hmac::sign(&key, said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A valid token by the key with this id.
    pub(super) fn good(self, id: &str) -> String {
        self.sign(&json!({"alg": "RS256", "kid": id}), &claims(json!({})))
    }
}

pub(super) fn unsigned(claims: &Value) -> String {
    format!(
        "{}.{}.",
        part(&json!({"alg": "none", "kid": "a"})),
        part(claims)
    )
}

pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Valid claims with these changes; null removes one.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "nbf": now(), "iat": now(), "exp": now() + 300,
    });
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// The behaviour of the key server.
#[derive(Clone)]
pub(super) enum Manner {
    Keys(Value),
    /// This document for every request except `/keys`, and these keys there.
    Discovery(Value, Value),
    Error,
    /// One byte and no more.
    Slow,
    /// More bytes than any key set has, without an announced length.
    Huge,
    Redirect(String),
}

/// Ends with its test.
pub(super) struct KeyServer {
    pub(super) url: Url,
    manner: Arc<Mutex<Manner>>,
    asked: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl KeyServer {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let manner = Arc::new(Mutex::new(manner));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        let (mannered, counted) = (manner.clone(), asked.clone());
        task.spawn(async move {
            let mut talks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                talks.spawn(talk(stream, mannered.clone(), counted.clone()));
            }
        });
        Self {
            url: url.parse().unwrap(),
            manner,
            asked,
            _task: task,
        }
    }

    pub(super) fn is_now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// How many requests have arrived so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn talk(mut stream: TcpStream, manner: Arc<Mutex<Manner>>, asked: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let manner = manner.lock().unwrap().clone();
    let for_keys = head.starts_with(b"GET /keys ");
    let answer = |status: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match manner {
        Manner::Keys(keys) => answer("200 OK", &json!({ "keys": keys }).to_string()),
        Manner::Discovery(_, keys) if for_keys => {
            answer("200 OK", &json!({ "keys": keys }).to_string())
        }
        Manner::Discovery(document, _) => answer("200 OK", &document.to_string()),
        Manner::Error => answer("500 Internal Server Error", ""),
        Manner::Redirect(to) => format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ),
        Manner::Slow => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")
                .await
                .unwrap();
            std::future::pending().await
        }
        Manner::Huge => {
            let flood = [b' '; 8_192];
            let start = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            if stream.write_all(start).await.is_ok() {
                // Until the reader closes the connection.
                while stream.write_all(&flood).await.is_ok() {}
            }
            return;
        }
    };
    stream.write_all(text.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

pub(super) fn rules(keys: KeySource) -> Jwt {
    Jwt {
        issuer: ISSUER.to_owned(),
        audience: ["another", AUDIENCE]
            .map(|text| Audience::Exact(text.to_owned()))
            .to_vec(),
        keys,
        algorithms: vec![Algorithm::RS256],
        leeway: Duration::from_secs(60),
        claims: Vec::new(),
    }
}

/// Fast enough for tests; each test sets the value that it is about.
pub(super) fn pace() -> RefreshPace {
    RefreshPace {
        refresh: Duration::from_secs(600),
        unknown: Duration::from_secs(600),
        retry: Duration::from_millis(20),
        last_good: Duration::from_secs(600),
        answer: Duration::from_secs(5),
        wait_limit: Duration::from_secs(5),
        look: Duration::from_millis(10),
    }
}

fn values<'a>(headers: &[(&str, &'a str)], name: &str) -> Vec<&'a [u8]> {
    let named = headers.iter().filter(|(found, _)| *found == name);
    named.map(|(_, value)| value.as_bytes()).collect()
}

/// The authenticator of one app with a running refresher.
pub(super) struct Stage {
    authenticators: Authenticators,
    pub(super) app: AppName,
    pub(super) health: Arc<Health>,
    registry: Registry,
    _refresher: JoinSet<()>,
}

impl Stage {
    pub(super) async fn open(methods: Methods, pace: RefreshPace) -> Self {
        let app = AppName::try_from("contoso".to_owned()).unwrap();
        let apps = [App {
            name: app.clone(),
            call_key_from_path: false,
            on_invalid: OnInvalid::Quarantine,
            on_unknown: OnUnknown::Route,
            pass_query: vec![],
            event_grid: EventGrid::Off,
            allowed_origins: vec![],
            allowed_rate: None,
            rate: None,
            auth: Auth::Any(methods),
        }];
        let (registry, health) = (Registry::new(), Arc::new(Health::default()));
        let (authenticators, refresher) =
            Authenticators::paced(&apps, &registry, health.clone(), pace).unwrap();
        let mut task = JoinSet::new();
        task.spawn(refresher.run());
        authenticators.first_keys(Duration::from_secs(20)).await;
        Self {
            authenticators,
            app,
            health,
            registry,
            _refresher: task,
        }
    }

    /// With one issuer.
    pub(super) async fn of(rules: Jwt, pace: RefreshPace) -> Self {
        let methods = Methods {
            jwt: vec![rules],
            ..Methods::default()
        };
        Self::open(methods, pace).await
    }

    pub(super) async fn ask(
        &self,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), AuthRefusal> {
        let header = |name: &str| values(headers, name);
        let head = RequestHead {
            query,
            header: &header,
        };
        self.authenticators.admit(&self.app, &head).await
    }

    /// Whether a request like this has no credentials.
    pub(super) fn lacks(&self, query: &str, headers: &[(&str, &str)]) -> bool {
        let header = |name: &str| values(headers, name);
        let head = RequestHead {
            query,
            header: &header,
        };
        self.authenticators.lacks_credentials(&self.app, &head)
    }

    pub(super) async fn token(&self, token: &str) -> Result<(), AuthRefusal> {
        let value = format!("Bearer {token}");
        self.ask("", &[("authorization", &value)]).await
    }

    /// Asks until the answer is `expected`.
    pub(super) async fn until(
        &self,
        token: &str,
        expected: impl Fn(Result<(), AuthRefusal>) -> bool,
    ) {
        let found = tokio::time::timeout(Duration::from_secs(10), async {
            while !expected(self.token(token).await) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(found.await.is_ok(), "{:?}", self.token(token).await);
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        let text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap();
        text.lines().any(|found| found == line)
    }
}
