//! Request smuggling: every known way to make two readers disagree about where a request ends. Each shape of
//! `framing_shapes` is refused and its connection closed, or it has exactly one meaning here; a request planted in it is
//! never seen by a handler.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    framing_shapes::shapes,
    testing::{Door, settings},
};

/// Who ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// We do, although its sender says nothing more.
    Here,
    /// Its sender, who may go on.
    There,
}

/// A shape, what is answered to it in order, the events that reach the journal, and who ends the connection.
pub(super) struct Shape {
    name: String,
    bytes: Vec<u8>,
    statuses: Vec<u16>,
    events: Vec<&'static str>,
    ends: Ends,
}

pub(super) fn shape(
    name: &str,
    bytes: impl Into<Vec<u8>>,
    statuses: &[u16],
    events: &[&'static str],
    ends: Ends,
) -> Shape {
    Shape {
        name: name.to_owned(),
        bytes: bytes.into(),
        statuses: statuses.to_vec(),
        events: events.to_vec(),
        ends,
    }
}

/// Statuses of the answers in `text`.
fn statuses(text: &str) -> Vec<u16> {
    ["HTTP/1.1 ", "HTTP/1.0 "]
        .iter()
        .flat_map(|version| text.match_indices(version))
        .filter_map(|(at, version)| {
            let status = text.get(at + version.len()..at + version.len() + 3)?;
            Some((at, status.parse().ok()?))
        })
        .collect::<std::collections::BTreeMap<usize, u16>>()
        .into_values()
        .collect()
}

async fn try_shape(door: &mut Door, shape: &Shape) -> (String, Vec<String>) {
    let mut stream = TcpStream::connect(door.listening.address()).await.unwrap();
    stream.write_all(&shape.bytes).await.unwrap();
    if shape.ends == Ends::There {
        stream.shutdown().await.unwrap();
    }
    let mut seen = Vec::new();
    let mut text = Vec::new();
    let reading = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut text) => if read.unwrap() == 0 { break },
                offered = door.journal.next() => {
                    let callback = offered.unwrap().keep();
                    seen.extend(callback.offers.iter().map(|offer| offer.event_id.to_string()));
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap_or_else(|_| panic!("{}: the connection stays open", shape.name));
    while let Some(Some(offered)) = door.journal.next().now_or_never() {
        let callback = offered.keep();
        seen.extend(
            callback
                .offers
                .iter()
                .map(|offer| offer.event_id.to_string()),
        );
    }
    (String::from_utf8(text).unwrap(), seen)
}

#[tokio::test]
async fn no_request_is_read_in_two_ways() {
    let mut door = Door::open(settings());
    let shapes = shapes();
    let mut wrong = Vec::new();
    for shape in &shapes {
        let (text, seen) = try_shape(&mut door, shape).await;
        let found = statuses(&text);
        let problems = text.matches("application/problem+json").count();
        let refusals = found.iter().filter(|status| **status >= 400).count();
        if found != shape.statuses || seen != shape.events || problems != refusals {
            wrong.push(format!(
                "{}: {found:?}, events {seen:?}; expected {:?}, {:?}\n{text}",
                shape.name, shape.statuses, shape.events
            ));
        }
    }
    assert!(shapes.len() > 80, "{} shapes", shapes.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    println!(
        "request smuggling: {} shapes, none read in two ways",
        shapes.len()
    );
}
