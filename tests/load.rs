//! `hookswitch load` as a sender, against a listener of the test: what it posts, and how it reacts to the answers. Its
//! verification is tested in `tests/it/load.rs`, with a broker.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use serde_json::Value;

/// The answer of a listener to a body that it sees for the n-th time.
type Answers = dyn Fn(&[u8], usize) -> &'static str + Send + Sync;

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}";
const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
const WRONG: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
/// Hangs up instead.
const NOTHING: &str = "";

/// A receiver that keeps every body in the order of arrival.
struct Listener {
    url: String,
    bodies: mpsc::Receiver<Vec<u8>>,
}

impl Listener {
    fn start(answers: impl Fn(&[u8], usize) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!(
            "http://{}/callbacks/x",
            listener.local_addr().expect("bound")
        );
        let (seen, bodies) = mpsc::channel();
        let answers: Arc<Answers> = Arc::new(answers);
        let times: Arc<Mutex<BTreeMap<Vec<u8>, usize>>> = Arc::default();
        // Both threads end with the process of the test: the listener is never closed.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answers, times) = (seen.clone(), answers.clone(), times.clone());
                thread::spawn(move || {
                    let count = |body: &[u8]| {
                        let mut times = times.lock().expect("no panic");
                        let count = times.entry(body.to_vec()).or_default();
                        *count += 1;
                        *count
                    };
                    serve(&stream, |body| {
                        let answer = answers(body, count(body));
                        // The test may be over.
                        drop(seen.send(body.to_vec()));
                        answer
                    });
                });
            }
        });
        Self { url, bodies }
    }

    /// All bodies, once the sender has ended.
    fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.try_iter().collect()
    }
}

