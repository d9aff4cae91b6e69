//! `hookswitch validate` on whole payloads: our own, and the published ones of others.
//!
//! The published ones are not part of the repository: `HOOKSWITCH_SAMPLES` names a folder with `samples` and
//! `samples-2`, each with an `index.md`. `samples` gives the expected result in the names of its files, `samples-2` in
//! the columns of its table.
#![expect(
    clippy::indexing_slicing,
    reason = "a JSON member that is not there is null, and a file that is not there fails the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// The receiver's result for an event, or the expected one.
#[derive(Debug, PartialEq)]
struct Event {
    /// Empty if the type is unknown.
    generation: String,
    kind: String,
    valid: bool,
    call_key: Option<String>,
}

/// The events of a body; `None` for one that is refused as a whole.
type Body = Option<Vec<Event>>;

/// If the index allows several generations (`a|b`), the one that was found counts if it is among them.
fn agree(expected: &Body, found: &Body) -> bool {
    match (expected, found) {
        (None, None) => true,
        (Some(expected), Some(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| {
                    let Event {
                        generation,
                        kind,
                        valid,
                        call_key,
                    } = expected;
                    generation.split('|').any(|one| one == found.generation)
                        && (kind, valid, call_key) == (&found.kind, &found.valid, &found.call_key)
                })
        }
        _ => false,
    }
}

fn corpus(name: &str) -> PathBuf {
    let folder = std::env::var_os("HOOKSWITCH_SAMPLES").expect("HOOKSWITCH_SAMPLES is set");
    Path::new(&folder).join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first `count` cells of each row about a JSON file, by the name of the file.
fn index(corpus: &Path, count: usize) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in read(&corpus.join("index.md")).lines() {
        let cells: Vec<String> = line
            .trim_start_matches('|')
            .split(" | ")
            .map(|cell| cell.trim().to_owned())
            .take(count)
            .collect();
        if line.starts_with("| ")
            && let Some(file) = cells.first().filter(|file| file.ends_with(".json"))
        {
            assert_eq!(cells.len(), count, "{line}");
            assert!(rows.insert(file.clone(), cells).is_none(), "{line}");
        }
    }
    let files: BTreeSet<String> = fs::read_dir(corpus)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_str().expect("UTF-8").to_owned())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(
        rows.keys().cloned().collect::<BTreeSet<_>>(),
        files,
        "{} describes other files than there are",
        corpus.join("index.md").display()
    );
    rows
}

/// The output of `hookswitch validate --json` for these bodies.
fn validate(bodies: &BTreeMap<String, String>) -> BTreeMap<String, Body> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, body) in bodies {
        fs::write(folder.path().join(name), body).expect("written");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["validate", "--json"])
        .args(bodies.keys())
        .current_dir(folder.path())
        .output()
        .expect("hookswitch runs");
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(out.lines().count(), bodies.len(), "one line per file");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    out.lines()
        .map(|line| {
            let report: Value = serde_json::from_str(line).expect("JSON");
            let events = report["events"].as_array().expect("a list").iter();
            let events = events.map(|event| Event {
                generation: text(&event["generation"]).unwrap_or_default(),
                kind: text(&event["kind"]).expect("a kind"),
                valid: event["valid"].as_bool().expect("valid or not"),
                call_key: text(&event["call_key"]),
            });
            let body = report["error"].is_null().then(|| events.collect());
            (text(&report["file"]).expect("a file"), body)
        })
        .collect()
}

