//! `apps.auth`: how senders of an app are authenticated. Closed by default (P6): an app without it is refused.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Url;
use serde::Serialize;
use uuid::Uuid;

use super::{
    key_set::KeySet,
    print,
    secret_file::{read_bounded, read_secrets},
    section::{Given, Section},
    tree::Value,
};

/// The issuer of the service's callback tokens (docs/src/reference/acs-events.md, "Tokens of callbacks").
const ACS_ISSUER: &str = "https://acscallautomation.communication.azure.com";

/// Where the service publishes the keys that it signs callbacks with.
const ACS_KEYS: &str = "https://acscallautomation.communication.azure.com/calling/keys";

/// The query parameter that may carry a token instead of the `Authorization` header (RFC 6750, 2.3).
pub const ACCESS_TOKEN: &str = "access_token";

const HELP: &str = "write [apps.auth] with acs = { resource_id = \"<immutable resource id>\" }, jwt or shared_secret, \
                    or auth = \"none\" to accept callbacks without authentication";

/// Default of `leeway`: how far the clocks of issuer and receiver may be apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// Largest `leeway`: the lifetime of the calling service's own tokens.
const LEEWAY_LIMIT: Duration = Duration::from_secs(300);

/// How senders of an app are authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// `auth = "none"`, written explicitly.
    None,
    /// One of these methods must succeed.
    #[serde(untagged)]
    Any(Methods),
}

/// The methods of one app, at least one; any of them is sufficient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Methods {
    /// The calling service's own tokens, for one of these resources.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "print::one_or_all"
    )]
    pub acs: Vec<Acs>,
    /// Other issuers' tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt: Vec<Jwt>,
    /// Secrets in the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_secret: Vec<SharedSecret>,
}

impl Methods {
    /// Every accepted issuer, the calling service first.
    #[must_use]
    pub fn issuers(&self) -> Vec<Jwt> {
        let mut issuers: Vec<Jwt> = Vec::new();
        for acs in &self.acs {
            let issuer = acs.issuer();
            // So that a signature is checked once, whatever the number of resources.
            match issuers.iter_mut().find(|known| known.keys == issuer.keys) {
                Some(known) => known.audience.extend(issuer.audience),
                None => issuers.push(issuer),
            }
        }
        issuers.extend(self.jwt.iter().cloned());
        issuers
    }
}

/// The preset for callbacks of the calling service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acs {
    /// The immutable id of the resource, a GUID in lower case: the audience.
    pub resource_id: String,
    /// The emulator's keys in place of the service's; a loopback address.
    #[serde(serialize_with = "print::without_query")]
    pub keys_url: Option<Url>,
}

impl Acs {
    fn issuer(&self) -> Jwt {
        let service = || ACS_KEYS.parse().expect("a constant that is a URL");
        Jwt {
            issuer: ACS_ISSUER.to_owned(),
            audience: vec![Audience::Guid(self.resource_id.clone())],
            keys: KeySource::Url(self.keys_url.clone().unwrap_or_else(service)),
            algorithms: vec![Algorithm::RS256],
            leeway: LEEWAY,
            claims: Vec::new(),
        }
    }
}

/// The audience that a token must name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// This text, case-sensitive (RFC 7519, 4.1.3).
    Exact(String),
    /// This GUID, case-insensitive (RFC 9562, 4).
    Guid(String),
}

impl Audience {
    /// Whether a token for `received` names this audience.
    #[must_use]
    pub fn is(&self, received: &str) -> bool {
        match self {
            Self::Exact(text) => text == received,
            Self::Guid(text) => text.eq_ignore_ascii_case(received),
        }
    }

    /// The configured text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Guid(text) => text,
        }
    }
}

