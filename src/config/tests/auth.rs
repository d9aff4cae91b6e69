//! `apps.auth` as operators write it.

use std::{fs, path::Path, time::Duration};

use jsonwebtoken::Algorithm;

use crate::config::{
    Acs, Audience, Auth, Jwt, KeySource, Methods, SecretPlace, SharedSecret, read_secrets,
};

use super::{SMALL, check, good, read};

const GUID: &str = "00000000-0000-4000-8000-000000009100";

/// A key that passes every check that is made before a signature arrives.
const PUBLIC_KEY: &str =
    r#"{"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

/// `SMALL` with these lines for its auth, from line 6 on.
fn with(lines: &str) -> String {
    SMALL.replace("auth = \"none\"", &format!("[apps.auth]\n{lines}"))
}

/// Every setting of every method, with its files in `dir`.
pub(super) fn everything(dir: &Path) -> String {
    let (secrets, keys) = (dir.join("secrets"), dir.join("keys"));
    fs::write(&secrets, "0123456789abcdef\n").unwrap();
    fs::write(&keys, format!("{{\"keys\": [{PUBLIC_KEY}]}}")).unwrap();
    with(&format!(
        "acs = {{ resource_id = \"{GUID}\", keys_url = \"http://127.0.0.1:9100/calling/keys\" }}\n\
         jwt = [{{ issuer = \"i\", audience = [\"a\", \"b\"], jwks_url = \"https://h/k\" }},\n\
         {{ issuer = \"j\", audience = [\"a\"], discovery_url = \"https://h/o\", leeway = \"0s\", \
         algorithms = [\"ES256\", \"EdDSA\"], claims = {{ tid = \"t\", \"a b\" = \"\" }} }},\n\
         {{ issuer = \"k\", audience = [\"a\"], jwks_file = {keys:?} }}]\n\
         shared_secret = [{{ query = \"code\", value_file = {secrets:?} }}, {{ header = \"X-Key\", value_file = {secrets:?} }}]"
    ))
}

#[test]
fn every_method_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let app = good(&everything(dir.path())).apps.remove(0);
    let url = |text: &str| KeySource::Url(text.parse().unwrap());
    let plain = |issuer: &str, keys| Jwt {
        issuer: issuer.into(),
        audience: vec![Audience::Exact("a".into())],
        keys,
        algorithms: vec![Algorithm::RS256],
        leeway: Duration::from_secs(60),
        claims: vec![],
    };
    let secret = |place| SharedSecret {
        place,
        value_file: dir.path().join("secrets"),
    };
    let expected = Methods {
        acs: vec![Acs {
            resource_id: GUID.into(),
            keys_url: Some("http://127.0.0.1:9100/calling/keys".parse().unwrap()),
        }],
        jwt: vec![
            Jwt {
                audience: ["a", "b"].map(|text| Audience::Exact(text.into())).to_vec(),
                ..plain("i", url("https://h/k"))
            },
            Jwt {
                algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
                leeway: Duration::ZERO,
                claims: vec![("a b".into(), String::new()), ("tid".into(), "t".into())],
                ..plain("j", KeySource::Discovery("https://h/o".parse().unwrap()))
            },
            plain("k", KeySource::File(dir.path().join("keys"))),
        ],
        shared_secret: vec![
            secret(SecretPlace::Query("code".into())),
            secret(SecretPlace::Header("x-key".into())),
        ],
    };
    assert_eq!(app.auth, Auth::Any(expected));
}

#[test]
fn an_app_without_auth_is_refused_and_told_what_to_write() {
    let text = SMALL.replace("auth = \"none\"\n", "");
    check(
        &text,
        &["f.toml:3: apps[0].auth: is missing: write [apps.auth] with acs"],
    );
    let problems = read(&text).unwrap_err().to_string();
    for way in [
        "acs = { resource_id",
        "jwt",
        "shared_secret",
        "auth = \"none\"",
    ] {
        assert!(problems.contains(way), "{problems}");
    }
    for (auth, beginning) in [
        ("\"None\"", "is not understood: write [apps.auth]"),
        ("false", "is not understood"),
        ("{}", "names no method: write [apps.auth]"),
        ("{ jwt = [] }", "jwt: is empty: leave it out"),
        ("{ acs = [] }", "acs: is empty: leave it out"),
        (
            "{ none = true }",
            "unknown key; known here: acs, jwt, shared_secret",
        ),
    ] {
        let problems = read(&SMALL.replace("\"none\"", auth))
            .unwrap_err()
            .to_string();
        assert!(problems.contains(beginning), "{problems}");
    }
}

