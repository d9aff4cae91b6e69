//! Chunks in every allowed shape, and shapes that smuggle one request into another, which are refused.

use std::time::Duration;

use crate::support::{call_events, take_all, unique};

use super::{
    OPEN, Stage,
    client::{Client, callback, chunked_head, head},
};

/// The body in chunks, each with `extension` after its size, and `trailers`.
fn chunks(body: &str, size: usize, extension: &str, trailers: &str) -> String {
    let mut framed = String::new();
    for piece in body.as_bytes().chunks(size) {
        let piece = str::from_utf8(piece).expect("ASCII");
        framed += &format!("{:x}{extension}\r\n{piece}\r\n", piece.len());
    }
    format!("{framed}0{extension}\r\n{trailers}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_body_is_cut_into_chunks_the_same_bytes_come_out() {
    let stage = Stage::start("", OPEN).await;
    let calls: Vec<_> = (0..6)
        .map(|_| call_events(&unique("call"), 1).remove(0))
        .collect();
    let [a, b, c, d, e, f] = calls.as_slice() else {
        panic!("six");
    };
    let trailers = "Content-Length: 3\r\nTransfer-Encoding: identity\r\nHost: elsewhere\r\n";
    let mut client = Client::open(stage.port()).await;
    for framed in [
        chunks(&a.1, 1, "", ""),
        chunks(&b.1, 7, ";name=value;other=\"quoted\"", ""),
        chunks(&c.1, 1_000, "", trailers),
        in_capitals(&chunks(&d.1, 0xab, "", "")),
        format!("000000{}", chunks(&e.1, 0x300, ";x", "X-Trailer: 1\r\n")),
    ] {
        client.say(chunked_head("it") + &framed).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(answer.body.contains("\"accepted\":1"), "{answer:?}");
    }
    // Each byte in its own segment.
    for byte in (chunked_head("it") + &chunks(&f.1, 1, ";x", trailers)).bytes() {
        client.say([byte]).await;
    }
    assert_eq!(client.answer().await.status, 202);
    let idle_timeout = Duration::from_secs(10);
    let taken = take_all(&stage.amqp, &stage.queue, idle_timeout, |taken| {
        taken.len() >= 6
    })
    .await;
    let mut out: Vec<_> = taken.iter().map(|message| message.body.clone()).collect();
    let mut sent: Vec<_> = calls
        .iter()
        .map(|(_, body)| body.trim_matches(['[', ']']).as_bytes().to_vec())
        .collect();
    out.sort();
    sent.sort();
    assert_eq!(out, sent);
    stage.end().await;
}

/// The same with sizes in capitals.
fn in_capitals(framed: &str) -> String {
    let lines = framed.split("\r\n").enumerate().map(|(number, line)| {
        if number % 2 == 0 {
            line.to_ascii_uppercase()
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Heads and bodies that two parsers would delimit differently.
fn smuggled(hidden: &str) -> Vec<(&'static str, String)> {
    let with = |more: &str| head("POST /callbacks/it", more);
    let length = hidden.len();
    let old = |text: String| text.replacen("HTTP/1.1", "HTTP/1.0", 1);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let plain = format!("Content-Length: {length}\r\n");
    vec![
        (
            "length and chunks",
            with(&format!("{chunked}{plain}")) + "0\r\n\r\n" + hidden,
        ),
        (
            "chunks and length",
            with(&format!("{plain}{chunked}")) + "0\r\n\r\n" + hidden,
        ),
        (
            "two lengths",
            with(&format!("Content-Length: 0\r\n{plain}")) + hidden,
        ),
        (
            "one length twice",
            with(&format!("{plain}{plain}")) + hidden,
        ),
        (
            "a list of lengths",
            with("Content-Length: 2, 2\r\n") + "{}" + hidden,
        ),
        (
            "a length with a sign",
            with("Content-Length: +2\r\n") + "{}" + hidden,
        ),
        (
            "a negative length",
            with("Content-Length: -2\r\n") + "{}" + hidden,
        ),
        (
            "a hexadecimal length",
            with("Content-Length: 0x2\r\n") + "{}" + hidden,
        ),
        ("no length", with("Content-Length:\r\n") + "{}" + hidden),
        (
            "a length beyond 64 bits",
            with("Content-Length: 18446744073709551618\r\n") + "{}" + hidden,
        ),
        (
            "an unknown coding",
            with("Transfer-Encoding: xchunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "chunked and not last",
            with("Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "a coding before chunked",
            with("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "identity",
            with(&format!("Transfer-Encoding: identity\r\n{plain}")) + hidden,
        ),
        (
            "chunked twice",
            with(&format!("{chunked}{chunked}")) + "0\r\n\r\n" + hidden,
        ),
        (
            "a tab in chunked",
            with("Transfer-Encoding: \x0bchunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "a space before the colon",
            with("Transfer-Encoding : chunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "a folded line",
            with("X-Fold: a\r\n Transfer-Encoding: chunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "a line without a name",
            with(": chunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "chunks in HTTP/1.0",
            old(with(chunked) + "0\r\n\r\n") + hidden,
        ),
        (
            "two hosts",
            with("Host: elsewhere\r\nContent-Length: 2\r\n") + "{}" + hidden,
        ),
        (
            "a bare carriage return",
            with("X-A: b\rTransfer-Encoding: chunked\r\n") + "0\r\n\r\n" + hidden,
        ),
        (
            "a NUL",
            with("X-A: \0\r\nContent-Length: 2\r\n") + "{}" + hidden,
        ),
        (
            "a size with a prefix",
            with(chunked) + "0x2\r\n{}\r\n0\r\n\r\n" + hidden,
        ),
        (
            "a size with a sign",
            with(chunked) + "+2\r\n{}\r\n0\r\n\r\n" + hidden,
        ),
        (
            "a size that overflows",
            with(chunked) + "10000000000000002\r\n{}\r\n0\r\n\r\n" + hidden,
        ),
        ("no size", with(chunked) + "\r\n{}\r\n0\r\n\r\n" + hidden),
        (
            "a chunk that is longer than it says",
            with(chunked) + "1\r\n{}\r\n0\r\n\r\n" + hidden,
        ),
        (
            "a chunk without its end",
            with(chunked) + "2\r\n{}0\r\n\r\n" + hidden,
        ),
        (
            "a bare line feed after a size",
            with(chunked) + "2\n{}\r\n0\r\n\r\n" + hidden,
        ),
        (
            "a line feed in an extension",
            with(chunked) + "2;a\nb\r\n{}\r\n0\r\n\r\n" + hidden,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_into_another() {
    let stage = Stage::start("", OPEN).await;
    let (_, body) = call_events(&unique("hidden"), 1).remove(0);
    let hidden = callback("it", &body);
    let shapes = smuggled(&hidden);
    for (what, bytes) in &shapes {
        let mut client = Client::open(stage.port()).await;
        client.say(bytes).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert_eq!(client.rest().await, "", "{what}: the connection is closed");
    }
    let received = stage.receiver.metric("hookswitch_events_received_total");
    assert_eq!(received.await, Some(0.0), "no hidden request was accepted");
    // Any client can send these: they must not cause alerts or fill a disk with logs.
    let log = stage.receiver.log();
    assert!(!log.contains("\"ERROR\""), "{log}");
    assert!(log.lines().count() < shapes.len(), "{log}");
    println!(
        "{} shapes of smuggling: all 400, none was accepted",
        shapes.len()
    );
    stage.end().await;
}
