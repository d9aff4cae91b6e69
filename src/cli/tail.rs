//! `hookswitch tail`: follows the live feed of a receiver (`/live` on its admin listener). Takes nothing from any queue.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::Url;

use crate::{
    event::Kind,
    status::{LiveEvent, LiveStage},
};

/// The receiver breaks every silence after ten seconds; three times that means that it is gone.
const SILENCE: Duration = Duration::from_secs(30);

const CONNECT: Duration = Duration::from_secs(5);

/// Longest accepted line of the feed; ours are far shorter.
const LINE_LIMIT_BYTES: usize = 1_024 * 1_024;

/// Follow what a running receiver accepts, delivers and quarantines, one line each; takes nothing from any queue
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  hookswitch tail --app contoso --kind DtmfReceived --json")]
pub(super) struct TailArgs {
    /// The receiver's admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    admin: Url,
    /// Certificates (PEM) of authorities for an https receiver, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Only events of this app
    #[arg(long)]
    app: Option<String>,
    /// Only events with this call key
    #[arg(long, value_name = "KEY")]
    call: Option<String>,
    /// Only events of this kind, for example CallState
    #[arg(long)]
    kind: Option<Kind>,
    /// Only events that go to this queue or its partitions; lines of events that are only accepted name no queue yet
    #[arg(long)]
    queue: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Follows until Ctrl-C or the end of the receiver.
///
/// # Errors
/// If the receiver cannot be reached or goes away, or `out` cannot be written; a closed pipe stays an [`io::Error`].
pub(super) fn run(args: &TailArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(async {
            tokio::select! {
                followed = follow(args, out) => followed,
                pressed = tokio::signal::ctrl_c() => pressed.context("cannot wait for Ctrl-C"),
            }
        })
}

/// Always ends with an error or a signal: a feed has no regular end.
async fn follow(args: &TailArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let url = args.url()?;
    let mut client = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE);
    if let Some(path) = &args.ca_file {
        client = client.tls_certs_only(authorities(path)?);
    }
    let client = client.build().context("cannot make an HTTP client")?;
    let mut response = client.get(url).send().await.with_context(|| {
        format!(
            "cannot reach a receiver at {}: is it running, and is that its admin_listen?",
            args.admin
        )
    })?;
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.unwrap_or_default();
        bail!("{} answered {status}: {}", args.admin, detail_of(&text));
    }
    let mut feed = SseReader::default();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => bail!("the receiver at {} has stopped", args.admin),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("the receiver at {} is gone", args.admin));
            }
        };
        for news in feed.take(&chunk)? {
            args.print(&news, out)?;
        }
    }
}

fn authorities(path: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let all = reqwest::Certificate::from_pem_bundle(&text)
        .with_context(|| format!("{} holds no certificates in PEM form", path.display()))?;
    if all.is_empty() {
        bail!("{} holds no certificates in PEM form", path.display());
    }
    Ok(all)
}

impl TailArgs {
    fn url(&self) -> anyhow::Result<Url> {
        let mut url = self
            .admin
            .join("/live")
            .with_context(|| format!("{} is not the address of an admin listener", self.admin))?;
        let kind = self.kind.map(|kind| kind.as_str().to_owned());
        let filters = [
            ("app", &self.app),
            ("call", &self.call),
            ("kind", &kind),
            ("queue", &self.queue),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        Ok(url)
    }

    fn print(&self, news: &FeedMessage, out: &mut dyn Write) -> io::Result<()> {
        match news {
            FeedMessage::Line(line) if self.json => {
                out.write_all((serde_json::to_string(line)? + "\n").as_bytes())?;
            }
            FeedMessage::Line(line) => out.write_all((columns(line) + "\n").as_bytes())?,
            // On standard error, so that NDJSON stays a list of events.
            FeedMessage::LostLines(lost) => {
                tracing::warn!(lost, "the feed was faster than this terminal")
            }
        }
        out.flush()
    }
}

/// What the receiver says about a refusal.
fn detail_of(problem: &str) -> String {
    serde_json::from_str::<serde_json::Value>(problem)
        .ok()
        .and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "is that the admin listener of a receiver?".to_owned())
}

