//! `check-config --broker`: the live topology against the configuration, without changing it.

use crate::config::Config;

use super::{
    PublishError,
    link::Dialer,
    place::{Place, places},
    topology::{CHECK_TIMEOUT, Depth, Verdict, check},
};

/// How a configured destination stands on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, as configured.
    Good,
    /// It is not there, and `serve` will declare it.
    ToBeDeclared,
    /// It is not there, and `serve` may not declare it: its deliveries would be held.
    Missing,
    /// It is there with other arguments: its deliveries would be held.
    Mismatched,
    /// The broker would not say.
    Unclear,
}

impl Standing {
    /// Whether deliveries would be held.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Good | Self::ToBeDeclared)
    }

    /// For people and for `--json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::ToBeDeclared => "to be declared",
            Self::Missing => "missing",
            Self::Mismatched => "mismatched",
            Self::Unclear => "unclear",
        }
    }
}

/// One configured destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyFinding {
    /// `queue contoso.calls.0` or `exchange calls`.
    pub destination: String,
    /// How it stands.
    pub standing: Standing,
    /// The broker's words, which name both sides of a mismatch; empty where there is nothing to say.
    pub detail: String,
}

/// Compares every configured destination with the broker. What is missing is not made: a queue is declared, which is
/// how RabbitMQ compares arguments, only after it was seen to be there.
///
/// # Errors
/// Where no broker can be reached, by the last of the configured URLs, or a connection is lost to a check.
pub async fn compare(config: &Config) -> Result<Vec<TopologyFinding>, PublishError> {
    let (places, broker) = (places(&config.routes), &config.broker);
    let mut dialer = Dialer::new(broker.clone(), "hookswitch check-config".to_owned());
    let link = dialer.dial_any().await?;
    let mut findings = Vec::with_capacity(places.len());
    for place in &places {
        let look = |depth| {
            let checking = check(&link.connection, place, broker, depth);
            async move {
                match tokio::time::timeout(CHECK_TIMEOUT, checking).await {
                    Ok(verdict) => {
                        verdict.map_err(|error| PublishError::broker("check a destination", error))
                    }
                    Err(_) => Ok(Verdict::Held(format!("no answer within {CHECK_TIMEOUT:?}"))),
                }
            }
        };
        let mut verdict = look(Depth::Look).await?;
        let declares = broker.declare && matches!(place, Place::Queue { .. });
        if verdict == Verdict::Good && declares {
            verdict = look(Depth::Compare).await?;
        }
        let (standing, detail) = match verdict {
            Verdict::Good => (Standing::Good, String::new()),
            Verdict::Missing(_) if declares && is_queue_missing(&verdict, place) => {
                (Standing::ToBeDeclared, String::new())
            }
            Verdict::Missing(detail) => (Standing::Missing, detail),
            Verdict::Mismatched(detail) => (Standing::Mismatched, detail),
            Verdict::Held(detail) => (Standing::Unclear, detail),
        };
        findings.push(TopologyFinding {
            destination: place.name(),
            standing,
            detail,
        });
    }
    link.close().await;
    Ok(findings)
}

/// A queue's check looks for `broker.exchange` first, which is never declared; the broker's text tells the two apart.
fn is_queue_missing(verdict: &Verdict, place: &Place) -> bool {
    match (verdict, place) {
        (Verdict::Missing(text), Place::Queue { .. }) => !text.contains("no exchange"),
        _ => false,
    }
}
