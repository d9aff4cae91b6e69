//! Configuration: valid, or refused with every problem; a valid one that is printed and read again is the same.

use std::sync::LazyLock;

use hookswitch::{
    catalog::Catalog,
    config::{self, Sources},
};

use super::seeds;

static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::builtin().expect("the built-in files are good"));

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut all = seeds::files(&seeds::root().join("config"), ".toml");
    all.push(br#"[broker]
url = "stdout:"
[[apps]]
name = "a"
[apps.auth]
jwt = [{ issuer = "https://i.example/", audience = ["x"], jwks_url = "https://i.example/keys", algorithms = ["RS256"], leeway = "30s", claims = { tid = "t" } }]
[[routes]]
name = "r"
kinds = ["CallState"]
filter = [{ not = { exact = { type = "x" } } }]
exchange = "calls"
routing_key = "{app}.{kind}.{event}"
[[apps]]
name = "b"
event_grid = { handshake = "open" }
auth = { acs = [{ resource_id = "00000000-0000-4000-8000-000000009100" }, { resource_id = "ABCDEF00-0000-4000-8000-000000009100" }] }
[[routes]]
name = "s"
types = ["Contoso.Not.Known", "PlayFailed"]
queue = "q"
"#
    .to_vec());
    all.push(b"[broker]\nurl = [\"amqp://u:p@h:1/%2f\", \"amqps://h2\"]\n[[apps]]\nname = \"a\"\nauth = \"none\"\npass_query = [\"x\"]\n[[routes]]\nname = \"r\"\nqueue = \"q\"\npartitions = 3\n".to_vec());
    all
}

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match config::load_against(&Sources::text("fuzz.toml", text), &CATALOG) {
        Err(problems) => assert!(!problems.to_string().is_empty(), "refused without a reason"),
        Ok(config) => {
            let printed = config.to_string();
            let again =
                match config::load_against(&Sources::text("printed.toml", &printed), &CATALOG) {
                    Ok(again) => again.to_string(),
                    Err(problems) => panic!("{problems}\n{printed}"),
                };
            assert_eq!(again, printed);
        }
    }
}
