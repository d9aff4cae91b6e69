//! Prints a checked configuration as a file: every setting with its effective value.

use std::fmt;

use lapin::uri::AMQPUri;
use reqwest::Url;
use toml::Value;

use crate::route::{Filter, Route, Sink};

use super::{
    auth::{Acs, Audience, Auth, Jwt, KeySource, Methods, SecretPlace, SharedSecret},
    checked::{
        AcceptAfter, App, Broker, BrokerEndpoint, Config, EventGrid, KeyPair, OnInvalid, OnUnknown,
        Secret, Tls,
    },
};

/// TOML that reads as the same configuration, except for passwords and the queries of URLs, which are written as `***`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        let limits = &server.limits;
        let mut page = SettingsPage(f);
        page.table("[server]")?;
        page.line("listen", server.listen.to_string())?;
        page.line("admin_listen", server.admin_listen.to_string())?;
        for (key, pair) in [("tls", &server.tls), ("admin_tls", &server.admin_tls)] {
            if let Some(pair) = pair {
                page.line(key, key_pair(pair))?;
            }
        }
        page.line("body_limit_bytes", integer(limits.body_limit_bytes))?;
        page.line("batch_limit", integer(server.batch_limit))?;
        page.line("request_timeout", duration(limits.request_timeout))?;
        page.line("shutdown_timeout", duration(server.shutdown_timeout))?;
        page.line("idle_timeout", duration(limits.idle_timeout))?;
        page.line("header_limit", integer(limits.header_limit))?;
        page.line("head_limit_bytes", integer(limits.head_limit_bytes))?;
        page.line("connection_limit", integer(limits.connection_limit))?;
        page.line(
            "peer_connection_limit",
            integer(limits.peer_connection_limit),
        )?;
        page.line("in_flight_limit", integer(limits.in_flight_limit))?;
        page.line("instance", server.instance.as_str())?;
        page.table("[journal]")?;
        page.line("path", self.journal.path.display().to_string())?;
        page.line("limit_bytes", integer(self.journal.limit_bytes))?;
        page.line("destination_share", self.journal.destination_share)?;
        page.line("limit_deliveries", integer(self.journal.limit_deliveries))?;
        page.line("stall_timeout", duration(self.journal.stall_timeout))?;
        page.line("liveness_timeout", duration(self.journal.liveness_timeout))?;
        page.table("[delivery]")?;
        let accept_after = match self.delivery.accept_after {
            AcceptAfter::Journal => "journal",
            AcceptAfter::Confirm => "confirm",
        };
        page.line("accept_after", accept_after)?;
        page.line("confirm_timeout", duration(self.delivery.confirm_timeout))?;
        page.line("stall_timeout", duration(self.delivery.stall_timeout))?;
        page.line("window", integer(self.delivery.window))?;
        broker(&mut page, &self.broker)?;
        if let Some(path) = &self.schemas.path {
            page.table("[schemas]")?;
            page.line("path", path.display().to_string())?;
        }
        self.apps.iter().try_for_each(|one| app(&mut page, one))?;
        self.routes.iter().try_for_each(|one| route(&mut page, one))
    }
}

struct SettingsPage<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl SettingsPage<'_, '_> {
    fn table(&mut self, header: &str) -> fmt::Result {
        writeln!(self.0, "{header}")
    }

    fn line(&mut self, key: &str, value: impl Into<Value>) -> fmt::Result {
        writeln!(self.0, "{key} = {}", value.into())
    }
}

