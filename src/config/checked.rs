//! A configuration that has passed every check.

use std::{
    collections::BTreeMap, fmt, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration,
};

use serde::Serialize;

use crate::{
    event::AppName,
    route::{Route, Sink},
};

use super::{auth::Auth, print, secret::Secret};

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Listeners and limits.
    pub server: Server,
    /// `[journal]`.
    pub journal: Journal,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[broker]`.
    pub broker: Broker,
    /// `[schemas]`.
    #[serde(skip_serializing_if = "print::is_default")]
    pub schemas: Schemas,
    /// `[[apps]]`, names unique.
    pub apps: Vec<App>,
    /// `[[routes]]`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Public listener.
    pub listen: SocketAddr,
    /// Admin listener.
    pub admin_listen: SocketAddr,
    /// The certificate of the public listener; without one it does not use TLS.
    pub tls: Option<KeyPair>,
    /// The certificate of the admin listener; without one it does not use TLS.
    pub admin_tls: Option<KeyPair>,
    /// What bounds the public listener.
    #[serde(flatten)]
    pub limits: ServerLimits,
    /// Most events in one callback, 1 to 5,000.
    pub batch_limit: usize,
    /// One deadline for the whole graceful stop.
    #[serde(serialize_with = "print::duration")]
    pub shutdown_timeout: Duration,
    /// Name of this instance in logs and connection names; default: host name.
    pub instance: String,
}

/// The part of `[server]` that bounds the public listener (P5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServerLimits {
    /// Largest callback body, 1 KiB to 16 MiB.
    pub body_limit_bytes: usize,
    /// How long a request's head and body may take.
    #[serde(serialize_with = "print::duration")]
    pub request_timeout: Duration,
    /// How long a connection is kept between two requests.
    #[serde(serialize_with = "print::duration")]
    pub idle_timeout: Duration,
    /// Headers of one request, 8 to 96.
    pub header_limit: usize,
    /// Request line and headers of one request, 1 KiB to 128 KiB.
    pub head_limit_bytes: usize,
    /// Connections in total.
    pub connection_limit: usize,
    /// Connections of one peer address, at most `connection_limit`.
    pub peer_connection_limit: usize,
    /// Callbacks in progress at once; beyond that 503.
    pub in_flight_limit: usize,
}

/// A certificate chain and its key: PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyPair {
    /// The chain, its own certificate first.
    pub cert_file: PathBuf,
    /// The key of the first certificate.
    pub key_file: PathBuf,
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Journal {
    /// Directory.
    pub path: PathBuf,
    /// Bound of live records, bytes.
    pub limit_bytes: u64,
    /// Share of `limit_bytes` and of `limit_deliveries` that may be pending for one queue with all its partitions, or one
    /// exchange with all its routing keys; over 0 to 1.
    pub destination_share: f64,
    /// Limit of pending deliveries.
    pub limit_deliveries: u64,
    /// A commit that takes longer makes the instance unready, and callbacks are refused at once.
    #[serde(serialize_with = "print::duration")]
    pub stall_timeout: Duration,
    /// A stall of this length fails liveness.
    #[serde(serialize_with = "print::duration")]
    pub liveness_timeout: Duration,
}

impl Journal {
    /// What may be pending for one queue or exchange, bytes.
    #[must_use]
    pub fn destination_bytes(&self) -> u64 {
        self.share_of(self.limit_bytes)
    }

    /// What may be pending for one queue or exchange, deliveries.
    #[must_use]
    pub fn destination_deliveries(&self) -> u64 {
        self.share_of(self.limit_deliveries)
    }

    /// The share of `limit` that one queue or exchange may have.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a count: both are positive, and a few more or less do not matter"
    )]
    pub fn share_of(&self, limit: u64) -> u64 {
        (limit as f64 * self.destination_share) as u64
    }
}

/// When a callback is answered 2xx (P1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptAfter {
    /// After fsync of the journal.
    Journal,
    /// After the broker's confirm of every delivery.
    Confirm,
}

/// `[delivery]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// See [`AcceptAfter`].
    pub accept_after: AcceptAfter,
    /// `confirm` mode: how long a callback may wait.
    #[serde(serialize_with = "print::duration")]
    pub confirm_timeout: Duration,
    /// How long a publish may stay unconfirmed before its channel is closed.
    #[serde(serialize_with = "print::duration")]
    pub stall_timeout: Duration,
    /// Unconfirmed publishes per destination, 1 to 200.
    pub window: u32,
}

/// `[broker]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broker {
    /// Where deliveries go.
    #[serde(flatten)]
    pub endpoint: BrokerEndpoint,
    /// Exchange that queue destinations are published to; empty: the default exchange.
    pub exchange: String,
    /// Whether missing queues are declared.
    pub declare: bool,
    /// Largest message, bytes.
    pub max_message_bytes: usize,
    /// TLS material for `amqps`.
    #[serde(skip_serializing_if = "print::is_default")]
    pub tls: Tls,
}

/// Where deliveries go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum BrokerEndpoint {
    /// `stdout:`: NDJSON on standard output.
    #[serde(rename = "url", serialize_with = "print::stdout")]
    Stdout,
    /// AMQP URLs, tried in turn.
    #[serde(rename = "url", serialize_with = "print::without_passwords")]
    Amqp(Vec<Secret>),
    /// A file with one AMQP URL per line, read again at each connect.
    #[serde(rename = "url_file")]
    AmqpFile(PathBuf),
}