/// One issuer of JSON Web Tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwt {
    /// `iss`, exactly.
    pub issuer: String,
    /// One of these must be in `aud`; not empty.
    pub audience: Vec<Audience>,
    /// Where its keys are.
    #[serde(flatten)]
    pub keys: KeySource,
    /// Accepted signature algorithms; none of them symmetric, not empty.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may be apart, at most five minutes.
    #[serde(serialize_with = "print::duration")]
    pub leeway: Duration,
    /// Further claims that must hold this text, alone or in a list.
    #[serde(serialize_with = "print::pairs")]
    pub claims: Vec<(String, String)>,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum KeySource {
    /// An OpenID discovery document with the issuer and the URL of its keys.
    #[serde(rename = "discovery_url", serialize_with = "print::without_query")]
    Discovery(Url),
    /// A JSON Web Key Set.
    #[serde(rename = "jwks_url", serialize_with = "print::without_query")]
    Url(Url),
    /// The same in a file, read again when it changes.
    #[serde(rename = "jwks_file")]
    File(PathBuf),
}

/// Where in a request a shared secret is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretPlace {
    /// A query parameter, by its decoded name.
    Query(String),
    /// A header, in lower case.
    Header(String),
}

/// A secret that the sender repeats in each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedSecret {
    #[serde(flatten)]
    pub place: SecretPlace,
    /// File with the current values, one per line; read again when it changes.
    pub value_file: PathBuf,
}

/// True for URLs whose host is this machine, whatever the resolver says.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Reads `auth` of one app; if a problem was noted, the result is discarded.
pub(super) fn auth(section: &mut Section<'_>) -> Auth {
    let Some(given) = section.given("auth") else {
        section.refuse("auth", format!("is missing: {HELP}"));
        return Auth::None;
    };
    match &given.node.value {
        Value::Text(word) if word == "none" => Auth::None,
        Value::Table(_) => Auth::Any(section.table("auth", methods)),
        _ => {
            given.refuse(format!("is not understood: {HELP}"));
            Auth::None
        }
    }
}