#[test]
fn the_path_of_a_resource_is_refused_with_a_hint() {
    let of = |id: &str| with(&format!("acs = {{ resource_id = \"{id}\" }}"));
    good(&of(GUID));
    check(
        &of(
            "/subscriptions/x/resourceGroups/y/providers/Microsoft.Communication/communicationServices/z",
        ),
        &[
            "f.toml:6: apps[0].auth.acs.resource_id: is the path of the resource; tokens are for its immutable id, a GUID",
        ],
    );
    check(
        &of("contoso"),
        &["f.toml:6: apps[0].auth.acs.resource_id: is not a GUID"],
    );
    check(
        &with("acs = {}"),
        &["f.toml:6: apps[0].auth.acs.resource_id: is missing: the immutable resource id"],
    );
    check(
        &with(&format!(
            "acs = {{ resource_id = \"{GUID}\", keys_url = \"https://keys.example/k\" }}"
        )),
        &["f.toml:6: apps[0].auth.acs.keys_url: is for the emulator"],
    );
}

/// The resources that these lines name, after they were printed and read again.
fn resources(lines: &str) -> Vec<(String, Option<String>)> {
    let config = good(&with(lines));
    assert_eq!(good(&config.to_string()), config, "{config}");
    let Auth::Any(methods) = &config.apps[0].auth else {
        panic!("it has auth");
    };
    methods
        .acs
        .iter()
        .map(|acs| {
            let keys = acs.keys_url.as_ref().map(ToString::to_string);
            (acs.resource_id.clone(), keys)
        })
        .collect()
}

#[test]
fn the_service_may_call_for_one_resource_or_for_several() {
    let one = resources(&format!("acs = {{ resource_id = \"{GUID}\" }}"));
    assert_eq!(one, [(GUID.to_owned(), None)]);
    let upper = "ABCDEF00-0000-4000-8000-00000000000A";
    let lower = upper.to_lowercase();
    let several = format!(
        "acs = [{{ resource_id = \"{GUID}\" }}, {{ resource_id = \"{upper}\", keys_url = \"http://127.0.0.1:9100/k\" }}]"
    );
    let expected = [
        (GUID.to_owned(), None),
        (lower, Some("http://127.0.0.1:9100/k".to_owned())),
    ];
    assert_eq!(resources(&several), expected);
    let headed = format!(
        "[[apps.auth.acs]]\nresource_id = \"{GUID}\"\n[[apps.auth.acs]]\nresource_id = \"{upper}\""
    );
    assert_eq!(resources(&headed).len(), 2);
    // A list with one element is the same as the element.
    assert_eq!(
        resources(&format!("acs = [{{ resource_id = \"{GUID}\" }}]")),
        one
    );
}

#[test]
fn every_problem_of_a_list_of_resources_is_reported() {
    check(
        &with(&format!(
            "acs = [\n{{ resource_id = \"/subscriptions/x\" }},\n{{ resource_id = \"{0}\" }},\n\
             {{ resource_id = \"{1}\" }},\n7,\n{{ keys = \"x\", resource_id = \"y\" }}]",
            "ABCDEF00-0000-4000-8000-00000000000A", "abcdef00-0000-4000-8000-00000000000a",
        )),
        &[
            "f.toml:7: apps[0].auth.acs[0].resource_id: is the path of the resource",
            "f.toml:9: apps[0].auth.acs[2].resource_id: is already listed",
            "f.toml:10: apps[0].auth.acs[3]: is an integer, expected a table: write [[apps.auth.acs]]",
            "f.toml:11: apps[0].auth.acs[4].keys: unknown key",
            "f.toml:11: apps[0].auth.acs[4].resource_id: is not a GUID",
        ],
    );
}

