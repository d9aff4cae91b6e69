//! A JSON Web Key Set, reduced to the keys that can prove something. Pure. It is here and not in `auth`, so that
//! `check-config` and a start judge a file of keys alike.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// More keys than any issuer has.
const KEYS_LIMIT: usize = 100;

/// Shorter RSA keys prove nothing: the cryptography library refuses them, and their private half can be computed.
const RSA_BITS: usize = 2_048;

/// Key ids are cut here in the log.
const SHOWN: usize = 128;

/// The public keys of one issuer.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    weak: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    key: DecodingKey,
}

/// Why a text is not a usable key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It does not have the form of a key set.
    #[error("it is not a JSON Web Key Set")]
    Form(#[source] serde_json::Error),
    /// It has no key that can check a signature.
    #[error("none of its {0} keys can check signatures of a known kind (RSA from {RSA_BITS} bits)")]
    None(usize),
    /// There are too many.
    #[error("it has {0} keys, more than {KEYS_LIMIT}")]
    Many(usize),
}

impl KeySet {
    /// Reads a key set. Keys of unknown kinds are skipped (RFC 7517, 5), and so are RSA keys that are too short and
    /// symmetric keys: what is public proves nothing.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Form {
            keys: Vec<Value>,
        }
        let form: Form = serde_json::from_slice(text).map_err(KeySetError::Form)?;
        let count = form.keys.len();
        if count > KEYS_LIMIT {
            return Err(KeySetError::Many(count));
        }
        let (mut keys, mut weak) = (Vec::new(), Vec::new());
        for value in form.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
                continue;
            };
            if is_short(&jwk) {
                let id = jwk.common.key_id.unwrap_or_default();
                weak.push(id.chars().take(SHOWN).collect());
            } else {
                keys.extend(Key::of(jwk));
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::None(count));
        }
        Ok(Self { keys, weak })
    }

    /// The ids of RSA keys that were skipped because they are too short.
    pub(crate) fn weak(&self) -> &[String] {
        &self.weak
    }

    /// The keys with this id, or, for a token without key id, the only key.
    pub(crate) fn named(&self, id: Option<&str>) -> Vec<&Key> {
        match (id, self.keys.as_slice()) {
            (Some(_), keys) => keys.iter().filter(|key| key.id.as_deref() == id).collect(),
            (None, [only]) => vec![only],
            (None, _) => Vec::new(),
        }
    }
}

/// Six bits per character; leading zeros do not count.
fn is_short(jwk: &Jwk) -> bool {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => rsa.n.trim_start_matches('A').len() * 6 < RSA_BITS,
        _ => false,
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let signs = match &jwk.common.public_key_use {
            None | Some(PublicKeyUse::Signature) => true,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (signs && key.family() != AlgorithmFamily::Hmac).then_some(Self {
            id: jwk.common.key_id,
            algorithm: jwk.common.key_algorithm,
            key,
        })
    }

    /// The key, if it may check signatures of this algorithm: a public key is never taken for a secret, and a key that
    /// names its algorithm is for no other.
    pub(crate) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = self.key.family() == algorithm.family()
            && self.algorithm.is_none_or(|own| own == algorithm.into());
        fits.then_some(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(keys: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_is_for_its_own_use_and_algorithm_only() {
        let rsa = |more: Value| {
            let mut key = json!({"kty": "RSA", "kid": "a", "n": "w".repeat(342), "e": "AQAB"});
            key.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            key
        };
        let keys = parse(&json!([rsa(json!({"alg": "RS512", "use": "sig"}))])).unwrap();
        let key = keys.named(Some("a"))[0];
        assert!(key.for_algorithm(Algorithm::RS512).is_some());
        assert!(key.for_algorithm(Algorithm::RS256).is_none());
        assert!(key.for_algorithm(Algorithm::HS512).is_none());
        assert!(key.for_algorithm(Algorithm::ES256).is_none());
        assert!(keys.named(Some("b")).is_empty());
        assert_eq!(keys.named(None).len(), 1);
        assert!(matches!(
            parse(&json!([rsa(json!({"use": "enc"}))])),
            Err(KeySetError::None(1))
        ));
    }

    #[test]
    fn a_short_rsa_key_is_passed_over_and_named() {
        let rsa = |id: &str, n: String| json!({"kty": "RSA", "kid": id, "n": n, "e": "AQAB"});
        // 1,024 bits, the same with zeros before it, and 2,048 bits.
        let (short, padded) = ("w".repeat(171), "A".repeat(200) + &"w".repeat(172));
        let keys = [
            rsa("short", short.clone()),
            rsa("padded", padded),
            rsa("good", "w".repeat(342)),
        ];
        let keys = parse(&json!(keys)).unwrap();
        assert_eq!(keys.weak(), ["short", "padded"]);
        assert!(keys.named(Some("short")).is_empty());
        assert_eq!(keys.named(Some("good")).len(), 1);
        // It does not count where a token names no key.
        assert_eq!(keys.named(None).len(), 1);
        let error = parse(&json!([rsa("short", short)])).unwrap_err();
        assert!(error.to_string().contains("2048 bits"), "{error}");
    }

    #[test]
    fn symmetric_and_unknown_keys_are_not_used() {
        let odd = json!([{"kty": "oct", "kid": "a", "k": "AQAB"}, {"kty": "LATTICE"}, 7]);
        assert!(matches!(parse(&odd), Err(KeySetError::None(3))));
        assert!(matches!(
            KeySet::parse(b"<html>"),
            Err(KeySetError::Form(_))
        ));
        let many = vec![json!({}); KEYS_LIMIT + 1];
        assert!(matches!(parse(&many.into()), Err(KeySetError::Many(101))));
    }
}
