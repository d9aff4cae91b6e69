//! The reference pages of the book are generated from the program: kinds, metrics, configuration keys, commands and
//! problem types. A stale page fails; `HOOKSWITCH_REFERENCE=write cargo test --test reference` writes it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hookswitch::{
    catalog::Catalog,
    config::{self, Sources},
    event::Kind,
};
use strum::VariantArray as _;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookswitch");

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn file(path: &str) -> String {
    std::fs::read_to_string(root(path)).expect(path)
}

/// Compares a page with its expected content, or writes it.
fn check(name: &str, title: &str, body: &str) {
    let page = format!(
        "# {title}\n\n<!-- Generated: HOOKSWITCH_REFERENCE=write cargo test --test reference -->\n\n{}\n",
        body.trim()
    );
    let path = format!("docs/src/reference/{name}.md");
    if std::env::var_os("HOOKSWITCH_REFERENCE").is_some_and(|value| value == "write") {
        std::fs::write(root(&path), page).expect(&path);
        return;
    }
    let there = std::fs::read_to_string(root(&path)).unwrap_or_default();
    let line = there
        .lines()
        .zip(page.lines())
        .position(|(there, wanted)| there != wanted);
    assert!(
        there == page,
        "{path} is stale, first in line {:?}: run HOOKSWITCH_REFERENCE=write cargo test --test reference",
        line.map(|line| line + 1)
    );
}

#[test]
fn the_page_of_kinds_is_the_catalogue() {
    let catalog = Catalog::builtin().expect("the catalogue is good");
    let mut body = String::from(
        "A kind is the subject of an event, the same in every generation of the API. Routes and routing keys use it, and it is the \
         header\n`hookswitch-kind`. [Call Automation events](acs-events.md) describes the events and the generations.\n\n\
         | kind | events (`Microsoft.Communication.…`) and the generations they come in |\n|---|---|\n",
    );
    for kind in Kind::VARIANTS
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::Unknown)
    {
        let mut types: Vec<(&str, Vec<String>)> = Vec::new();
        for row in catalog.rows().filter(|row| row.kind == kind) {
            let (_, name) = row.event_type.rsplit_once('.').expect("a full type");
            let generation = row.generation.as_str().to_owned();
            match types.iter_mut().find(|(known, _)| *known == name) {
                Some((_, generations)) => generations.push(generation),
                None => types.push((name, vec![generation])),
            }
        }
        let types: Vec<String> = types
            .into_iter()
            .map(|(name, generations)| format!("{name} ({})", generations.join(", ")))
            .collect();
        writeln!(body, "| `{kind}` | {} |", types.join(", ")).expect("a string");
    }
    body += "| `Unknown` | every type that the catalogue does not know |\n\n\
             `hookswitch schemas list` prints the same, `hookswitch schemas show TYPE` a schema.\n";
    check("kinds", "Kinds and event types", &body);
}

/// The program's settings for an app and a route with as few keys as possible.
const MINIMAL: &str = "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"contoso\"\nauth = \"none\"\n\
                       [[routes]]\nname = \"contoso-calls\"\nqueue = \"contoso.calls\"\n";

/// The table at `section`, for example `apps.auth`; of an array of tables its first one.
fn section<'t>(table: &'t mut toml::Table, section: &str) -> &'t mut toml::Table {
    section.split('.').fold(table, |table, name| {
        let value = table
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if value.is_str() {
            *value = toml::Value::Table(toml::Table::new());
        }
        match value {
            toml::Value::Array(tables) => tables.first_mut().and_then(toml::Value::as_table_mut),
            value => value.as_table_mut(),
        }
        .expect("a table")
    })
}

/// What the program expects of a key: its type, range or words.
fn expected(catalog: &Catalog, place: &str, key: &str) -> String {
    for wrong in [toml::Value::Boolean(true), toml::Value::Integer(-7)] {
        let mut table: toml::Table = MINIMAL.parse().expect("it is TOML");
        section(&mut table, place).insert(key.to_owned(), wrong);
        let text = toml::to_string(&table).expect("it is TOML");
        let Err(problems) = config::load_against(&Sources::text("t", &text), catalog) else {
            continue;
        };
        let problems = problems.to_string();
        let said = problems
            .lines()
            .filter(|line| line.contains(key))
            .find_map(|line| {
                let what = line
                    .split_once("expected ")
                    .or_else(|| line.split_once("must be "));
                what.map(|(_, what)| what.to_owned())
            });
        if let Some(what) = said {
            return what;
        }
    }
    panic!("{place}.{key}: the program does not say what it expects")
}

struct Key {
    section: String,
    name: String,
    meaning: String,
}

