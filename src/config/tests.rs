//! Configurations as operators write them, and every way in which they can be wrong.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{
    event::{AppName, Generation, Kind},
    route::{Filter, QueueType, Route, Sink, Template},
};

use super::{
    AcceptAfter, Base, BrokerEndpoint, Config, Flag, OnInvalid, OnUnknown, Problems, Schemas,
    Secret, Sources, Tls, load_with, routes::Vocabulary,
};

/// The least that is a configuration; tests put more below it.
const SMALL: &str = "\
[broker]
url = \"stdout:\"
[[apps]]
name = \"contoso\"
auth = \"none\"
";

fn words(_: &Schemas) -> Result<Vocabulary, Vec<String>> {
    Ok(Vocabulary {
        types: [
            "Microsoft.Communication.PlayFailed",
            "Microsoft.Communication.RecognizeFailed",
            "Microsoft.Communication.CallConnected",
        ]
        .map(str::to_owned)
        .to_vec(),
        generations: ["2021-private", "ga"].map(str::to_owned).to_vec(),
    })
}

fn read(text: &str) -> Result<Config, Problems> {
    load_with(&Sources::text("f.toml", text), words)
}

fn good(text: &str) -> Config {
    read(text).unwrap()
}

/// Every line of `expected` must be the beginning of one problem, in order, and there must be no other problem.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    check_sources(&Sources::text("f.toml", text), expected);
}

#[track_caller]
fn check_sources(sources: &Sources, expected: &[&str]) {
    let problems = load_with(sources, words).expect_err("refused");
    let fits = problems.lines().len() == expected.len()
        && problems
            .lines()
            .iter()
            .zip(expected)
            .all(|(line, beginning)| line.starts_with(beginning));
    assert!(fits, "got\n{problems}\nexpected\n{}", expected.join("\n"));
}

