//! An issuer of tokens: its key, its key set in a file, and the tokens that it signs.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example/";
const AUDIENCE: &str = "00000000-0000-4000-8000-00000000a001";
const KEY_ID: &str = "of-the-tests";

/// Signs with RS256.
pub(crate) struct Issuer {
    key: KeyPair,
    jwks: PathBuf,
}

impl Issuer {
    /// Writes its key set into `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = key.public_key();
        let number = |number: aws_lc_rs::io::Positive<'_>| {
            URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero())
        };
        let set = json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": KEY_ID,
            "n": number(public.modulus()), "e": number(public.exponent()),
        }]});
        let jwks = dir.join("jwks.json");
        std::fs::write(&jwks, set.to_string()).expect("the key set is written");
        Self { key, jwks }
    }

    /// An entry of `apps.auth.jwt` that accepts its tokens.
    pub(crate) fn rule(&self) -> String {
        format!(
            "{{ issuer = \"{ISSUER}\", audience = [\"{AUDIENCE}\"], jwks_file = {:?} }}",
            self.jwks
        )
    }

    /// A token that is valid for an hour.
    pub(crate) fn token(&self) -> String {
        self.with(KEY_ID, json!({}))
    }

    /// The same with these claims changed.
    pub(crate) fn token_with(&self, changes: Value) -> String {
        self.with(KEY_ID, changes)
    }

    /// The same with the key of this id and these claims changed.
    pub(crate) fn with(&self, key_id: &str, changes: Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "nbf": now - 5, "iat": now - 5, "exp": now + 3_600,
        });
        let all = claims.as_object_mut().expect("an object");
        all.extend(changes.as_object().expect("an object").clone());
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let said = format!(
            "{}.{}",
            part(&json!({ "alg": "RS256", "typ": "JWT", "kid": key_id })),
            part(&claims)
        );
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                said.as_bytes(),
                &mut signature,
            )
            .expect("signed");
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
