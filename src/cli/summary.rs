//! A valid configuration in a few lines: apps, routes, queues, and warnings.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use crate::{
    catalog::Catalog,
    config::{App, Auth, BrokerEndpoint, Config, OnInvalid, OnUnknown, type_notices},
    route::{Address, QUARANTINE, Route, Sink, Target, UNROUTED},
};

/// Prints the summary of a configuration that was checked against `catalog`.
pub(super) fn print(config: &Config, catalog: &Catalog, out: &mut dyn Write) -> io::Result<()> {
    let server = &config.server;
    writeln!(out, "listeners:")?;
    for (what, address, pair) in [
        ("callbacks", server.listen, &server.tls),
        ("admin", server.admin_listen, &server.admin_tls),
    ] {
        let scheme = if pair.is_some() { "https" } else { "http" };
        writeln!(out, "  {what} on {scheme}://{address}")?;
    }
    writeln!(out, "apps:")?;
    for app in &config.apps {
        writeln!(out, "  {}", describe_app(app))?;
    }
    writeln!(out, "routes:")?;
    for route in &config.routes {
        writeln!(out, "  {}", describe_route(route))?;
    }
    writeln!(out, "queues:")?;
    for queue in queues(config) {
        writeln!(out, "  {queue}")?;
    }
    let mut notices = config.notices();
    notices.extend(type_notices(&config.apps, &config.routes, catalog));
    if !notices.is_empty() {
        writeln!(out, "warnings:")?;
    }
    for notice in notices {
        writeln!(out, "  {notice}")?;
    }
    Ok(())
}

fn describe_app(app: &App) -> String {
    let auth = match &app.auth {
        Auth::None => "no auth".to_owned(),
        Auth::Any(methods) => {
            let acs = match methods.acs.len() {
                0 | 1 => "acs".to_owned(),
                several => format!("acs ({several} resources)"),
            };
            let kinds = [
                (acs.as_str(), !methods.acs.is_empty()),
                ("jwt", !methods.jwt.is_empty()),
                ("shared_secret", !methods.shared_secret.is_empty()),
            ];
            let kinds = kinds.into_iter().filter(|(_, there)| *there);
            let kinds: Vec<&str> = kinds.map(|(kind, _)| kind).collect();
            format!("auth by {}", kinds.join(" or "))
        }
    };
    let call_key = if app.call_key_from_path {
        "path"
    } else {
        "auto"
    };
    let invalid = match app.on_invalid {
        OnInvalid::Quarantine => "quarantined",
        OnInvalid::Reject => "rejected",
    };
    let unknown = match app.on_unknown {
        OnUnknown::Route => "routed",
        OnUnknown::Quarantine => "quarantined",
        OnUnknown::Reject => "rejected",
    };
    let rate = app.rate.map_or_else(String::new, |rate| {
        let (limit, burst) = (rate.per_second, rate.burst);
        format!(", at most {limit} callbacks a second and {burst} at once")
    });
    format!(
        "{}: /callbacks/{}, {auth}, call key {call_key}, invalid events {invalid}, unknown types {unknown}{rate}",
        app.name, app.name
    )
}

fn describe_route(route: &Route) -> String {
    let words = |noun: &str, words: Vec<&str>| {
        let list = words.join(", ");
        (!list.is_empty()).then(|| format!("{noun} {list}"))
    };
    let app = route.app.as_ref().map(|app| format!("app {app}"));
    let filters: Vec<String> = route.filters.iter().map(ToString::to_string).collect();
    let parts: Vec<String> = [
        app.or_else(|| Some("every app".to_owned())),
        words(
            "kinds",
            route.kinds.iter().map(|kind| kind.as_str()).collect(),
        ),
        words("types", route.types.iter().map(String::as_str).collect()),
        words(
            "generations",
            route.generations.iter().map(|name| name.as_str()).collect(),
        ),
        words("filter", filters.iter().map(String::as_str).collect()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let sink = match &route.sink {
        Sink::Queue {
            name,
            partitions: None,
            queue_type,
        } => format!("{} queue {name}", queue_type.as_str()),
        Sink::Queue {
            name,
            partitions: Some(count),
            queue_type,
        } => format!("{} queue {name} in {count} partitions", queue_type.as_str()),
        Sink::Exchange {
            exchange,
            routing_key,
        } => format!("exchange {exchange} with routing key {routing_key}"),
    };
    format!("{}: {} -> {sink}", route.name, parts.join(", "))
}

/// Every queue that messages are published to, by name.
fn queues(config: &Config) -> BTreeSet<String> {
    let of_routes = config.routes.iter().filter_map(|route| match &route.sink {
        Sink::Queue {
            name,
            partitions,
            queue_type,
        } => Some(Target::Queue {
            name: name.as_str().into(),
            partitions: *partitions,
            queue_type: *queue_type,
        }),
        Sink::Exchange { .. } => None,
    });
    let own = [UNROUTED, QUARANTINE].map(str::to_owned);
    of_routes
        .flat_map(|target| target.addresses())
        .filter_map(|address| match address {
            Address::Queue { name, .. } => Some(name),
            Address::Exchange { .. } => None,
        })
        .chain(own)
        .filter(|_| config.broker.endpoint != BrokerEndpoint::Stdout)
        .collect()
}