/// `SMALL` and one route with `lines`; the route stands at line 6.
fn with_route(lines: &str) -> String {
    format!("{SMALL}[[routes]]\nname = \"r\"\n{lines}\n")
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_design() {
    let mut sources = Sources::text("f.toml", SMALL);
    sources.environment = environment(&[("HOSTNAME", "hookswitch-7")]);
    let config = load_with(&sources, words).unwrap();
    let server = &config.server;
    assert_eq!(server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(server.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(server.body_limit_bytes, 1_048_576);
    assert_eq!(server.batch_limit, 5_000);
    assert_eq!(server.request_timeout, Duration::from_secs(15));
    assert_eq!(server.shutdown_timeout, Duration::from_secs(25));
    assert_eq!(server.instance, "hookswitch-7");
    assert_eq!(config.journal.path, PathBuf::from("data/journal"));
    assert_eq!(config.journal.limit_bytes, 1_073_741_824);
    assert_eq!(config.journal.limit_deliveries, 2_000_000);
    assert!((config.journal.destination_share - 0.5).abs() < f64::EPSILON);
    assert_eq!(config.delivery.accept_after, AcceptAfter::Journal);
    assert_eq!(config.delivery.confirm_timeout, Duration::from_secs(5));
    assert_eq!(config.delivery.stall_timeout, Duration::from_secs(120));
    assert_eq!(config.delivery.window, 128);
    assert_eq!(config.broker.endpoint, BrokerEndpoint::Stdout);
    assert_eq!(config.broker.exchange, "");
    assert!(config.broker.declare);
    assert_eq!(config.broker.max_message_bytes, 16_777_216);
    assert_eq!(config.broker.tls, Tls::default());
    assert_eq!(config.schemas.path, None);
    let app = &config.apps[0];
    assert_eq!(app.name.as_str(), "contoso");
    assert!(!app.call_key_from_path);
    assert_eq!(app.on_invalid, OnInvalid::Quarantine);
    assert_eq!(app.on_unknown, OnUnknown::Route);
    assert!(app.pass_query.is_empty());
    assert!(config.routes.is_empty());
}

#[test]
fn the_annotated_file_is_read_in_full() {
    let mut sources = Sources::file(repository("config/hookswitch.toml"));
    sources.environment.clear();
    let config = load_with(&sources, words).unwrap();
    assert_eq!(config.server.instance, "hookswitch-0");
    assert_eq!(config.apps[0].pass_query, ["callerId"]);
    let app = AppName::try_from("contoso".to_owned()).ok();
    let route = |name: &str, sink| Route {
        name: name.to_owned(),
        app: app.clone(),
        kinds: Vec::new(),
        types: Vec::new(),
        generations: Vec::new(),
        filters: Vec::new(),
        sink,
    };
    let queue = |name: &str, partitions: u32| Sink::Queue {
        name: name.to_owned(),
        partitions: partitions.try_into().ok(),
        queue_type: QueueType::Quorum,
    };
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let expected = [
        route("contoso-calls", queue("contoso.calls", 4)),
        Route {
            kinds: vec![Kind::DtmfReceived, Kind::Recognize],
            filters: vec![
                Filter::Prefix(pair("subject", "calling/")),
                Filter::Not(Box::new(Filter::Exact(pair(
                    "data.operationContext",
                    "survey",
                )))),
            ],
            ..route("contoso-digits", queue("contoso.digits", 0))
        },
        Route {
            app: None,
            types: vec!["PlayFailed".to_owned(), "RecognizeFailed".to_owned()],
            generations: vec![Generation::new("ga")],
            ..route(
                "failures",
                Sink::Exchange {
                    exchange: "calls".to_owned(),
                    routing_key: Template::default(),
                },
            )
        },
    ];
    assert_eq!(config.routes, expected);
}

/// What the annotated file shows as default is the default: without the lines marked as examples nothing changes.
#[test]
fn the_annotated_file_shows_the_defaults() {
    let text = std::fs::read_to_string(repository("config/hookswitch.toml")).unwrap();
    let annotated = text.split("[[apps]]").next().unwrap();
    let defaults: String = annotated
        .lines()
        .filter(|line| !line.starts_with("url =") && !line.starts_with("instance ="))
        .collect::<Vec<_>>()
        .join("\n");
    let rest = "url = \"stdout:\"\n[[apps]]\nname = \"contoso\"\nauth = \"none\"\n";
    assert_eq!(good(&format!("{defaults}\n{rest}")), good(SMALL));
}

#[test]
fn the_demo_file_is_good() {
    let mut sources = Sources::file(repository("config/demo.toml"));
    sources.environment.clear();
    let config = load_with(&sources, words).unwrap();
    let names: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["contoso", "fabrikam"]);
    assert_eq!(config.routes.len(), 3);
}

#[test]
fn every_problem_of_a_file_is_reported_in_one_run() {
    check(
        "\
[server]
listen = 8080
windw = 3
[delivery]
window = 0
stall_timeout = 120
accept_after = \"jurnal\"
[brokr]
[[apps]]
name = \"a.b\"
[[apps]]
name = \"contoso\"
auth = \"none\"
[[routes]]
app = \"contso\"
kinds = [\"DtmfRecieved\", 3]
queue = \"q\"
partitions = 0
",
        &[
            "f.toml:2: server.listen: is an integer, expected a text such as \"0.0.0.0:8080\"",
            "f.toml:3: server.windw: unknown key",
            "f.toml:5: delivery.window: is 0, expected an integer from 1 to 200",
            "f.toml:6: delivery.stall_timeout: is an integer, expected a time from \"1s\" to \"1h\", in quotes and with its unit",
            "f.toml:7: delivery.accept_after: is \"jurnal\", expected \"journal\" or \"confirm\"; did you mean \"journal\"?",
            "f.toml:8: brokr: unknown key; did you mean \"broker\"?",
            "f.toml:9: apps[0].auth: is missing: write auth = \"none\"",
            "f.toml:10: apps[0].name: \"a.b\" is no app name: 1 to 64 of a-z, A-Z, 0-9, '-' and '_' (no dot",
            "f.toml:14: routes[0].name: is missing",
            "f.toml:15: routes[0].app: there is no app \"contso\"; did you mean \"contoso\"?",
            "f.toml:16: routes[0].kinds[0]: unknown kind \"DtmfRecieved\"; did you mean \"DtmfReceived\"?",
            "f.toml:16: routes[0].kinds[1]: is an integer, expected a text in quotes",
            "f.toml:18: routes[0].partitions: is 0, expected an integer from 1 to 1024",
            "f.toml: broker.url: is missing: write url = \"amqp://user:password@host:5672/%2f\"",
        ],
    );
}

#[test]
fn every_table_refuses_keys_that_it_does_not_know() {
    for table in [
        "server",
        "journal",
        "delivery",
        "schemas",
        "broker.tls",
        "[apps]",
        "[routes]",
    ] {
        let text =
            format!("{SMALL}[[routes]]\nname = \"r\"\nqueue = \"q\"\n[{table}]\nzzzzz = 1\n");
        let problems = read(&text).expect_err(table).to_string();
        assert!(
            problems.contains("zzzzz: unknown key; known here: "),
            "{problems}"
        );
    }
    let text = format!("zzzzz = 1\n{SMALL}");
    check(
        &text,
        &["f.toml:1: zzzzz: unknown key; known here: apps, broker, delivery"],
    );
    let text = SMALL.replace("url", "windw = 1\nurl");
    check(&text, &["f.toml:2: broker.windw: unknown key"]);
}

#[test]
fn every_syntax_error_is_reported_with_its_line() {
    let problems = read("[server]\nlisten = \n[broker\nurl = 3\n").expect_err("refused");
    assert!(problems.lines()[0].starts_with("f.toml:2: "), "{problems}");
    assert!(
        problems
            .lines()
            .iter()
            .any(|line| line.starts_with("f.toml:3: ")),
        "{problems}"
    );
    check(
        "[broker]\nurl = \"a\"\nurl = \"b\"\n",
        &["f.toml:3: duplicate key"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources::file("no/such/file.toml");
    check_sources(
        &sources,
        &["no/such/file.toml: cannot read this configuration file: No such file"],
    );
}

#[test]
fn an_empty_file_lacks_a_broker_and_apps() {
    check(
        "",
        &[
            "f.toml: apps: is missing: write [[apps]]",
            "f.toml: broker.url: is missing: write url",
        ],
    );
    check(
        "apps = []\nbroker = 3\n",
        &[
            "f.toml:1: apps: is empty: write [[apps]]",
            "f.toml:2: broker: is an integer, expected a table: write [broker]",
        ],
    );
}

#[test]
fn the_environment_wins_over_the_file_and_flags_win_over_both() {
    let mut sources = Sources::text(
        "f.toml",
        &format!("{SMALL}[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\n"),
    );
    sources.environment = environment(&[
        ("HOOKSWITCH__SERVER__LISTEN", "127.0.0.1:11"),
        ("HOOKSWITCH__SERVER__ADMIN_LISTEN", "127.0.0.1:12"),
        ("HOOKSWITCH__DELIVERY__WINDOW", "7"),
        ("HOOKSWITCH__DELIVERY__STALL_TIMEOUT", "30s"),
        ("HOOKSWITCH__JOURNAL__DESTINATION_SHARE", "0.25"),
        ("HOOKSWITCH__BROKER__DECLARE", "false"),
        ("HOOKSWITCH__BROKER__URL", "[\"amqp://a\", \"amqp://b\"]"),
        // Kubernetes injects these two for a service called hookswitch.
        ("HOOKSWITCH_PORT", "tcp://10.0.0.1:80"),
        ("HOOKSWITCH_SERVICE_HOST", "10.0.0.1"),
    ]);
    sources.flags = vec![Flag {
        name: "--listen",
        key: "server.listen",
        value: "127.0.0.1:21".to_owned(),
    }];
    let config = load_with(&sources, words).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:21");
    assert_eq!(config.server.admin_listen.to_string(), "127.0.0.1:12");
    assert_eq!(config.delivery.window, 7);
    assert_eq!(config.delivery.stall_timeout, Duration::from_secs(30));
    assert!((config.journal.destination_share - 0.25).abs() < f64::EPSILON);
    assert!(!config.broker.declare);
    let urls = ["amqp://a", "amqp://b"].map(|url| Secret::new(url.to_owned()));
    assert_eq!(config.broker.endpoint, BrokerEndpoint::Amqp(urls.to_vec()));
}

#[test]
fn a_secret_in_the_environment_replaces_its_file_form_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "\namqp://a/x\namqps://b/%2f\n").unwrap();
    let file = path.to_str().unwrap();
    let mut sources = Sources::text("f.toml", SMALL);
    sources.environment = environment(&[("HOOKSWITCH__BROKER__URL_FILE", file)]);
    let config = load_with(&sources, words).unwrap();
    assert_eq!(
        config.broker.endpoint,
        BrokerEndpoint::AmqpFile(path.clone())
    );

    let with_file = SMALL.replace("url = \"stdout:\"", &format!("url_file = {file:?}"));
    let mut sources = Sources::text("f.toml", &with_file);
    sources.environment = environment(&[("HOOKSWITCH__BROKER__URL", "stdout:")]);
    let config = load_with(&sources, words).unwrap();
    assert_eq!(config.broker.endpoint, BrokerEndpoint::Stdout);

    let both = SMALL.replace("url =", &format!("url_file = {file:?}\nurl ="));
    check(&both, &["f.toml:2: broker.url_file: is there beside url"]);
}

#[test]
fn wrong_names_and_values_in_the_environment_are_refused_by_name() {
    let mut sources = Sources::text("f.toml", SMALL);
    sources.environment = environment(&[
        ("HOOKSWITCH__BROKER__URLL", "x"),
        ("HOOKSWITCH__DELIVERY__WINDOW", "many"),
        ("HOOKSWITCH__APPS__0__NAME", "x"),
        ("HOOKSWITCH__ROUTES", "x"),
        ("HOOKSWITCH__SERVER", "x"),
        ("HOOKSWITCH__JOURNAL__", "x"),
        ("HOOKSWITCH__", "x"),
        ("HOOKSWITCH__LISTEN", "x"),
    ]);
    sources.flags = vec![Flag {
        name: "--admin-listen",
        key: "server.admin_listen",
        value: "8081".to_owned(),
    }];
    check_sources(
        &sources,
        &[
            "environment HOOKSWITCH__: names no setting",
            "environment HOOKSWITCH__APPS__0__NAME: apps and routes are set in the file only",
            "environment HOOKSWITCH__BROKER__URLL: broker.urll: unknown key; did you mean \"url",
            "environment HOOKSWITCH__DELIVERY__WINDOW: delivery.window: expected an integer from 1 to 200",
            "environment HOOKSWITCH__JOURNAL__: names no setting",
            "environment HOOKSWITCH__LISTEN: names no setting",
            "environment HOOKSWITCH__ROUTES: apps and routes are set in the file only",
            "environment HOOKSWITCH__SERVER: names no setting",
            "flag --admin-listen: server.admin_listen: \"8081\": invalid socket address syntax; write for example \"127.0.0.1:8081\"",
        ],
    );
}

#[test]
fn the_development_receiver_listens_on_loopback_only() {
    let mut sources = Sources::development("j");
    sources.environment.clear();
    let config = load_with(&sources, words).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.journal.path, PathBuf::from("j"));
    assert_eq!(config.broker.endpoint, BrokerEndpoint::Stdout);
    assert_eq!(config.apps[0].name.as_str(), "dev");
    assert!(matches!(sources.base, Base::Development { .. }));
    sources.environment = environment(&[("HOOKSWITCH__SERVER__LISTEN", "0.0.0.0:80")]);
    check_sources(
        &sources,
        &[
            "environment HOOKSWITCH__SERVER__LISTEN: server.listen: the development receiver has no auth",
        ],
    );
}

#[test]
fn limits_out_of_range_are_refused_with_the_range() {
    for (table, line, expected) in [
        (
            "server",
            "body_limit_bytes = 1023",
            "is 1023, expected an integer from 1024 to 16777216",
        ),
        (
            "server",
            "batch_limit = 5001",
            "is 5001, expected an integer from 1 to 5000",
        ),
        (
            "server",
            "in_flight_limit = 0",
            "is 0, expected an integer from 1 to",
        ),
        (
            "server",
            "connection_limit = -1",
            "is -1, expected an integer from 1 to",
        ),
        (
            "server",
            "request_timeout = \"0s\"",
            "is \"0s\", expected a time from \"1s\" to \"5m\"",
        ),
        ("server", "shutdown_timeout = \"9\"", "time unit needed"),
        ("server", "instance = \"\"", "is no instance name"),
        ("server", "instance = \"a b\"", "is no instance name"),
        (
            "journal",
            "limit_bytes = 1",
            "is 1, expected an integer from 65536 to",
        ),
        (
            "journal",
            "limit_bytes = 99999999999999999999",
            "is larger than any integer",
        ),
        (
            "journal",
            "limit_bytes = \"1\"",
            "is a text, expected an integer",
        ),
        (
            "journal",
            "limit_bytes = 1.5",
            "is a number with a fraction, expected an integer",
        ),
        ("journal", "path = \"\"", "is empty, expected a path"),
        (
            "journal",
            "destination_share = 0",
            "is 0, expected a number over 0, at most 1",
        ),
        ("journal", "destination_share = 1.01", "is 1.01, expected"),
        ("journal", "destination_share = nan", "is NaN, expected"),
        (
            "journal",
            "destination_share = true",
            "is true or false, expected a number",
        ),
        (
            "journal",
            "limit_deliveries = 0",
            "is 0, expected an integer from 1 to",
        ),
        (
            "delivery",
            "window = 201",
            "is 201, expected an integer from 1 to 200",
        ),
        (
            "delivery",
            "confirm_timeout = \"1 fortnight\"",
            "unknown time unit",
        ),
        (
            "delivery",
            "stall_timeout = 1979-05-27",
            "is a date, expected a time",
        ),
    ] {
        let key = line.split(' ').next().unwrap();
        // A number that TOML cannot hold is found before its table is known.
        let place = match line.len() {
            34.. if key == "limit_bytes" => format!("f.toml:7: {key}"),
            _ => format!("f.toml:7: {table}.{key}"),
        };
        check(
            &format!("{SMALL}[{table}]\n{line}\n"),
            &[&format!("{place}: {expected}")],
        );
    }
    let text = SMALL.replace("url", "max_message_bytes = 536870913\nurl");
    check(
        &text,
        &["f.toml:2: broker.max_message_bytes: is 536870913, expected"],
    );
    let text = SMALL.replace("url", "declare = \"yes\"\nurl");
    check(
        &text,
        &["f.toml:2: broker.declare: is a text, expected true or false"],
    );
    check(
        &format!("{SMALL}[journal]\nlimit_bytes = 65536\n"),
        &["f.toml:6: journal: limit_bytes is below server.body_limit_bytes"],
    );
    assert!(
        good(&format!("{SMALL}[journal]\ndestination_share = 1\n"))
            .journal
            .destination_share
            > 0.99
    );
}

#[test]
fn two_listeners_on_one_address_are_refused_unless_the_system_picks_the_port() {
    let listeners = |public: &str, admin: &str| {
        format!("{SMALL}[server]\nlisten = {public:?}\nadmin_listen = {admin:?}\n")
    };
    for (public, admin) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("10.0.0.1:80", "[::]:80"),
    ] {
        check(
            &listeners(public, admin),
            &["f.toml:8: server.admin_listen: is the address of server.listen"],
        );
    }
    good(&listeners("127.0.0.1:0", "127.0.0.1:0"));
    good(&listeners("127.0.0.1:80", "127.0.0.2:80"));
}

#[test]
fn a_broker_url_is_checked_and_its_password_never_shown() {
    for (url, expected) in [
        (
            "\"http://u:hunter2@h/%2f\"",
            "is no AMQP URL: Invalid AMQP scheme: http",
        ),
        ("\"hunter2\"", "is no AMQP URL: "),
        ("\"u:hunter2@h\"", "is no AMQP URL: "),
        ("\"amqp://u:hunter2@[::1]:5672/%2f\"", "has an IPv6 address"),
        (
            "\"amqp://u:hunter2@h/\"",
            "names a virtual host without a name: end it with /%2f",
        ),
        (
            "\"amqp://u:hunter2@h:99999/x\"",
            "is no AMQP URL: invalid port",
        ),
        (
            "[\"amqp://h/x\", \"amqq://hunter2\"]",
            "is no AMQP URL: Invalid AMQP scheme: amqq",
        ),
        ("[\"amqp://h/x\", 7]", "expected an AMQP URL such as"),
        ("[]", "expected an AMQP URL such as"),
        ("5672", "expected an AMQP URL such as"),
    ] {
        let text = SMALL.replace("\"stdout:\"", url);
        check(&text, &[&format!("f.toml:2: broker.url: {expected}")]);
        assert!(
            !read(&text).unwrap_err().to_string().contains("hunter2"),
            "{url}"
        );
    }
    let config = good(&SMALL.replace("stdout:", "amqps://u:hunter2@h"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_file_of_broker_urls_must_hold_some() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    let text = SMALL.replace("url = \"stdout:\"", &format!("url_file = {path:?}"));
    let at = |message: &str| format!("f.toml:2: broker.url_file: {message}");
    let name = path.display();
    check(&text, &[&at(&format!("cannot read {name}: No such file"))]);
    std::fs::write(&path, " \n").unwrap();
    check(&text, &[&at(&format!("{name} holds no URL"))]);
    std::fs::write(&path, "amqp://h\nhttp://u:hunter2@h\n").unwrap();
    check(
        &text,
        &[&at(&format!(
            "line 2 of {name}: is no AMQP URL: Invalid AMQP scheme: http"
        ))],
    );
}

#[test]
fn tls_material_must_be_complete_readable_and_of_use() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("pem");
    std::fs::write(&pem, "").unwrap();
    let secure = SMALL.replace("stdout:", "amqps://h");
    check(
        &format!("{secure}[broker.tls]\ncert_file = {pem:?}\nca_file = \"no/such\"\n"),
        &[
            "f.toml:6: broker.tls.key_file: is missing beside cert_file",
            "f.toml:8: broker.tls.ca_file: cannot read no/such: No such file",
        ],
    );
    check(
        &format!("{secure}[broker.tls]\nkey_file = {pem:?}\n"),
        &["f.toml:6: broker.tls.cert_file: is missing beside key_file"],
    );
    let plain = SMALL.replace("stdout:", "amqp://h");
    check(
        &format!("{plain}[broker.tls]\nca_file = {pem:?}\n"),
        &["f.toml:6: broker.tls: is never used: no URL begins with amqps://"],
    );
    let config = good(&format!("{secure}[broker.tls]\nca_file = {pem:?}\n"));
    assert_eq!(config.broker.tls.ca_file, Some(pem));
}

#[test]
fn what_comes_with_the_trust_boundary_is_refused_as_such() {
    for (lines, key) in [
        (
            "event_grid = true",
            "apps[0].event_grid: is not in this version",
        ),
        (
            "allowed_origins = []",
            "apps[0].allowed_origins: is not in this version",
        ),
    ] {
        check(&format!("{SMALL}{lines}\n"), &[&format!("f.toml:6: {key}")]);
    }
    let text = SMALL.replace("auth = \"none\"", "[apps.auth]\nacs = {}");
    check(
        &text,
        &["f.toml:5: apps[0].auth: acs, jwt and shared_secret are not in this version"],
    );
    let text = SMALL.replace("\"none\"", "\"all\"");
    check(
        &text,
        &["f.toml:5: apps[0].auth: is not understood: write auth = \"none\""],
    );
    let text = SMALL.replace("auth = \"none\"\n", "");
    check(
        &text,
        &["f.toml:3: apps[0].auth: is missing: write auth = \"none\""],
    );
    check(
        &format!("{SMALL}[server.tls]\ncert_file = \"x\"\n"),
        &["f.toml:6: server.tls: is not in this version"],
    );
}

#[test]
fn app_settings_are_read_and_checked() {
    let config = good(&format!(
        "{SMALL}call_key = \"path\"\non_invalid = \"reject\"\non_unknown = \"quarantine\"\npass_query = [\"a\", \"b\"]\n"
    ));
    let app = &config.apps[0];
    assert!(app.call_key_from_path);
    assert_eq!(app.on_invalid, OnInvalid::Reject);
    assert_eq!(app.on_unknown, OnUnknown::Quarantine);
    assert_eq!(app.pass_query, ["a", "b"]);
    check(
        &format!(
            "{SMALL}call_key = \"pth\"\non_invalid = \"route\"\npass_query = [\"\", \"a\", \"a\"]\n"
        ),
        &[
            "f.toml:6: apps[0].call_key: is \"pth\", expected \"auto\" or \"path\"; did you mean \"path\"?",
            "f.toml:7: apps[0].on_invalid: is \"route\", expected \"quarantine\" or \"reject\"",
            "f.toml:8: apps[0].pass_query[0]: is empty",
            "f.toml:8: apps[0].pass_query[2]: \"a\" is named twice",
        ],
    );
    check(
        &format!("{SMALL}pass_query = \"a\"\n"),
        &["f.toml:6: apps[0].pass_query: is a text, expected a list of texts"],
    );
    check(
        &format!("{SMALL}[[apps]]\nname = \"contoso\"\nauth = \"none\"\n"),
        &["f.toml:7: apps[1].name: there is an app contoso already"],
    );
}

#[test]
fn a_route_goes_to_a_queue_or_to_an_exchange() {
    check(
        &with_route(""),
        &["f.toml:6: routes[0]: goes nowhere: write queue"],
    );
    check(
        &with_route("queue = \"q\"\nexchange = \"x\""),
        &["f.toml:9: routes[0].exchange: is there beside queue"],
    );
    check(
        &with_route("exchange = \"x\"\npartitions = 4\nqueue_type = \"quorum\""),
        &[
            "f.toml:9: routes[0].partitions: belongs to a queue",
            "f.toml:10: routes[0].queue_type: belongs to a queue",
        ],
    );
    check(
        &with_route("queue = \"q\"\nrouting_key = \"a\""),
        &["f.toml:9: routes[0].routing_key: belongs to an exchange"],
    );
    check(
        &with_route("exchange = \"\"\nrouting_key = \"{apps}.x\""),
        &[
            "f.toml:8: routes[0].exchange: is empty",
            "f.toml:9: routes[0].routing_key: \"{apps}.x\": unknown placeholder {apps}",
        ],
    );
    let config = good(&with_route("queue = \"q\"\nqueue_type = \"classic\""));
    assert!(matches!(
        config.routes[0].sink,
        Sink::Queue {
            queue_type: QueueType::Classic,
            partitions: None,
            ..
        }
    ));
}

#[test]
fn unknown_words_in_a_route_get_a_suggestion() {
    check(
        &with_route(
            "queue = \"q\"\nkinds = [\"callstate\", \"zzz\"]\ntypes = [\"PlayFaild\", \"Microsoft.Communication.CallConnected\", \"zzz\"]\ngenerations = [\"2021-privat\", \"zzz\"]",
        ),
        &[
            "f.toml:9: routes[0].kinds[0]: unknown kind \"callstate\"; did you mean \"CallState\"?",
            "f.toml:9: routes[0].kinds[1]: unknown kind \"zzz\"; known: CallState, DtmfReceived",
            "f.toml:10: routes[0].types[0]: unknown event type \"PlayFaild\"; did you mean \"PlayFailed\"?",
            "f.toml:10: routes[0].types[2]: unknown event type \"zzz\"; `hookswitch schemas list` prints them",
            "f.toml:11: routes[0].generations[0]: unknown generation \"2021-privat\"; did you mean \"2021-private\"?",
            "f.toml:11: routes[0].generations[1]: unknown generation \"zzz\"; known: 2021-private, ga",
        ],
    );
}

#[test]
fn a_bad_filter_is_refused_with_its_place() {
    check(
        &with_route(
            "queue = \"q\"\nfilter = [{ exact = { type = \"x\" } }, { prefx = { type = \"x\" } }, { not = { exact = { type = 3 } } }]",
        ),
        &[
            "f.toml:9: routes[0].filter[1].prefx: ",
            "f.toml:9: routes[0].filter[2].not.exact",
        ],
    );
    check(
        &with_route("queue = \"q\"\nfilter = { exact = { type = \"x\" } }"),
        &["f.toml:9: routes[0].filter: must be an array"],
    );
}

#[test]
fn one_queue_means_the_same_in_every_route() {
    let second = |first: &str, lines: &str| {
        format!("{}[[routes]]\nname = \"s\"\n{lines}\n", with_route(first))
    };
    good(&second(
        "queue = \"q\"\npartitions = 4",
        "queue = \"q\"\npartitions = 4",
    ));
    good(&second("queue = \"q.x\"", "queue = \"q\"\npartitions = 4"));
    for (first, lines) in [
        (
            "queue = \"q\"\npartitions = 4",
            "queue = \"q\"\npartitions = 5",
        ),
        ("queue = \"q\"\npartitions = 4", "queue = \"q\""),
        (
            "queue = \"q\"\npartitions = 1",
            "queue = \"q\"\nqueue_type = \"quorum\"",
        ),
        (
            "queue = \"q\"\nqueue_type = \"classic\"",
            "queue = \"q\"\nqueue_type = \"quorum\"",
        ),
        (
            "queue = \"q\"\npartitions = 4",
            "queue = \"q.3\"\npartitions = 1",
        ),
        ("queue = \"q\"\npartitions = 4", "queue = \"q.3\""),
        (
            "queue = \"q.0\"\nqueue_type = \"quorum\"",
            "queue = \"q\"\npartitions = 4",
        ),
    ] {
        let text = second(first, lines);
        let collides = lines != "queue = \"q.3\"\npartitions = 1";
        match read(&text) {
            Ok(_) => assert!(!collides, "{text}"),
            Err(problems) => {
                assert!(collides, "{problems}");
                let line = &problems.lines()[0];
                assert!(line.contains("routes[1].queue: queue \"q"), "{line}");
                assert!(line.contains("in a route above"), "{line}");
            }
        }
    }
    check(
        &format!(
            "{}[[routes]]\nname = \"r\"\nqueue = \"q\"\n",
            with_route("queue = \"q\"")
        ),
        &["f.toml:10: routes[1].name: there is a route \"r\" already"],
    );
}

#[test]
fn reserved_and_overlong_queue_names_are_refused() {
    for (lines, expected) in [
        (
            "queue = \"hookswitch.unrouted\"",
            "is a queue of hookswitch itself",
        ),
        (
            "queue = \"hookswitch.quarantine\"",
            "is a queue of hookswitch itself",
        ),
        (
            "queue = \"hookswitch.fence.a\"",
            "is a queue of hookswitch itself",
        ),
        (
            "queue = \"hookswitch.fence\"\npartitions = 2",
            "is a queue of hookswitch itself",
        ),
        ("queue = \"amq.rabbitmq\"", "the broker keeps names"),
    ] {
        let problems = read(&with_route(lines)).unwrap_err();
        let line = &problems.lines()[0];
        assert!(
            line.contains("routes[0].queue: ") && line.contains(expected),
            "{line}"
        );
    }
    let long = "q".repeat(255);
    good(&with_route(&format!("queue = {long:?}")));
    check(
        &with_route(&format!("queue = {long:?}\npartitions = 2")),
        &["f.toml:8: routes[0].queue: is 257 bytes long"],
    );
    check(
        &with_route(&format!("queue = \"{long}q\"")),
        &["f.toml:8: routes[0].queue: is 256 bytes long"],
    );
    check(
        &with_route("queue = \"\""),
        &["f.toml:8: routes[0].queue: is empty"],
    );
    check(
        &format!(
            "{}[[routes]]\nname = \"s\"\nqueue = \"p\"\npartitions = 1024\n",
            with_route("queue = \"q\"\npartitions = 1024")
        ),
        &["f.toml:12: routes[1].queue: makes more than 2000 queues"],
    );
}

#[test]
fn the_directory_of_schemas_must_exist_and_open() {
    check(
        &format!("{SMALL}[schemas]\npath = \"no/such\"\n"),
        &["f.toml:7: schemas.path: no/such is no directory"],
    );
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{SMALL}[schemas]\npath = {:?}\n", dir.path());
    let broken = |_: &Schemas| Err(vec!["catalog.json is broken".to_owned()]);
    let problems = load_with(&Sources::text("f.toml", &text), broken).unwrap_err();
    assert_eq!(
        problems.lines(),
        ["f.toml:7: schemas.path: catalog.json is broken"]
    );
}

#[test]
fn a_configuration_printed_and_read_again_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it's \"a\" file");
    std::fs::write(&path, "amqps://h\n").unwrap();
    let annotated = std::fs::read_to_string(repository("config/hookswitch.toml")).unwrap();
    let demo = std::fs::read_to_string(repository("config/demo.toml")).unwrap();
    let odd = format!(
        "[server]\nlisten = \"[::1]:0\"\ninstance = \"a\\\"b\"\nrequest_timeout = \"1m 30s\"\n\
         [journal]\npath = {path:?}\ndestination_share = 1\n\
         [delivery]\naccept_after = \"confirm\"\nconfirm_timeout = \"250ms\"\n\
         [schemas]\npath = {:?}\n\
         [broker]\nurl_file = {path:?}\nexchange = \"x\"\ndeclare = false\n[broker.tls]\nca_file = {path:?}\n\
         [[apps]]\nname = \"a\"\nauth = \"none\"\ncall_key = \"path\"\non_invalid = \"reject\"\non_unknown = \"quarantine\"\npass_query = [\"b\\nc\"]\n\
         [[routes]]\nname = \"r\"\nqueue = \"q\\u0007\"\nqueue_type = \"classic\"\n\
         filter = [{{ any = [{{ not = {{ suffix = {{ \"data.a\" = \"\\\"\\n\" }} }} }}, {{ all = [{{ exact = {{ id = \"\\u0007é\" }} }}] }}] }}]\n",
        dir.path()
    );
    for text in [
        annotated,
        demo,
        odd,
        SMALL.replace("stdout:", "amqp://u@h/v?heartbeat=3"),
    ] {
        let config = good(&text.replace("guest:guest", "guest:***"));
        assert_eq!(good(&config.to_string()), config, "{config}");
    }
}

#[test]
fn a_printed_configuration_shows_no_password() {
    for url in [
        "amqp://u:hunter2@h/%2f",
        "amqp://u:hunter2%40@h",
        "amqp://:hunter2@h",
        "amqp://u:hun@hunter2@h/@",
    ] {
        let printed = good(&SMALL.replace("stdout:", url)).to_string();
        assert!(
            !printed.contains("hunter2") && printed.contains(":***@h"),
            "{printed}"
        );
    }
}
