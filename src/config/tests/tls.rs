//! `server.tls` and `server.admin_tls`: pairs of files.

use super::{SMALL, check, good};

#[test]
fn a_certificate_needs_its_key() {
    check(
        &format!(
            "{SMALL}[server]\ntls = {{ cert_file = \"x\" }}\nadmin_tls = {{ key_file = \"\" }}\n"
        ),
        &[
            "f.toml:7: server.tls.key_file: is missing: write cert_file and key_file",
            "f.toml:8: server.admin_tls.cert_file: is missing",
            "f.toml:8: server.admin_tls.key_file: is empty",
        ],
    );
    check(
        &format!("{SMALL}[server]\ntls = \"x\"\n"),
        &["f.toml:7: server.tls: is a text, expected a table"],
    );
    let dir = tempfile::tempdir().unwrap();
    let [(crt, key), (other_crt, other_key)] = ["one", "other"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (crt, key) = (
            dir.path().join(format!("{name}.crt")),
            dir.path().join(name),
        );
        std::fs::write(&crt, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (crt, key)
    });
    let config = good(&format!(
        "{SMALL}[server]\ntls = {{ cert_file = {crt:?}, key_file = {key:?} }}\n"
    ));
    let pair = config.server.tls.as_ref().unwrap();
    assert_eq!((&pair.cert_file, &pair.key_file), (&crt, &key));
    assert_eq!(config.server.admin_tls, None);
    assert_eq!(good(&config.to_string()), config, "{config}");
    // Both pairs, and every other problem, at once.
    check(
        &format!(
            "{SMALL}[server]\nheader_limit = 1\ntls = {{ cert_file = {crt:?}, key_file = {other_key:?} }}\n\
             admin_tls = {{ cert_file = {:?}, key_file = {key:?} }}\n",
            dir.path().join("missing")
        ),
        &[
            "f.toml:7: server.header_limit: is 1",
            &format!(
                "f.toml:8: server.tls: the key in {} does not belong to the certificate in {}: ",
                other_key.display(),
                crt.display()
            ),
            &format!(
                "f.toml:9: server.admin_tls: cannot read {}: No such file",
                dir.path().join("missing").display()
            ),
        ],
    );
    let name = other_crt.display();
    check(
        &format!("{SMALL}[server.tls]\ncert_file = {other_crt:?}\nkey_file = {other_crt:?}\n"),
        &[&format!(
            "f.toml:6: server.tls: {name} holds no private key in PEM form"
        )],
    );
}
