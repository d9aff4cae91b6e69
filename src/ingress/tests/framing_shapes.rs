//! The shapes of `framing`, with the result of each and why.

use super::framing::{
    Ends::{Here, There},
    Shape, shape,
};
use crate::ingress::test_support::{SECRET, rang};

/// A head with these lines, each without its line end.
fn head(lines: &[&str]) -> String {
    let mut text = "POST /callbacks/contoso HTTP/1.1\r\nHost: h\r\n".to_owned();
    for line in lines {
        text += line;
        text += "\r\n";
    }
    text + "\r\n"
}

/// A valid request.
fn honest(id: &str) -> String {
    let body = rang(id).to_string();
    head(&[&format!("Content-Length: {}", body.len())]) + &body
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

pub(super) fn shapes() -> Vec<Shape> {
    [heads(), lines(), bodies()].into_iter().flatten().collect()
}

/// Shapes whose head alone is refused, whatever follows.
fn heads() -> Vec<Shape> {
    let event = rang("1").to_string();
    let length = event.len();
    let cl = format!("Content-Length: {length}");
    let te = "Transfer-Encoding: chunked";
    let rows: Vec<(&str, Vec<String>)> = vec![
        ("length and chunked", vec![cl.clone(), te.into()]),
        ("chunked and length", vec![te.into(), cl.clone()]),
        (
            "length 0 and chunked",
            vec!["Content-Length: 0".into(), te.into()],
        ),
        ("chunked twice", vec![te.into(), te.into()]),
        ("xchunked", vec!["Transfer-Encoding: xchunked".into()]),
        (
            "chunked, identity",
            vec!["Transfer-Encoding: chunked, identity".into()],
        ),
        (
            "identity, chunked",
            vec!["Transfer-Encoding: identity, chunked".into()],
        ),
        (
            "gzip, chunked",
            vec!["Transfer-Encoding: gzip, chunked".into()],
        ),
        (
            "identity",
            vec!["Transfer-Encoding: identity".into(), cl.clone()],
        ),
        (
            "chunked in quotes",
            vec!["Transfer-Encoding: \"chunked\"".into()],
        ),
        (
            "chunked with a vertical tab",
            vec!["Transfer-Encoding: \u{b}chunked".into()],
        ),
        (
            "an empty coding",
            vec!["Transfer-Encoding:".into(), cl.clone()],
        ),
        ("length twice, the same", vec![cl.clone(), cl.clone()]),
        (
            "length twice, different",
            vec![cl.clone(), "Content-Length: 3".into()],
        ),
        (
            "length with a plus",
            vec![format!("Content-Length: +{length}")],
        ),
        (
            "length with a minus",
            vec![format!("Content-Length: -{length}")],
        ),
        (
            "length in hexadecimal",
            vec![format!("Content-Length: 0x{length:x}")],
        ),
        (
            "length with a space in it",
            vec!["Content-Length: 1 2".into()],
        ),
        (
            "length as a list",
            vec![format!("Content-Length: {length}, {length}")],
        ),
        (
            "length with a semicolon",
            vec![format!("Content-Length: {length};")],
        ),
        (
            "length with an underscore",
            vec!["Content-Length: 1_0".into()],
        ),
        ("an empty length", vec!["Content-Length:".into()]),
        (
            "length beyond 64 bits",
            vec!["Content-Length: 18446744073709551617".into()],
        ),
        (
            "a folded line",
            vec![
                "X-A: a".into(),
                " Transfer-Encoding: chunked".into(),
                cl.clone(),
            ],
        ),
        (
            "a folded coding",
            vec!["Transfer-Encoding:".into(), " chunked".into()],
        ),
        (
            "a space before the colon",
            vec!["Transfer-Encoding : chunked".into()],
        ),
        ("a tab before the colon", vec!["Content-Length\t: 5".into()]),
        (
            "a line without a colon",
            vec!["Transfer-Encoding".into(), cl.clone()],
        ),
        (
            "a bare LF between headers",
            vec![format!("X-A: a\n{te}"), cl.clone()],
        ),
        (
            "a bare LF and one header more",
            vec![format!("X-A: a\nContent-Length: {length}")],
        ),
        (
            "a bare CR between headers",
            vec![format!("X-A: a\r{te}"), cl.clone()],
        ),
        ("NUL in a value", vec!["X-A: a\0b".into(), cl.clone()]),
        ("NUL in a name", vec!["X-\0A: a".into(), cl.clone()]),
        ("DEL in a value", vec!["X-A: a\u{7f}".into(), cl.clone()]),
        ("a second Host", vec!["Host: other".into(), cl.clone()]),
    ];
    let planted = honest("planted");
    rows.into_iter()
        .map(|(name, lines)| {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let bytes = format!("{}0\r\n\r\n{planted}", head(&lines));
            shape(name, bytes, &[400], &[], Here)
        })
        .collect()
}

/// Shapes of the request line and of versions.
fn lines() -> Vec<Shape> {
    let planted = honest("planted");
    let event = rang("1").to_string();
    let length = event.len();
    let refused = |name: &str, bytes: String| shape(name, bytes, &[400], &[], Here);
    let rest = format!("Content-Length: {length}\r\n\r\n{event}");
    vec![
        refused(
            "no Host",
            format!("POST /callbacks/contoso HTTP/1.1\r\n{rest}{planted}"),
        ),
        refused(
            "a bare LF after the request line",
            format!("POST /callbacks/contoso HTTP/1.1\nHost: h\r\n{rest}"),
        ),
        refused(
            "bare LF everywhere",
            format!(
                "POST /callbacks/contoso HTTP/1.1\nHost: h\nContent-Length: {length}\n\n{event}"
            ),
        ),
        refused(
            "a bare LF before the request line",
            format!("\n{}", honest("1")),
        ),
        refused(
            "HTTP/0.9",
            format!("GET /callbacks/contoso\r\n\r\n{planted}"),
        ),
        refused(
            "HTTP/1.2",
            format!("POST /callbacks/contoso HTTP/1.2\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "HTTP/2",
            format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{planted}"),
        ),
        refused(
            "http/1.1 in small letters",
            format!("POST /callbacks/contoso http/1.1\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "no method",
            format!(" /callbacks/contoso HTTP/1.1\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "two spaces",
            format!("POST  /callbacks/contoso HTTP/1.1\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "a space in the target",
            format!("POST /callbacks/contoso /x HTTP/1.1\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "a tab for a space",
            format!("POST\t/callbacks/contoso HTTP/1.1\r\nHost: h\r\n{rest}"),
        ),
        refused(
            "chunked in HTTP/1.0",
            format!(
                "POST /callbacks/contoso HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                chunk(&event)
            ),
        ),
        refused(
            "no length in HTTP/1.0",
            format!("POST /callbacks/contoso HTTP/1.0\r\nHost: h\r\n\r\n{planted}"),
        ),
        refused(
            "a ClientHello",
            "\u{16}\u{3}\u{1}\0\u{1}\u{1}\r\n\r\n".to_owned(),
        ),
        shape(
            "CONNECT",
            format!("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n{planted}"),
            &[405],
            &[],
            Here,
        ),
        // The parser takes everything that follows for its body, whatever the length says.
        shape(
            "a websocket",
            format!(
                "POST /callbacks/contoso HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{rest}{planted}"
            ),
            &[400],
            &[],
            Here,
        ),
        // The target decides (RFC 9112, 3.2.2); the host in it is not used.
        shape(
            "absolute form",
            format!("POST http://elsewhere/callbacks/contoso HTTP/1.1\r\nHost: h\r\n{rest}"),
            &[202],
            &["1"],
            There,
        ),
        shape(
            "HTTP/1.0",
            format!("POST /callbacks/contoso HTTP/1.0\r\n{rest}"),
            &[202],
            &["1"],
            Here,
        ),
        shape(
            "empty lines before the request line",
            format!("\r\n\r\n{}", honest("1")),
            &[202],
            &["1"],
            There,
        ),
    ]
}

/// Shapes of bodies.
fn bodies() -> Vec<Shape> {
    let planted = honest("planted");
    let event = rang("1").to_string();
    let length = event.len();
    let chunked = |body: &str| head(&["Transfer-Encoding: chunked"]) + body;
    // The handler answers; nothing that follows is read.
    let refused = |name: &str, body: &str| shape(name, chunked(body), &[400], &[], Here);
    let taken = |name: &str, body: &str| shape(name, chunked(body), &[202], &["1"], There);
    let data = format!("{event}\r\n0\r\n\r\n");
    vec![
        refused(
            "a negative chunk",
            &format!("-{length:x}\r\n{data}{planted}"),
        ),
        refused(
            "a chunk with a plus",
            &format!("+{length:x}\r\n{data}{planted}"),
        ),
        refused(
            "a chunk with 0x",
            &format!("0x{length:x}\r\n{data}{planted}"),
        ),
        refused("a chunk without a size", &format!("\r\n{data}{planted}")),
        refused(
            "a chunk with a size that is not a number",
            &format!("xyz\r\n{data}{planted}"),
        ),
        refused(
            "a chunk beyond 64 bits",
            &format!("10000000000000000{length:x}\r\n{data}{planted}"),
        ),
        refused(
            "a chunk with two sizes",
            &format!("{length:x} 0\r\n{data}{planted}"),
        ),
        refused(
            "a bare LF after a chunk's size",
            &format!("{length:x}\n{data}{planted}"),
        ),
        refused(
            "a bare LF in a chunk's extension",
            &format!("{length:x};a\nb\r\n{data}{planted}"),
        ),
        refused(
            "a bare CR in a chunk's extension",
            &format!("{length:x};a\rb\r\n{data}{planted}"),
        ),
        refused(
            "no line end after a chunk",
            &format!("{length:x}\r\n{event}0\r\n\r\n{planted}"),
        ),
        refused(
            "a bare LF after a chunk",
            &format!("{length:x}\r\n{event}\n0\r\n\r\n{planted}"),
        ),
        refused(
            "a chunk longer than its size",
            &format!("1\r\n{data}{planted}"),
        ),
        // A trailer begins here, which ends with an empty line of CRLF: it includes the head of the smuggled request,
        // and the body of that is not a request.
        shape(
            "a bare LF after the last chunk",
            chunked(&format!("{length:x}\r\n{event}\r\n0\r\n\n{planted}")),
            &[202, 400],
            &["1"],
            Here,
        ),
        taken("a chunk", &format!("{length:x}\r\n{data}")),
        taken(
            "a chunk in capital letters with zeros",
            &format!("000{length:X}\r\n{data}"),
        ),
        taken(
            "a chunk with an extension",
            &format!("{length:x};a=\"b;c\"\r\n{data}"),
        ),
        taken(
            "a chunk with a long extension",
            &format!("{length:x};{}\r\n{data}", "a".repeat(10_000)),
        ),
        // White space before the line end has one meaning, although the grammar allows it before extensions only.
        taken(
            "a chunk's size with a space behind it",
            &format!("{length:x} \r\n{data}"),
        ),
        taken(
            "a trailer",
            &format!(
                "{length:x}\r\n{event}\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n"
            ),
        ),
        shape(
            "a length with zeros",
            head(&[&format!("Content-Length: 000{length}")]) + &event,
            &[202],
            &["1"],
            There,
        ),
        shape(
            "chunked in other letters",
            head(&["tRANSFER-eNCODING: Chunked"]) + &chunk(&event) + "0\r\n\r\n",
            &[202],
            &["1"],
            There,
        ),
        // Another header without meaning.
        shape(
            "an underscore in the name",
            head(&[
                "Transfer_Encoding: chunked",
                &format!("Content-Length: {length}"),
            ]) + &event,
            &[202],
            &["1"],
            There,
        ),
        shape(
            "honest pipelining",
            honest("1") + &honest("2"),
            &[202, 202],
            &["1", "2"],
            There,
        ),
        shape(
            "honest pipelining behind a chunk",
            chunked(&format!("{length:x}\r\n{data}{}", honest("2"))),
            &[202, 202],
            &["1", "2"],
            There,
        ),
        shape(
            "nonsense behind a body",
            honest("1") + "nonsense\r\n\r\n",
            &[202, 400],
            &["1"],
            Here,
        ),
        shape(
            "a second request behind the last",
            head(&["Connection: close", &format!("Content-Length: {length}")]) + &event + &planted,
            &[202],
            &["1"],
            Here,
        ),
        // Without a length there is no body (RFC 9112, 6.3): what follows is the next request, and is not a valid one.
        shape(
            "no length at all",
            head(&[]) + &event + "\r\n\r\n",
            &[400, 400],
            &[],
            Here,
        ),
        // Refused before their bodies are read, including what is smuggled in them.
        shape(
            "in the body of a GET",
            format!(
                "GET /callbacks/contoso HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{planted}",
                planted.len()
            ),
            &[405],
            &[],
            There,
        ),
        shape(
            "in a body that is too large",
            format!("{}{planted}", head(&["Content-Length: 5000"])),
            &[413],
            &[],
            Here,
        ),
        shape(
            "in a chunk of a body that may not come in",
            format!(
                "POST /callbacks/guarded HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                chunk(&planted)
            ),
            &[401],
            &[],
            There,
        ),
        shape(
            "behind a broken chunk of a body that may not come in",
            format!(
                "POST /callbacks/guarded HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{planted}"
            ),
            &[401],
            &[],
            Here,
        ),
        // The secret makes no difference to what is smuggled.
        shape(
            "behind a broken chunk of one that may",
            format!(
                "POST /callbacks/guarded?code={SECRET} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{planted}"
            ),
            &[400],
            &[],
            Here,
        ),
    ]
}
