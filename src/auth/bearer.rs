//! Checks a bearer token against the keys and the rules of one issuer. Pure except for the time of day.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, Validation, dangerous::insecure_decode_claims, decode, decode_header,
    errors::ErrorKind,
};
use serde_json::{Map, Value};

use crate::config::{Audience, Jwt, KeySet};

/// Anything longer is not a token: Entra's are below 4 KiB.
const TOKEN_LIMIT_BYTES: usize = 16_384;

/// A token whose `nbf` or `iat` is further ahead than this is refused as wrong. The calling service's own tokens are valid for five
/// minutes, so a clock that is off by more makes them useless anyway.
const SKEW_LIMIT: Duration = Duration::from_secs(300);

/// Claims are cut to this length in the log.
const SHOWN: usize = 128;

/// Why a token is not valid, as text for the operator. Shows claims only of tokens whose signature is good, except for
/// an issuer that looks like one, without which a wrong tenant could not be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    Malformed,
    /// A header that would let the token choose its own key, or a critical extension that is not supported.
    Header(&'static str),
    Algorithm(Algorithm),
    Issuer {
        received: String,
    },
    /// None of the known keys has its id.
    UnknownKey,
    Signature,
    Expired,
    /// This claim, `nbf` or `iat`, is more than [`SKEW_LIMIT`] ahead of our clock.
    NotYet(&'static str),
    /// It is ahead of our clock by at most that, and everything else is good: a clock is wrong, not the token.
    Skewed(ClockSkew),
    Audience {
        expected: Vec<String>,
        received: String,
    },
    /// A claim that is missing, or has the wrong value.
    Claim(String),
}

/// By how much the clock of an issuer is ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockSkew {
    /// The claim that shows it: `nbf` or `iat`.
    pub(super) name: &'static str,
    /// From now to its time.
    pub(super) ahead: Duration,
    /// From now to its time less the leeway; not zero.
    pub(super) wait: Duration,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a JSON Web Token of a known kind"),
            Self::Header(name) => write!(f, "its header has a {name}, which is never followed"),
            Self::Algorithm(found) => write!(
                f,
                "it is signed with {found:?}, which is not allowed for this issuer or key"
            ),
            Self::Issuer { received } => match shown_issuer(received) {
                Some(received) => write!(f, "no issuer of this app is {received:?}"),
                None => f.write_str(
                    "no issuer of this app matches its own, which is not a plain https URL",
                ),
            },
            Self::UnknownKey => f.write_str("the issuer has no key with its id"),
            Self::Signature => f.write_str("its signature is wrong"),
            Self::Expired => f.write_str("it has expired"),
            Self::NotYet(name) => {
                write!(
                    f,
                    "its {name} is more than five minutes ahead of this clock"
                )
            }
            Self::Skewed(ClockSkew { name, ahead, .. }) => {
                write!(f, "its {name} is {} s ahead of this clock", ahead.as_secs())
            }
            Self::Audience { expected, received } => {
                write!(
                    f,
                    "its audience is {received}, expected one of {expected:?}"
                )
            }
            Self::Claim(name) => write!(f, "its claim {name} is missing or not as it must be"),
        }
    }
}

/// The issuer that a token names, without any proof.
pub(super) fn issuer(token: &str) -> Result<String, TokenFault> {
    if token.len() > TOKEN_LIMIT_BYTES {
        return Err(TokenFault::Malformed);
    }
    let claims: Map<String, Value> =
        insecure_decode_claims(token).map_err(|_| TokenFault::Malformed)?;
    match claims.get("iss") {
        Some(Value::String(issuer)) => Ok(issuer.clone()),
        _ => Err(TokenFault::Claim("iss".to_owned())),
    }
}

/// The beginning of an untrusted text.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// An unproven issuer, if it looks like one: any client can write anything there.
fn shown_issuer(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://")?;
    let plain = rest
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte));
    (plain && !rest.is_empty()).then(|| shown(text))
}