/// The keys of the annotated file with their comments.
fn annotated() -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in file("config/hookswitch.toml").lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = bare.strip_prefix('[') {
            let name: String = header
                .chars()
                .filter(|c| *c != '[')
                .take_while(|c| *c != ']')
                .collect();
            section = name;
            comment.clear();
            continue;
        }
        let key = bare.split_once(" = ").map(|(name, _)| name).filter(|name| {
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        });
        match key {
            Some(name) => {
                let text = std::mem::take(&mut comment).join(" ");
                if keys
                    .iter()
                    .any(|key| key.section == section && key.name == name)
                {
                    assert!(text.is_empty(), "{section}.{name} is explained twice");
                    continue;
                }
                let meaning = if text.is_empty() {
                    let before = keys.last().filter(|key| key.section == section);
                    before.map_or_else(String::new, |before| format!("See `{}`.", before.name))
                } else {
                    text
                };
                keys.push(Key {
                    section: section.clone(),
                    name: name.to_owned(),
                    meaning,
                });
            }
            None if line.starts_with('#') => comment.push(bare.to_owned()),
            None => comment.clear(),
        }
    }
    keys
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[test]
fn the_page_of_settings_is_what_the_program_takes() {
    let (config, catalog) = config::load(&Sources::text("minimal", MINIMAL)).expect("it is good");
    let mut printed: toml::Table = config.to_string().parse().expect("it is printed as TOML");
    let mut body = String::from(
        "`config/hookswitch.toml` is the same as a file to copy; type, range and default come from the program. \
         [Configuration](../operator/configuration.md)\nexplains layers and routes.\n",
    );
    let keys = annotated();
    assert!(keys.len() > 50, "{} keys", keys.len());
    let mut last = "";
    for key in &keys {
        if key.section != last {
            last = &key.section;
            let brackets = if matches!(last, "apps" | "routes") {
                ("[[", "]]")
            } else {
                ("[", "]")
            };
            write!(
                body,
                "\n## {}{last}{}\n\n| key | type and range | default | meaning |\n|---|---|---|---|\n",
                brackets.0, brackets.1
            )
            .expect("a string");
        }
        let table = section(&mut printed, last);
        let default = match (last, key.name.as_str()) {
            ("server", "instance") => "the host name".to_owned(),
            ("broker", "url") | ("apps" | "routes", "name") | ("routes", "queue") => String::new(),
            _ => table
                .get(&key.name)
                .map_or_else(String::new, |value| format!("`{value}`")),
        };
        writeln!(
            body,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&expected(&catalog, last, &key.name)),
            cell(&default),
            cell(&key.meaning)
        )
        .expect("a string");
    }
    // Each setting that the program prints is explained.
    for (name, value) in &printed {
        let tables: Vec<&toml::Table> = match value {
            toml::Value::Array(tables) => tables.iter().filter_map(toml::Value::as_table).collect(),
            value => value.as_table().into_iter().collect(),
        };
        for key in tables.into_iter().flat_map(toml::Table::keys) {
            let there = keys
                .iter()
                .any(|known| known.section == *name && known.name == *key)
                || keys
                    .iter()
                    .any(|known| known.section == format!("{name}.{key}"));
            assert!(
                there,
                "config/hookswitch.toml does not explain {name}.{key}"
            );
        }
    }
    check("configuration", "Configuration keys", &body);
}

fn help(command: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(command)
        .arg("--help")
        // Help is as wide as the terminal, if there is one.
        .env_remove("COLUMNS")
        .env_remove("LINES")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The names in the list of commands of a help text.
fn commands(help: &str) -> Vec<String> {
    let list = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, list)| list);
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn the_page_of_commands_is_their_help() {
    let whole = help(&[]);
    let codes = [
        (
            "0",
            "good; also the normal end of `serve`, `tail`, `consume` and `emulate`, which are stopped by a signal",
        ),
        (
            "1",
            "the check found something, or the command could not do its work",
        ),
        ("64", "usage: the command line is not valid"),
        (
            "70",
            "a bug, or a part of the receiver that ended by itself",
        ),
        (
            "78",
            "configuration: it, or what it names (a port, the journal, a file), must change before a start",
        ),
        (
            "130",
            "`load` was stopped by Ctrl-C, and everything was good until then",
        ),
    ];
    let mut body = String::from("## Exit codes\n\n| code | means |\n|---|---|\n");
    let listed = whole
        .lines()
        .find(|line| line.starts_with("Exit codes:"))
        .expect("exit codes");
    for (code, meaning) in codes {
        assert!(
            code == "130" || listed.contains(&format!("{code} ")),
            "{listed} lacks {code}"
        );
        writeln!(body, "| {code} | {meaning} |").expect("a string");
    }
    write!(body, "\n## hookswitch\n\n```text\n{whole}```\n").expect("a string");
    let names = commands(&whole);
    assert!(names.len() >= 9, "{names:?}");
    for name in &names {
        let text = help(&[name]);
        write!(body, "\n## hookswitch {name}\n\n```text\n{text}```\n").expect("a string");
        for below in commands(&text) {
            let text = help(&[name, &below]);
            write!(
                body,
                "\n### hookswitch {name} {below}\n\n```text\n{text}```\n"
            )
            .expect("a string");
        }
    }
    check("command-line", "Command help and exit codes", &body);
}

