//! Errors that can stop the publisher, or one attempt of it.

use std::{path::PathBuf, time::Duration};

use crate::{config::BrokerUrlFileError, report::Chain};

/// Why the publisher, a connection of it, or a check failed. Most are retried; the first log line names them.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A broker URL cannot be read. The URL itself is not shown: it contains the password.
    #[error(
        "broker URL number {number} is not an AMQP URL ({reason}): write amqp://user:password@host:5672/vhost"
    )]
    Url {
        /// Its position in the list, from 1.
        number: usize,
        reason: String,
    },
    /// `broker.url_file` or a TLS file cannot be read.
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// `broker.url_file` does not name a broker.
    #[error("cannot take the broker's address from broker.url_file")]
    UrlFile(#[source] BrokerUrlFileError),
    /// A TLS file contains nothing usable.
    #[error("{path} holds no {what} in PEM form")]
    Pem {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// No authority is configured, and the system has none.
    #[error("cannot read the system's certificates: install them, or set broker.tls.ca_file")]
    NoAuthorities(#[source] std::io::Error),
    /// The TLS library refuses certificate and key.
    #[error("cannot use the certificate and key of broker.tls")]
    Tls(#[source] std::io::Error),
    /// The broker ended the connection right after the TLS handshake, and we had sent no certificate. With TLS 1.3 that
    /// is all that is visible of a broker that requires one: it says so, but resets the connection before it can be
    /// read.
    #[error(
        "the broker at {host} ended the TLS connection without a reply: if it requires a client certificate, set broker.tls.cert_file and key_file"
    )]
    NoIdentity {
        host: String,
        #[source]
        source: Box<lapin::Error>,
    },
    /// Only one of the client certificate and its key is configured.
    #[error("broker.tls needs cert_file and key_file together")]
    HalfIdentity,
    /// The broker refused the connection.
    #[error("cannot connect to the broker at {host}")]
    Connect {
        host: String,
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker did not answer in time.
    #[error("the broker at {host} did not answer within {after:?}")]
    Silent { host: String, after: Duration },
    /// The broker accepts connections but does not do what it is asked.
    #[error("cannot {doing}: the broker did not answer within {after:?}")]
    Unanswered {
        doing: &'static str,
        after: Duration,
    },
    /// The connection or a channel failed during an operation.
    #[error("cannot {doing}")]
    Broker {
        doing: &'static str,
        #[source]
        source: Box<lapin::Error>,
    },
    /// Standard output is closed.
    #[error("cannot write deliveries to standard output")]
    Stdout(#[source] std::io::Error),
    /// The publisher's metrics are already on this registry.
    #[error("cannot register the publisher's metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part of the publisher ended before it was told to: a bug.
    #[error("the publisher's {part} ended before it was told to")]
    PartEnded { part: &'static str },
}

impl PublishError {
    pub(super) fn broker(doing: &'static str, source: lapin::Error) -> Self {
        Self::Broker {
            doing,
            source: Box::new(source),
        }
    }
}

/// The error and all its causes on one line, for a log field or the status.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}
