//! Request smuggling: every known way to make two readers disagree about where a request ends. Each shape of
//! `framing_shapes` is refused and its connection closed, or it has exactly one meaning here; a request smuggled in it
//! never reaches a handler.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::framing_shapes::shapes;
use crate::ingress::test_support::{Listener, settings};

/// Which side ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// We do, although its sender sends nothing more.
    Here,
    /// Its sender, which may go on.
    There,
}

/// A shape, the answers to it in order, the events that reach the journal, and which side ends the connection.
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

async fn try_shape(door: &mut Listener, shape: &Shape) -> (String, Vec<String>) {
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
    let mut door = Listener::open(settings());
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

/// The parser decodes ahead, and frames an answer for the last request that it saw.
#[tokio::test]
async fn pipelined_requests_are_each_answered_as_they_asked() {
    let door = Listener::open(settings());
    let head = |method: &str, version: &str, more: &str| {
        format!("{method} /nowhere HTTP/{version}\r\nHost: h\r\nContent-Length: 0\r\n{more}\r\n")
    };
    let post = head("POST", "1.1", "");
    let requests = [
        post.clone(),
        head("HEAD", "1.1", ""),
        post.clone(),
        head("POST", "1.1", "Connection: close\r\n"),
        // Nothing is accepted after that.
        head("POST", "1.0", ""),
        head("HEAD", "1.1", ""),
    ];
    let mut stream = TcpStream::connect(door.listening.address()).await.unwrap();
    stream
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text))
        .await
        .expect("the listener closes the connection")
        .unwrap();
    // The `Connection` value and the body length of each answer.
    let answers: Vec<(bool, usize)> = text
        .split("HTTP/1.1 404 Not Found\r\n")
        .skip(1)
        .map(|answer| {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let said = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let said: usize = said.unwrap().parse().unwrap();
            assert!(body.is_empty() || body.len() == said, "{text}");
            (head.contains("connection: close"), body.len())
        })
        .collect();
    let body = answers.first().unwrap().1;
    assert!(body > 0, "{text}");
    let expected = [(false, body), (false, 0), (false, body), (true, body)];
    assert_eq!(answers, expected, "{text}");
}