/// Every file at once, so that one run shows all that is wrong.
fn compare(bodies: &BTreeMap<String, String>, expected: &BTreeMap<String, Body>) {
    let found = validate(bodies);
    let differences: Vec<String> = expected
        .iter()
        .filter(|(name, expected)| !agree(expected, &found[*name]))
        .map(|(name, expected)| format!("{name}:\n  {expected:?}\n  {:?}", found[name]))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn events(body: &str) -> Vec<Value> {
    match serde_json::from_str(body).expect("JSON") {
        Value::Array(events) => events,
        event => vec![event],
    }
}

/// The id between `before` and the next slash in the event's subject.
fn in_subject(event: &Value, before: &str) -> Option<String> {
    let (_, rest) = event["subject"].as_str()?.split_once(before)?;
    rest.split('/').next().map(str::to_owned)
}

/// The kinds of types, from the table that consumers read.
fn kinds() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read(&root.join("docs/src/reference/kinds.md"));
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| kind | events"))
        .skip(2)
        .take_while(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let (kind, types) = row
            .trim_matches('|')
            .split_once(" | ")
            .expect("two columns");
        let kind = kind.trim().trim_matches('`').to_owned();
        types.split("), ").map(move |event_type| {
            let name = event_type.trim().split(" (").next().expect("a name");
            (name.to_owned(), kind.clone())
        })
    })
    .collect()
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn samples_are_what_the_names_of_their_files_say() {
    let corpus = corpus("samples");
    let kinds = kinds();
    let mut bodies = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for file in index(&corpus, 1).into_keys() {
        let payload = read(&corpus.join(&file));
        let stem = file.trim_end_matches(".json");
        let (stem, is_fragment) = match stem.strip_prefix("fragment-") {
            Some(stem) => (stem, true),
            None => (stem, false),
        };
        let parts: Vec<&str> = stem.rsplitn(3, '-').collect();
        let [_, short_type, generation] = parts[..] else {
            panic!("{file} is not <generation>-<type>-<n>.json");
        };
        let body = if is_fragment {
            wrapped(generation, short_type, &payload)
        } else {
            payload
        };
        let all = events(&body).into_iter().map(|event| {
            // Recorded in a test of the dialog preview, but the event itself is the one of ga.
            let generation = match stem {
                "2023-preview-ParticipantsUpdated-1" => "ga",
                _ => generation,
            };
            good(&event, generation, short_type, &kinds)
        });
        expected.insert(file.clone(), Some(all.collect()));
        bodies.insert(file, body);
    }
    assert!(bodies.len() > 40, "only {} files", bodies.len());
    compare(&bodies, &expected);
}

/// The expected result for a valid event of this generation and type.
fn good(
    event: &Value,
    generation: &str,
    short_type: &str,
    kinds: &BTreeMap<String, String>,
) -> Event {
    let data = &event["data"];
    let text = |pointer: &str| data.pointer(pointer)?.as_str().map(str::to_owned);
    let is_of_recording = event["source"]
        .as_str()
        .is_some_and(|source| source.contains("calling/recordings/"));
    let call_key = if is_of_recording {
        Some(expected_key(event, "server"))
    } else {
        text("/callConnectionId")
            .or_else(|| text("/CallLegId"))
            .or_else(|| in_subject(event, "callConnections/"))
            .or_else(|| text("/serverCallId"))
            .or_else(|| text("/callLocator/serverCallId"))
            .or_else(|| text("/callLocator/groupCallId"))
            .or_else(|| {
                let (_, rest) = event["subject"].as_str()?.split_once("/serverCallId/")?;
                let (id, _) = rest.rsplit_once("/recordingId/")?;
                Some(id.to_owned())
            })
            .or_else(|| in_subject(event, "/recording/call/"))
    };
    Event {
        generation: generation.to_owned(),
        kind: kinds
            .get(short_type)
            .map_or("Unknown", String::as_str)
            .to_owned(),
        valid: true,
        call_key,
    }
}

#[test]
fn our_payloads_are_what_their_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events");
    let name = |path: &Path| {
        let name = path.file_name().expect("a name").to_owned();
        name.into_string().expect("UTF-8")
    };
    let kinds = kinds();
    let mut bodies = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for generation in fs::read_dir(folder).expect("a folder") {
        let generation = generation.expect("an entry").path();
        for path in fs::read_dir(&generation).expect("a folder") {
            let path = path.expect("an entry").path();
            let (generation, file, body) = (name(&generation), name(&path), read(&path));
            let short_type = file.split('.').next().expect("a type");
            let all = events(&body)
                .iter()
                .map(|event| good(event, &generation, short_type, &kinds))
                .collect();
            let file = format!("{generation}.{file}");
            expected.insert(file.clone(), Some(all));
            bodies.insert(file, body);
        }
    }
    assert!(bodies.len() > 150, "only {} payloads", bodies.len());
    compare(&bodies, &expected);
}