#[test]
fn resources_with_the_same_keys_are_one_issuer() {
    let audiences = |lines: &str| -> Vec<usize> {
        let config = good(&with(lines));
        let Auth::Any(methods) = &config.apps[0].auth else {
            panic!("it has auth");
        };
        let issuers = methods.issuers();
        issuers.iter().map(|one| one.audience.len()).collect()
    };
    let id = |last: u8| format!("resource_id = \"00000000-0000-4000-8000-00000000000{last}\"");
    let lines = format!(
        "acs = [{{ {} }}, {{ {}, keys_url = \"http://127.0.0.1/k\" }}, {{ {} }}]\n\
         jwt = [{{ issuer = \"i\", audience = [\"a\"], jwks_url = \"https://h/k\", leeway = \"5m\" }}]",
        id(1),
        id(2),
        id(3)
    );
    assert_eq!(audiences(&lines), [2, 1, 1]);
}

#[test]
fn every_problem_of_an_issuer_is_reported() {
    check(
        &with(
            "jwt = [\n\
             { audience = [], jwks_url = \"http://keys.example/k\", leeway = \"301s\", algorithms = [\"RS256\", \"HS256\", \"none\"] },\n\
             { issuer = \"i\", audience = [\"a\"] },\n\
             { issuer = \"i\", audience = [\"a\"], jwks_url = \"https://u:p@h/k\", jwks_file = \"no/such\" },\n\
             { issuer = \"i\", audience = [\"a\"], discovery_url = \"ftp://h/k\", claims = { a = 1 } },\n]",
        ),
        &[
            "f.toml:7: apps[0].auth.jwt[0].algorithms[1]: is \"HS256\", expected RS256",
            "f.toml:7: apps[0].auth.jwt[0].algorithms[2]: is \"none\", expected RS256",
            "f.toml:7: apps[0].auth.jwt[0].audience: is missing or empty",
            "f.toml:7: apps[0].auth.jwt[0].issuer: is missing",
            "f.toml:7: apps[0].auth.jwt[0].jwks_url: is http: keys are fetched over https",
            "f.toml:7: apps[0].auth.jwt[0].leeway: is \"5m 1s\", expected a time from \"0s\" to \"5m\"",
            "f.toml:8: apps[0].auth.jwt[1]: needs exactly one of discovery_url, jwks_url and jwks_file",
            "f.toml:9: apps[0].auth.jwt[2].jwks_file: cannot read no/such",
            "f.toml:9: apps[0].auth.jwt[2].jwks_url: has a user or a password in it",
            "f.toml:9: apps[0].auth.jwt[2]: needs exactly one of",
            "f.toml:10: apps[0].auth.jwt[3].claims.a: expected a text",
            "f.toml:10: apps[0].auth.jwt[3].discovery_url: is ftp",
        ],
    );
}

#[test]
fn a_file_of_keys_is_judged_as_a_start_judges_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let text = with(&format!(
        "jwt = [{{ issuer = \"i\", audience = [\"a\"], jwks_file = {file:?} }}]"
    ));
    let key = format!(
        "f.toml:6: apps[0].auth.jwt[0].jwks_file: cannot use the keys in {}: ",
        file.display()
    );
    for (keys, why) in [
        ("[]", "it is not a JSON Web Key Set"),
        ("{\"keys\": []}", "none of its 0 keys can check signatures"),
        (
            "{\"keys\": [{\"kty\": \"oct\", \"k\": \"cGxhbnRlZA\"}]}",
            "none of its 1 keys can check signatures",
        ),
    ] {
        fs::write(&file, keys).unwrap();
        check(&text, &[&format!("{key}{why}")]);
    }
    fs::write(&file, format!("{{\"keys\": [{PUBLIC_KEY}]}}")).unwrap();
    good(&text);
}

