//! Request bodies: members are read one by one, and every error names the member.
//!
//! Unknown members are ignored, as the service does; `null` counts as absent, because some clients send it for that.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{api_error::ApiError, event::Tone, identity::Identifier, world::Operation};

/// Characters of `operationContext` (docs/src/reference/acs-rest-api.md, "Bodies").
const CONTEXT_CHARACTERS: usize = 5000;

/// Reads the object that a body is. A missing body is an object without members: the error then names the missing
/// member.
///
/// # Errors
/// 400: not JSON, or not an object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad_request("the body is not a JSON object")),
        Err(error) => Err(ApiError::bad_request(format!(
            "the body is not JSON: {error}"
        ))),
    }
}

/// The members of one object of a body.
pub(super) struct BodyMembers<'a> {
    object: &'a Map<String, Value>,
    /// Where the object is in the body, with a dot at the end: `playSources[0].file.`; empty for the body itself.
    at: String,
}

impl<'a> BodyMembers<'a> {
    /// The members of the body itself.
    pub(super) fn of(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            at: String::new(),
        }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A refusal that names the member.
    pub(super) fn wrong(&self, name: &str, what: &str) -> ApiError {
        ApiError::bad_request(format!("{}{name} {what}", self.at))
    }

    /// A required member: `body.required("callbackUri", BodyMembers::url)`.
    pub(super) fn required<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<Option<T>, ApiError>,
    ) -> Result<T, ApiError> {
        read(self, name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    /// A string that is not empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.string(name)? {
            Some("") => Err(self.wrong(name, "is empty")),
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn string(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        self.get(name)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| self.wrong(name, "is not a string"))
            })
            .transpose()
    }

    /// `operationContext`.
    pub(super) fn context(&self) -> Result<Option<String>, ApiError> {
        const NAME: &str = "operationContext";
        let Some(text) = self.string(NAME)? else {
            return Ok(None);
        };
        let characters = text.chars().count();
        if characters > CONTEXT_CHARACTERS {
            return Err(self.wrong(
                NAME,
                &format!("has {characters} characters, at most {CONTEXT_CHARACTERS} are allowed"),
            ));
        }
        Ok(Some(text.to_owned()))
    }

    /// `operationContext` with the operation's own callback, which has another name in each generation.
    pub(super) fn operation(&self, callback: &str) -> Result<Operation, ApiError> {
        Ok(Operation {
            context: self.context()?,
            callback: self.url(callback)?,
        })
    }

    /// An absolute http or https URL. The service takes only https for callbacks; in development there often is only
    /// http.
    pub(super) fn url(&self, name: &str) -> Result<Option<String>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match reqwest::Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(text)),
            _ => Err(self.wrong(name, "is not an absolute http or https URL")),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.get(name)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.wrong(name, "is neither true nor false"))
            })
            .transpose()
    }

    /// A whole number, 0 or more.
    pub(super) fn whole(&self, name: &str) -> Result<Option<u32>, ApiError> {
        self.get(name)
            .map(|value| {
                value
                    .as_u64()
                    .and_then(|number| u32::try_from(number).ok())
                    .ok_or_else(|| self.wrong(name, "is not a whole number of 0 or more"))
            })
            .transpose()
    }

    /// A whole number of seconds.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        Ok(self
            .whole(name)?
            .map(|seconds| Duration::from_secs(u64::from(seconds))))
    }

    /// One of a fixed set of words, in any letter case.
    pub(super) fn word(
        &self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ApiError> {
        self.string(name)?
            .map(|text| self.one_of(name, text, words))
            .transpose()
    }

    /// Several of a fixed set of words.
    pub(super) fn words(
        &self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<Vec<&'static str>>, ApiError> {
        self.each(name, |place, value| {
            let text = value
                .as_str()
                .ok_or_else(|| self.wrong(place, "is not a string"))?;
            self.one_of(place, text, words)
        })
    }

    fn one_of(
        &self,
        place: &str,
        text: &str,
        words: &[&'static str],
    ) -> Result<&'static str, ApiError> {
        words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text))
            .copied()
            .ok_or_else(|| {
                self.wrong(
                    place,
                    &format!("is {text:?}, not one of {}", words.join(", ")),
                )
            })
    }

    /// Strings, none empty.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        self.each(name, |place, value| match value.as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(self.wrong(place, "is not a string with content")),
        })
    }

    /// The name of a tone: `one`, `pound`, `asterisk`.
    pub(super) fn tone(&self, name: &str) -> Result<Option<Tone>, ApiError> {
        self.string(name)?
            .map(|text| self.tone_of(name, text))
            .transpose()
    }

    /// Names of tones.
    pub(super) fn tones(&self, name: &str) -> Result<Option<Vec<Tone>>, ApiError> {
        self.each(name, |place, value| {
            self.tone_of(place, value.as_str().unwrap_or_default())
        })
    }

    fn tone_of(&self, place: &str, text: &str) -> Result<Tone, ApiError> {
        Tone::from_name(text).ok_or_else(|| {
            self.wrong(
                place,
                &format!("is {text:?}, which is not a tone: zero to nine, a to d, pound, asterisk"),
            )
        })
    }

    /// A participant, with or without `kind`.
    pub(super) fn identifier(&self, name: &str) -> Result<Option<Identifier>, ApiError> {
        self.get(name)
            .map(|value| self.identifier_of(name, value))
            .transpose()
    }

    /// Several of them; the list may be empty.
    pub(super) fn identifiers(&self, name: &str) -> Result<Option<Vec<Identifier>>, ApiError> {
        self.each(name, |place, value| self.identifier_of(place, value))
    }

    /// Several of them, at least one.
    pub(super) fn participants(&self, name: &str) -> Result<Option<Vec<Identifier>>, ApiError> {
        match self.identifiers(name)? {
            Some(participants) if participants.is_empty() => {
                Err(self.wrong(name, "names no participant"))
            }
            participants => Ok(participants),
        }
    }

    fn identifier_of(&self, place: &str, value: &Value) -> Result<Identifier, ApiError> {
        Identifier::from_json(value).map_err(|why| self.wrong(place, &format!("is invalid: {why}")))
    }

    /// `PhoneNumberIdentifierModel`, `{value}`: the number.
    pub(super) fn phone(&self, name: &str) -> Result<Option<String>, ApiError> {
        self.members(name)?
            .map(|phone| phone.required("value", BodyMembers::text))
            .transpose()
    }

    /// `CommunicationUserIdentifierModel`, `{id}`.
    pub(super) fn user(&self, name: &str) -> Result<Option<Identifier>, ApiError> {
        self.members(name)?
            .map(|user| {
                Ok(Identifier::User {
                    id: user.required("id", BodyMembers::text)?,
                })
            })
            .transpose()
    }

    /// An object.
    pub(super) fn members(&self, name: &str) -> Result<Option<BodyMembers<'a>>, ApiError> {
        self.get(name)
            .map(|value| self.members_of(name, value))
            .transpose()
    }

    /// An array of objects.
    pub(super) fn list(&self, name: &str) -> Result<Option<Vec<BodyMembers<'a>>>, ApiError> {
        self.each(name, |place, value| self.members_of(place, value))
    }

    fn members_of(&self, place: &str, value: &'a Value) -> Result<BodyMembers<'a>, ApiError> {
        let object = value
            .as_object()
            .ok_or_else(|| self.wrong(place, "is not an object"))?;
        Ok(BodyMembers {
            object,
            at: format!("{}{place}.", self.at),
        })
    }

    /// Every element of an array, with its location: `targets[1]`.
    fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&str, &'a Value) -> Result<T, ApiError>,
    ) -> Result<Option<Vec<T>>, ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let array = value
            .as_array()
            .ok_or_else(|| self.wrong(name, "is not an array"))?;
        array
            .iter()
            .enumerate()
            .map(|(at, value)| read(&format!("{name}[{at}]"), value))
            .collect::<Result<Vec<_>, _>>()
            .map(Some)
    }
}
