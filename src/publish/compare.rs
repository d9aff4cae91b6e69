//! `check-config --broker`: the live topology against the configuration, without changing it.

use crate::config::Config;

use super::{
    PublishError,
    broker_object::{BrokerObject, broker_objects},
    connection::Dialer,
    topology::{CHECK_TIMEOUT, CheckDepth, TopologyCheck, check},
};

/// The status of a configured destination on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyStatus {
    /// It exists, as configured.
    Good,
    /// It does not exist, and `serve` will declare it.
    ToBeDeclared,
    /// It does not exist, and `serve` may not declare it: its deliveries would be held.
    Missing,
    /// It exists with other arguments: its deliveries would be held.
    Mismatched,
    /// The broker did not say.
    Unclear,
}

impl TopologyStatus {
    /// Whether deliveries would be held.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        !matches!(self, Self::Good | Self::ToBeDeclared)
    }

    /// The word in the output and in `--json`.
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
    pub status: TopologyStatus,
    /// The broker's text, which names both sides of a mismatch; empty if there is none.
    pub detail: String,
}

/// Compares every configured destination with the broker. Nothing missing is created: a queue is declared, which is how
/// RabbitMQ compares arguments, only after it was found to exist.
///
/// # Errors
/// If no broker can be reached (the error is that of the last configured URL), or a connection is lost during a check.
pub async fn compare(config: &Config) -> Result<Vec<TopologyFinding>, PublishError> {
    let (broker_objects, broker) = (broker_objects(&config.routes), &config.broker);
    let mut dialer = Dialer::new(broker.clone(), "hookswitch check-config".to_owned());
    let link = dialer.dial_any().await?;
    let mut topology_reports = Vec::with_capacity(broker_objects.len());
    for object in &broker_objects {
        let look = |depth| {
            let checking = check(&link.connection, object, broker, depth);
            async move {
                match tokio::time::timeout(CHECK_TIMEOUT, checking).await {
                    Ok(verdict) => {
                        verdict.map_err(|error| PublishError::broker("check a destination", error))
                    }
                    Err(_) => Ok(TopologyCheck::Held(format!(
                        "no answer within {CHECK_TIMEOUT:?}"
                    ))),
                }
            }
        };
        let mut verdict = look(CheckDepth::Look).await?;
        let declares = broker.declare && matches!(object, BrokerObject::Queue { .. });
        if verdict == TopologyCheck::Good && declares {
            verdict = look(CheckDepth::Compare).await?;
        }
        let (status, detail) = match verdict {
            TopologyCheck::Good => (TopologyStatus::Good, String::new()),
            TopologyCheck::Missing(_) if declares && is_queue_missing(&verdict, object) => {
                (TopologyStatus::ToBeDeclared, String::new())
            }
            TopologyCheck::Missing(detail) => (TopologyStatus::Missing, detail),
            TopologyCheck::Mismatched(detail) => (TopologyStatus::Mismatched, detail),
            TopologyCheck::Held(detail) => (TopologyStatus::Unclear, detail),
        };
        topology_reports.push(TopologyFinding {
            destination: object.name(),
            status,
            detail,
        });
    }
    link.close().await;
    Ok(topology_reports)
}

/// A queue's check looks for `broker.exchange` first, which is never declared; the broker's text tells the two apart.
fn is_queue_missing(verdict: &TopologyCheck, object: &BrokerObject) -> bool {
    match (verdict, object) {
        (TopologyCheck::Missing(text), BrokerObject::Queue { .. }) => !text.contains("no exchange"),
        _ => false,
    }
}
