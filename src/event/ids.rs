//! The names that tell apps, calls and generations apart; each is its own type.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Why a word is not an app name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an app name: 1 to 64 of a-z, A-Z, 0-9, '-' and '_' (no dot: routing keys are split at dots)"
)]
pub struct NameError(pub String);

/// A business application with its own callback path. 1 to 64 of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(Arc<str>);

impl AppName {
    /// The name as written in the configuration and in the callback path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(NameError(name))
        }
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest call key that is kept unchanged: as long as the rest of a callback path may be.
const CALL_KEY_LIMIT_BYTES: usize = 1_024;

/// What groups the events of one call (docs/src/consumer/call-keys.md). Any non-empty string; compared byte by byte.
/// Keys are remembered for a day, a million of them, so one that is longer than 1,024 bytes becomes `sha256:` and hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallKey(Arc<str>);

impl CallKey {
    /// Takes `key` unchanged, or its digest if it is too long; `None` for the empty string, which does not name a call.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>) -> Option<Self> {
        let key = key.into();
        if key.len() > CALL_KEY_LIMIT_BYTES {
            let mut digest = String::from("sha256:");
            for byte in Sha256::digest(key.as_bytes()) {
                digest.push_str(&format!("{byte:02x}"));
            }
            return Some(Self(digest.into()));
        }
        (!key.is_empty()).then_some(Self(key))
    }

    /// The key as consumers see it in `hookswitch-call`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A generation of the calling API, as the catalogue names it (`2021-private`, `ga`, …). The set is open: an operator's
/// schema directory may add one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(Arc<str>);

impl Generation {
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as in `catalog.json` and in the header `hookswitch-generation`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server call id made comparable across base64 alphabets and paddings (docs/src/reference/acs-events.md, "Ids").
/// Only for looking up bindings; consumers see the id as received.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerCallKey(String);

impl ServerCallKey {
    /// Folds base64url and padded base64 into one spelling; other strings stay distinct because the fold only
    /// exchanges `-_` for `+/` and drops trailing `=`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(
            id.trim_end_matches('=')
                .chars()
                .map(|c| match c {
                    '-' => '+',
                    '_' => '/',
                    other => other,
                })
                .collect(),
        )
    }

    /// The folded spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ids of one event from which admission makes its call key (docs/src/consumer/call-keys.md, "The ids"). Empty
/// strings and JSON nulls are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallIds {
    /// `data.callConnectionId`, else `data.callLegId` / `CallLegId`, else the id inside `subject` or `source`.
    pub connection: Option<String>,
    /// A `data.callConnectionId` that is not certain from the event alone: `source` or `subject` names a recording, and
    /// the id is the endpoint inside its recording id. A recording that was started with a server call id has an
    /// endpoint of its own there, which does not belong to a call; one that was started with a call connection id has
    /// that id there. So it counts only while the app has a call with this key. Never beside `connection`.
    pub recording_endpoint: Option<String>,
    /// `serverCallId`, `ConversationId`, the id inside `callLocator`, or the one inside an Event Grid `subject`.
    pub server_call: Option<String>,
    /// `recordingId`, also inside an Event Grid `subject`.
    pub recording: Option<String>,
    /// `operationContext`: a key only while exactly one call of the app has used it.
    pub operation_context: Option<String>,
    /// `correlationId`: never a key, carried to AMQP `correlation_id`.
    pub correlation: Option<String>,
}

impl CallIds {
    /// The call key as a function of the event alone, without anything learned from other events: `validate` prints it
    /// and `confirm` mode uses it. An operation context is not used: it belongs to the one call that has used it, which
    /// only other events show, and the same word in many calls would merge them into one. Nor is a recording's endpoint
    /// used: only other events can tell whether it belongs to a call.
    #[must_use]
    pub fn own_key(&self) -> Option<CallKey> {
        [&self.connection, &self.server_call, &self.recording]
            .into_iter()
            .flatten()
            .find_map(|id| CallKey::new(id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_name_with_a_dot_is_refused() {
        assert!(AppName::try_from("contoso".to_owned()).is_ok());
        for bad in ["", "a.b", "a/b", "ä", &"x".repeat(65)] {
            assert!(AppName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_call_key_too_long_to_be_remembered_becomes_its_digest() {
        let longest = "x".repeat(CALL_KEY_LIMIT_BYTES);
        assert_eq!(CallKey::new(longest.as_str()).unwrap().as_str(), longest);
        let key = |end: &str| CallKey::new(format!("{longest}{end}")).unwrap();
        assert!(key("a").as_str().starts_with("sha256:"));
        assert_eq!(key("a").as_str().len(), 71);
        assert_eq!(key("a"), key("a"));
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn both_base64_spellings_of_a_server_call_are_one_key() {
        assert_eq!(ServerCallKey::new("aGk_-w=="), ServerCallKey::new("aGk/+w"));
        assert_ne!(ServerCallKey::new("a"), ServerCallKey::new("b"));
    }

    #[test]
    fn the_connection_comes_before_every_other_id() {
        let ids = CallIds {
            connection: Some("c".into()),
            server_call: Some("s".into()),
            ..CallIds::default()
        };
        assert_eq!(ids.own_key(), CallKey::new("c"));
        assert_eq!(CallIds::default().own_key(), None);
        let menu = CallIds {
            operation_context: Some("menu".into()),
            ..CallIds::default()
        };
        assert_eq!(menu.own_key(), None, "many calls have a menu");
        let recording = CallIds {
            recording_endpoint: Some("e".into()),
            recording: Some("r".into()),
            ..CallIds::default()
        };
        assert_eq!(recording.own_key(), CallKey::new("r"));
    }
}
