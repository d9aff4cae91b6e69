//! Bodies of a gibibyte: announced, sent at full speed, and sent slowly.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    OPEN, Stage,
    client::{Client, chunked_head, head},
    process::Process,
};

const GIB: usize = 1 << 30;

/// Senders at once.
const SENDERS: usize = 32;

/// Memory allowed for the bodies of all callbacks in progress (64 MiB) and for buffers of connections.
const ROOM_KIB: u64 = 64 * 1_024 + 32 * 1_024;

fn announced() -> String {
    head(
        "POST /callbacks/hostile",
        &format!("Content-Length: {GIB}\r\n"),
    )
}

/// Sends `piece` again and again, whatever is answered, until the listener closes the connection. Returns the answer
/// and the number of bytes sent.
async fn pour(stream: TcpStream, piece: &[u8]) -> (String, usize) {
    let (mut reading, mut writing) = stream.into_split();
    let mut heard = Vec::new();
    let listening = async {
        // A reset is an end, too.
        drop(reading.read_to_end(&mut heard).await);
    };
    let pouring = async {
        let mut gone = 0;
        while let Ok(count) = writing.write(piece.split_at(gone % piece.len()).1).await {
            gone += count;
        }
        gone
    };
    let both = async { tokio::join!(listening, pouring) };
    let ((), gone) = tokio::time::timeout(Duration::from_secs(120), both)
        .await
        .expect("the listener closes the connection in time");
    (String::from_utf8_lossy(&heard).into_owned(), gone)
}

/// All senders send at once. Each gets 413 and is cut, and the receiver stays within its memory limit.
async fn check_poured(what: &str, head: &str, piece: &[u8]) {
    let stage = Stage::start("", OPEN).await;
    let normal = stage.normal();
    normal.window().await;
    let files = stage.open_files().await;
    let process = Process::of(&stage.receiver);
    let before = process.peak_kib();
    let port = stage.port();
    let senders = join_all((0..SENDERS).map(|number| async move {
        let mut client = Client::from(number, port).await.expect("a connection");
        client.say(head).await;
        pour(client.into_stream(), piece).await
    }));
    let (all, _) = tokio::join!(senders, normal.window());
    let most = all.iter().map(|(_, gone)| *gone).max().unwrap_or_default();
    let told = all
        .iter()
        .filter(|(heard, _)| heard.starts_with("HTTP/1.1 413 "))
        .count();
    let grown = process.peak_kib().saturating_sub(before);
    println!(
        "{SENDERS} bodies of a gibibyte, {what}: {told} got 413, at most {} KiB were taken of one, {} MiB more memory at most",
        most / 1_024,
        grown / 1_024
    );
    assert_eq!(told, SENDERS, "{all:?}");
    assert!(grown < ROOM_KIB, "{grown} KiB more");
    stage.is_left_by_all(files).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_that_is_announced_is_413_before_a_byte_of_it() {
    let stage = Stage::start("", OPEN).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut client = Client::open(stage.port()).await;
        let announced =
            announced().replacen("Content-Length", &format!("{expect}Content-Length"), 1);
        client.say(announced).await;
        let mut answer = client.answer().await;
        if answer.status == 100 {
            answer = client.answer().await;
        }
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body.contains("1048576 bytes"), "{answer:?}");
        // Any further bytes on this connection could be part of the body.
        assert!(
            answer
                .head
                .to_ascii_lowercase()
                .contains("connection: close"),
            "{answer:?}"
        );
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_that_is_sent_anyway_is_not_read() {
    check_poured("announced", &announced(), &[b' '; 65_536]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_in_chunks_is_413_at_the_limit_and_not_read_on() {
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
    check_poured("in chunks", &chunked_head("hostile"), chunk.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_that_trickles_is_408() {
    let stage = Stage::start("request_timeout = \"4s\"", OPEN).await;
    let files = stage.open_files().await;
    let process = Process::of(&stage.receiver);
    let before = process.peak_kib();
    let port = stage.port();
    let endless = head("POST /callbacks/hostile", "Content-Length: 1048576\r\n");
    let endless = endless.as_str();
    let all = join_all((0..SENDERS).map(|number| async move {
        let mut client = Client::from(number, port).await.expect("a connection");
        let in_chunks = number % 2 == 0;
        if in_chunks {
            client.say(chunked_head("hostile")).await;
        } else {
            client.say(endless).await;
        }
        loop {
            // 1 KiB twenty times a second: a gibibyte in fifteen hours.
            let drop = if in_chunks {
                format!("400\r\n{}\r\n", " ".repeat(1_024))
            } else {
                " ".repeat(1_024)
            };
            if client.try_say(drop).await.is_err() || !client.is_quiet() {
                break client.try_answer().await.map(|answer| answer.status);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }))
    .await;
    assert_eq!(all, [Some(408); SENDERS]);
    let grown = process.peak_kib().saturating_sub(before);
    println!("{SENDERS} trickling bodies: all 408, {grown} KiB more memory at most");
    assert!(grown < ROOM_KIB, "{grown} KiB more");
    stage.is_left_by_all(files).await;
    stage.end().await;
}