#[test]
fn the_page_of_problems_is_the_api_document() {
    let document: serde_json::Value =
        serde_json::from_str(&file("docs/openapi.json")).expect("it is JSON");
    let explained = BTreeMap::from([
        (
            "about:blank",
            "the status says everything; the title is its phrase",
        ),
        (
            "urn:hookswitch:problem:not-a-callback",
            "400: the body, or the request, cannot be understood. The same bytes will fail again",
        ),
        (
            "urn:hookswitch:problem:events-not-taken",
            "422: an app with `reject` refused an invalid or unknown event, and with it the whole callback",
        ),
        (
            "urn:hookswitch:problem:not-now",
            "503: a good callback, perhaps, that cannot be kept now. Send it again after `Retry-After`",
        ),
    ]);
    let problem = &document["components"]["schemas"]["Problem"];
    let types = problem["properties"]["type"]["enum"]
        .as_array()
        .expect("the types");
    let mut body = String::from(
        "An answer of 400 or above is a problem document (RFC 9457), `application/problem+json`. It never holds a value of the body, a \
         host, a path on disk\nor a secret.\n\n| member | value |\n|---|---|\n\
         | `type` | see below |\n| `title`, `status` | the class in words; the status |\n| `detail` | this occurrence in words |\n\
         | `errors` | an array of `pointer` (JSON Pointer from the body's root, taken as an array of events), `message`, and `offset` (byte \
         position) where that helps |\n\n## Types\n\n| type | means |\n|---|---|\n",
    );
    let named: BTreeSet<&str> = types.iter().filter_map(serde_json::Value::as_str).collect();
    assert_eq!(named, explained.keys().copied().collect());
    for name in types.iter().filter_map(serde_json::Value::as_str) {
        writeln!(
            body,
            "| `{name}` | {} |",
            explained.get(name).expect("explained")
        )
        .expect("a string");
    }
    body += "\n## Statuses of the public listener\n\n| status | means | `Retry-After` |\n|---|---|---|\n";
    let mut statuses = BTreeMap::new();
    for (_, item) in document["paths"].as_object().expect("paths") {
        for (_, operation) in item.as_object().expect("operations") {
            if operation
                .pointer("/tags/0")
                .is_none_or(|tag| tag != "public")
            {
                continue;
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let response = match response["$ref"].as_str() {
                    Some(reference) => document
                        .pointer(reference.trim_start_matches('#'))
                        .expect(reference),
                    None => response,
                };
                if status.as_str() >= "400" {
                    let retry = response["headers"].get("Retry-After").is_some();
                    let text = response["description"].as_str().expect("a description");
                    let entry: &mut (BTreeSet<String>, bool) =
                        statuses.entry(status.clone()).or_default();
                    entry.0.insert(text.replace('\n', " "));
                    entry.1 |= retry;
                }
            }
        }
    }
    assert!(statuses.len() > 10, "{statuses:?}");
    for (status, (texts, retry)) in statuses {
        let texts: Vec<String> = texts.into_iter().collect();
        let retry = if retry { "yes" } else { "" };
        writeln!(body, "| {status} | {} | {retry} |", cell(&texts.join(" "))).expect("a string");
    }
    body += "\n[Answers](../sender/answers.md) gives the cause of each of them.\n";
    check("problem-types", "Problem types", &body);
}

/// A receiver with every component that has metrics; stopped when dropped.
struct Receiver {
    child: Child,
    public: u16,
    admin: u16,
    certificate: String,
}

