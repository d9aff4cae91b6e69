//! Authenticates requests for each app by the head alone.

use std::{
    borrow::Cow,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use prometheus::Registry;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::{
    config::{ACCESS_TOKEN, App, Auth, Jwt, KeySource, Methods, SecretPlace},
    event::AppName,
    status::Health,
};

use super::{
    AuthChallenge, AuthError, AuthRefusal, KeyRefresher,
    bearer::{self, ClockSkew, TokenFault},
    fetch::Fetcher,
    key_source::{RefreshPace, Source},
    metrics::{AuthMetrics, RefusalClass},
    secrets::Secrets,
};

/// At most one log line per app in this time: any client of the listener can cause them.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What is examined of a request. Its body is not: no body is read before the request is authenticated.
pub struct RequestHead<'a> {
    /// Without its question mark, as received.
    pub query: &'a str,
    /// Every value of the header with this name, which is in lower case.
    pub header: &'a dyn Fn(&str) -> Vec<&'a [u8]>,
}

/// The authenticators of all apps.
pub struct Authenticators {
    authenticators: HashMap<AppName, Authenticator>,
    metrics: AuthMetrics,
}

impl std::fmt::Debug for Authenticators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.authenticators.keys()).finish()
    }
}

enum Authenticator {
    /// `auth = "none"`.
    Open,
    Guarded(Credentials),
}

struct Credentials {
    secrets: Vec<(SecretPlace, Arc<Secrets>)>,
    issuers: Vec<(Jwt, Arc<Source>)>,
    challenge: AuthChallenge,
    refused_line: LogThrottle,
    skew_line: LogThrottle,
}

/// Limits one kind of log line to one in [`LOG_INTERVAL`].
#[derive(Default)]
struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// What several authenticators share: a file is read and an issuer is asked once for all of them.
#[derive(Default)]
struct SharedSources {
    secrets: HashMap<PathBuf, Arc<Secrets>>,
    sources: HashMap<(String, KeySource), Arc<Source>>,
}

impl SharedSources {
    fn secrets(&mut self, app: &AppName, path: &Path) -> Result<Arc<Secrets>, AuthError> {
        if let Some(known) = self.secrets.get(path) {
            return Ok(known.clone());
        }
        let secrets = Secrets::load(path).map_err(|source| AuthError::Secrets {
            app: app.as_str().to_owned(),
            source,
        })?;
        let secrets = Arc::new(secrets);
        self.secrets.insert(path.to_owned(), secrets.clone());
        Ok(secrets)
    }

    fn source(&mut self, rules: &Jwt, pace: RefreshPace) -> Result<Arc<Source>, AuthError> {
        let key = (rules.issuer.clone(), rules.keys.clone());
        if let Some(known) = self.sources.get(&key) {
            return Ok(known.clone());
        }
        let source = Arc::new(Source::new(rules, pace)?);
        self.sources.insert(key, source.clone());
        Ok(source)
    }
}

/// Why no issuer verifies a token.
enum TokenDoubt {
    Bad(TokenFault),
    /// It is valid, but not yet.
    Skewed(ClockSkew),
    /// It may be valid by keys that are newer than ours.
    Newer(Arc<Source>),
    NoKeys(Arc<Source>),
}

impl Authenticators {
    /// Reads the files that the apps name. [`KeyRefresher::run`] fetches the keys.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn new(
        apps: &[App],
        registry: &Registry,
        health: Arc<Health>,
    ) -> Result<(Self, KeyRefresher), AuthError> {
        Self::paced(apps, registry, health, RefreshPace::default())
    }

    pub(super) fn paced(
        apps: &[App],
        registry: &Registry,
        health: Arc<Health>,
        pace: RefreshPace,
    ) -> Result<(Self, KeyRefresher), AuthError> {
        let metrics = AuthMetrics::register(registry, apps.iter().map(|app| &app.name))?;
        let mut shared = SharedSources::default();
        let mut authenticators = HashMap::new();
        for app in apps {
            let authenticator = match &app.auth {
                Auth::None => Authenticator::Open,
                Auth::Any(methods) => {
                    let guard = Credentials::new(&app.name, methods, &mut shared, pace)?;
                    Authenticator::Guarded(guard)
                }
            };
            authenticators.insert(app.name.clone(), authenticator);
        }
        let refresher = KeyRefresher {
            secrets: shared.secrets.into_values().collect(),
            sources: shared.sources.into_values().collect(),
            fetcher: Fetcher::new(pace.answer).map_err(AuthError::Client)?,
            metrics: metrics.clone(),
            health,
            pace,
        };
        Ok((
            Self {
                authenticators,
                metrics,
            },
            refresher,
        ))
    }

    /// Waits until every issuer was asked for its keys once, at most for `limit`: then the first callbacks need not be
    /// sent twice.
    pub async fn first_keys(&self, limit: Duration) {
        let all = self
            .authenticators
            .values()
            .flat_map(|authenticator| match authenticator {
                Authenticator::Open => &[],
                Authenticator::Guarded(guard) => guard.issuers.as_slice(),
            });
        let all = async {
            for (_, source) in all {
                source.first().await;
            }
        };
        timeout(limit, all).await.ok();
    }

    /// Whether a request for `app` has none of the credentials that the app asks for, neither valid nor invalid ones.
    /// False for an app without auth.
    #[must_use]
    pub fn lacks_credentials(&self, app: &AppName, head: &RequestHead<'_>) -> bool {
        match self.authenticators.get(app) {
            Some(Authenticator::Guarded(guard)) => {
                guard.secret(head).is_none() && guard.token(head).is_none()
            }
            Some(Authenticator::Open) | None => false,
        }
    }

    /// Accepts a callback for `app`, or says why not. Waits only if a token names an unknown key, for the keys that its
    /// issuer has now.
    ///
    /// # Errors
    /// See [`AuthRefusal`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn admit(&self, app: &AppName, head: &RequestHead<'_>) -> Result<(), AuthRefusal> {
        let guard = match self.authenticators.get(app) {
            Some(Authenticator::Open) => return Ok(()),
            Some(Authenticator::Guarded(guard)) => guard,
            // Closed by default: an app without an authenticator is a bug.
            None => return Err(AuthRefusal::Wrong(AuthChallenge::Bearer)),
        };
        let (class, refusal) = match guard.judge(app, head).await {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        self.metrics.refused(app, class);
        Err(refusal)
    }
}