/// HTTP/1.1 as far as the generator uses it.
fn serve(stream: &TcpStream, answer: impl Fn(&[u8]) -> &'static str) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => {}
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = answer(&body);
        let mut writer = stream;
        if answer.is_empty() || writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn hookswitch(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hookswitch starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that reads no input may have ended already.
    drop(stdin.write_all(input));
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// Sends without verifying, and returns the exit code, the line of JSON and the lines of the ledger.
fn send(url: &str, more: &[&str]) -> (Option<i32>, Value, Vec<Value>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = dir.path().join("ledger");
    let mut arguments = vec!["load", "--target", url, "--send-only", "--json", "--ledger"];
    arguments.push(text(&ledger));
    arguments.extend(more);
    let output = hookswitch(&arguments, b"");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    (output.status.code(), json, lines(&ledger))
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the ledger");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The output of `hookswitch validate` for the events of each body.
fn validated(bodies: &[Vec<u8>]) -> Vec<Vec<Value>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files: Vec<String> = (0..bodies.len())
        .map(|number| text(&dir.path().join(number.to_string())).to_owned())
        .collect();
    for (file, body) in files.iter().zip(bodies) {
        std::fs::write(file, body).expect("written");
    }
    let mut arguments = vec!["validate", "--json"];
    arguments.extend(files.iter().map(String::as_str));
    let output = hookswitch(&arguments, b"");
    let reports = String::from_utf8(output.stdout).expect("UTF-8");
    #[derive(serde::Deserialize)]
    struct Report {
        events: Vec<Value>,
        error: Option<String>,
    }
    let events = |line| {
        let report: Report = serde_json::from_str(line).expect("JSON");
        assert_eq!(report.error, None);
        report.events
    };
    let all: Vec<_> = reports.lines().map(events).collect();
    assert_eq!(all.len(), bodies.len());
    all
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn every_event_of_every_generation_is_valid_and_carries_the_key_of_its_call() {
    let listener = Listener::start(|_, _| ACCEPTED);
    let mut types = BTreeSet::new();
    // One call per generation, long enough to contain each of its events.
    for generation in [
        "2021-private",
        "2021-public",
        "2021-late",
        "2022-beta",
        "2023-preview",
        "ga",
        "eg",
    ] {
        let options = [
            "--generations",
            generation,
            "--calls",
            "1",
            "--events",
            "13",
            "--batch",
            "13",
            "--bytes",
            "900",
        ];
        let (code, json, _) = send(&listener.url, &options);
        assert_eq!(code, Some(0), "{json}");
        let bodies = listener.bodies();
        assert_eq!(bodies.len(), 1, "{generation}");
        let events = validated(&bodies).remove(0);
        assert_eq!(events.len(), 13);
        let key = &events[0]["call_key"];
        assert!(key.is_string(), "{generation}: {}", events[0]);
        for event in &events {
            assert_eq!(event["valid"], true, "{event}");
            assert_eq!(event["generation"], generation, "{event}");
            assert_eq!(&event["call_key"], key, "{event}");
            assert_ne!(event["kind"], "Unknown", "{event}");
            types.insert(format!("{generation} {}", event["type"]));
        }
    }
    assert!(types.len() > 40, "{}: {types:#?}", types.len());
}

#[test]
fn one_event_is_sent_in_the_shape_of_its_generation() {
    let listener = Listener::start(|_, _| ACCEPTED);
    // A call's generation is drawn: of this seed, all seven come.
    let options = [
        "--seed",
        "1",
        "--generations",
        "all",
        "--calls",
        "40",
        "--events",
        "2",
    ];
    let (code, json, ledger) = send(&listener.url, &options);
    assert_eq!(code, Some(0), "{json}");
    let bodies = listener.bodies();
    assert_eq!(bodies.len(), 80);
    for (body, events) in bodies.iter().zip(validated(&bodies)) {
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["valid"], true, "{}", events[0]);
        let old = events[0]["generation"]
            .as_str()
            .is_some_and(|generation| generation.starts_with("2021"));
        assert_eq!(body.first() == Some(&b'{'), old, "{}", events[0]);
    }
    let generations: BTreeSet<String> = ledger
        .iter()
        .map(|line| line["generation"].to_string())
        .collect();
    assert_eq!(generations.len(), 7, "{generations:?}");
}

#[test]
fn the_same_seed_sends_the_same_bytes_and_copies_follow_their_original() {
    let one = |seed: &str| {
        let listener = Listener::start(|_, _| ACCEPTED);
        let options = [
            "--seed",
            seed,
            "--calls",
            "3",
            "--events",
            "10",
            "--active",
            "1",
            "--connections",
            "1",
            "--duplicates",
            "0.5",
        ];
        let (code, json, _) = send(&listener.url, &options);
        assert_eq!(code, Some(0), "{json}");
        assert_eq!(json["accepted"], 30);
        let twice = json["duplicates"].as_u64().expect("a number");
        let bodies = listener.bodies();
        assert_eq!(bodies.len() as u64, 30 + twice);
        let copies = bodies.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(copies as u64, twice);
        assert!(twice > 0);
        bodies
    };
    assert_eq!(one("5"), one("5"));
    assert_ne!(one("5"), one("6"));
}

#[test]
fn a_callback_without_a_2xx_is_sent_again_with_the_same_bytes() {
    // Once busy, once disconnected, then accepted.
    let listener = Listener::start(|_, time| match time {
        1 => UNAVAILABLE,
        2 => NOTHING,
        _ => ACCEPTED,
    });
    let options = ["--calls", "2", "--events", "3", "--connections", "2"];
    let (code, json, ledger) = send(&listener.url, &options);
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["accepted"], 6);
    assert_eq!(json["refused"], 0);
    assert_eq!(json["resent"], 12);
    assert_eq!(
        json["answers"],
        serde_json::json!({"202": 6, "503": 6, "connection": 6})
    );
    assert_eq!(json["lost"], Value::Null);
    let mut times: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for body in listener.bodies() {
        *times.entry(body).or_default() += 1;
    }
    assert_eq!(times.len(), 6);
    assert!(times.values().all(|times| *times == 3));
    assert!(ledger.iter().all(|line| line["answer"] == 202));
}

#[test]
fn a_callback_that_is_refused_ends_its_call_and_the_run_is_not_good() {
    // The second event of the first call is wrong; the third of the second call is never accepted.
    let listener = Listener::start(|body, _| {
        let text = String::from_utf8_lossy(body);
        if text.contains("-0000-000000000001") {
            WRONG
        } else if text.contains("-0000-000100000002") {
            UNAVAILABLE
        } else {
            ACCEPTED
        }
    });
    let options = ["--calls", "2", "--events", "5", "--attempts", "3"];
    let (code, json, ledger) = send(&listener.url, &options);
    assert_eq!(code, Some(1), "{json}");
    assert_eq!(json["ok"], false);
    assert_eq!(json["events_sent"], 5);
    assert_eq!(json["accepted"], 3);
    assert_eq!(json["refused"], 2);
    assert_eq!(json["resent"], 2);
    let said = json["breaches"][0].as_str().expect("a breach");
    assert!(said.starts_with("refused 2: "), "{said}");
    assert!(said.contains("call 0 event 1: answered 400"), "{said}");
    assert!(said.contains("call 1 event 2: answered 503"), "{said}");
    let answers: Vec<&Value> = ledger.iter().map(|line| &line["answer"]).collect();
    assert_eq!(answers, [202, 400, 202, 202, 503]);
}

#[test]
fn the_next_event_of_a_call_waits_for_the_answer_and_bursts_do_not() {
    let indices = |bodies: Vec<Vec<u8>>| -> Vec<u32> {
        bodies
            .iter()
            .map(|body| {
                let text = String::from_utf8_lossy(body).into_owned();
                let (_, rest) = text.split_once("-0000-00000000").expect("an id");
                let digits = rest.get(..4).expect("four digits");
                u32::from_str_radix(digits, 16).expect("hex")
            })
            .collect()
    };
    let listener = Listener::start(|_, _| ACCEPTED);
    let (code, ..) = send(&listener.url, &["--calls", "1", "--events", "20"]);
    assert_eq!(code, Some(0));
    assert_eq!(indices(listener.bodies()), (0..20).collect::<Vec<_>>());

    // Nothing is answered before all have arrived: only a sender that does not wait succeeds.
    let waiting = std::sync::Barrier::new(8);
    let listener = Listener::start(move |_, _| {
        waiting.wait();
        ACCEPTED
    });
    let options = ["--calls", "1", "--events", "8", "--burst", "1ms"];
    let (code, json, _) = send(&listener.url, &options);
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["accepted"], 8);
}

