//! Layers, whole files, and a configuration printed and read again.

use super::*;

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let mut sources = Sources::text("f.toml", SMALL);
    sources.environment = environment(&[("HOSTNAME", "hookswitch-7")]);
    let config = load_with(&sources, words).unwrap();
    let server = &config.server;
    assert_eq!(server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(server.admin_listen.to_string(), "127.0.0.1:8081");
    let limits = &server.limits;
    assert_eq!(limits.body_limit_bytes, 1_048_576);
    assert_eq!(server.batch_limit, 5_000);
    assert_eq!(limits.request_timeout, Duration::from_secs(15));
    assert_eq!(server.shutdown_timeout, Duration::from_secs(25));
    assert_eq!(limits.idle_timeout, Duration::from_secs(75));
    assert_eq!((limits.header_limit, limits.head_limit_bytes), (64, 16_384));
    assert_eq!(
        (limits.connection_limit, limits.peer_connection_limit),
        (4_096, 2_048)
    );
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
    let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
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

/// The defaults shown in the annotated file are the defaults: without the lines marked as examples nothing changes.
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
    assert_eq!(names, ["contoso", "fabrikam", "resource"]);
    assert_eq!(config.routes.len(), 4);
}

#[test]
fn the_signed_demo_file_is_the_demo_file_with_auth() {
    let (dir, secret) = (
        tempfile::tempdir().unwrap(),
        "a-secret-of-sixteen-characters",
    );
    let path = dir.path().join("secret");
    std::fs::write(&path, secret).unwrap();
    let text = std::fs::read_to_string(repository("config/signed.toml")).unwrap();
    let signed = good(&text.replace("data/demo-secret", path.to_str().unwrap()));
    let open = good(&std::fs::read_to_string(repository("config/demo.toml")).unwrap());
    assert_eq!(signed.routes, open.routes);
    assert_eq!(signed.apps.len(), open.apps.len());
    for app in &signed.apps {
        assert_ne!(app.auth, crate::config::Auth::None, "{}", app.name);
    }
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
            "f.toml:2: server.listen: is an integer, expected a text like \"0.0.0.0:8080\"",
            "f.toml:3: server.windw: unknown key",
            "f.toml:5: delivery.window: is 0, expected an integer from 1 to 200",
            "f.toml:6: delivery.stall_timeout: is an integer, expected a time from \"1s\" to \"1h\", in quotes and with its unit",
            "f.toml:7: delivery.accept_after: is \"jurnal\", expected \"journal\" or \"confirm\"; did you mean \"journal\"?",
            "f.toml:8: brokr: unknown key; did you mean \"broker\"?",
            "f.toml:9: apps[0].auth: is missing: write [apps.auth]",
            "f.toml:10: apps[0].name: \"a.b\" is not an app name: 1 to 64 of a-z, A-Z, 0-9, '-' and '_' (no dot",
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
    check(&both, &["f.toml:2: broker.url_file: conflicts with url"]);
}

#[test]
fn wrong_names_and_values_in_the_environment_are_refused_by_name() {
    let mut sources = Sources::text("f.toml", SMALL);
    sources.environment = environment(&[
        ("HOOKSWITCH__BROKER__URLL", "x"),
        ("HOOKSWITCH__DELIVERY__WINDOW", "many"),
        ("HOOKSWITCH__APPS__0__EVENT_GRID", "true"),
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
            "environment HOOKSWITCH__APPS__0__EVENT_GRID: apps and routes are set in the file only",
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
        super::auth::everything(dir.path()),
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
    let issuers = SMALL.replace(
        "\"none\"",
        "{ acs = { resource_id = \"00000000-0000-4000-8000-000000009100\", keys_url = \"http://127.0.0.1/a?hunter2\" }, jwt = [\
         { issuer = \"i\", audience = [\"a\"], jwks_url = \"https://h/b?code=hunter2\" }, \
         { issuer = \"j\", audience = [\"a\"], discovery_url = \"https://h/c?code=hunter2#x\" }] }",
    );
    let printed = good(&issuers).to_string();
    assert!(!printed.contains("hunter2"), "{printed}");
    for shown in ["127.0.0.1/a?***", "//h/b?***", "//h/c?***"] {
        assert!(printed.contains(shown), "{printed}");
    }
}
