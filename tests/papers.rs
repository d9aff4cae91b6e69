//! What the README says is true: its partition table, its configuration, its metric names.

use std::{collections::BTreeSet, num::NonZeroU32};

use hookswitch::{
    catalog::Catalog,
    config::{self, Sources},
    event::{CallKey, Kind},
    route::partition,
};

fn file(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).expect(path)
}

fn readme() -> String {
    file("README.md")
}

/// The cells of the rows of the table that begins with this header.
fn table(text: &str, header: &str) -> Vec<Vec<String>> {
    text.lines()
        .skip_while(|line| !line.starts_with(header))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn the_partition_table_is_right() {
    let text = readme();
    let rows = table(&text, "| call key | FNV-1a 64 |");
    assert!(rows.len() >= 12, "{} rows", rows.len());
    for row in rows {
        let (key, numbers) = (row.first().expect("a key"), row.get(2..).expect("numbers"));
        let key = CallKey::new(key.as_str()).expect("not empty");
        for (count, expected) in [1, 2, 4, 16, 100].into_iter().zip(numbers) {
            let count = NonZeroU32::new(count).expect("not zero");
            let expected: u32 = expected.parse().expect("a number");
            assert_eq!(partition(Some(&key), count), expected, "{key} of {count}");
        }
    }
}

#[test]
fn the_example_configuration_is_good() {
    let text = readme();
    let example = text
        .split("```toml\n")
        .find(|block| block.starts_with("[broker]"))
        .and_then(|rest| rest.split("```").next())
        .expect("a TOML block");
    let (config, _) = config::load(&Sources::text("README.md", example)).expect("it is good");
    assert_eq!(config.routes.len(), 3);
    // The first screen says where its request goes.
    let call = CallKey::new("411f0b00-d97f-49ad-a6ff-3f8c05dc64d7").expect("not empty");
    assert!(
        text.contains(call.as_str()),
        "the request of the first screen"
    );
    let count = NonZeroU32::new(4).expect("not zero");
    let queue = format!("(queue `contoso.calls.{}`)", partition(Some(&call), count));
    assert!(text.contains(&queue), "{queue}");
}

/// Each type stands under its kind with its generations, and nothing else does.
#[test]
fn the_table_of_kinds_is_the_catalogue() {
    let mut listed = BTreeSet::new();
    for row in table(&readme(), "| kind | events") {
        let [kind, types] = &row[..] else {
            panic!("two columns: {row:?}");
        };
        for entry in types.split("), ").filter(|_| kind != "Unknown") {
            let (name, generations) = entry.split_once(" (").expect("generations");
            for generation in generations.trim_end_matches(')').split(", ") {
                let entry = (kind.clone(), name.to_owned(), generation.to_owned());
                assert!(listed.insert(entry), "{name} ({generation}) twice");
            }
        }
    }
    let catalog = Catalog::builtin().expect("the catalogue is good");
    let rows = catalog.rows().filter(|row| row.kind != Kind::Unknown);
    let rows: BTreeSet<_> = rows
        .map(|row| {
            let (_, name) = row.event_type.rsplit_once('.').expect("a full type");
            let generation = row.generation.as_str().to_owned();
            (row.kind.to_string(), name.to_owned(), generation)
        })
        .collect();
    assert_eq!(listed, rows);
}

/// Metric names as the source registers them stand in the README's table, and the other way round.
#[test]
fn the_metrics_table_names_what_there_is() {
    let listed: BTreeSet<String> = table(&readme(), "| metric | kind | says |")
        .iter()
        .filter_map(|row| row.first()?.split('{').next().map(str::to_owned))
        .collect();
    let mut registered = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            for word in text.split('"') {
                let metric = word.strip_prefix("hookswitch_").is_some_and(|rest| {
                    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                });
                if metric {
                    registered.insert(word.to_owned());
                }
            }
        }
    }
    assert_eq!(listed, registered);
}

/// The tests that a page names are there.
#[test]
fn the_tests_of_the_webhook_specification_exist() {
    let page = file("docs/webhook-specification.md");
    let mut rows = table(&page, "| section | requirement |");
    assert!(rows.len() >= 20, "{} rows", rows.len());
    rows.extend(table(&page, "| section | what |"));
    let mut sources = String::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                sources += &std::fs::read_to_string(&path).expect("a source file");
            }
        }
    }
    for row in rows {
        let [_, requirement, _, tests] = &row[..] else {
            panic!("four columns: {row:?}");
        };
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            let there = ["", "async "].iter().any(|kind| {
                let (before, _) = sources
                    .split_once(&format!("\n{kind}fn {test}("))
                    .unwrap_or_default();
                let attribute = before.lines().last().unwrap_or_default();
                ["#[test]", "#[tokio::test"]
                    .iter()
                    .any(|test| attribute.starts_with(test))
            });
            assert!(test == "none" || there, "{requirement}: no test {test}");
        }
    }
}

/// What `tests/it/emulator/snippets.rs` runs is what stands there.
#[test]
fn the_snippets_for_the_emulator_are_those_that_are_tested() {
    let text = readme();
    let printed: Vec<&str> = ["```python\n", "```js\n"]
        .into_iter()
        .flat_map(|fence| text.split(fence).skip(1))
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.contains("CallAutomationClient"))
        .collect();
    let tested = [
        "python_http.py",
        "python_https.py",
        "node_http.mjs",
        "node_https.mjs",
    ]
    .map(|name| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/snippets/");
        std::fs::read_to_string(format!("{folder}{name}")).expect(name)
    });
    assert_eq!(printed, tested);
}

/// The scenario printed there is one.
#[test]
fn the_example_scenario_is_good() {
    let text = readme();
    let example = text
        .split("```toml\n")
        .find(|block| block.starts_with("[[callee]]"))
        .and_then(|rest| rest.split("```").next())
        .expect("a TOML block");
    hookswitch::emulator::Scenario::parse(example).expect("it is good");
}

/// Each direct dependency stands in deny.toml with why it is there, and nothing else does.
#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest: toml::Table = file("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let used: BTreeSet<&str> = ["dependencies", "dev-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(toml::Table::keys)
        .map(String::as_str)
        .collect();
    assert!(
        !manifest.contains_key("build-dependencies") && !manifest.contains_key("target"),
        "they would have to be listed too"
    );
    let papers = file("deny.toml");
    let explained: Vec<&str> = papers
        .lines()
        .filter_map(|line| {
            let (name, reason) = line.strip_prefix("# ")?.split_once(": ")?;
            (!name.contains(' ') && !reason.is_empty()).then_some(name)
        })
        .collect();
    assert!(explained.is_sorted(), "{explained:?}");
    assert_eq!(explained.len(), used.len(), "one is there twice");
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), used);
}