#[test]
fn a_schedule_and_batches_send_everything() {
    let listener = Listener::start(|_, _| ACCEPTED);
    let options = [
        "--calls", "10", "--events", "20", "--rate", "1000", "--batch", "3",
    ];
    let (code, json, ledger) = send(&listener.url, &options);
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["accepted"], 200);
    assert_eq!(json["callbacks"], 70);
    assert_eq!(listener.bodies().len(), 70);
    assert_eq!(ledger.len(), 200);
    // Every callback has an instant of its own.
    let due: BTreeSet<u64> = ledger
        .iter()
        .filter_map(|line| line["sent_us"].as_u64())
        .collect();
    assert_eq!(due.len(), 70);
}

#[test]
fn an_impossible_run_is_refused_at_once() {
    let error = |arguments: &[&str]| {
        let output = hookswitch(arguments, b"");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code(), said)
    };
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let url = format!("http://{address}/x");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ledger = dir.path().join("ledger");
    let ledger = text(&ledger);
    let (code, text) = error(&["load", "--target", &url, "--send-only", "--ledger", ledger]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("cannot connect to") && text.contains(&url),
        "{text}"
    );
    assert!(text.contains("is the receiver running there"), "{text}");

    for (arguments, expected) in [
        (&["load"][..], "--config FILE"),
        (&["load", "--target", &url], "--queue NAME"),
        (&["load", "--target", &url, "--queue", "q"], "--amqp URL"),
        (&["load", "--target", &url, "--send-only"], "--ledger"),
        (
            &[
                "load",
                "--target",
                "https://x/",
                "--send-only",
                "--ledger",
                ledger,
            ],
            "https is not supported",
        ),
        (
            &["load", "--target", &url, "--queue", "q", "--amqp", "x"],
            "is not an AMQP URL",
        ),
        (&["load", "--rate", "0"], "must be above 0"),
        (&["load", "--duplicates", "2"], "from 0 to 1"),
        (&["load", "--calls", "0"], "--calls"),
        (&["load", "--rate", "5", "--burst", "1ms"], "--burst"),
        (
            &["load", "--config", "config/demo.toml", "--app", "unknown"],
            "does not have this app",
        ),
        (
            &[
                "load",
                "--config",
                "config/demo.toml",
                "--generations",
                "gb",
            ],
            "2021-private",
        ),
    ] {
        let (code, text) = error(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    let (code, _) = error(&["load", "--config", "no/such/file"]);
    assert_eq!(code, Some(78));
    let absent = [
        "load",
        "--amqp",
        "amqp://127.0.0.1/%2f",
        "--queue",
        "q",
        "--verify-only",
    ];
    let (code, text) = error(&[&absent[..], &["--ledger", "no/such/file"]].concat());
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("cannot read the ledger no/such/file"),
        "{text}"
    );
}