impl Credentials {
    fn new(
        app: &AppName,
        methods: &Methods,
        shared: &mut SharedSources,
        pace: RefreshPace,
    ) -> Result<Self, AuthError> {
        let mut secrets = Vec::new();
        for one in &methods.shared_secret {
            let good = shared.secrets(app, &one.value_file)?;
            secrets.push((one.place.clone(), good));
        }
        let mut issuers = Vec::new();
        for rules in methods.issuers() {
            let source = shared.source(&rules, pace)?;
            issuers.push((rules, source));
        }
        Ok(Self {
            challenge: if issuers.is_empty() {
                AuthChallenge::SharedSecret
            } else {
                AuthChallenge::Bearer
            },
            secrets,
            issuers,
            refused_line: LogThrottle::default(),
            skew_line: LogThrottle::default(),
        })
    }

    async fn judge(
        &self,
        app: &AppName,
        head: &RequestHead<'_>,
    ) -> Result<(), (RefusalClass, AuthRefusal)> {
        let secret = self.secret(head);
        if secret == Some(true) {
            return Ok(());
        }
        let Some(token) = self.token(head) else {
            if secret.is_some() {
                self.line(app, &"its shared secret is wrong");
                return Err((
                    RefusalClass::SharedSecret,
                    AuthRefusal::Wrong(self.challenge),
                ));
            }
            debug!(%app, "a callback without credentials was refused");
            return Err((RefusalClass::Missing, AuthRefusal::Missing(self.challenge)));
        };
        let arrived = Instant::now();
        let named = token.and_then(|token| {
            let issuer = bearer::issuer(&token)?;
            Ok((token, issuer))
        });
        let mut doubt = match named {
            Err(fault) => TokenDoubt::Bad(fault),
            Ok((token, issuer)) => match self.vouch(&token, &issuer) {
                Ok(()) => return Ok(()),
                Err(TokenDoubt::Newer(source)) => {
                    if !source.proves_since(arrived) {
                        source.fresh().await;
                    }
                    match self.vouch(&token, &issuer) {
                        Ok(()) => return Ok(()),
                        Err(doubt) => doubt,
                    }
                }
                Err(doubt) => doubt,
            },
        };
        if let TokenDoubt::Newer(source) = &doubt
            && source.proves_since(arrived)
        {
            doubt = TokenDoubt::Bad(TokenFault::UnknownKey);
        }
        match doubt {
            TokenDoubt::Bad(fault) => {
                self.line(app, &fault);
                let refusal = AuthRefusal::Wrong(AuthChallenge::InvalidToken);
                Err((RefusalClass::Token, refusal))
            }
            TokenDoubt::Skewed(skew) => {
                self.skew_line(app, skew);
                let seconds = skew.wait.as_millis().div_ceil(1_000).max(1);
                let retry_after = u16::try_from(seconds).unwrap_or(u16::MAX);
                Err((
                    RefusalClass::NotYetValid,
                    AuthRefusal::NotYetValid { retry_after },
                ))
            }
            // Separate in the metrics: any client can cause the first, the second needs an operator.
            TokenDoubt::Newer(source) => {
                let retry_after = source.retry_after(Instant::now());
                Err((
                    RefusalClass::UnknownKey,
                    AuthRefusal::NoKeys { retry_after },
                ))
            }
            TokenDoubt::NoKeys(source) => {
                let retry_after = source.retry_after(Instant::now());
                Err((RefusalClass::Keys, AuthRefusal::NoKeys { retry_after }))
            }
        }
    }

