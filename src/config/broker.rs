//! `[broker]`: where deliveries go.

use std::path::{Path, PathBuf};

use lapin::uri::{AMQPScheme, AMQPUri};

use super::{
    checked::{Broker, BrokerEndpoint, Tls},
    secret::Secret,
    section::{Given, Section},
    tree::Value,
};

const EXAMPLE: &str = "amqp://user:password@host:5672/%2f";

/// What is wrong with a broker URL. Holds no part of the URL, because it contains a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write for example {EXAMPLE:?}")]
pub struct BrokerUrlError(String);

/// Checks one AMQP URL as lapin will read it, and beyond: lapin takes an IPv6 address for `localhost` and a trailing
/// slash for the virtual host with the empty name, and both are hard to find from the connection error.
///
/// # Errors
/// If it is not an `amqp` or `amqps` URL.
pub fn check_broker_url(url: &str) -> Result<AMQPUri, BrokerUrlError> {
    let refuse = |why: &str| BrokerUrlError(why.replace(url, "***"));
    let parsed: AMQPUri = url
        .parse()
        .map_err(|why: String| refuse(&format!("is not an AMQP URL: {why}")))?;
    let authority = url.split("://").nth(1).unwrap_or_default();
    let host = authority.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    if host.starts_with('[') {
        return Err(refuse(
            "has an IPv6 address, which the AMQP library does not read: use a host name",
        ));
    }
    if parsed.vhost.is_empty() {
        return Err(refuse(
            "names a virtual host without a name: end it with /%2f for the default one",
        ));
    }
    Ok(parsed)
}

#[derive(Debug, thiserror::Error)]
pub enum BrokerUrlFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A line is not a URL.
    #[error("line {line} of {path}")]
    Line {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        #[source]
        source: BrokerUrlError,
    },
    /// It holds no URL.
    #[error("{path} holds no URL: write one AMQP URL per line")]
    Empty { path: PathBuf },
}

/// Reads the file of `broker.url_file`: one AMQP URL per line, empty lines are skipped. Called at start and again at
/// each connect, so that a rotated password needs no restart.
///
/// # Errors
/// If it cannot be read, holds no URL, or holds a line that is not a URL.
pub fn read_broker_urls(path: &Path) -> Result<Vec<Secret>, BrokerUrlFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| BrokerUrlFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let urls = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(line, url)| match check_broker_url(url) {
            Ok(_) => Ok(Secret::new(url.to_owned())),
            Err(source) => Err(BrokerUrlFileError::Line {
                path: path.to_owned(),
                line,
                source,
            }),
        })
        .collect::<Result<Vec<Secret>, _>>()?;
    if urls.is_empty() {
        return Err(BrokerUrlFileError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(urls)
}

/// Reads `[broker]`.
pub(super) fn broker(section: &mut Section<'_>) -> Broker {
    let endpoint = endpoint(section);
    let broker = Broker {
        exchange: section.text("exchange").unwrap_or_default(),
        declare: section.flag("declare", true),
        // RabbitMQ accepts at most 512 MiB, and 16 MiB by default.
        max_message_bytes: section.integer("max_message_bytes", 1_024..=536_870_912, 16_777_216),
        tls: section.table("tls", tls),
        endpoint,
    };
    if broker.exchange.len() > 255 {
        section.refuse("exchange", "is longer than the 255 bytes of an AMQP name");
    }
    let plain = |url: &Secret| {
        check_broker_url(url.expose()).is_ok_and(|parsed| parsed.scheme == AMQPScheme::AMQP)
    };
    match &broker.endpoint {
        BrokerEndpoint::Amqp(urls) if broker.tls != Tls::default() && urls.iter().all(plain) => {
            section.refuse("tls", "is never used: no URL begins with amqps://");
        }
        _ => {}
    }
    broker
}

fn endpoint(section: &mut Section<'_>) -> BrokerEndpoint {
    let given = section.given("url");
    let file = section.path("url_file");
    match (given, file) {
        (Some(given), None) => written(&given),
        (None, Some(path)) => {
            if let Err(error) = read_broker_urls(&path) {
                section.refuse("url_file", crate::report::Chain(&error));
            }
            BrokerEndpoint::AmqpFile(path)
        }
        (Some(_), Some(_)) => {
            section.refuse("url_file", "conflicts with url: write one of the two");
            BrokerEndpoint::Stdout
        }
        (None, None) => {
            section.refuse(
                "url",
                format!("is missing: write url = {EXAMPLE:?}, url_file, or url = \"stdout:\" to print deliveries"),
            );
            BrokerEndpoint::Stdout
        }
    }
}

fn written(given: &Given<'_>) -> BrokerEndpoint {
    let texts: Vec<&str> = match &given.node.value {
        Value::Text(text) if text == "stdout:" => return BrokerEndpoint::Stdout,
        Value::Text(text) => vec![text],
        Value::List(items) => items
            .iter()
            .map_while(|item| match &item.value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let expected = match &given.node.value {
        Value::List(items) => items.len(),
        _ => 1,
    };
    if texts.is_empty() || texts.len() < expected {
        given.refuse(format!(
            "expected an AMQP URL like {EXAMPLE:?}, or a list of them"
        ));
    }
    for text in &texts {
        if let Err(error) = check_broker_url(text) {
            given.refuse(error);
        }
    }
    BrokerEndpoint::Amqp(
        texts
            .into_iter()
            .map(|text| Secret::new(text.to_owned()))
            .collect(),
    )
}

fn tls(section: &mut Section<'_>) -> Tls {
    let tls = Tls {
        ca_file: section.path("ca_file"),
        cert_file: section.path("cert_file"),
        key_file: section.path("key_file"),
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => section.refuse("key_file", "is missing beside cert_file"),
        (None, Some(_)) => section.refuse("cert_file", "is missing beside key_file"),
        _ => {}
    }
    let files = [
        ("ca_file", &tls.ca_file),
        ("cert_file", &tls.cert_file),
        ("key_file", &tls.key_file),
    ];
    for (name, path) in files {
        if let Some(path) = path
            && let Err(error) = std::fs::File::open(path)
        {
            section.refuse(name, format!("cannot read {}: {error}", path.display()));
        }
    }
    tls
}
