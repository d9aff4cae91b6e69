//! An operator's directory: extends, replaces, or is refused as a whole with every reason.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::event::Kind;

use crate::catalog::{
    Catalog, Validity,
    test_support::{CATALOG, cloud_event},
};

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

fn load(files: &[(&str, &str)]) -> Catalog {
    Catalog::with_directory(directory(files).path()).unwrap()
}

/// Each of `expected` is part of one problem, in any order, and there is no other.
fn check_refused(files: &[(&str, &str)], expected: &[(&str, &str)]) {
    let error = Catalog::with_directory(directory(files).path()).unwrap_err();
    assert_eq!(error.problems.len(), expected.len(), "{error}");
    for (file, what) in expected {
        assert!(
            error
                .problems
                .iter()
                .any(|problem| problem.file.ends_with(file) && problem.what.contains(what)),
            "{file}: {what} is not in {error}"
        );
    }
}

fn row(short_type: &str, generation: &str, schema: &str, rest: &str) -> String {
    format!(
        r#"{{"type": "Microsoft.Communication.{short_type}", "generation": "{generation}", "kind": "Hold",
            "schema": "{schema}", "ids": "callback"{rest}}}"#
    )
}

fn table(rows: &[String]) -> String {
    format!(r#"{{"events": [{}]}}"#, rows.join(","))
}

fn verdict(catalog: &Catalog, short_type: &str, data: Value) -> (Option<String>, bool) {
    let finding = catalog.examine(&cloud_event(short_type, data));
    (
        finding.generation.map(|one| one.as_str().to_owned()),
        finding.verdict == Validity::Valid,
    )
}

#[test]
fn a_row_and_a_schema_add_an_event() {
    let catalog = load(&[
        (
            "catalog.json",
            &table(&[row("HoldStarted", "ga", "ga/HoldStarted.schema.json", "")]),
        ),
        (
            "ga/HoldStarted.schema.json",
            r#"{"allOf": [{"$ref": "../shared/callback.schema.json"}], "properties": {"music": {"type": "string"}}}"#,
        ),
    ]);
    let data = json!({"callConnectionId": "c", "serverCallId": "s", "correlationId": "r", "music": "jazz", "new": 1});
    let finding = catalog.examine(&cloud_event("HoldStarted", data));
    assert_eq!(
        (finding.kind, finding.verdict),
        (Kind::Hold, Validity::Valid)
    );
    assert_eq!(finding.ids.connection.as_deref(), Some("c"));
    assert_eq!(finding.drift, ["/data/new"]);
    assert!(catalog.knows_type("HoldStarted"));
    assert!(!CATALOG.knows_type("HoldStarted"));
    // Everything else is unchanged.
    assert_eq!(catalog.rows().count(), CATALOG.rows().count() + 1);
}

#[test]
fn a_new_generation_of_a_known_type_is_tried_before_ours() {
    let condition = r#", "when": [{"present": ["/venue"]}]"#;
    let catalog = load(&[
        (
            "catalog.json",
            &table(&[row(
                "HoldFailed",
                "2030",
                "2030/HoldFailed.schema.json",
                condition,
            )]),
        ),
        ("2030/HoldFailed.schema.json", r#"{"type": "object"}"#),
    ]);
    let known = |data| verdict(&catalog, "HoldFailed", data);
    assert_eq!(
        known(json!({"venue": "v"})),
        (Some("2030".to_owned()), true)
    );
    assert_eq!(known(json!({})), (Some("ga".to_owned()), false));
    assert!(
        catalog
            .generations()
            .iter()
            .any(|one| one.as_str() == "2030")
    );
}

#[test]
fn a_row_of_the_same_type_and_generation_replaces_ours() {
    let catalog = load(&[
        (
            "catalog.json",
            &table(&[row("CallConnected", "ga", "mine.schema.json", "")]),
        ),
        (
            "mine.schema.json",
            r#"{"type": "object", "required": ["badge"]}"#,
        ),
    ]);
    let (_, valid) = verdict(&catalog, "CallConnected", json!({"badge": 1}));
    assert!(valid);
    assert_eq!(catalog.rows().count(), CATALOG.rows().count());
    assert_eq!(
        catalog
            .examine(&cloud_event("CallConnected", json!({})))
            .kind,
        Kind::Hold
    );
}

#[test]
fn a_schema_of_the_same_path_replaces_ours_even_without_a_table() {
    let catalog = load(&[
        ("ga/HoldFailed.schema.json", r#"{"required": ["badge"]}"#),
        ("README.md", "not a schema"),
        (
            "..data/ga/HoldFailed.schema.json",
            "the second face of a ConfigMap",
        ),
    ]);
    assert!(verdict(&catalog, "HoldFailed", json!({"badge": 1})).1);
    assert!(!verdict(&catalog, "HoldFailed", json!({})).1);
}

#[test]
fn a_broken_directory_is_refused_with_every_problem_by_file() {
    check_refused(
        &[
            (
                "catalog.json",
                &table(&[
                    row("A", "ga", "missing.schema.json", ""),
                    row("B", "ga", "b.schema.json", "").replace("callback", "nowhere"),
                    row("C", "g a", "b.schema.json", ""),
                    row("D", "ga", "d.schema.json", ""),
                    row("D", "ga", "d.schema.json", ""),
                ]),
            ),
            ("b.schema.json", r#"{"type": "strin"}"#),
            ("d.schema.json", "{"),
            ("unused.schema.json", "{}"),
        ],
        &[
            (
                "catalog.json",
                r#"the schema "missing.schema.json" does not exist"#,
            ),
            (
                "catalog.json",
                r#"row Microsoft.Communication.B of ga: no id set is called "nowhere""#,
            ),
            ("catalog.json", r#""g a" is not a generation"#),
            (
                "catalog.json",
                "row Microsoft.Communication.D of ga: listed twice",
            ),
            (
                "b.schema.json",
                "no valid JSON Schema 2020-12: at \"/type\"",
            ),
            ("d.schema.json", "not JSON"),
            ("unused.schema.json", "no row of catalog.json"),
        ],
    );
}

#[test]
fn references_that_leave_the_catalogue_are_refused_and_never_fetched() {
    for (reference, what) in [
        ("https://example.com/x.json", "leaves the catalogue"),
        ("file:///etc/passwd", "leaves the catalogue"),
        ("/etc/passwd", "leaves the catalogue"),
        ("../../secrets.json", "leaves the catalogue"),
        ("../shared/absent.schema.json", "does not exist"),
        (
            "../shared/callback.schema.json#/$defs/x",
            "has nothing at /$defs/x",
        ),
    ] {
        let schema = format!(r#"{{"properties": {{"a": {{"$ref": "{reference}"}}}}}}"#);
        check_refused(
            &[("ga/HoldFailed.schema.json", &schema)],
            &[("ga/HoldFailed.schema.json", what)],
        );
    }
}

#[test]
fn another_draft_and_a_schema_that_is_not_an_object_are_refused() {
    check_refused(
        &[
            (
                "ga/HoldFailed.schema.json",
                r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
            ),
            ("ga/PlayFailed.schema.json", "true"),
        ],
        &[
            ("ga/HoldFailed.schema.json", "other drafts are not taken"),
            ("ga/PlayFailed.schema.json", "must be a JSON object"),
        ],
    );
}

#[test]
fn a_mistake_in_the_table_is_named_by_its_place() {
    let check = |text: &str, what: &str| {
        check_refused(&[("catalog.json", text)], &[("catalog.json", what)])
    };
    check(
        r#"{"events": [{"type": "T"}]}"#,
        "at events[0]: missing field `generation`",
    );
    check(r#"{"evnts": []}"#, "unknown field `evnts`");
    check("{}{}", "trailing characters");
    let bad_kind = table(&[row("A", "ga", "s", "").replace("Hold", "Held")]);
    check(&bad_kind, "at events[0].kind: unknown variant `Held`");
    let bad_pointer = table(&[row("A", "ga", "s", r#", "when": [{"present": ["venue"]}]"#)]);
    check(&bad_pointer, r#""venue" is not a JSON Pointer"#);
    for (patterns, what) in [
        ("call/(?<room>.+)", "captures \\\"room\\\""),
        ("call/.+", "captures nothing"),
        ("call/(", "does not compile"),
    ] {
        let text = format!(r#"{{"ids": {{"mine": {{"patterns": ["{patterns}"]}}}}}}"#);
        check(&text, &what.replace('\\', ""));
    }
}

#[test]
fn a_directory_that_is_missing_or_empty_is_refused() {
    let error = Catalog::with_directory(Path::new("no/such/directory")).unwrap_err();
    assert!(
        error.to_string().contains("no/such/directory: cannot read"),
        "{error}"
    );
    check_refused(&[], &[("", "neither catalog.json nor any *.schema.json")]);
}

#[test]
fn a_schema_that_refers_to_itself_comes_to_an_end() {
    let catalog = load(&[(
        "ga/HoldFailed.schema.json",
        r##"{"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}"##,
    )]);
    let finding = catalog.examine(&cloud_event(
        "HoldFailed",
        json!({"next": {"next": {"odd": 1}}}),
    ));
    assert_eq!(finding.verdict, Validity::Valid);
    assert_eq!(finding.drift, ["/data/next/next/odd"]);
}

#[test]
fn what_is_exported_can_be_read_back_and_is_the_same() {
    let exported = TempDir::new().unwrap();
    let count = CATALOG.export(exported.path()).unwrap();
    assert_eq!(count, CATALOG.files().count());
    let again = Catalog::with_directory(exported.path()).unwrap();
    let rows = |catalog: &Catalog| catalog.rows().cloned().collect::<Vec<_>>();
    assert_eq!(rows(&again), rows(&CATALOG));
    let schemas = |catalog: &Catalog| {
        catalog
            .files()
            .filter(|(name, _)| *name != "catalog.json")
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(schemas(&again), schemas(&CATALOG));
}