    /// The token in the request; `None` for an app without issuers.
    fn token<'a>(&self, head: &RequestHead<'a>) -> Option<Result<Cow<'a, str>, TokenFault>> {
        if self.issuers.is_empty() {
            return None;
        }
        token(head)
    }

    /// Whether one of the secrets is in the request; `None` if there is nothing in its place.
    fn secret(&self, head: &RequestHead<'_>) -> Option<bool> {
        let mut found = None;
        for (place, secrets) in &self.secrets {
            let given: Vec<Vec<u8>> = match place {
                SecretPlace::Query(name) => parameters(head.query, name),
                SecretPlace::Header(name) => {
                    let values = (head.header)(name).into_iter();
                    values.map(<[u8]>::to_vec).collect()
                }
            };
            for value in given {
                found = Some(found == Some(true) || secrets.hold(&value));
            }
        }
        found
    }

    /// Whether an issuer of this app verifies the token.
    fn vouch(&self, token: &str, issuer: &str) -> Result<(), TokenDoubt> {
        let mut doubt = TokenDoubt::Bad(TokenFault::Issuer {
            received: issuer.to_owned(),
        });
        for (rules, source) in &self.issuers {
            if rules.issuer != issuer {
                continue;
            }
            let next = match source.keys(Instant::now()) {
                None => TokenDoubt::NoKeys(source.clone()),
                Some(keys) => match bearer::verify(token, rules, &keys) {
                    Ok(()) => return Ok(()),
                    Err(TokenFault::UnknownKey) => TokenDoubt::Newer(source.clone()),
                    Err(TokenFault::Skewed(skew)) => TokenDoubt::Skewed(skew),
                    Err(fault) => TokenDoubt::Bad(fault),
                },
            };
            // One issuer may be there twice, with several audiences: what is not proven bad may still be valid. A token
            // that is only not valid yet is known to be good, by the rule that accepts it first.
            doubt = match (doubt, next) {
                (TokenDoubt::Skewed(one), TokenDoubt::Skewed(other)) if other.wait < one.wait => {
                    TokenDoubt::Skewed(other)
                }
                (known @ TokenDoubt::Skewed(_), _) => known,
                (_, next @ TokenDoubt::Skewed(_)) => next,
                (TokenDoubt::Bad(_), next) => next,
                (known, _) => known,
            };
        }
        Err(doubt)
    }

    /// Logs for the operator what the sender is not told.
    fn line(&self, app: &AppName, fault: &dyn std::fmt::Display) {
        if self.refused_line.is_due() {
            warn!(%app, %fault, "callbacks are refused with 401; this is the latest");
        } else {
            debug!(%app, %fault, "a callback was refused with 401");
        }
    }

    /// Logs for the operator that a clock is wrong.
    fn skew_line(&self, app: &AppName, skew: ClockSkew) {
        let seconds_ahead = skew.ahead.as_secs();
        if self.skew_line.is_due() {
            warn!(
                %app,
                claim = skew.name,
                seconds_ahead,
                "a token's nbf or iat is ahead of this machine's clock by more than the leeway: the clocks of issuer and receiver differ; \
                 such callbacks are answered 503 until their token is valid, and this is the latest"
            );
        } else {
            debug!(%app, seconds_ahead, "a callback was answered 503: its token is not valid yet");
        }
    }
}

/// The bearer token of a request, in its header or in the parameter `access_token` (CloudEvents webhooks, 3; RFC 6750, 2.1 and
/// 2.3); `None` if it has none.
fn token<'a>(head: &RequestHead<'a>) -> Option<Result<Cow<'a, str>, TokenFault>> {
    let headers = (head.header)("authorization")
        .into_iter()
        .filter_map(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme
                .eq_ignore_ascii_case(b"bearer ")
                .then(|| str::from_utf8(token).ok().map(|token| token.trim().into()))
        });
    let queries = parameters(head.query, ACCESS_TOKEN)
        .into_iter()
        .map(|value| String::from_utf8(value).ok().map(Cow::Owned));
    let mut tokens = headers.chain(queries);
    let token = tokens.next()?;
    // Two tokens: the next component might take the other one.
    if tokens.next().is_some() {
        return Some(Err(TokenFault::Malformed));
    }
    Some(token.ok_or(TokenFault::Malformed))
}

/// The decoded values of a query parameter.
fn parameters(query: &str, wanted: &str) -> Vec<Vec<u8>> {
    query
        .split('&')
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let named = percent_decode_str(name)
                .decode_utf8()
                .is_ok_and(|name| name == wanted);
            named.then(|| percent_decode_str(value).collect())
        })
        .collect()
}
