//! `[[routes]]`: which events go where. Queues are checked across routes in [`super::queues`].

use std::{fmt::Display, num::NonZeroU32, str::FromStr};

use strum::VariantArray as _;

use crate::{
    catalog::Catalog,
    event::{AppName, Generation, Kind},
    route::{Filter, QueueType, Route, Sink, Template},
};

use super::{
    problems::suggestion,
    queues::{Queues, name_problem},
    section::{Given, Section},
    type_notices::is_full,
};

/// The words of the catalogue that a route may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vocabulary {
    /// Every full wire type.
    pub(super) types: Vec<String>,
    /// Every generation.
    pub(super) generations: Vec<String>,
}

impl Vocabulary {
    /// The words of `catalog`.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let generations = catalog.generations();
        Self {
            types: catalog.types().into_iter().map(str::to_owned).collect(),
            generations: generations
                .iter()
                .map(|generation| generation.as_str().to_owned())
                .collect(),
        }
    }

    /// Full and short names of every type: a route may use either.
    fn type_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.types
            .iter()
            .flat_map(|full| [full.as_str(), full.rsplit('.').next().unwrap_or(full)])
    }
}

/// Reads every route.
pub(super) fn routes(
    top: &mut Section<'_>,
    apps: &[AppName],
    vocabulary: Option<&Vocabulary>,
) -> Vec<Route> {
    let mut names = Vec::<String>::new();
    let mut queues = Queues::default();
    top.tables("routes", |section| {
        let route = route(section, apps, vocabulary, &mut queues)?;
        if names.contains(&route.name) {
            section.refuse("name", format!("there is a route {:?} already", route.name));
        }
        names.push(route.name.clone());
        Some(route)
    })
    .into_iter()
    .flatten()
    .collect()
}

/// `None` after a problem that leaves no route.
fn route(
    section: &mut Section<'_>,
    apps: &[AppName],
    vocabulary: Option<&Vocabulary>,
    queues: &mut Queues,
) -> Option<Route> {
    let name = name(section);
    let app = app(section, apps);
    let kinds = words(
        section,
        "kinds",
        "kind",
        Kind::VARIANTS.iter().map(|kind| kind.as_str()),
        |word| Kind::from_str(word).ok(),
    );
    let types = match vocabulary {
        Some(known) => words(section, "types", "event type", known.type_names(), |word| {
            // The service adds types at any time: a full name may be a type that the catalogue does not have yet.
            let is_taken = is_full(word) || known.type_names().any(|name| name == word);
            is_taken.then(|| word.to_owned())
        }),
        None => unchecked(section, "types"),
    };
    let generations = match vocabulary {
        Some(known) => {
            let names = known.generations.iter().map(String::as_str);
            words(
                section,
                "generations",
                "generation",
                names.clone(),
                |word| {
                    let is_known = names.clone().any(|name| name == word);
                    is_known.then(|| word.to_owned())
                },
            )
        }
        None => unchecked(section, "generations"),
    };
    let filters = filters(section);
    let sink = sink(section, queues);
    Some(Route {
        name: name?,
        app,
        kinds,
        types,
        generations: generations.into_iter().map(Generation::new).collect(),
        filters,
        sink: sink?,
    })
}

fn name(section: &mut Section<'_>) -> Option<String> {
    if section.given("name").is_none() {
        section.refuse("name", "is missing: write a name for logs and explain");
        return None;
    }
    let name = section.text("name")?;
    if name.is_empty() {
        section.refuse("name", "is empty");
        return None;
    }
    Some(name)
}

fn app(section: &mut Section<'_>, apps: &[AppName]) -> Option<AppName> {
    let word = section.text("app")?;
    let found = apps.iter().find(|app| app.as_str() == word);
    if found.is_none() {
        let known = apps.iter().map(AppName::as_str);
        section.refuse(
            "app",
            format!("there is no app {word:?}{}", suggestion(&word, known)),
        );
    }
    found.cloned()
}