/// One line of text. The sender's text is escaped: it must not control the terminal.
fn columns(line: &LiveEvent) -> String {
    let stage = match line.stage {
        LiveStage::Accepted => "accepted",
        LiveStage::Delivered => "delivered",
        LiveStage::Quarantined => "quarantined",
    };
    let short_type = line.event_type.rsplit('.').next().unwrap_or_default();
    let mut text = format!(
        "{}  {stage:<11}  {}  {:<23}  {:<27}  call {}",
        line.at.strftime("%H:%M:%S%.3fZ"),
        line.app.escape_debug(),
        line.kind.escape_debug().to_string(),
        short_type.escape_debug().to_string(),
        line.call.as_deref().unwrap_or("-").escape_debug(),
    );
    if let Some(sequence) = line.sequence {
        text.push_str(&format!("  #{sequence}"));
    }
    if let Some(destination) = &line.destination {
        text.push_str(&format!("  -> {}", destination.escape_debug()));
    }
    text.push_str(&format!("  id {}", line.id.escape_debug()));
    text
}

/// A message of the feed.
#[derive(Debug, PartialEq, Eq)]
enum FeedMessage {
    Line(LiveEvent),
    /// This many lines were lost because we read too slowly.
    LostLines(u64),
}

/// Reads server-sent events (WHATWG HTML, 9.2.6) from chunks, as far as our own receiver writes them: lines end with
/// LF, an event is one `event` and one `data` line.
#[derive(Debug, Default)]
struct SseReader {
    rest: Vec<u8>,
    name: String,
    data: String,
}

