//! The current keys of one issuer, and the callbacks that wait for newer ones.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};
use tracing::warn;

use crate::config::{Jwt, KeySet, KeySource, read_bounded};

use super::AuthError;

/// How often things happen; tests use shorter times.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefreshPace {
    /// Keys are fetched again after this long.
    pub(super) refresh: Duration,
    /// Tokens with unknown keys cause at most one fetch in this time.
    pub(super) unknown: Duration,
    /// First wait after a failed fetch while there are no keys; it doubles up to `unknown`.
    pub(super) retry: Duration,
    /// The last good keys are used this long.
    pub(super) last_good: Duration,
    /// One answer of a key server takes at most this long.
    pub(super) answer: Duration,
    /// A callback with an unknown key waits for fresh ones at most this long.
    pub(super) wait_limit: Duration,
    /// Files are checked this often.
    pub(super) look: Duration,
}

impl Default for RefreshPace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            unknown: Duration::from_secs(30),
            retry: Duration::from_secs(1),
            last_good: Duration::from_secs(86_400),
            answer: Duration::from_secs(5),
            wait_limit: Duration::from_secs(3),
            look: Duration::from_secs(1),
        }
    }
}

/// Callbacks that wait for fresh keys at once: they hold permits that others need.
const WAITING: usize = 64;

/// Where one issuer's keys come from, and the current keys.
pub(super) struct Source {
    pub(super) issuer: String,
    pub(super) place: KeySource,
    pub(super) pace: RefreshPace,
    state: watch::Sender<KeyState>,
    wanted: Notify,
    waiting: Semaphore,
}

#[derive(Default)]
struct KeyState {
    held: Option<HeldKeys>,
    /// When the last fetch began, and how many have ended.
    begun: Option<Instant>,
    in_flight: bool,
    ended: u64,
    /// When the next fetch is due by itself, as far as is known.
    due: Option<Instant>,
}

#[derive(Clone)]
struct HeldKeys {
    keys: Arc<KeySet>,
    /// When the fetch that brought them began.
    as_of: Instant,
}

impl Source {
    /// Keys in a file are read at once, others are read with the first fetch.
    pub(super) fn new(rules: &Jwt, pace: RefreshPace) -> Result<Self, AuthError> {
        let mut state = KeyState::default();
        if let KeySource::File(path) = &rules.keys {
            let keys = read_keys(path)?;
            tell_weak(&rules.issuer, &keys, None);
            state.held = Some(HeldKeys {
                keys: Arc::new(keys),
                as_of: Instant::now(),
            });
            state.ended = 1;
        }
        Ok(Self {
            issuer: rules.issuer.clone(),
            place: rules.keys.clone(),
            pace,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            waiting: Semaphore::new(WAITING),
        })
    }