/// A list of words out of a closed set.
fn words<'w, T>(
    section: &mut Section<'_>,
    key: &'static str,
    noun: &str,
    known: impl IntoIterator<Item = &'w str> + Clone,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let refuse = |given: &Given<'_>, word: &str| {
        let hint = suggestion(word, known.clone());
        let all = match key {
            // There are about a hundred types: a list would hide the message.
            _ if !hint.is_empty() => hint,
            "types" => "; `hookswitch schemas list` prints them; a type that it does not list must be written in full, for example \"Microsoft.Communication.PlayFailed\"".to_owned(),
            _ => format!(
                "; known: {}",
                known.clone().into_iter().collect::<Vec<_>>().join(", ")
            ),
        };
        given.refuse(format!("unknown {noun} {word:?}{all}"));
    };
    section
        .texts(key)
        .iter()
        .filter_map(|given| {
            let word = given.text()?;
            let value = read(word);
            if value.is_none() {
                refuse(given, word);
            }
            value
        })
        .collect()
}

/// Words that cannot be checked because the catalogue could not be opened, which is a problem of its own.
fn unchecked(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    let texts = section.texts(key);
    texts
        .iter()
        .filter_map(|given| given.text())
        .map(str::to_owned)
        .collect()
}

fn filters(section: &mut Section<'_>) -> Vec<Filter> {
    let Some(given) = section.given("filter") else {
        return Vec::new();
    };
    match Filter::parse_list(&given.node.value.to_json()) {
        Ok(filters) => filters,
        Err(errors) => {
            for error in errors {
                // The error says where inside the filter; its location already begins with our key.
                let inside = error.place.strip_prefix("filter").unwrap_or(&error.place);
                given.refuse_inside(inside, error.problem);
            }
            Vec::new()
        }
    }
}

fn sink(section: &mut Section<'_>, queues: &mut Queues) -> Option<Sink> {
    let has_queue = section.given("queue").is_some();
    let has_exchange = section.given("exchange").is_some();
    if has_queue == has_exchange {
        let (key, message) = if has_queue {
            (
                "exchange",
                "is there beside queue: write two routes to have both",
            )
        } else {
            (
                "",
                "goes nowhere: write queue = \"contoso.calls\" or exchange = \"calls\"",
            )
        };
        section.refuse(key, message);
    }
    let queue = queue(section);
    let exchange = exchange(section);
    match (has_queue, has_exchange) {
        (true, false) => {
            refuse_keys(
                section,
                &["routing_key"],
                "belongs to an exchange: leave it out",
            );
            let sink = queue?;
            queues.add(section, &sink);
            Some(sink)
        }
        (false, true) => {
            let wrong = ["partitions", "queue_type"];
            refuse_keys(section, &wrong, "belongs to a queue: leave it out");
            exchange
        }
        _ => None,
    }
}

fn refuse_keys(section: &mut Section<'_>, keys: &[&'static str], message: impl Display + Copy) {
    for key in keys {
        if section.given(key).is_some() {
            section.refuse(key, message);
        }
    }
}

fn queue(section: &mut Section<'_>) -> Option<Sink> {
    let partitions = section
        .given("partitions")
        .map(|_| section.integer("partitions", 1..=1_024, 1));
    let types = [
        ("quorum", QueueType::Quorum),
        ("classic", QueueType::Classic),
    ];
    let queue_type = section.word("queue_type", &types, QueueType::default());
    Some(Sink::Queue {
        name: section.text("queue")?,
        partitions: partitions.and_then(NonZeroU32::new),
        queue_type,
    })
}

fn exchange(section: &mut Section<'_>) -> Option<Sink> {
    let routing_key = section.parsed("routing_key", "{app}.{kind}.{event}", Template::default());
    let exchange = section.text("exchange")?;
    if let Some(problem) = name_problem(&exchange) {
        section.refuse("exchange", problem);
    }
    Some(Sink::Exchange {
        exchange,
        routing_key,
    })
}
