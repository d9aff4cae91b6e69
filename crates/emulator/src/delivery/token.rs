//! The bearer token of each callback, signed as the service signs it (docs/src/reference/acs-events.md, "Tokens of
//! callbacks"), and what a receiver checks it with.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// The issuer: the real service's name, as receivers have it in their settings.
pub(crate) const ISSUER: &str = "https://acscallautomation.communication.azure.com";
/// How long a token is valid.
const LIFETIME_SECONDS: i64 = 300;

/// An RSA key of this run and what it signs for.
pub(crate) struct Signer {
    key: KeyPair,
    /// The same for the same key; receivers fetch the keys again when they see an unknown one.
    key_id: String,
    audience: String,
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
#[error("cannot make an RSA key for the tokens of callbacks")]
pub(crate) struct NoKey;

impl Signer {
    /// With a fresh key, for the resource whose id is `audience`.
    pub(crate) fn new(audience: &str) -> Result<Self, NoKey> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| NoKey)?;
        let thumbprint =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key().as_ref());
        Ok(Self {
            key,
            key_id: URL_SAFE_NO_PAD.encode(thumbprint),
            audience: audience.to_owned(),
        })
    }

    /// A token of its own for each POST.
    pub(crate) fn token(&self, now: Timestamp) -> String {
        let header = json!({"alg": "RS256", "kid": self.key_id, "typ": "JWT"});
        let claims = json!({
            "iss": ISSUER,
            "aud": self.audience,
            "iat": now.as_second(),
            "nbf": now.as_second(),
            "exp": now.as_second() + LIFETIME_SECONDS,
            "jti": Uuid::new_v4(),
        });
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        // The key is parsed once; `jsonwebtoken` would parse it for each token.
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a key of 2048 bits signs a digest of 256");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key as a JSON Web Key Set: `/calling/keys`.
    pub(crate) fn keys(&self) -> Value {
        let public = self.key.public_key();
        let number = |number: aws_lc_rs::io::Positive<'_>| {
            URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero())
        };
        json!({"keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.key_id,
            "n": number(public.modulus()),
            "e": number(public.exponent()),
        }]})
    }

    /// The OpenID configuration, `/calling/.well-known/acsopenidconfiguration`, of an emulator that is reached at `base`
    /// (`http://127.0.0.1:9100`).
    pub(crate) fn openid_configuration(&self, base: &str) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{}/calling/keys", base.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["iss", "aud", "iat", "nbf", "exp", "jti"],
        })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};

    use super::*;

    fn validated(
        signer: &Signer,
        token: &str,
        audience: &str,
    ) -> jsonwebtoken::errors::Result<Value> {
        let keys: JwkSet = serde_json::from_value(signer.keys()).expect("a key set");
        let key_id = decode_header(token)?.kid.expect("a key id");
        let key = DecodingKey::from_jwk(keys.find(&key_id).expect("its key"))?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        validation.validate_nbf = true;
        decode::<Value>(token, &key, &validation).map(|token| token.claims)
    }

    #[test]
    fn a_token_is_valid_by_the_published_keys_for_five_minutes() {
        let signer = Signer::new("resource").unwrap();
        let token = signer.token(Timestamp::now());
        let claims = validated(&signer, &token, "resource").unwrap();
        let seconds = |name: &str| claims[name].as_i64().unwrap();
        assert_eq!(seconds("exp") - seconds("nbf"), 300);
        assert_eq!(seconds("iat"), seconds("nbf"));
        let other = validated(&signer, &signer.token(Timestamp::now()), "resource").unwrap();
        assert_ne!(claims["jti"], other["jti"]);
    }

    #[test]
    fn an_old_token_another_audience_and_another_key_are_refused() {
        let signer = Signer::new("resource").unwrap();
        let old = signer.token(Timestamp::from_second(1_600_000_000).unwrap());
        assert!(validated(&signer, &old, "resource").is_err());
        let token = signer.token(Timestamp::now());
        assert!(validated(&signer, &token, "another").is_err());
        let (said, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = old.rsplit_once('.').unwrap();
        assert!(validated(&signer, &format!("{said}.{signature}"), "resource").is_err());
    }

    #[test]
    fn the_openid_document_leads_to_the_keys() {
        let signer = Signer::new("resource").unwrap();
        let document = signer.openid_configuration("http://127.0.0.1:9100/");
        assert_eq!(document["jwks_uri"], "http://127.0.0.1:9100/calling/keys");
        assert_eq!(document["issuer"], ISSUER);
        assert_eq!(
            document["id_token_signing_alg_values_supported"][0],
            "RS256"
        );
    }
}
