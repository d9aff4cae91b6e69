//! How settings are printed that serde does not write as they are read; the rest is `Serialize` on the types of
//! `checked.rs`, and `Display for Config` there.

use std::time::Duration;

use lapin::uri::AMQPUri;
use reqwest::Url;
use serde::{Serialize, Serializer};

use super::secret::Secret;

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn duration<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*time))
}

pub(super) fn stdout<S: Serializer>(to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str("stdout:")
}

pub(super) fn off<S: Serializer>(to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bool(false)
}

pub(super) fn call_key<S: Serializer>(from_path: &bool, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if *from_path { "path" } else { "auto" })
}

pub(super) fn pairs<S: Serializer>(pairs: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().cloned())
}

/// A table where there is one.
pub(super) fn one_or_all<T: Serialize, S: Serializer>(all: &[T], to: S) -> Result<S::Ok, S::Error> {
    match all {
        [one] => one.serialize(to),
        all => all.serialize(to),
    }
}

/// The URL with `***` for its query: some issuers require a key there.
pub(super) fn without_query<'u, S: Serializer>(
    url: impl Into<Option<&'u Url>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let mut url = url.into().cloned();
    if let Some(url) = url.as_mut().filter(|url| url.query().is_some()) {
        url.set_query(Some("***"));
    }
    url.as_ref().map(Url::as_str).serialize(to)
}

pub(super) fn without_passwords<S: Serializer>(urls: &[Secret], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(urls.iter().map(without_password))
}

/// The URL as written, with `***` for its password.
fn without_password(url: &Secret) -> String {
    let parsed: Result<AMQPUri, _> = url.expose().parse();
    let (Ok(_), Some((scheme, rest))) = (parsed, url.expose().split_once("://")) else {
        return "***".to_owned();
    };
    // As in the URL standard: user information ends at the last `@` before path or query.
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{host}{tail}"),
            None => format!("{scheme}://{user}@{host}{tail}"),
        },
        None => url.expose().to_owned(),
    }
}
