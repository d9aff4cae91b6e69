//! Settings outside routes: bounds, addresses, secrets, apps.

use super::*;

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
        (
            "server",
            "idle_timeout = \"2h\"",
            "is \"2h\", expected a time from \"1s\" to \"1h\"",
        ),
        (
            "server",
            "header_limit = 97",
            "is 97, expected an integer from 8 to 96",
        ),
        (
            "server",
            "head_limit_bytes = 1",
            "is 1, expected an integer from 1024 to 131072",
        ),
        (
            "server",
            "peer_connection_limit = 4097",
            "is above connection_limit, which is 4096",
        ),
        ("server", "instance = \"\"", "is not an instance name"),
        ("server", "instance = \"a b\"", "is not an instance name"),
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
            "is not an AMQP URL: Invalid AMQP scheme: http",
        ),
        ("\"hunter2\"", "is not an AMQP URL: "),
        ("\"u:hunter2@h\"", "is not an AMQP URL: "),
        ("\"amqp://u:hunter2@[::1]:5672/%2f\"", "has an IPv6 address"),
        (
            "\"amqp://u:hunter2@h/\"",
            "names a virtual host without a name: end it with /%2f",
        ),
        (
            "\"amqp://u:hunter2@h:99999/x\"",
            "is not an AMQP URL: invalid port",
        ),
        (
            "[\"amqp://h/x\", \"amqq://hunter2\"]",
            "is not an AMQP URL: Invalid AMQP scheme: amqq",
        ),
        ("[\"amqp://h/x\", 7]", "expected an AMQP URL like"),
        ("[]", "expected an AMQP URL like"),
        ("5672", "expected an AMQP URL like"),
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
            "line 2 of {name}: is not an AMQP URL: Invalid AMQP scheme: http"
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
fn a_rate_has_a_burst_of_its_own_or_none() {
    let rate = |lines: &str| {
        let config = good(&format!("{SMALL}{lines}"));
        assert_eq!(good(&config.to_string()), config, "{config}");
        let rate = config.apps[0].rate;
        rate.map(|rate| (rate.per_second.get(), rate.burst.get()))
    };
    assert_eq!(rate(""), None);
    assert_eq!(rate("rate_limit = 7\n"), Some((7, 7)));
    assert_eq!(rate("rate_limit = 7\nrate_burst = 70\n"), Some((7, 70)));
    check(
        &format!("{SMALL}rate_burst = 5\n"),
        &["f.toml:6: apps[0].rate_burst: needs rate_limit"],
    );
    check(
        &format!("{SMALL}rate_limit = 0\n"),
        &["f.toml:6: apps[0].rate_limit: is 0, expected an integer from 1 to 1000000"],
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
fn handshakes_are_off_unless_they_are_asked_for() {
    let app = &good(SMALL).apps[0];
    assert_eq!(app.event_grid, EventGrid::Off);
    assert!(app.allowed_origins.is_empty() && app.allowed_rate.is_none());
    let config = good(&format!(
        "{SMALL}event_grid = true\nallowed_origins = [\"EventGrid.azure.net\", \"a_b.example\"]\nallowed_rate = 120\n"
    ));
    let app = &config.apps[0];
    assert_eq!(app.event_grid, EventGrid::Authenticated);
    assert_eq!(app.allowed_origins, ["eventgrid.azure.net", "a_b.example"]);
    assert_eq!(app.allowed_rate.map(|rate| rate.get()), Some(120));
    let printed = config.to_string();
    assert_eq!(good(&printed).apps, config.apps, "{printed}");
    let every = good(&format!("{SMALL}allowed_origins = [\"*\"]\n"));
    assert_eq!(every.apps[0].allowed_origins, ["*"]);
}

#[test]
fn event_grid_is_answered_with_credentials_unless_it_says_otherwise() {
    for (line, expected, printed) in [
        ("event_grid = false", EventGrid::Off, "event_grid = false"),
        (
            "event_grid = true",
            EventGrid::Authenticated,
            "event_grid = { handshake = \"authenticated\" }",
        ),
        (
            "event_grid = {}",
            EventGrid::Authenticated,
            "event_grid = { handshake = \"authenticated\" }",
        ),
        (
            "event_grid = { handshake = \"authenticated\" }",
            EventGrid::Authenticated,
            "event_grid = { handshake = \"authenticated\" }",
        ),
        (
            "event_grid = { handshake = \"open\" }",
            EventGrid::Open,
            "event_grid = { handshake = \"open\" }",
        ),
    ] {
        let config = good(&format!("{SMALL}{line}\n"));
        assert_eq!(config.apps[0].event_grid, expected, "{line}");
        let text = config.to_string();
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(
            table(&text)["apps"][0]["event_grid"],
            table(printed)["event_grid"],
            "{text}"
        );
        assert_eq!(good(&text), config, "{text}");
    }
    for (line, problem) in [
        (
            "event_grid = { handshake = \"opn\" }",
            ".handshake: is \"opn\", expected \"authenticated\" or \"open\"; did you mean \"open\"?",
        ),
        (
            "event_grid = { handshake = true }",
            ".handshake: is true or false, expected \"authenticated\" or \"open\"",
        ),
        (
            "event_grid = { handshakes = \"open\" }",
            ".handshakes: unknown key; did you mean \"handshake\"?",
        ),
        (
            "event_grid = \"open\"",
            ": is a text, expected true or false",
        ),
        ("event_grid = []", ": is a list, expected true or false"),
    ] {
        check(
            &format!("{SMALL}{line}\n"),
            &[&format!("f.toml:6: apps[0].event_grid{problem}")],
        );
    }
}

#[test]
fn origins_that_no_sender_could_name_are_refused() {
    for (line, problem) in [
        (
            "event_grid = \"yes\"",
            "event_grid: is a text, expected true or false",
        ),
        (
            "allowed_origins = []",
            "allowed_origins: is empty: leave it out",
        ),
        (
            "allowed_origins = \"a\"",
            "allowed_origins: is a text, expected a list of texts",
        ),
        (
            "allowed_origins = [\"\"]",
            "allowed_origins[0]: \"\" is not a DNS name: write the name alone",
        ),
        (
            "allowed_origins = [\"https://a.example\"]",
            "allowed_origins[0]: \"https://a.example\" is not a DNS name",
        ),
        (
            "allowed_origins = [\"a.example:443\"]",
            "allowed_origins[0]: \"a.example:443\" is not a DNS name",
        ),
        (
            "allowed_origins = [\"a..example\"]",
            "allowed_origins[0]: \"a..example\" is not a DNS name",
        ),
        (
            "allowed_origins = [\"*.example\"]",
            "allowed_origins[0]: \"*.example\" is not a DNS name",
        ),
        (
            "allowed_origins = [\"a\", \"A\"]",
            "allowed_origins[1]: \"a\" is named twice",
        ),
        (
            "allowed_origins = [\"a\", \"*\"]",
            "allowed_origins[1]: is \"*\" among others",
        ),
        (
            "allowed_rate = 5",
            "allowed_rate: applies to allowed origins only",
        ),
        (
            "allowed_rate = 0\nallowed_origins = [\"a\"]",
            "allowed_rate: is 0, expected an integer from 1 to 1000000",
        ),
    ] {
        check(
            &format!("{SMALL}{line}\n"),
            &[&format!("f.toml:6: apps[0].{problem}")],
        );
    }
}

#[test]
fn the_directory_of_schemas_must_exist_and_open() {
    check(
        &format!("{SMALL}[schemas]\npath = \"no/such\"\n"),
        &["f.toml:7: schemas.path: no/such is not a directory"],
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
fn a_share_of_the_journal_that_no_large_callback_fits_is_refused() {
    check(
        &format!("{SMALL}[journal]\nlimit_bytes = 4000000\ndestination_share = 0.1\n"),
        &["f.toml:6: journal: limit_bytes x destination_share is below server.body_limit_bytes"],
    );
    let enough = format!("{SMALL}[journal]\nlimit_bytes = 4000000\n");
    assert!(load_with(&Sources::text("f.toml", &enough), words).is_ok());
}

#[test]
fn a_batch_that_can_never_fit_is_noticed() {
    let told = |rest: &str| {
        let notices = good(&format!("{SMALL}{rest}")).notices();
        notices
            .into_iter()
            .find(|notice| notice.contains("server.batch_limit"))
    };
    assert_eq!(told(""), None);
    let few = told("[journal]\nlimit_deliveries = 9999\n").expect("5,000 are more than half of it");
    assert!(few.contains("5000 deliveries where at most 4999"), "{few}");
    let small = "[journal]\nlimit_deliveries = 100\n\n[server]\nbatch_limit = 50\n";
    assert_eq!(told(small), None);
}