/// Proves that `token` was signed by one of `keys` and meets `rules`.
pub(super) fn verify(token: &str, rules: &Jwt, keys: &KeySet) -> Result<(), TokenFault> {
    let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
    for (name, there) in [
        ("jku", header.jku.is_some()),
        ("x5u", header.x5u.is_some()),
        ("jwk", header.jwk.is_some()),
        // Critical extensions (RFC 7515, 4.1.11); none is supported.
        ("crit", header.crit.is_some()),
        // Then the payload is not base64url, and RFC 7797 (6) requires it to be in `crit`.
        (
            "b64",
            !matches!(header.extras.get::<Value>("b64"), Ok(None)),
        ),
    ] {
        if there {
            return Err(TokenFault::Header(name));
        }
    }
    // Before any key is used: `none` has no name in the library, and HMAC is never among the rules.
    if !rules.algorithms.contains(&header.alg) {
        return Err(TokenFault::Algorithm(header.alg));
    }
    let named = keys.named(header.kid.as_deref());
    if named.is_empty() {
        return Err(TokenFault::UnknownKey);
    }
    let mut validation = Validation::new(header.alg);
    validation.leeway = rules.leeway.as_secs();
    // Both are checked in `claims`: the library compares audiences case-sensitively only, and checks `nbf` before them.
    validation.validate_aud = false;
    validation.validate_nbf = false;
    validation.set_issuer(&[&rules.issuer]);
    // Not `nbf`, which is optional (RFC 7519, 4.1.5): nothing documents that the service sends it, and some issuers do not.
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    let mut fault = TokenFault::Algorithm(header.alg);
    for key in named {
        let Some(key) = key.for_algorithm(header.alg) else {
            continue;
        };
        match decode::<Map<String, Value>>(token, key, &validation) {
            Ok(token) => return claims(&token.claims, rules),
            Err(error) => fault = of_library(error.kind()),
        }
    }
    Err(fault)
}

fn of_library(kind: &ErrorKind) -> TokenFault {
    match kind {
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::ExpiredSignature => TokenFault::Expired,
        ErrorKind::InvalidIssuer => TokenFault::Claim("iss".to_owned()),
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => {
            TokenFault::Claim(name.clone())
        }
        _ => TokenFault::Malformed,
    }
}

/// Checks what the library does not, once signature and `exp` are known to be good.
fn claims(claims: &Map<String, Value>, rules: &Jwt) -> Result<(), TokenFault> {
    // The library takes a list of issuers, too.
    if claims.get("iss").and_then(Value::as_str) != Some(&rules.issuer) {
        return Err(TokenFault::Claim("iss".to_owned()));
    }
    audience(claims.get("aud"), rules)?;
    for (name, wanted) in &rules.claims {
        let holds = match claims.get(name) {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
            _ => false,
        };
        if !holds {
            return Err(TokenFault::Claim(name.clone()));
        }
    }
    // Last: a sender is told to retry only if everything else is good. A token issued in the future is treated like one
    // that is not valid yet: RFC 7519 (4.1.6) has no rule for it, and our clock may be the one that is wrong.
    for name in ["nbf", "iat"] {
        has_come(name, claims.get(name), rules.leeway)?;
    }
    Ok(())
}

/// Checks that `received`, a text or a list of texts (RFC 7519, 4.1.3), names one of the audiences.
fn audience(received: Option<&Value>, rules: &Jwt) -> Result<(), TokenFault> {
    let is_ours = |text: &str| rules.audience.iter().any(|wanted| wanted.is(text));
    let named = match received {
        Some(Value::String(text)) => is_ours(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(is_ours),
        _ => return Err(TokenFault::Claim("aud".to_owned())),
    };
    if named {
        return Ok(());
    }
    let expected = rules.audience.iter().map(Audience::as_str);
    Err(TokenFault::Audience {
        expected: expected.map(str::to_owned).collect(),
        received: received
            .map(|claim| shown(&claim.to_string()))
            .unwrap_or_default(),
    })
}

/// Checks that the time of an optional claim has come.
fn has_come(name: &'static str, claim: Option<&Value>, leeway: Duration) -> Result<(), TokenFault> {
    let Some(claim) = claim else {
        return Ok(());
    };
    // Seconds, possibly with a fraction (RFC 7519, 2).
    let seconds = claim
        .as_f64()
        .filter(|seconds| *seconds >= 0.0)
        .ok_or_else(|| TokenFault::Claim(name.to_owned()))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let Ok(time) = Duration::try_from_secs_f64(seconds) else {
        return Err(TokenFault::NotYet(name));
    };
    let ahead = time.saturating_sub(now);
    if ahead <= leeway {
        Ok(())
    } else if ahead <= SKEW_LIMIT {
        let wait = ahead - leeway;
        Err(TokenFault::Skewed(ClockSkew { name, ahead, wait }))
    } else {
        Err(TokenFault::NotYet(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unproven_issuer_is_shown_only_where_it_looks_like_one() {
        let said = |received: &str| {
            let received = received.to_owned();
            TokenFault::Issuer { received }.to_string()
        };
        assert_eq!(
            said("https://sts.windows.net/00000000-0000-4000-8000-000000000001/"),
            "no issuer of this app is \"https://sts.windows.net/00000000-0000-4000-8000-000000000001/\""
        );
        for odd in [
            "planted",
            "",
            "https://",
            "http://planted.example/",
            "https://h/?planted",
            "https://h/#planted",
            "https://planted:planted@h/",
            "https://h/planted planted",
            "https://h/plänted",
            "https://h/planted\n",
        ] {
            let said = said(odd);
            assert_eq!(
                said, "no issuer of this app matches its own, which is not a plain https URL",
                "{odd}"
            );
        }
        assert!(said(&format!("https://{}", "x".repeat(5_000))).len() < 200);
    }
}