    /// The keys, unless there never were any or the last good ones are too old at `now`.
    pub(super) fn keys(&self, now: Instant) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        let held = state.held.as_ref()?;
        let lasting = matches!(self.place, KeySource::File(_));
        let good = lasting || now.saturating_duration_since(held.as_of) < self.pace.last_good;
        good.then(|| held.keys.clone())
    }

    /// Whether an unknown key is proven not to exist: the known keys were requested after `arrived`, or are in a file
    /// of the operator's.
    pub(super) fn proves_since(&self, arrived: Instant) -> bool {
        matches!(self.place, KeySource::File(_))
            || self
                .state
                .borrow()
                .held
                .as_ref()
                .is_some_and(|held| held.as_of >= arrived)
    }

    /// Seconds until keys may be known that are not known at `now`, at least one: without any keys, until the next
    /// fetch is due; else until a callback with an unknown key may cause a fetch.
    pub(super) fn retry_after(&self, now: Instant) -> u16 {
        let without = self.keys(now).is_none();
        let state = self.state.borrow();
        let next = if without {
            // Nothing is due while a fetch goes on: it may end at any time.
            state.due
        } else {
            state.begun.map(|begun| begun + self.pace.unknown)
        };
        let rest = next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        let seconds = rest.as_millis().div_ceil(1_000).max(1);
        u16::try_from(seconds).unwrap_or(u16::MAX)
    }

    /// Asks for fresh keys and waits until a fetch has ended, if one may begin now.
    ///
    /// # Cancel safety
    /// The fetch belongs to the refresher and goes on.
    pub(super) async fn fresh(&self) {
        if matches!(self.place, KeySource::File(_)) {
            return;
        }
        self.wanted.notify_one();
        let mut news = self.state.subscribe();
        let ended = {
            let state = news.borrow_and_update();
            let resting = state
                .begun
                .is_some_and(|begun| begun.elapsed() < self.pace.unknown);
            if resting && !state.in_flight {
                return;
            }
            state.ended
        };
        let Ok(_place) = self.waiting.try_acquire() else {
            return;
        };
        // Too late counts as never: the callback is judged by what is known then.
        timeout(
            self.pace.wait_limit,
            news.wait_for(|state| state.ended != ended),
        )
        .await
        .map(drop)
        .ok();
    }

    /// Waits until the first fetch has ended, successful or not.
    pub(super) async fn first(&self) {
        // Only an error if the sender is gone, and that is `self`.
        self.state
            .subscribe()
            .wait_for(|state| state.ended > 0)
            .await
            .map(drop)
            .ok();
    }

    /// Waits until a callback asks for fresh keys.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn begins(&self, now: Instant) {
        self.state.send_modify(|state| {
            state.begun = Some(now);
            state.in_flight = true;
            state.due = None;
        });
    }

    /// A fetch that began at `as_of` has ended; without keys the last good ones stay. The next one begins at `due`, unless a
    /// callback brings it forward.
    pub(super) fn ends(&self, as_of: Instant, keys: Option<KeySet>, due: Option<Instant>) {
        self.state.send_modify(|state| {
            state.in_flight = false;
            state.due = due;
            state.ended += 1;
            if let Some(keys) = keys {
                let before = state.held.as_ref().map(|held| held.keys.as_ref());
                tell_weak(&self.issuer, &keys, before);
                state.held = Some(HeldKeys {
                    keys: Arc::new(keys),
                    as_of,
                });
            }
        });
    }
}

/// Logs keys that are ignored, once and not with every fetch.
fn tell_weak(issuer: &str, keys: &KeySet, before: Option<&KeySet>) {
    let known = before.map_or(&[][..], KeySet::weak);
    if !keys.weak().is_empty() && keys.weak() != known {
        warn!(
            issuer,
            keys = ?keys.weak(),
            "RSA keys below 2048 bits are ignored: tokens signed with them are not valid"
        );
    }
}

/// Reads a file of keys.
pub(super) fn read_keys(path: &Path) -> Result<KeySet, AuthError> {
    let text = read_bounded(path).map_err(|source| AuthError::KeyFile {
        path: path.to_owned(),
        source,
    })?;
    KeySet::parse(&text).map_err(|source| AuthError::Keys {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_a_sender_is_told_when_they_are_fetched_next() {
        let rules = crate::auth::test_support::rules(KeySource::Url(
            "https://issuer.example/keys".parse().unwrap(),
        ));
        let source = Source::new(&rules, RefreshPace::default()).unwrap();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(source.retry_after(start), 1);
        source.begins(start);
        assert_eq!(source.retry_after(after(4_000)), 1);
        source.ends(start, None, Some(after(4_000)));
        assert_eq!(source.retry_after(start), 4);
        assert_eq!(source.retry_after(after(1)), 4);
        assert_eq!(source.retry_after(after(1_000)), 3);
        assert_eq!(source.retry_after(after(3_999)), 1);
        assert_eq!(source.retry_after(after(9_000)), 1);
        // With keys the question is when a callback may bring a fetch forward.
        let keys = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}"#;
        let keys = || Some(KeySet::parse(keys.as_bytes()).unwrap());
        source.begins(start);
        source.ends(start, keys(), Some(after(600_000)));
        assert_eq!(source.retry_after(after(5_000)), 25);
        assert_eq!(source.retry_after(after(40_000)), 1);
        // Keys that are too old do not count.
        let day = 86_400_000;
        source.ends(start, None, Some(after(day + 12_000)));
        assert_eq!(source.retry_after(after(day)), 12);
    }

    #[test]
    fn the_intervals_are_the_documented_ones() {
        let pace = RefreshPace::default();
        assert_eq!(pace.refresh, Duration::from_mins(10));
        assert_eq!(pace.unknown, Duration::from_secs(30));
        assert_eq!(pace.last_good, Duration::from_hours(24));
        assert_eq!(pace.answer, Duration::from_secs(5));
    }
}