impl SseReader {
    fn take(&mut self, chunk: &[u8]) -> anyhow::Result<Vec<FeedMessage>> {
        self.rest.extend_from_slice(chunk);
        let mut news = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line =
                String::from_utf8(line).context("the receiver sent text that is not UTF-8")?;
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                data.clone_into(&mut self.data);
            } else if line.is_empty() {
                news.extend(self.event()?);
            }
            // Comments, and fields of a later version, are ignored.
        }
        if self.rest.len() > LINE_LIMIT_BYTES {
            bail!("the receiver sent a line of more than {LINE_LIMIT_BYTES} bytes");
        }
        Ok(news)
    }

    fn event(&mut self) -> anyhow::Result<Option<FeedMessage>> {
        let (name, data) = (
            std::mem::take(&mut self.name),
            std::mem::take(&mut self.data),
        );
        #[derive(serde::Deserialize)]
        struct LostLines {
            lost: u64,
        }
        let read = || "the receiver sent a line that this version cannot read";
        Ok(match name.as_str() {
            "line" => Some(FeedMessage::Line(
                serde_json::from_str(&data).with_context(read)?,
            )),
            "lost" => {
                let LostLines { lost } = serde_json::from_str(&data).with_context(read)?;
                Some(FeedMessage::LostLines(lost))
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Arc};

    use clap::Parser;

    use super::*;
    use crate::{
        admin::{Admin, serve},
        http::Listening,
        status::{LiveFeed, new_registry},
    };

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        tail: TailArgs,
    }

    fn args(words: &[&str]) -> TailArgs {
        Line::try_parse_from(["tail"].iter().chain(words))
            .unwrap()
            .tail
    }

    fn line(app: &str) -> LiveEvent {
        LiveEvent {
            stage: LiveStage::Delivered,
            at: "2026-11-21T12:03:04.5Z".parse().unwrap(),
            app: app.into(),
            call: Some("c1".into()),
            kind: "CallState".into(),
            event_type: "Microsoft.Communication.CallConnected".into(),
            id: "\u{1b}[31mred".into(),
            destination: Some("queue calls.0".into()),
            sequence: Some(7),
        }
    }

    #[test]
    fn the_filters_become_the_query() {
        let words = [
            "--app", "a", "--call", "c&d", "--kind", "Hold", "--queue", "q",
        ];
        assert_eq!(
            args(&words).url().unwrap().as_str(),
            "http://127.0.0.1:8081/live?app=a&call=c%26d&kind=Hold&queue=q"
        );
        assert!(Line::try_parse_from(["tail", "--kind", "hold"]).is_err());
        assert!(Line::try_parse_from(["tail", "--admin", "nonsense"]).is_err());
    }

    #[test]
    fn a_line_of_text_cannot_control_the_terminal() {
        let text = columns(&line("contoso"));
        assert!(text.starts_with("12:03:04.500Z  delivered    contoso  CallState"));
        assert!(text.contains("CallConnected"), "{text}");
        assert!(text.contains("call c1  #7  -> queue calls.0"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_feed_is_read_whatever_its_chunks() {
        let json = serde_json::to_string(&line("a")).unwrap();
        let text = format!(
            ": following\n\nevent: line\ndata: {json}\n\n: keep-alive\n\nevent: lost\ndata: {{\"lost\":3}}\n\nevent: new\ndata: 1\n\n"
        );
        for size in [1, 7, text.len()] {
            let mut feed = SseReader::default();
            let news: Vec<FeedMessage> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| feed.take(chunk).unwrap())
                .collect();
            assert_eq!(
                news,
                [FeedMessage::Line(line("a")), FeedMessage::LostLines(3)],
                "{size}"
            );
        }
        assert!(
            SseReader::default()
                .take(b"event: line\ndata: {}\n\n")
                .is_err()
        );
        assert!(
            SseReader::default()
                .take(&vec![b'x'; LINE_LIMIT_BYTES + 1])
                .is_err()
        );
    }

    /// Passes what is written to the test, and reports a broken pipe once the limit is reached.
    struct Terminal {
        seen: tokio::sync::mpsc::Sender<String>,
        lines: usize,
    }

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.lines == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.lines -= bytes.iter().filter(|byte| **byte == b'\n').count();
            // The test reads the first ones only.
            drop(
                self.seen
                    .try_send(String::from_utf8_lossy(bytes).into_owned()),
            );
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn receiver() -> (LiveFeed, Listening) {
        let live = LiveFeed::default();
        let registry = new_registry().unwrap();
        let admin = Admin {
            connection_metrics: crate::http::ConnectionMetrics::register(&registry).unwrap(),
            identity: None,
            health: Arc::default(),
            drift: Arc::default(),
            live: live.clone(),
            registry,
            instance: "i".into(),
            journal: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (live, serve(listener, admin).unwrap())
    }

    #[tokio::test]
    async fn tail_prints_what_happens_until_the_receiver_stops() {
        let (live, listening) = receiver();
        let url = format!("http://{}", listening.address());
        let (seen, mut lines) = tokio::sync::mpsc::channel(1_000);
        let mut out = Terminal {
            seen,
            lines: usize::MAX,
        };
        let args = args(&["--admin", &url, "--app", "a", "--json"]);
        let (followed, ()) = tokio::join!(follow(&args, &mut out), async {
            let mut text = String::new();
            while !text.ends_with('\n') {
                // Lines sent before tail is connected are not shown.
                live.send(|| line("b"));
                live.send(|| line("a"));
                tokio::select! {
                    piece = lines.recv() => text.push_str(&piece.unwrap()),
                    () = tokio::task::yield_now() => {}
                }
            }
            let read: LiveEvent = serde_json::from_str(&text).unwrap();
            assert_eq!(read, line("a"));
            assert!(listening.stop(Duration::from_secs(5)).await);
        });
        let message = followed.unwrap_err().to_string();
        assert!(message.contains("has stopped"), "{message}");
    }

    #[tokio::test]
    async fn a_reader_that_has_seen_enough_is_known_by_its_closed_pipe() {
        let (live, listening) = receiver();
        let url = format!("http://{}", listening.address());
        let (seen, _lines) = tokio::sync::mpsc::channel(1_000);
        let mut out = Terminal { seen, lines: 1 };
        let args = args(&["--admin", &url]);
        let error = tokio::select! {
            followed = follow(&args, &mut out) => followed.unwrap_err(),
            () = async {
                loop {
                    live.send(|| line("a"));
                    tokio::task::yield_now().await;
                }
            } => return,
        };
        let error = error.downcast_ref::<io::Error>().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let error = follow(&args(&["--admin", &url]), &mut io::sink())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&url), "{error}");
        let (_live, listening) = receiver();
        let url = format!("http://{}", listening.address());
        let wrong = TailArgs {
            admin: format!("{url}/").parse().unwrap(),
            ..args(&[])
        };
        // The feed has room for 32 clients; the receiver's message reaches the terminal.
        let mut others = Vec::new();
        for _ in 0..32 {
            others.push(reqwest::get(format!("{url}/live")).await.unwrap());
        }
        let error = follow(&wrong, &mut io::sink()).await.unwrap_err();
        assert!(error.to_string().contains("32 others"), "{error}");
    }
}
