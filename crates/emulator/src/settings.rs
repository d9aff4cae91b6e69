//! What an emulator is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    delivery::{EventGrid, Misbehaviour},
    scenario::Scenario,
};

/// The access key that the emulator uses and prints if none is given: base64 of a sentence that says that it is not a
/// secret.
pub const DEFAULT_ACCESS_KEY: &str = "aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0";

/// Options of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the REST API listens over http; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it listens over https too.
    pub tls_listen: Option<SocketAddr>,
    /// Where the certificate of its own CA is written for clients.
    pub ca_out: Option<PathBuf>,
    /// The key of the HMAC, base64; `None` turns authentication off.
    pub access_key: Option<String>,
    /// The immutable resource id: the audience of callback tokens, and part of what Event Grid events name.
    pub resource_id: String,
    /// How callees behave, and which incoming calls there are.
    pub scenario: Scenario,
    /// How many times faster than real time calls go.
    pub speed: f64,
    /// The same seed, scenario and requests give the same ids and the same misbehaviour.
    pub seed: u64,
    /// What misbehaves, and how often.
    pub misbehave: Misbehaviour,
    /// Between the attempts of a callback, in real time. What the service does is not known.
    pub retries: Vec<Duration>,
    /// Where Event Grid delivers.
    pub event_grid: Option<EventGrid>,
    /// PEM file of authorities that are trusted for `https` callbacks besides the usual ones.
    pub callback_ca: Option<PathBuf>,
}

/// The default waits between attempts. What the service does is not known (docs/src/reference/acs-events.md, "How
/// callbacks are delivered").
#[must_use]
pub fn default_retries() -> Vec<Duration> {
    [200, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000]
        .map(Duration::from_millis)
        .to_vec()
}
