//! Configurations as operators write them, and every way in which they can be wrong.

mod auth;
mod layers;
mod routes;
mod sections;
mod tls;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{
    event::{AppName, Generation, Kind},
    route::{Filter, QueueType, Route, Sink, Template},
};

use super::{
    AcceptAfter, Base, BrokerEndpoint, Config, EventGrid, Flag, OnInvalid, OnUnknown, Problems,
    Schemas, Secret, Sources, Tls, load_with, routes::Vocabulary,
};

/// A minimal configuration; tests append to it.
const SMALL: &str = "\
[broker]
url = \"stdout:\"
[[apps]]
name = \"contoso\"
auth = \"none\"
";

fn words(_: &Schemas) -> Result<Vocabulary, Vec<String>> {
    Ok(Vocabulary {
        types: [
            "Microsoft.Communication.PlayFailed",
            "Microsoft.Communication.RecognizeFailed",
            "Microsoft.Communication.CallConnected",
        ]
        .map(str::to_owned)
        .to_vec(),
        generations: ["2021-private", "ga"].map(str::to_owned).to_vec(),
    })
}

fn read(text: &str) -> Result<Config, Problems> {
    load_with(&Sources::text("f.toml", text), words)
}

fn good(text: &str) -> Config {
    read(text).unwrap()
}

/// Every line of `expected` must be the beginning of one problem, in order, and there must be no other problem.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    check_sources(&Sources::text("f.toml", text), expected);
}

#[track_caller]
fn check_sources(sources: &Sources, expected: &[&str]) {
    let problems = load_with(sources, words).expect_err("refused");
    let fits = problems.lines().len() == expected.len()
        && problems
            .lines()
            .iter()
            .zip(expected)
            .all(|(line, beginning)| line.starts_with(beginning));
    assert!(fits, "got\n{problems}\nexpected\n{}", expected.join("\n"));
}

/// `SMALL` and one route with `lines`; the route is at line 6.
fn with_route(lines: &str) -> String {
    format!("{SMALL}[[routes]]\nname = \"r\"\n{lines}\n")
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