impl Receiver {
    fn start(dir: &Path) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let certificate = key.cert.pem();
        std::fs::write(dir.join("tls.crt"), &certificate).expect("written");
        std::fs::write(dir.join("tls.key"), key.signing_key.serialize_pem()).expect("written");
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("bound").port()
        };
        let (public, admin) = (free(), free());
        let at = |name: &str| dir.join(name).display().to_string();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{public}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\
             tls = {{ cert_file = '{crt}', key_file = '{key}' }}\nadmin_tls = {{ cert_file = '{crt}', key_file = '{key}' }}\n[journal]\npath = '{journal}'\n[broker]\nurl = \"stdout:\"\n\
             [[apps]]\nname = \"contoso\"\nauth = \"none\"\nevent_grid = true\nrate_limit = 100\n\
             [[routes]]\nname = \"calls\"\nqueue = \"contoso.calls\"\n",
            crt = at("tls.crt"),
            key = at("tls.key"),
            journal = at("journal")
        );
        let config = dir.join("hookswitch.toml");
        std::fs::write(&config, text).expect("written");
        let child = Command::new(PROGRAM)
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Self {
            child,
            public,
            admin,
            certificate,
        }
    }

    /// Sends a request to a listener and waits for its answer.
    fn ask(
        &self,
        port: u16,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, String), reqwest::Error> {
        let certificate = reqwest::Certificate::from_pem(self.certificate.as_bytes())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([certificate])
            .build()?;
        let url = format!("https://localhost:{port}{path}");
        let request = match body {
            Some(body) => client.post(url).body(body),
            None => client.get(url),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let answer = request.send().await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        })
    }

    /// `/metrics`, once every destination has reported its state.
    fn scrape(&mut self) -> String {
        let stderr = self.child.stderr.take().expect("piped");
        let log = std::thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .collect::<Vec<_>>()
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut posted = false;
        while Instant::now() < deadline {
            let text = self
                .ask(self.admin, "/metrics", None)
                .map(|(_, text)| text)
                .unwrap_or_default();
            if text.contains("hookswitch_destination_state{destination=\"queue contoso.calls\",state=\"ready\"} 1") {
                if posted {
                    return text;
                }
                // One event, so that metrics by its type are present.
                let event = file("tests/data/events/ga/CallConnected.json");
                let answer = self.ask(self.public, "/callbacks/contoso", Some(event));
                assert_eq!(answer.expect("an answer").0, 202);
                posted = true;
                continue;
            }
            if self.child.try_wait().expect("a child").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        panic!("the receiver is not ready: {:#?}", log.join());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeMap<String, Vec<String>>,
}

/// Labels whose values are names of the configuration or of the catalogue.
const OPEN_LABELS: [&str; 4] = ["app", "destination", "type", "version"];

#[test]
fn the_page_of_metrics_is_what_a_receiver_exports() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = Receiver::start(dir.path()).scrape();
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        let words = line.strip_prefix("# ").and_then(|rest| {
            let (what, rest) = rest.split_once(' ')?;
            let (name, text) = rest.split_once(' ')?;
            Some((what, name, text))
        });
        match words {
            Some(("HELP", name, text)) => {
                families.entry(name.to_owned()).or_default().help = text.to_owned()
            }
            Some(("TYPE", name, text)) => {
                families.entry(name.to_owned()).or_default().kind = text.to_owned()
            }
            _ => {
                let Some((name, rest)) = line.split_once('{') else {
                    continue;
                };
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| {
                        name.strip_suffix(end)
                            .filter(|name| families.contains_key(*name))
                    })
                    .unwrap_or(name);
                let Some((labels, _)) = rest.rsplit_once('}') else {
                    continue;
                };
                let Some(family) = families.get_mut(name) else {
                    continue;
                };
                for label in labels
                    .split("\",")
                    .filter(|label| !label.starts_with("le="))
                {
                    let Some((label, value)) = label.split_once("=\"") else {
                        continue;
                    };
                    let values = family.labels.entry(label.to_owned()).or_default();
                    let value = value.trim_end_matches('"').to_owned();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
            }
        }
    }
    families.retain(|name, _| name.starts_with("hookswitch_"));
    assert!(families.len() > 40, "{} metrics", families.len());
    let mut body = String::from(
        "`/metrics` on the admin listener, in Prometheus' text format. All label values of closed sets are there at zero from the \
         start. [Health and\nalerts](../operator/health.md) says what to watch. Names of apps and destinations are the configured \
         ones, `other` for the rest.\n\n| metric | kind | meaning | label values |\n|---|---|---|---|\n",
    );
    for (name, family) in &families {
        let labels: Vec<&str> = family.labels.keys().map(String::as_str).collect();
        let shown = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let values: Vec<String> = family
            .labels
            .iter()
            .filter(|(label, _)| !OPEN_LABELS.contains(&label.as_str()))
            .map(|(label, values)| {
                let mut values = values.clone();
                values.sort_unstable();
                format!("{label}: `{}`", values.join("`, `"))
            })
            .collect();
        writeln!(
            body,
            "| `{name}{shown}` | {} | {} | {} |",
            family.kind,
            cell(&family.help),
            values.join("; ")
        )
        .expect("a string");
    }
    check("metrics", "Metrics", &body);
    // No metric that the sources register is left out.
    let mut registered = BTreeSet::new();
    let mut folders = vec![root("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            registered.extend(
                text.split('"')
                    .filter(|word| is_metric(word))
                    .map(str::to_owned),
            );
        }
    }
    assert_eq!(families.into_keys().collect::<BTreeSet<_>>(), registered);
}

fn is_metric(word: &str) -> bool {
    word.strip_prefix("hookswitch_").is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    })
}
