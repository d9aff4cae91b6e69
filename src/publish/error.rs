//! What can stop the publisher, or one try of it.

use std::{path::PathBuf, time::Duration};

use crate::{config::BrokerUrlFileError, report::Chain};

/// Why the publisher, a connection of it, or a check failed. Most are tried again; the first log line names them.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A broker URL cannot be read. The URL itself is not shown: it holds the password.
    #[error(
        "broker URL number {number} is no AMQP URL ({reason}): write amqp://user:password@host:5672/vhost"
    )]
    Url {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// `broker.url_file` or a TLS file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `broker.url_file` names no broker.
    #[error("cannot take the broker's address from broker.url_file")]
    UrlFile(#[source] BrokerUrlFileError),
    /// A TLS file has nothing in it that can be used.
    #[error("{path} holds no {what} in PEM form")]
    Pem {
        /// Which one.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// No authority is named, and the system knows none.
    #[error("cannot read the system's certificates: install them, or set broker.tls.ca_file")]
    NoAuthorities(#[source] std::io::Error),
    /// The TLS library does not take certificate and key.
    #[error("cannot use the certificate and key of broker.tls")]
    Tls(#[source] std::io::Error),
    /// The broker ended the connection right after TLS was agreed on, and we had shown no certificate. With TLS 1.3 that
    /// is all that is seen of a broker that wants one: it says so, but resets the connection before it can be read.
    #[error(
        "the broker at {host} ended the TLS connection without a word: if it wants a client certificate, set broker.tls.cert_file and key_file"
    )]
    NoIdentity {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Box<lapin::Error>,
    },
    /// Only one of the client certificate and its key is configured.
    #[error("broker.tls needs cert_file and key_file together")]
    HalfIdentity,
    /// The broker did not take the connection.
    #[error("cannot connect to the broker at {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        #[source]
        source: Box<lapin::Error>,
    },
    /// The broker did not answer in time.
    #[error("the broker at {host} did not answer within {after:?}")]
    Silent {
        /// Host and port.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The broker takes connections but does not do what it is asked.
    #[error("cannot {doing}: the broker did not answer within {after:?}")]
    Unanswered {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The connection or a channel failed during an operation.
    #[error("cannot {doing}")]
    Broker {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<lapin::Error>,
    },
    /// Standard output is gone.
    #[error("cannot write deliveries to standard output")]
    Stdout(#[source] std::io::Error),
    /// The publisher's metrics are on this registry already.
    #[error("cannot register the publisher's metrics")]
    Metrics(#[from] prometheus::Error),
    /// A part of the publisher ended before it was told to: a bug.
    #[error("the publisher's {part} ended before it was told to")]
    EndedAttempt {
        /// Which one.
        part: &'static str,
    },
}

impl PublishError {
    /// An error of the library while `doing` something.
    pub(super) fn broker(doing: &'static str, source: lapin::Error) -> Self {
        Self::Broker {
            doing,
            source: Box::new(source),
        }
    }
}

/// The error and all its causes on one line, for a log field or a board.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}
