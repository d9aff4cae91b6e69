//! `[[apps]]`: the senders of callbacks, and what happens to events that are not understood.

use std::num::NonZeroU32;

use crate::event::AppName;

use super::{
    auth,
    checked::{App, EventGrid, OnInvalid, OnUnknown, Rate},
    consent::consent,
    section::Section,
    tree::Value,
};

/// Reads one app; `None` without a usable name.
pub(super) fn app(section: &mut Section<'_>) -> Option<App> {
    let name = name(section);
    let auth = auth::auth(section);
    let event_grid = event_grid(section);
    let (allowed_origins, allowed_rate) = consent(section);
    let rate = rate(section);
    let call_keys = [("auto", false), ("path", true)];
    let on_invalid = [
        ("quarantine", OnInvalid::Quarantine),
        ("reject", OnInvalid::Reject),
    ];
    let on_unknown = [
        ("route", OnUnknown::Route),
        ("quarantine", OnUnknown::Quarantine),
        ("reject", OnUnknown::Reject),
    ];
    let call_key_from_path = section.word("call_key", &call_keys, false);
    let on_invalid = section.word("on_invalid", &on_invalid, OnInvalid::Quarantine);
    let on_unknown = section.word("on_unknown", &on_unknown, OnUnknown::Route);
    auth::refuse_passed_secrets(&auth, &section.texts("pass_query"));
    let pass_query = pass_query(section);
    Some(App {
        name: name?,
        call_key_from_path,
        on_invalid,
        on_unknown,
        pass_query,
        event_grid,
        allowed_origins,
        allowed_rate,
        rate,
        auth,
    })
}

fn name(section: &mut Section<'_>) -> Option<AppName> {
    if section.given("name").is_none() {
        section.refuse("name", "is missing: write name = \"contoso\"");
    }
    match AppName::try_from(section.text("name")?) {
        Ok(name) => Some(name),
        Err(error) => {
            section.refuse("name", error);
            None
        }
    }
}

/// `true`, `false`, or a table that says whether the validation request needs credentials.
fn event_grid(section: &mut Section<'_>) -> EventGrid {
    let name = "event_grid";
    match section.given(name).map(|given| &given.node.value) {
        None => EventGrid::Off,
        Some(Value::Boolean(true)) => EventGrid::Authenticated,
        Some(Value::Boolean(false)) => EventGrid::Off,
        Some(Value::Table(_)) => section.table(name, |section| {
            let words = [
                ("authenticated", EventGrid::Authenticated),
                ("open", EventGrid::Open),
            ];
            section.word("handshake", &words, EventGrid::Authenticated)
        }),
        Some(other) => {
            let found = other.description();
            section.refuse(
                name,
                format!("is {found}, expected true or false, without quotes, or {{ handshake = \"open\" }}"),
            );
            EventGrid::Off
        }
    }
}

/// A higher rate per second has no effect.
const RATE_LIMIT: u32 = 1_000_000;

fn rate(section: &mut Section<'_>) -> Option<Rate> {
    let limited = section.given("rate_limit").is_some();
    let per_second = section.integer("rate_limit", 1..=RATE_LIMIT, 1);
    if !limited && section.given("rate_burst").is_some() {
        section.refuse("rate_burst", "needs rate_limit: write both");
    }
    let burst = section.integer("rate_burst", 1..=RATE_LIMIT, per_second);
    let rate = Rate {
        per_second: NonZeroU32::new(per_second)?,
        burst: NonZeroU32::new(burst)?,
    };
    Some(rate).filter(|_| limited)
}

fn pass_query(section: &mut Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for given in section.texts("pass_query") {
        match given.text() {
            Some("") => given.refuse("is empty, expected the name of a query parameter"),
            Some(name) if names.iter().any(|known| known == name) => {
                given.refuse(format!("{name:?} is named twice"));
            }
            Some(name) => names.push(name.to_owned()),
            None => {}
        }
    }
    names
}

/// Reads every app; a repeated name is a problem.
pub(super) fn apps(top: &mut Section<'_>) -> Vec<App> {
    let mut seen = Vec::<AppName>::new();
    let apps: Vec<App> = top
        .tables("apps", |section| {
            let app = app(section)?;
            if seen.contains(&app.name) {
                section.refuse("name", format!("there is an app {} already", app.name));
            }
            seen.push(app.name.clone());
            Some(app)
        })
        .into_iter()
        .flatten()
        .collect();
    let example = "write [[apps]] with name = \"contoso\" and its auth";
    match top.given("apps").map(|given| &given.node.value) {
        None => top.refuse("apps", format!("is missing: {example}")),
        Some(Value::List(items)) if items.is_empty() => {
            top.refuse("apps", format!("is empty: {example}"));
        }
        Some(_) => {}
    }
    apps
}