/// Every integer of a checked configuration is below 2^63: it was read from TOML or is a default.
fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn duration(time: std::time::Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn words<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

fn broker(page: &mut SettingsPage<'_, '_>, broker: &Broker) -> fmt::Result {
    page.table("[broker]")?;
    match &broker.endpoint {
        BrokerEndpoint::Stdout => page.line("url", "stdout:")?,
        BrokerEndpoint::Amqp(urls) => {
            page.line("url", urls.iter().map(without_password).collect::<Vec<_>>())?;
        }
        BrokerEndpoint::AmqpFile(path) => page.line("url_file", path.display().to_string())?,
    }
    page.line("exchange", broker.exchange.as_str())?;
    page.line("declare", broker.declare)?;
    page.line("max_message_bytes", integer(broker.max_message_bytes))?;
    if broker.tls != Tls::default() {
        page.table("[broker.tls]")?;
    }
    for (key, path) in [
        ("ca_file", &broker.tls.ca_file),
        ("cert_file", &broker.tls.cert_file),
        ("key_file", &broker.tls.key_file),
    ] {
        if let Some(path) = path {
            page.line(key, path.display().to_string())?;
        }
    }
    Ok(())
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

/// The URL with `***` for its query: some issuers require a key there.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.to_string()
}

fn filter(expression: &Filter) -> Value {
    let pairs = |pairs: &[(String, String)]| {
        let members = pairs.iter();
        Value::Table(
            members
                .map(|(name, value)| (name.clone(), value.as_str().into()))
                .collect(),
        )
    };
    let list = |filters: &[Filter]| Value::Array(filters.iter().map(filter).collect());
    let (dialect, operand) = match expression {
        Filter::Exact(members) => ("exact", pairs(members)),
        Filter::Prefix(members) => ("prefix", pairs(members)),
        Filter::Suffix(members) => ("suffix", pairs(members)),
        Filter::All(filters) => ("all", list(filters)),
        Filter::Any(filters) => ("any", list(filters)),
        Filter::Not(inner) => ("not", filter(inner)),
    };
    Value::Table([(dialect.to_owned(), operand)].into_iter().collect())
}

fn app(page: &mut SettingsPage<'_, '_>, app: &App) -> fmt::Result {
    page.table("[[apps]]")?;
    page.line("name", app.name.as_str())?;
    match &app.auth {
        Auth::None => page.line("auth", "none")?,
        Auth::Any(given) => page.line("auth", methods(given))?,
    }
    page.line(
        "call_key",
        if app.call_key_from_path {
            "path"
        } else {
            "auto"
        },
    )?;
    let on_invalid = match app.on_invalid {
        OnInvalid::Quarantine => "quarantine",
        OnInvalid::Reject => "reject",
    };
    page.line("on_invalid", on_invalid)?;
    let on_unknown = match app.on_unknown {
        OnUnknown::Route => "route",
        OnUnknown::Quarantine => "quarantine",
        OnUnknown::Reject => "reject",
    };
    page.line("on_unknown", on_unknown)?;
    page.line("pass_query", app.pass_query.clone())?;
    page.line("event_grid", event_grid(app.event_grid))?;
    if !app.allowed_origins.is_empty() {
        page.line("allowed_origins", app.allowed_origins.clone())?;
    }
    if let Some(rate) = app.allowed_rate {
        page.line("allowed_rate", integer(rate.get()))?;
    }
    if let Some(rate) = app.rate {
        page.line("rate_limit", integer(rate.per_second.get()))?;
        page.line("rate_burst", integer(rate.burst.get()))?;
    }
    Ok(())
}

fn event_grid(handshake: EventGrid) -> Value {
    let word = match handshake {
        EventGrid::Off => return false.into(),
        EventGrid::Authenticated => "authenticated",
        EventGrid::Open => "open",
    };
    table([("handshake", Some(word.into()))])
}

fn table<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let entries = entries.into_iter();
    Value::Table(
        entries
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
    )
}

fn key_pair(pair: &KeyPair) -> Value {
    table([
        (
            "cert_file",
            Some(pair.cert_file.display().to_string().into()),
        ),
        ("key_file", Some(pair.key_file.display().to_string().into())),
    ])
}

fn methods(methods: &Methods) -> Value {
    let acs = match &methods.acs[..] {
        [] => None,
        [only] => Some(resource(only)),
        several => Some(Value::Array(several.iter().map(resource).collect())),
    };
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    table([
        ("acs", acs),
        ("jwt", list(methods.jwt.iter().map(jwt).collect())),
        (
            "shared_secret",
            list(methods.shared_secret.iter().map(shared_secret).collect()),
        ),
    ])
}

fn resource(acs: &Acs) -> Value {
    table([
        ("resource_id", Some(acs.resource_id.as_str().into())),
        (
            "keys_url",
            acs.keys_url.as_ref().map(|url| without_query(url).into()),
        ),
    ])
}

fn jwt(jwt: &Jwt) -> Value {
    let (key, place) = match &jwt.keys {
        KeySource::Discovery(url) => ("discovery_url", without_query(url)),
        KeySource::Url(url) => ("jwks_url", without_query(url)),
        KeySource::File(path) => ("jwks_file", path.display().to_string()),
    };
    let algorithms = jwt.algorithms.iter().map(|one| format!("{one:?}"));
    let claims = jwt.claims.iter();
    let claims = claims.map(|(name, text)| (name.clone(), text.as_str().into()));
    table([
        ("issuer", Some(jwt.issuer.as_str().into())),
        (
            "audience",
            Some(words(jwt.audience.iter().map(Audience::as_str)).into()),
        ),
        (key, Some(place.into())),
        ("algorithms", Some(algorithms.collect::<Vec<_>>().into())),
        ("leeway", Some(duration(jwt.leeway).into())),
        ("claims", Some(Value::Table(claims.collect()))),
    ])
}

fn shared_secret(secret: &SharedSecret) -> Value {
    let (key, name) = match &secret.place {
        SecretPlace::Query(name) => ("query", name),
        SecretPlace::Header(name) => ("header", name),
    };
    let file = secret.value_file.display().to_string();
    table([
        (key, Some(name.as_str().into())),
        ("value_file", Some(file.into())),
    ])
}

fn route(page: &mut SettingsPage<'_, '_>, route: &Route) -> fmt::Result {
    page.table("[[routes]]")?;
    page.line("name", route.name.as_str())?;
    if let Some(app) = &route.app {
        page.line("app", app.as_str())?;
    }
    page.line("kinds", words(route.kinds.iter().map(|kind| kind.as_str())))?;
    page.line("types", route.types.clone())?;
    let generations = route.generations.iter().map(|name| name.as_str());
    page.line("generations", words(generations))?;
    page.line(
        "filter",
        route.filters.iter().map(filter).collect::<Vec<_>>(),
    )?;
    match &route.sink {
        Sink::Queue {
            name,
            partitions,
            queue_type,
        } => {
            page.line("queue", name.as_str())?;
            if let Some(count) = partitions {
                page.line("partitions", integer(count.get()))?;
            }
            page.line("queue_type", queue_type.as_str())
        }
        Sink::Exchange {
            exchange,
            routing_key,
        } => {
            page.line("exchange", exchange.as_str())?;
            page.line("routing_key", routing_key.to_string())
        }
    }
}
