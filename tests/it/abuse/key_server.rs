//! An issuer: its key server, which counts requests and can be made to hang, and tokens with and without a valid
//! signature.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The id of the issuer's only key.
const KEY: &str = "known";

/// An issuer; stopped when its test ends.
pub(super) struct Issuer {
    key: KeyPair,
    port: u16,
    asked: Asked,
    answers: watch::Sender<bool>,
    _server: JoinSet<()>,
}

/// Requests by path.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

impl Issuer {
    pub(super) async fn start() -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let number = |number: aws_lc_rs::io::Positive<'_>| {
            URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero())
        };
        let public = key.public_key();
        let set = json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": KEY,
            "n": number(public.modulus()), "e": number(public.exponent()),
        }] });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Asked::default();
        let answers = watch::Sender::new(true);
        let mut server = JoinSet::new();
        let (counted, may) = (asked.clone(), answers.subscribe());
        server.spawn(async move {
            let mut talks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                talks.spawn(talk(stream, set.to_string(), counted.clone(), may.clone()));
            }
        });
        Self {
            key,
            port,
            asked,
            answers,
            _server: server,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The number of requests for this path.
    pub(super) fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().expect("no panic");
        asked.get(path).copied().unwrap_or_default()
    }

    /// Whether the server answers from now on, or holds all requests until it does.
    pub(super) fn answers(&self, now: bool) {
        self.answers.send_replace(now);
    }

    /// A signed token with these claims.
    pub(super) fn sign(&self, issuer: &str, audience: &str) -> String {
        let head = json!({ "alg": "RS256", "kid": KEY });
        let said = said(&head, issuer, audience);
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&RSA_PKCS1_SHA256, &random, said.as_bytes(), &mut signature)
            .expect("signed");
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token with this header and an invalid signature.
pub(super) fn unproven(head: &Value, issuer: &str, audience: &str) -> String {
    format!("{}.AAAA", said(head, issuer, audience))
}

fn said(head: &Value, issuer: &str, audience: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let claims = json!({
        "iss": issuer, "aud": audience, "nbf": now - 1, "exp": now + 300,
    });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", part(head), part(&claims))
}

async fn talk(mut stream: TcpStream, set: String, asked: Asked, mut may: watch::Receiver<bool>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    *asked.lock().expect("no panic").entry(path).or_default() += 1;
    if may.wait_for(|may| *may).await.is_err() {
        return;
    }
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{set}",
        set.len()
    );
    // The receiver may have given up the request.
    drop(stream.write_all(answer.as_bytes()).await);
}
