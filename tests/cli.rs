//! The binary as its users and scripts run it: its output and exit codes.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const GOOD: &str = r#"{"specversion":"1.0","id":"e1","source":"calling/callConnections/c1","type":"Microsoft.Communication.CallConnected","subject":"calling/callConnections/c1","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{"callConnectionId":"c1","serverCallId":"s1","correlationId":"k1","version":"2024-09-15","eventSource":"calling/callConnections/c1"}}"#;

/// The result of a finished run.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn hookswitch(arguments: &[&str], input: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookswitch"));
    let mut child = command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("HOOKSWITCH__BROKER__URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hookswitch starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that reads no input may have ended already.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A file in a directory of its own, which exists as long as the first part.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("file");
    std::fs::write(&path, text).expect("written");
    (dir, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn help_and_version_are_good_and_a_wrong_command_line_is_usage() {
    let help = hookswitch(&["--help"], "");
    assert_eq!(help.code, Some(0));
    for command in [
        "check-config",
        "validate",
        "explain",
        "schemas",
        "completions",
    ] {
        assert!(help.out.contains(command), "{}", help.out);
    }
    let version = hookswitch(&["--version"], "");
    assert_eq!(version.code, Some(0));
    assert_eq!(
        version.out.trim(),
        concat!("hookswitch ", env!("CARGO_PKG_VERSION"))
    );
    for wrong in [
        &["chek-config"][..],
        &[],
        &["validate"],
        &["--log", "info,=", "schemas", "list"],
        &["schemas", "show", "NoSuchType"],
    ] {
        let run = hookswitch(wrong, "");
        assert_eq!(run.code, Some(64), "{wrong:?}: {}", run.err);
        assert!(!run.err.is_empty(), "{wrong:?}");
    }
}

#[test]
fn check_config_summarises_a_good_file() {
    let run = hookswitch(&["check-config", "config/demo.toml"], "");
    assert_eq!(run.code, Some(0), "{}", run.err);
    for line in [
        "config/demo.toml is good",
        "contoso: /callbacks/contoso, no auth, call key auto, invalid events quarantined, unknown types routed",
        "contoso-calls: app contoso -> quorum queue contoso.calls in 4 partitions",
        "contoso-digits: app contoso, kinds DtmfReceived, Recognize -> quorum queue contoso.digits",
        "  contoso.calls.3",
        "  hookswitch.quarantine",
        "app fabrikam has no auth",
    ] {
        assert!(run.out.contains(line), "{line} is missing in\n{}", run.out);
    }
}

#[test]
fn check_config_prints_every_problem_at_once_and_exits_78() {
    let (_dir, path) =
        file("[server]\nlisten = 1\n[delivery]\nwindow = 201\n[[apps]]\nname = \"a.b\"\n");
    let run = hookswitch(&["check-config", text(&path)], "");
    assert_eq!(run.code, Some(78));
    assert_eq!(run.out, "");
    let name = text(&path);
    let expected = [
        format!("{name}:2: server.listen: is an integer"),
        format!("{name}:4: delivery.window: is 201"),
        format!("{name}:5: apps[0].auth: is missing"),
        format!("{name}:6: apps[0].name: \"a.b\" is not an app name"),
        format!("{name}: broker.url: is missing"),
    ];
    assert_eq!(run.err.lines().count(), expected.len(), "{}", run.err);
    for (line, beginning) in run.err.lines().zip(&expected) {
        assert!(line.starts_with(beginning), "{line}\n{beginning}");
    }
    let run = hookswitch(&["check-config", "no/such/file"], "");
    assert_eq!(run.code, Some(78));
    assert!(
        run.err
            .starts_with("no/such/file: cannot read this configuration file"),
        "{}",
        run.err
    );
}

/// One app, and one route that names a type which the catalogue does not have.
fn with_unknown_type(on_unknown: &str) -> String {
    format!(
        "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\nauth = \"none\"\non_unknown = \"{on_unknown}\"\n\
         [[routes]]\nname = \"new\"\ntypes = [\"Microsoft.Communication.Something\"]\nqueue = \"q\"\n"
    )
}

#[test]
fn check_config_notices_a_type_that_the_catalogue_does_not_have_and_refuses_its_short_name() {
    let words = "route new names type Microsoft.Communication.Something, which is not in the catalogue: routed when it comes";
    for (on_unknown, more) in [
        ("route", ""),
        (
            "reject",
            "; from app a it never comes, because on_unknown = \"reject\" refuses it",
        ),
    ] {
        let (_dir, path) = file(&with_unknown_type(on_unknown));
        let run = hookswitch(&["check-config", text(&path)], "");
        assert_eq!(run.code, Some(0), "{}", run.err);
        let line = format!("  {words}{more}\n");
        assert!(run.out.contains(&line), "{}", run.out);
    }
    let short = with_unknown_type("route").replace("Microsoft.Communication.", "");
    let (_dir, path) = file(&short);
    let run = hookswitch(&["check-config", text(&path)], "");
    assert_eq!(run.code, Some(78), "{}", run.out);
    assert!(
        run.err
            .contains("routes[0].types[0]: unknown event type \"Something\""),
        "{}",
        run.err
    );
}

#[test]
fn explain_routes_an_unknown_type_by_its_name() {
    let event = GOOD.replace("CallConnected", "Something");
    let (_dir, path) = file(&with_unknown_type("route"));
    let run = hookswitch(&["explain", "--config", text(&path), "-"], &event);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    for line in [
        "[0] unknown: Microsoft.Communication.Something · cloudevents · no generation · Unknown · call c1",
        "route new takes it",
        "-> queue q (quorum)",
        "hookswitch-kind: Unknown",
    ] {
        assert!(run.out.contains(line), "{line} is missing in\n{}", run.out);
    }
    let run = hookswitch(&["explain", "--config", text(&path), "-"], GOOD);
    assert!(
        run.out
            .contains("route new does not take it: does not list this type"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("-> queue hookswitch.unrouted"),
        "{}",
        run.out
    );
    let (_dir, path) = file(&with_unknown_type("quarantine"));
    let run = hookswitch(&["explain", "--config", text(&path), "-"], &event);
    assert!(
        run.out
            .contains("is kept in quarantine as unknown, whatever the routes say"),
        "{}",
        run.out
    );
}

#[test]
fn check_config_shows_and_prints_several_resources_and_an_open_handshake() {
    let (_dir, path) = file(
        "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\nevent_grid = { handshake = \"open\" }\n\
         auth = { acs = [{ resource_id = \"00000000-0000-4000-8000-00000000000a\" }, { resource_id = \"00000000-0000-4000-8000-00000000000B\" }] }\n",
    );
    let run = hookswitch(&["check-config", text(&path)], "");
    assert_eq!(run.code, Some(0), "{}", run.err);
    for line in [
        "a: /callbacks/a, auth by acs (2 resources),",
        "app a answers Event Grid's validation request without credentials",
    ] {
        assert!(run.out.contains(line), "{line} is missing in\n{}", run.out);
    }
    let printed = hookswitch(&["check-config", "--print", text(&path)], "");
    let app = &printed.out.parse::<toml::Table>().unwrap()["apps"][0];
    let methods = "acs = [{ resource_id = \"00000000-0000-4000-8000-00000000000a\" }, { resource_id = \"00000000-0000-4000-8000-00000000000b\" }]";
    for (key, expected) in [("event_grid", "handshake = \"open\""), ("auth", methods)] {
        let expected: toml::Table = expected.parse().unwrap();
        assert_eq!(app[key], expected.into(), "{}", printed.out);
    }
    let (_dir, again) = file(&printed.out);
    let again = hookswitch(&["check-config", "--print", text(&again)], "");
    assert_eq!(again.out, printed.out);
}

#[test]
fn check_config_tries_the_place_of_the_journal() {
    let (_dir, path) = file("");
    let config = format!(
        "[journal]\npath = {:?}\n[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\nauth = \"none\"\n",
        path.join("journal")
    );
    let (_dir, config) = file(&config);
    let run = hookswitch(&["check-config", text(&config)], "");
    assert_eq!(run.code, Some(78));
    assert!(
        run.err.contains("journal.path: cannot write"),
        "{}",
        run.err
    );
}

#[test]
fn check_config_accepts_what_it_prints() {
    let printed = hookswitch(&["check-config", "--print", "config/demo.toml"], "");
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    assert!(
        printed.out.contains("stall_timeout = \"2m\""),
        "{}",
        printed.out
    );
    assert!(
        printed.out.contains("amqp://guest:***@127.0.0.1:5672/%2f"),
        "{}",
        printed.out
    );
    let (_dir, path) = file(&printed.out);
    assert_eq!(hookswitch(&["check-config", text(&path)], "").code, Some(0));
}

#[test]
fn validate_shows_what_the_receiver_would_make_of_an_event() {
    let run = hookswitch(&["validate", "--json", "-"], GOOD);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    let line: serde_json::Value = serde_json::from_str(&run.out).expect("one JSON line");
    assert_eq!(
        line,
        serde_json::json!({"file": "-", "error": null, "events": [{
            "index": 0, "id": "e1", "type": "Microsoft.Communication.CallConnected", "envelope": "cloudevents",
            "generation": "ga", "kind": "CallState", "call_key": "c1", "valid": true, "errors": [],
        }]})
    );
    let run = hookswitch(&["validate", "-"], GOOD);
    assert_eq!(
        run.out,
        "-:\n  [0] valid: Microsoft.Communication.CallConnected · cloudevents · ga · CallState · call c1\n"
    );
}

#[test]
fn a_byte_order_mark_changes_nothing_but_positions() {
    let marked = |text: &str| format!("\u{feff}{text}");
    let config = ["explain", "--config", "config/demo.toml", "-"];
    for arguments in [&["validate", "--json", "-"][..], &config] {
        let plain = hookswitch(arguments, GOOD);
        let run = hookswitch(arguments, &marked(GOOD));
        assert_eq!((run.code, run.out), (Some(0), plain.out), "{arguments:?}");
        let run = hookswitch(arguments, &marked("[{},]"));
        assert_eq!(run.code, Some(1), "{arguments:?}");
        assert!(run.out.contains("at byte 7"), "{}", run.out);
    }
}

#[test]
fn validate_names_the_place_of_each_error_and_exits_1() {
    let bad = GOOD.replace(r#""callConnectionId":"c1""#, r#""callConnectionId":7"#);
    let run = hookswitch(
        &["validate", "--json", "-"],
        &format!("[{GOOD},{bad},{{\"a\":1}}]"),
    );
    assert_eq!(run.code, Some(1), "{}", run.err);
    let line: serde_json::Value = serde_json::from_str(&run.out).expect("one JSON line");
    assert_eq!(line["error"], serde_json::Value::Null);
    assert_eq!(line["events"][0]["valid"], true);
    assert_eq!(line["events"][1]["valid"], false);
    assert_eq!(
        line["events"][1]["errors"][0]["pointer"],
        "/data/callConnectionId"
    );
    assert_eq!(line["events"][2]["valid"], false);
    assert_eq!(line["events"][2]["envelope"], serde_json::Value::Null);
    let run = hookswitch(&["validate", "-"], &bad);
    assert_eq!(run.code, Some(1));
    assert!(
        run.out.contains("    /data/callConnectionId: "),
        "{}",
        run.out
    );
}

#[test]
fn validate_goes_on_after_a_file_that_is_not_a_callback() {
    let (_good_dir, good) = file(GOOD);
    let (_bad_dir, bad) = file("{\"id\": 1, \"id\": 2}");
    let run = hookswitch(
        &[
            "validate",
            "--json",
            "no/such/file",
            text(&bad),
            text(&good),
        ],
        "",
    );
    assert_eq!(run.code, Some(1));
    let lines: Vec<serde_json::Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let error = |index: usize| {
        lines[index]["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        error(0).starts_with("cannot read no/such/file"),
        "{}",
        error(0)
    );
    assert!(
        error(1).contains("a member name occurs twice"),
        "{}",
        error(1)
    );
    assert_eq!(lines[1]["events"], serde_json::json!([]));
    assert_eq!(lines[2]["events"][0]["valid"], true);
}

#[test]
fn explain_says_which_routes_take_an_event_and_why_the_others_do_not() {
    let run = hookswitch(&["explain", "--config", "config/demo.toml", "-"], GOOD);
    assert_eq!(run.code, Some(0), "{}", run.err);
    for line in [
        "app contoso\n  [0] valid: Microsoft.Communication.CallConnected",
        "route contoso-calls takes it",
        "route contoso-digits does not take it: does not list this kind",
        "route fabrikam-calls does not take it: is for another app",
        "-> queue contoso.calls.",
        "-> queue fabrikam.calls (quorum)",
        "hookswitch-call: c1",
        "correlation_id: k1",
        "app fabrikam\n",
    ] {
        assert!(run.out.contains(line), "{line} is missing in\n{}", run.out);
    }
    let one = hookswitch(
        &[
            "explain",
            "--config",
            "config/demo.toml",
            "--app",
            "fabrikam",
            "-",
        ],
        GOOD,
    );
    assert!(!one.out.contains("app contoso\n"), "{}", one.out);
    let none = hookswitch(
        &["explain", "--config", "config/demo.toml", "--app", "x", "-"],
        GOOD,
    );
    assert_eq!(none.code, Some(64), "{}", none.err);
}

#[test]
fn explain_says_what_becomes_of_broken_events_and_exits_1() {
    let bad = GOOD.replace(r#""callConnectionId":"c1""#, r#""callConnectionId":7"#);
    let arguments = [
        "explain",
        "--config",
        "config/demo.toml",
        "--app",
        "contoso",
        "-",
    ];
    let run = hookswitch(&arguments, &bad);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.out.contains("is kept in quarantine as invalid"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("-> queue hookswitch.quarantine"),
        "{}",
        run.out
    );
    let run = hookswitch(&arguments, "{");
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.out.starts_with("refused with 400: "), "{}", run.out);
    let rejecting = "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"a\"\nauth = \"none\"\non_invalid = \"reject\"\n";
    let (_dir, config) = file(rejecting);
    let run = hookswitch(&["explain", "--config", text(&config), "-"], &bad);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.out.contains("the whole callback is refused with 422"),
        "{}",
        run.out
    );
}

#[test]
fn schemas_are_listed_shown_exported_and_read_back() {
    let list = hookswitch(&["schemas", "list"], "");
    assert_eq!(list.code, Some(0), "{}", list.err);
    let row = list
        .out
        .lines()
        .find(|line| line.ends_with("Microsoft.Communication.PlayCompleted"));
    assert!(
        row.is_some_and(|row| row.contains("PlayAudioResult")),
        "{}",
        list.out
    );
    let show = hookswitch(
        &["schemas", "show", "CallConnected", "--generation", "ga"],
        "",
    );
    assert_eq!(show.code, Some(0), "{}", show.err);
    let schema: serde_json::Value = serde_json::from_str(&show.out).expect("one JSON Schema");
    assert!(
        schema["$schema"]
            .as_str()
            .is_some_and(|uri| uri.contains("2020-12"))
    );
    let (dir, _) = file("");
    let target = dir.path().join("schemas");
    let export = hookswitch(&["schemas", "export", text(&target)], "");
    assert_eq!(export.code, Some(0), "{}", export.err);
    let again = hookswitch(&["schemas", "--path", text(&target), "list"], "");
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert_eq!(again.out.lines().count(), list.out.lines().count());
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = hookswitch(&["completions", shell], "");
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(run.out.contains("check-config"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hookswitch starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_good_event_of_ours_is_valid_and_every_counter_example_shows_its_pointers() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let expected = std::fs::read_to_string(data.join("counter/expected.json")).expect("a table");
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_str(&expected).expect("JSON");
    let files: Vec<String> = expected
        .keys()
        .map(|name| text(&data.join("counter").join(name)).to_owned())
        .collect();
    let arguments = ["validate", "--json"]
        .into_iter()
        .chain(files.iter().map(String::as_str));
    let run = hookswitch(&arguments.collect::<Vec<_>>(), "");
    assert_eq!(run.code, Some(1));
    assert_eq!(run.out.lines().count(), expected.len());
    for (line, (name, pointers)) in run.out.lines().zip(&expected) {
        let report: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let event = &report["events"][0];
        assert_eq!(event["valid"], false, "{name}");
        let found: Vec<&str> = event["errors"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect();
        for pointer in pointers {
            assert!(
                found.contains(&pointer.as_str()),
                "{name}: {pointer} not in {found:?}"
            );
        }
    }

    let mut good = Vec::new();
    for generation in std::fs::read_dir(data.join("events")).expect("a folder") {
        for file in std::fs::read_dir(generation.expect("an entry").path()).expect("a folder") {
            good.push(text(&file.expect("an entry").path()).to_owned());
        }
    }
    assert!(good.len() > 90, "{} events", good.len());
    let arguments = ["validate"]
        .into_iter()
        .chain(good.iter().map(String::as_str));
    let run = hookswitch(&arguments.collect::<Vec<_>>(), "");
    assert_eq!(run.code, Some(0), "{}", run.out);
}
