//! What a request addresses: its path, its `api-version`, and so the generation of the API.

use percent_encoding::percent_decode_str;

use super::response::ErrorForm;
use crate::{api_error::ApiError, event::Generation, world::Api};

/// The prefix of every documented path.
const PREFIX: &str = "calling";

/// Versions are dates with a suffix; they are compared by their dates.
const FIRST_PUBLIC: &str = "2021-06-15";
const AFTER_PUBLIC: &str = "2021-09";
const FIRST_GA: &str = "2023-03-06";

/// The version assumed for a request without prefix and `api-version`.
const UNNAMED_VERSION: &str = "2021-04-15-preview1";

/// A path and its query, taken apart.
pub(super) struct RequestAddress {
    /// Percent-decoded, without the prefix.
    segments: Vec<String>,
    prefixed: bool,
    version: Option<String>,
}

impl RequestAddress {
    /// Takes the path and the query of a request apart, both as sent.
    ///
    /// # Errors
    /// 400: percent-encoded bytes that are not UTF-8.
    pub(super) fn parse(path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        // Split first: an encoded slash belongs to an id.
        let mut segments = path
            .trim_start_matches('/')
            .split('/')
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;
        let prefixed = segments
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case(PREFIX));
        if prefixed {
            segments.remove(0);
        }
        let version = query
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("api-version"))
            .map(|(_, value)| decode(value))
            .transpose()?
            .filter(|version| !version.is_empty());
        Ok(Self {
            segments,
            prefixed,
            version,
        })
    }

    pub(super) fn segments(&self) -> &[String] {
        &self.segments
    }

    pub(super) fn prefixed(&self) -> bool {
        self.prefixed
    }

    /// The API that is requested.
    ///
    /// # Errors
    /// 400: no `api-version`, or one that the emulator does not support.
    pub(super) fn api(&self) -> Result<Api, ApiError> {
        if !self.prefixed && self.is_private() {
            return Ok(Api {
                generation: Generation::Private,
                version: self
                    .version
                    .clone()
                    .unwrap_or_else(|| UNNAMED_VERSION.to_owned()),
            });
        }
        let version = self.version.as_deref().ok_or_else(|| {
            ApiError::bad_request(
                "the query has no api-version: add ?api-version=2023-03-06 or a newer one",
            )
        })?;
        let generation = generation_of(version).ok_or_else(|| {
            ApiError::bad_request(format!(
                "api-version {version:?} is not spoken here: the emulator knows 2021-03-28-preview0 to \
                 2021-04-15-preview1, 2021-06-15-preview, 2021-08-30-preview, and {FIRST_GA} and newer"
            ))
        })?;
        Ok(Api {
            generation,
            version: version.to_owned(),
        })
    }

    /// How errors for this address are written, whether or not there is anything at it.
    pub(super) fn form(&self) -> ErrorForm {
        let version = self.version.as_deref().unwrap_or_default();
        let unprefixed_private = !self.prefixed && self.is_private();
        match generation_of(version) {
            _ if unprefixed_private => ErrorForm::Bare,
            Some(Generation::Private) => ErrorForm::Bare,
            Some(Generation::Public) if version.starts_with(FIRST_PUBLIC) => {
                ErrorForm::BareAndWrapped
            }
            Some(Generation::Public) => ErrorForm::Wrapped,
            Some(Generation::Ga) => ErrorForm::Ga,
            None if self.is_private() => ErrorForm::Bare,
            None if self.begins_with("serverCalls") => ErrorForm::Wrapped,
            None => ErrorForm::Ga,
        }
    }

    /// Whether only the private preview has paths like this.
    fn is_private(&self) -> bool {
        self.begins_with("calls") || self.begins_with("conversations")
    }

    fn begins_with(&self, word: &str) -> bool {
        self.segments
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case(word))
    }
}

fn generation_of(version: &str) -> Option<Generation> {
    let (date, suffix) = version.split_at_checked(10)?;
    let number = suffix
        .strip_prefix("-preview")
        .or(suffix.is_empty().then_some(""));
    if !number?.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let date: jiff::civil::Date = date.parse().ok()?;
    let date = date.to_string();
    match date.as_str() {
        date if date < FIRST_PUBLIC => Some(Generation::Private),
        date if date < AFTER_PUBLIC => Some(Generation::Public),
        date if date < FIRST_GA => None,
        _ => Some(Generation::Ga),
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| {
            ApiError::bad_request(format!("{text:?} of the URL is not UTF-8 once decoded"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, query: Option<&str>) -> (Option<Generation>, ErrorForm) {
        let address = RequestAddress::parse(path, query).expect("UTF-8");
        (address.api().ok().map(|api| api.generation), address.form())
    }

    #[test]
    fn path_and_version_tell_the_generation_and_its_form_of_errors() {
        use Generation::{Ga, Private, Public};
        for (path, version, generation, form) in [
            ("/calls", None, Some(Private), ErrorForm::Bare),
            ("/Calls", Some("2023-03-06"), Some(Private), ErrorForm::Bare),
            ("/calling/calls", None, None, ErrorForm::Bare),
            (
                "/calling/calls",
                Some("2021-03-28-preview0"),
                Some(Private),
                ErrorForm::Bare,
            ),
            (
                "/calling/calls",
                Some("2023-03-06"),
                Some(Ga),
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2021-06-15-preview"),
                Some(Public),
                ErrorForm::BareAndWrapped,
            ),
            (
                "/calling/callConnections",
                Some("2021-08-30-preview"),
                Some(Public),
                ErrorForm::Wrapped,
            ),
            (
                "/calling/callConnections",
                Some("2021-11-15-preview"),
                None,
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2022-04-07-preview"),
                None,
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2026-03-12"),
                Some(Ga),
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2025-06-15-preview"),
                Some(Ga),
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("latest"),
                None,
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2023-03-06garbage"),
                None,
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2023-03-06-preview1x"),
                None,
                ErrorForm::Ga,
            ),
            (
                "/calling/callConnections",
                Some("2026-13-12"),
                None,
                ErrorForm::Ga,
            ),
            ("/calling/callConnections", None, None, ErrorForm::Ga),
            (
                "/calling/serverCalls/1/:join",
                None,
                None,
                ErrorForm::Wrapped,
            ),
            ("/callConnections", None, None, ErrorForm::Ga),
        ] {
            let query = version.map(|version| format!("a=b&Api-Version={version}"));
            assert_eq!(
                check(path, query.as_deref()),
                (generation, form),
                "{path} {version:?}"
            );
        }
    }

    #[test]
    fn segments_are_decoded_after_the_path_is_split() {
        let address =
            RequestAddress::parse("/calling/recordings/a%2Fb/4%3A%2B1+2", None).expect("UTF-8");
        assert_eq!(address.segments(), ["recordings", "a/b", "4:+1+2"]);
        assert!(RequestAddress::parse("/calling/%FF", None).is_err());
    }
}