/// `broker.tls`: PEM or PKCS#12 files, read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Extra CA certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// Client key, PEM.
    pub key_file: Option<PathBuf>,
}

/// `[schemas]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Schemas {
    /// Directory whose `catalog.json` and schemas replace or extend the built-in ones.
    pub path: Option<PathBuf>,
}

/// What happens to an invalid event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInvalid {
    /// Kept with its errors; answered 202.
    Quarantine,
    /// The whole callback is refused with 422.
    Reject,
}

/// What happens to an event whose type the catalogue does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// Routed with kind `Unknown`.
    Route,
    /// Kept in quarantine; answered 202.
    Quarantine,
    /// The whole callback is refused with 422.
    Reject,
}

/// Whether Event Grid's validation request for a subscription is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "handshake", rename_all = "lowercase")]
pub enum EventGrid {
    /// `true` or `{ handshake = "authenticated" }`: yes, if it has credentials of the app.
    Authenticated,
    /// `{ handshake = "open" }`: yes, also without credentials. No other request is accepted without them.
    Open,
    /// `false`: no; the request is treated as an event.
    #[serde(untagged, serialize_with = "print::off")]
    Off,
}

/// A token bucket: a sustained rate per second, and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// `rate_limit`.
    #[serde(rename = "rate_limit")]
    pub per_second: NonZeroU32,
    /// `rate_burst`.
    #[serde(rename = "rate_burst")]
    pub burst: NonZeroU32,
}

/// `[[apps]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// Path segment and routing key part.
    pub name: AppName,
    /// True for `call_key = "path"`.
    #[serde(rename = "call_key", serialize_with = "print::call_key")]
    pub call_key_from_path: bool,
    /// `on_invalid`.
    pub on_invalid: OnInvalid,
    /// `on_unknown`.
    pub on_unknown: OnUnknown,
    /// Query parameters carried to consumers.
    pub pass_query: Vec<String>,
    /// Whether Event Grid's validation request is answered, and with which credentials.
    pub event_grid: EventGrid,
    /// Origins whose `OPTIONS` request is answered with consent, in lower case, or `*` alone; empty: `OPTIONS` is not
    /// answered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The rate per minute that the answer allows; `None`: any.
    pub allowed_rate: Option<NonZeroU32>,
    /// How many callbacks are accepted; `None`: any number.
    #[serde(flatten)]
    pub rate: Option<Rate>,
    /// How senders are authenticated.
    pub auth: Auth,
}

/// TOML that reads as the same configuration, except for passwords and the queries of URLs, which are written as `***`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Config {
    /// Notices for the operator that are not errors; for `check-config`, the log and the health status.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for app in &self.apps {
            let name = &app.name;
            match &app.auth {
                Auth::None => notices.push(format!(
                    "app {name} has no auth: any client of the listener may send callbacks for it"
                )),
                Auth::Any(methods) => {
                    if methods.acs.iter().any(|acs| acs.keys_url.is_some()) {
                        notices.push(format!(
                            "app {name} accepts the emulator's tokens (acs.keys_url), not the service's"
                        ));
                    }
                    if app.event_grid == EventGrid::Open {
                        notices.push(format!(
                            "app {name} answers Event Grid's validation request without credentials (event_grid.handshake)"
                        ));
                    }
                }
            }
            if app.on_invalid == OnInvalid::Reject || app.on_unknown == OnUnknown::Reject {
                notices.push(format!(
                    "app {name} rejects events with 422, which Event Grid sends again for 24 hours"
                ));
            }
            let routes = || {
                self.routes
                    .iter()
                    .filter(|route| route.app.as_ref().is_none_or(|wanted| wanted == name))
            };
            if let Some((needed, limit)) = self.batch_that_never_fits(routes()) {
                notices.push(format!(
                    "app {name}: a callback of {batch} events (server.batch_limit) can need {needed} deliveries where at most \
                     {limit} may be pending (journal.limit_deliveries, destination_share): such a callback gets 413",
                    batch = self.server.batch_limit,
                ));
            }
            if routes().next().is_none() {
                notices.push(format!(
                    "app {name} has no route: its events go to hookswitch.unrouted"
                ));
            }
        }
        notices
    }

    /// What the largest callback of an app with these routes can need, and the limit of pending deliveries, where that
    /// is less.
    fn batch_that_never_fits<'a>(
        &self,
        routes: impl Iterator<Item = &'a Route>,
    ) -> Option<(u64, u64)> {
        let batch = self.server.batch_limit as u64;
        let mut by_share: BTreeMap<(bool, &str), u64> = BTreeMap::new();
        for route in routes {
            let share = match &route.sink {
                Sink::Queue { name, .. } => (true, name.as_str()),
                Sink::Exchange { exchange, .. } => (false, exchange.as_str()),
            };
            *by_share.entry(share).or_default() += batch;
        }
        let all = by_share.values().sum::<u64>().max(batch);
        let one = by_share.values().copied().max().unwrap_or(batch);
        [
            (all, self.journal.limit_deliveries),
            (one, self.journal.destination_deliveries()),
        ]
        .into_iter()
        .find(|(needed, limit)| needed > limit)
    }
}