/// A bare `data` member in the envelope of its generation.
fn wrapped(generation: &str, short_type: &str, data: &str) -> String {
    let event_type = format!("Microsoft.Communication.{short_type}");
    match generation {
        "eg" => format!(
            r#"[{{"id":"1","topic":"/subscriptions/x","subject":"/caller/a/recipient/b","eventType":"{event_type}","eventTime":"2025-07-15T00:00:00Z","metadataVersion":"1","dataVersion":"1.0","data":{data}}}]"#
        ),
        _ => format!(
            r#"{{"id":"1","source":"calling/callConnections/c-1","specversion":"1.0","type":"{event_type}","subject":"calling/callConnections/c-1","data":{data}}}"#
        ),
    }
}

#[test]
#[cfg_attr(
    not(samples),
    ignore = "HOOKSWITCH_SAMPLES does not name the published payloads"
)]
fn samples_2_are_what_their_table_says() {
    let corpus = corpus("samples-2");
    let mut bodies = BTreeMap::new();
    let mut expected = BTreeMap::new();
    for (file, row) in index(&corpus, 8) {
        let [_, _, _, envelope, generation, kind, valid, key] = &row[..] else {
            panic!("{row:?}");
        };
        let body = read(&corpus.join(&file));
        let is_refused = envelope.starts_with("none") || valid == "400";
        let all = (!is_refused).then(|| {
            let events = events(&body);
            // What `serve` learns from other events is in brackets; `validate` sees each event alone.
            let key = key.split(" (").next().expect("a key");
            let (kinds, keys) = (for_each(kind, events.len()), for_each(key, events.len()));
            events
                .iter()
                .zip(kinds.iter().zip(keys))
                .map(|(event, (kind, key))| Event {
                    generation: generation.replace("null", ""),
                    kind: (*kind).to_owned(),
                    valid: valid == "yes",
                    call_key: Some(expected_key(event, key)),
                })
                .collect()
        });
        expected.insert(file.clone(), all);
        bodies.insert(file, body);
    }
    assert!(bodies.len() > 80, "only {} files", bodies.len());
    compare(&bodies, &expected);
}

/// One entry for all events, or one for each.
fn for_each(cell: &str, count: usize) -> Vec<&str> {
    let entries: Vec<&str> = cell.split(", ").map(str::trim).collect();
    match entries[..] {
        [one] => vec![one; count],
        _ => {
            assert_eq!(entries.len(), count, "{cell}");
            entries
        }
    }
}

fn expected_key(event: &Value, key: &str) -> String {
    let data = &event["data"];
    let text = |name: &str| data[name].as_str().expect(name).to_owned();
    match key {
        "conn" => text("callConnectionId"),
        "server" => match data["callConnectionId"].as_str() {
            Some(id) if recording_endpoint(event).is_some_and(|endpoint| endpoint != id) => {
                id.to_owned()
            }
            _ => text("serverCallId"),
        },
        subject if subject.starts_with("subject /recording/call/") => {
            in_subject(event, "/recording/call/").expect("an id in the subject")
        }
        other => panic!("unknown key: {other}"),
    }
}

/// The endpoint inside the recording id: where `data.callConnectionId` differs from it, that is the connection of the call.
fn recording_endpoint(event: &Value) -> Option<String> {
    let id = event["data"]["recordingId"].as_str()?;
    let json = URL_SAFE_NO_PAD.decode(id).ok()?;
    let parts: Value = serde_json::from_slice(&json).ok()?;
    parts["PlatformEndpointId"].as_str().map(str::to_owned)
}