/// A query parameter that authenticates callbacks must not be passed on to consumers.
pub(super) fn refuse_passed_secrets(auth: &Auth, pass_query: &[Given<'_>]) {
    let Auth::Any(methods) = auth else { return };
    let has_tokens = !methods.acs.is_empty() || !methods.jwt.is_empty();
    for given in pass_query {
        if has_tokens && given.text() == Some(ACCESS_TOKEN) {
            given.refuse("may carry a token, which is never passed on: remove it");
            continue;
        }
        let named = methods.shared_secret.iter().any(
            |secret| matches!(&secret.place, SecretPlace::Query(name) if Some(name.as_str()) == given.text()),
        );
        if named {
            given.refuse("is a shared_secret of this app, which is never passed on: remove it");
        }
    }
}

fn methods(section: &mut Section<'_>) -> Methods {
    let mut resources = Vec::new();
    let acs = section.table_or_tables("acs", |section| acs(section, &mut resources));
    let jwt = section.tables("jwt", jwt);
    let shared_secret = section.tables("shared_secret", shared_secret);
    let written = ["acs", "jwt", "shared_secret"].map(|name| section.given(name).is_some());
    let methods = Methods {
        acs: acs.into_iter().flatten().collect(),
        jwt: jwt.into_iter().flatten().collect(),
        shared_secret: shared_secret.into_iter().flatten().collect(),
    };
    if !written.contains(&true) {
        section.refuse("", format!("names no method: {HELP}"));
    } else {
        for (name, empty) in [
            ("acs", methods.acs.is_empty()),
            ("jwt", methods.jwt.is_empty()),
            ("shared_secret", methods.shared_secret.is_empty()),
        ] {
            if empty
                && matches!(section.given(name).map(|given| &given.node.value), Some(Value::List(items)) if items.is_empty())
            {
                section.refuse(name, "is empty: leave it out");
            }
        }
    }
    methods
}

/// Reads one resource. `known` holds the ids of the resources before it.
fn acs(section: &mut Section<'_>, known: &mut Vec<String>) -> Option<Acs> {
    let resource_id = required(
        section,
        "resource_id",
        "the immutable resource id, a GUID (Azure portal: JSON view of the resource, properties.immutableResourceId)",
    );
    let resource_id = resource_id.map(|id| id.to_ascii_lowercase());
    if let Some(id) = &resource_id {
        if id.trim_start().starts_with('/') {
            section.refuse(
                "resource_id",
                "is the path of the resource; tokens are for its immutable id, a GUID: \
                 properties.immutableResourceId in the portal's JSON view, or of `az communication show`",
            );
        } else if id.len() != 36 || Uuid::try_parse(id).is_err() {
            section.refuse(
                "resource_id",
                "is not a GUID like \"00000000-0000-4000-8000-000000009100\"",
            );
        } else if known.contains(id) {
            section.refuse("resource_id", "is already listed: write each resource once");
        }
        known.push(id.clone());
    }
    let keys_url = url(section, "keys_url");
    if keys_url.as_ref().is_some_and(|url| !is_loopback(url)) {
        section.refuse(
            "keys_url",
            "is for the emulator, on a loopback address: leave it out for the service's own keys",
        );
    }
    Some(Acs {
        resource_id: resource_id?,
        keys_url,
    })
}

fn jwt(section: &mut Section<'_>) -> Option<Jwt> {
    let issuer = required(section, "issuer", "the tokens' iss, to the letter");
    let audience = strings(section, "audience");
    if audience.is_empty() {
        section.refuse(
            "audience",
            "is missing or empty: write audience = [\"<the audience of the tokens>\"]",
        );
    }
    let sources = [
        url(section, "discovery_url").map(KeySource::Discovery),
        url(section, "jwks_url").map(KeySource::Url),
        section.path("jwks_file").map(KeySource::File),
    ];
    let written =
        ["discovery_url", "jwks_url", "jwks_file"].map(|name| section.given(name).is_some());
    if written.into_iter().filter(|written| *written).count() != 1 {
        section.refuse(
            "",
            "needs exactly one of discovery_url, jwks_url and jwks_file: where the issuer's keys are",
        );
    }
    let keys = sources.into_iter().flatten().next();
    if let Some(KeySource::File(path)) = &keys {
        match read_bounded(path) {
            Err(error) => {
                section.refuse(
                    "jwks_file",
                    format!("cannot read {}: {error}", path.display()),
                );
            }
            Ok(bytes) => {
                if let Err(error) = KeySet::parse(&bytes) {
                    let why = crate::report::Chain(&error);
                    section.refuse(
                        "jwks_file",
                        format!("cannot use the keys in {}: {why}", path.display()),
                    );
                }
            }
        }
    }
    let algorithms = algorithms(section);
    let leeway = section.duration("leeway", Duration::ZERO..=LEEWAY_LIMIT, LEEWAY);
    let claims = claims(section);
    Some(Jwt {
        issuer: issuer?,
        audience: audience.into_iter().map(Audience::Exact).collect(),
        keys: keys?,
        algorithms,
        leeway,
        claims,
    })
}

fn algorithms(section: &mut Section<'_>) -> Vec<Algorithm> {
    let Some(given) = section.given("algorithms") else {
        return vec![Algorithm::RS256];
    };
    if matches!(&given.node.value, Value::List(items) if items.is_empty()) {
        given.refuse("is empty: leave it out for RS256");
    }
    let mut found = Vec::new();
    for given in section.texts("algorithms") {
        let name = given.text().unwrap_or_default();
        match name.parse::<Algorithm>() {
            // A secret known to both sides is not a public key, and a public key is not a secret.
            Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => {
                if !found.contains(&algorithm) {
                    found.push(algorithm);
                }
            }
            _ => given.refuse(format!(
                "is {name:?}, expected RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
            )),
        }
    }
    found
}

fn claims(section: &mut Section<'_>) -> Vec<(String, String)> {
    let Some(given) = section.given("claims") else {
        return Vec::new();
    };
    let Value::Table(entries) = &given.node.value else {
        given.refuse("expected a table like { tid = \"<tenant>\" }");
        return Vec::new();
    };
    let mut claims = Vec::new();
    for (name, node) in entries {
        match &node.value {
            Value::Text(text) => claims.push((name.clone(), text.clone())),
            _ => given.refuse_inside(&format!(".{name}"), "expected a text in quotes"),
        }
    }
    claims
}

fn shared_secret(section: &mut Section<'_>) -> Option<SharedSecret> {
    let query = section.text("query");
    let header = section.text("header");
    section.not_yet(
        "value",
        "a secret does not belong here: write it into a file and name that in value_file",
    );
    let place = match (query, header) {
        (Some(name), None) => {
            if name.is_empty() {
                section.refuse("query", "is empty, expected the name of a query parameter");
            }
            Some(SecretPlace::Query(name))
        }
        (None, Some(name)) => {
            let name = name.to_ascii_lowercase();
            if let Some(why) = unfit(&name) {
                section.refuse("header", why);
            }
            Some(SecretPlace::Header(name))
        }
        _ => {
            section.refuse(
                "",
                "needs exactly one of query and header: where the secret is in a request",
            );
            None
        }
    };
    if section.given("value_file").is_none() {
        section.refuse("value_file", "is missing: a file with one secret per line");
    }
    let value_file = section.path("value_file")?;
    if let Err(error) = read_secrets(&value_file) {
        section.refuse("value_file", crate::report::Chain(&error));
    }
    Some(SharedSecret {
        place: place?,
        value_file,
    })
}

/// Why a header cannot carry a secret.
fn unfit(name: &str) -> Option<&'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(token) {
        return Some("is not a header name");
    }
    if name == "authorization" {
        return Some("is for tokens: write jwt or acs, or take another header");
    }
    // HTTP's own headers decide where a request ends and what happens to its connection, and proxies change them;
    // attributes of binary CloudEvents and the trace are passed on to consumers; the handshakes use theirs.
    let taken = ["ce-", "aeg-", "webhook-", "content-", "proxy-"];
    let taken = taken.iter().any(|start| name.starts_with(start));
    let own = [
        "connection",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "traceparent",
        "tracestate",
    ];
    if taken || own.contains(&name) {
        return Some(
            "already has another meaning: use a separate header, for example x-callback-key",
        );
    }
    None
}