#[test]
fn a_shared_secret_is_in_a_file_and_is_never_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets");
    fs::write(&file, "0123456789abcdef").unwrap();
    let one = |rest: &str| {
        with(&format!(
            "shared_secret = [{{ value_file = {file:?}, {rest} }}]"
        ))
    };
    good(&one("query = \"code\""));
    let key = "f.toml:6: apps[0].auth.shared_secret[0]";
    for (rest, problem) in [
        ("header = \"Authorization\"", ".header: is for tokens"),
        (
            "header = \"ce-key\"",
            ".header: already has another meaning",
        ),
        ("header = \"a b\"", ".header: is not a header name"),
        ("query = \"\"", ".query: is empty"),
        (
            "query = \"a\", header = \"b\"",
            ": needs exactly one of query and header",
        ),
        (
            "query = \"a\", value = \"planted\"",
            ".value: a secret does not belong here",
        ),
    ] {
        check(&one(rest), &[&format!("{key}{problem}")]);
        assert!(
            !read(&one(rest))
                .unwrap_err()
                .to_string()
                .contains("planted")
        );
    }
    for header in [
        "aeg-event-type",
        "ce-id",
        "Connection",
        "content-encoding",
        "Content-Length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "TE",
        "trailer",
        "Transfer-Encoding",
        "upgrade",
        "traceparent",
        "WebHook-Request-Origin",
    ] {
        let problem = format!("{key}.header: already has another meaning: use a separate header");
        check(&one(&format!("header = {header:?}")), &[&problem]);
    }
    good(&one("header = \"x-callback-key\""));
    check(
        &with("shared_secret = [{ query = \"code\" }]"),
        &[&format!("{key}.value_file: is missing")],
    );
    let text = SMALL.replace(
        "auth = \"none\"",
        &format!("pass_query = [\"a\", \"code\"]\nauth = {{ shared_secret = [{{ query = \"code\", value_file = {file:?} }}] }}"),
    );
    check(
        &text,
        &[
            "f.toml:5: apps[0].pass_query[1]: is a shared_secret of this app, which is never passed on",
        ],
    );
    let text = SMALL.replace(
        "auth = \"none\"",
        "pass_query = [\"access_token\"]\nauth = { acs = { resource_id = \"00000000-0000-4000-8000-000000009100\" } }",
    );
    check(
        &text,
        &["f.toml:5: apps[0].pass_query[0]: may carry a token, which is never passed on"],
    );
}

#[test]
fn a_table_where_a_list_is_expected_is_told_what_to_write() {
    check(
        &with("shared_secret = { query = \"code\", value_file = \"x\" }\njwt = [7]\nacs = 7"),
        &[
            "f.toml:6: apps[0].auth.shared_secret: is a table, expected a list of tables: \
             write [[apps.auth.shared_secret]], or shared_secret = [{ ... }]",
            "f.toml:7: apps[0].auth.jwt[0]: is an integer, expected a table: write [[apps.auth.jwt]]",
            "f.toml:8: apps[0].auth.acs: is an integer, expected a table or a list of tables: write [apps.auth.acs]",
        ],
    );
}

#[test]
fn a_file_of_secrets_is_refused_without_being_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets");
    for (text, expected) in [
        ("", "holds 0 secrets, expected 1 to 16"),
        ("0123456789abcdef\n\n  planted-short\n", "line 3 of "),
        ("planted secret with blanks", "line 1 of "),
        ("planted-ünicode-secret", "line 1 of "),
        (&"0123456789planted\n".repeat(17), "holds 17 secrets"),
        (&"x".repeat(600), "line 1 of "),
        (&"x\n".repeat(200_000), "cannot read"),
    ] {
        fs::write(&file, text).unwrap();
        let error = read_secrets(&file).unwrap_err();
        let shown = crate::report::Chain(&error).to_string();
        assert!(
            shown.contains(expected) && !shown.contains("planted"),
            "{shown}"
        );
    }
    fs::write(&file, "0123456789abcdef\r\n\n fedcba9876543210 ").unwrap();
    let secrets = read_secrets(&file).unwrap();
    let values: Vec<&str> = secrets.iter().map(|secret| secret.expose()).collect();
    assert_eq!(values, ["0123456789abcdef", "fedcba9876543210"]);
    assert_eq!(format!("{secrets:?}"), "[***, ***]");
}

#[test]
fn what_is_open_or_for_development_only_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let told = |text: &str, words: &str| {
        let notices = good(text).notices();
        notices.iter().any(|notice| notice.contains(words))
    };
    assert!(told(SMALL, "contoso has no auth"));
    let everything = everything(dir.path());
    assert!(!told(&everything, "has no auth"));
    assert!(told(&everything, "accepts the emulator's tokens"));
    let service = with(&format!("acs = {{ resource_id = \"{GUID}\" }}"));
    assert!(!told(&service, "emulator"));
    let open = |app: &str| app.replace("name =", "event_grid = { handshake = \"open\" }\nname =");
    let words = "app contoso answers Event Grid's validation request without credentials";
    assert!(told(&open(&service), words));
    assert!(!told(&service, words));
    // There every sender is accepted anyway.
    assert!(!told(&open(SMALL), words));
}
