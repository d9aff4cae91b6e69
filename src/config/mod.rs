//! Configuration: layers, sections, checked shapes (docs/src/operator/configuration.md). Other modules see only the
//! checked shapes.
//!
//! The layers (`layers`) are merged into one tree that remembers where each value was written (`tree`); every table of
//! it is read key by key (`section`), and problems are collected (`problems`), so that one run shows all of them.

mod apps;
mod auth;
mod broker;
mod checked;
mod consent;
mod key_pair;
mod key_set;
mod layers;
mod print;
mod problems;
mod queues;
mod routes;
mod secret;
mod secret_file;
mod section;
mod settings;
mod tree;
mod type_notices;

pub use auth::{
    ACCESS_TOKEN, Acs, Audience, Auth, Jwt, KeySource, Methods, SecretPlace, SharedSecret,
    check_key_url,
};
pub use broker::{BrokerUrlError, BrokerUrlFileError, check_broker_url, read_broker_urls};
pub use checked::{
    AcceptAfter, App, Broker, BrokerEndpoint, Config, Delivery, EventGrid, Journal, KeyPair,
    OnInvalid, OnUnknown, Rate, Schemas, Server, ServerLimits, Tls,
};
pub use key_pair::{KeyPairError, read_key_pair};
pub(crate) use key_set::KeySet;
pub use key_set::KeySetError;
pub use layers::{Base, Flag, Sources};
pub use problems::Problems;
pub use secret::Secret;
pub use secret_file::{SecretFileError, read_bounded, read_secrets};
pub use settings::BATCH_LIMIT;
pub use type_notices::type_notices;

use crate::{
    catalog::{Catalog, CatalogError},
    event::AppName,
};

use problems::ProblemCollector;
use routes::Vocabulary;
use section::Section;

/// Reads and checks a configuration, and opens the catalogue that its `[schemas]` name: routes are checked against it.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(sources: &Sources) -> Result<(Config, Catalog), Problems> {
    let mut catalog = None;
    let config = load_with(sources, |schemas| {
        let opened = open_catalog(schemas).map_err(|error| {
            let problems = error.problems.iter();
            problems.map(ToString::to_string).collect::<Vec<_>>()
        })?;
        let vocabulary = Vocabulary::of(&opened);
        catalog = Some(opened);
        Ok(vocabulary)
    })?;
    let catalog = catalog.expect("a configuration without problems has opened its catalogue");
    Ok((config, catalog))
}

/// Opens the catalogue that `[schemas]` names; also what a reload calls.
///
/// # Errors
/// Everything that is wrong with the directory.
pub fn open_catalog(schemas: &Schemas) -> Result<Catalog, CatalogError> {
    match &schemas.path {
        Some(directory) => Catalog::with_directory(directory),
        None => Catalog::builtin(),
    }
}

/// [`load`] for callers that have already opened a catalogue and check many configurations against it: opening one
/// takes a hundred times as long. The catalogue that `[schemas]` names is not opened.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load_against(sources: &Sources, catalog: &Catalog) -> Result<Config, Problems> {
    load_with(sources, |_| Ok(Vocabulary::of(catalog)))
}

/// [`load`] with any words of a catalogue.
fn load_with(
    sources: &Sources,
    vocabulary: impl FnOnce(&Schemas) -> Result<Vocabulary, Vec<String>>,
) -> Result<Config, Problems> {
    let findings = ProblemCollector::default();
    let config = sources.joined(&findings).map(|(place, entries)| {
        Section::read("", &place, &entries, &findings, |top| {
            config(top, sources, vocabulary)
        })
    });
    match (findings.into_problems(), config) {
        (Some(problems), _) => Err(problems),
        (None, Some(config)) => Ok(config),
        (None, None) => unreachable!("layers that cannot be joined leave a finding"),
    }
}

fn config(
    top: &mut Section<'_>,
    sources: &Sources,
    vocabulary: impl FnOnce(&Schemas) -> Result<Vocabulary, Vec<String>>,
) -> Config {
    let server = top.table("server", |section| {
        let server = settings::server(section, &sources.host_name());
        if matches!(sources.base, Base::Development { .. }) && !server.listen.ip().is_loopback() {
            section.refuse(
                "listen",
                "the development receiver has no auth and listens on a loopback address only: write a configuration file",
            );
        }
        server
    });
    let journal = top.table("journal", settings::journal);
    let delivery = top.table("delivery", settings::delivery);
    let broker = top.table("broker", broker::broker);
    let mut words = None;
    let schemas = top.table("schemas", |section| {
        let schemas = settings::schemas(section);
        // A path that is not a directory is already a problem.
        let usable = schemas.path.as_ref().is_none_or(|path| path.is_dir());
        match vocabulary(&schemas) {
            Ok(found) => words = Some(found),
            Err(problems) if usable => {
                for problem in problems {
                    section.refuse("path", problem);
                }
            }
            Err(_) => {}
        }
        schemas
    });
    let apps = apps::apps(top);
    let names: Vec<AppName> = apps.iter().map(|app| app.name.clone()).collect();
    let routes = routes::routes(top, &names, words.as_ref());
    if journal.limit_bytes < server.limits.body_limit_bytes as u64 {
        top.refuse(
            "journal",
            "limit_bytes is below server.body_limit_bytes: the largest callback would never fit",
        );
    } else if journal.destination_bytes() < server.limits.body_limit_bytes as u64 {
        top.refuse(
            "journal",
            "limit_bytes x destination_share is below server.body_limit_bytes: the largest callback would never fit",
        );
    }
    Config {
        server,
        journal,
        delivery,
        broker,
        schemas,
        apps,
        routes,
    }
}

#[cfg(test)]
mod tests;
