//! Request smuggling: every known way to make two readers disagree about where a request ends. Each shape of
//! `tests/data/framing/shapes.tsv` is refused and its connection closed, or it has exactly one meaning here; a request planted in it is
//! never seen by a handler.

use std::time::Duration;

use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::ingress::test_support::{Listener, SECRET, rang, settings};

const TABLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/framing/shapes.tsv"
));

/// How every callback to the app begins.
const POST: &str = "POST /callbacks/contoso HTTP/1.1\r\nHost: h\r\n";

/// A shape, what is answered to it in order, the events that reach the journal, and who ends the connection.
struct Shape {
    name: &'static str,
    bytes: String,
    statuses: Vec<u16>,
    events: Vec<&'static str>,
    /// Its sender does.
    ends_there: bool,
}

/// A callback that means one thing only.
fn honest(event: &str) -> String {
    format!("{POST}Content-Length: {}\r\n\r\n{event}", event.len())
}

fn shapes() -> Vec<Shape> {
    let [event, second, planted] = ["1", "2", "planted"].map(|id| rang(id).to_string());
    let planted = honest(&planted);
    let length = event.len();
    let marks = [
        ("⏎", "\r\n".to_owned()),
        ("<post>", POST.to_owned()),
        ("<event>", event.clone()),
        ("<length>", length.to_string()),
        ("<hex>", format!("{length:x}")),
        ("<HEX>", format!("{length:X}")),
        ("<1>", honest(&event)),
        ("<2>", honest(&second)),
        ("<planted length>", planted.len().to_string()),
        ("<planted hex>", format!("{:x}", planted.len())),
        ("<planted>", planted),
        ("<many>", "a".repeat(10_000)),
        ("<secret>", SECRET.to_owned()),
    ];
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [name, statuses, events, ends, text] = line.split('\t').collect::<Vec<_>>()[..]
            else {
                panic!("five columns: {line}");
            };
            let text = percent_decode_str(text).decode_utf8().unwrap().into_owned();
            let statuses = statuses.split(' ').map(|status| status.parse().unwrap());
            Shape {
                name,
                bytes: marks
                    .iter()
                    .fold(text, |text, (mark, meant)| text.replace(mark, meant)),
                statuses: statuses.collect(),
                events: events.split(' ').filter(|id| *id != "-").collect(),
                ends_there: match ends {
                    "here" => false,
                    "there" => true,
                    other => panic!("{name}: who is {other}?"),
                },
            }
        })
        .collect()
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

async fn try_shape(listener: &mut Listener, shape: &Shape) -> (String, Vec<String>) {
    let mut stream = TcpStream::connect(listener.listening.address())
        .await
        .unwrap();
    stream.write_all(shape.bytes.as_bytes()).await.unwrap();
    if shape.ends_there {
        stream.shutdown().await.unwrap();
    }
    let mut seen = Vec::new();
    let mut text = Vec::new();
    let reading = async {
        loop {
            tokio::select! {
                read = stream.read_buf(&mut text) => if read.unwrap() == 0 { break },
                offered = listener.journal.next() => {
                    let callback = offered.unwrap().keep();
                    seen.extend(callback.offers.iter().map(|offer| offer.facts.event_id.to_string()));
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap_or_else(|_| panic!("{}: the connection stays open", shape.name));
    while let Some(Some(offered)) = listener.journal.next().now_or_never() {
        let callback = offered.keep();
        seen.extend(
            callback
                .offers
                .iter()
                .map(|offer| offer.facts.event_id.to_string()),
        );
    }
    (String::from_utf8(text).unwrap(), seen)
}

#[tokio::test]
async fn no_request_is_read_in_two_ways() {
    let mut listener = Listener::open(settings());
    let shapes = shapes();
    let mut wrong = Vec::new();
    for shape in &shapes {
        let (text, seen) = try_shape(&mut listener, shape).await;
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

/// The parser decodes ahead, and frames an answer as the last request that it saw asks for.
#[tokio::test]
async fn pipelined_requests_are_each_answered_as_they_asked() {
    let listener = Listener::open(settings());
    let head = |method: &str, version: &str, more: &str| {
        format!("{method} /nowhere HTTP/{version}\r\nHost: h\r\nContent-Length: 0\r\n{more}\r\n")
    };
    let post = head("POST", "1.1", "");
    let requests = [
        post.clone(),
        head("HEAD", "1.1", ""),
        post.clone(),
        head("POST", "1.1", "Connection: close\r\n"),
        // After that nothing is taken.
        head("POST", "1.0", ""),
        head("HEAD", "1.1", ""),
    ];
    let mut stream = TcpStream::connect(listener.listening.address())
        .await
        .unwrap();
    stream
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut text))
        .await
        .expect("the listener closes the connection")
        .unwrap();
    // Closing word and length of the body of each answer.
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
