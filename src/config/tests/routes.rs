//! Routes, and the queues across them.

use super::*;

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
fn an_unknown_type_is_accepted_in_full_and_refused_in_short() {
    let full = "Microsoft.Communication.Something";
    let config = good(&with_route(&format!(
        "queue = \"q\"\ntypes = [{full:?}, \"PlayFailed\", \"Contoso.PlayFailed\"]"
    )));
    assert_eq!(
        config.routes[0].types,
        [full, "PlayFailed", "Contoso.PlayFailed"]
    );
    assert_eq!(good(&config.to_string()), config, "{config}");
    check(
        &with_route("queue = \"q\"\ntypes = [\"Something\", \"PlayFaild\"]"),
        &[
            "f.toml:9: routes[0].types[0]: unknown event type \"Something\"; `hookswitch schemas list` prints them; \
             a type that it does not list must be written in full",
            "f.toml:9: routes[0].types[1]: unknown event type \"PlayFaild\"; did you mean \"PlayFailed\"?",
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