fn required(section: &mut Section<'_>, name: &'static str, what: &str) -> Option<String> {
    if section.given(name).is_none() {
        section.refuse(name, format!("is missing: {what}"));
    }
    let text = section.text(name)?;
    if text.is_empty() {
        section.refuse(name, format!("is empty: {what}"));
        return None;
    }
    Some(text)
}

fn strings(section: &mut Section<'_>, name: &'static str) -> Vec<String> {
    let mut found = Vec::new();
    for given in section.texts(name) {
        match given.text() {
            Some("") => given.refuse("is empty"),
            Some(text) => found.push(text.to_owned()),
            None => {}
        }
    }
    found
}

/// A URL that keys may be fetched from.
fn url(section: &mut Section<'_>, name: &'static str) -> Option<Url> {
    let text = section.text(name)?;
    match check_key_url(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            section.refuse(name, why);
            None
        }
    }
}

/// Keys must be fetched over https; http is accepted from this machine only, for development.
///
/// # Errors
/// Says what is wrong with the URL.
pub fn check_key_url(text: &str) -> Result<Url, String> {
    let url: Url = text
        .parse()
        .map_err(|error| format!("is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password in it, which is not sent: take it out".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(
            "is http: keys are fetched over https, over http from a loopback address only"
                .to_owned(),
        ),
        other => Err(format!("is {other}: keys are fetched over https")),
    }
}
