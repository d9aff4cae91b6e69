//! README and book are true: the partition table, the configuration, the snippets. `tests/reference.rs` checks
//! the generated pages.

use std::{collections::BTreeSet, num::NonZeroU32};

use hookswitch::{
    config::{self, Sources},
    event::CallKey,
    route::partition,
};

fn file(path: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).expect(path)
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
    let text = file("docs/src/consumer/partitions.md");
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
    let page = file("docs/src/operator/configuration.md");
    let example = page
        .split("```toml check-config\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a TOML block");
    let (config, _) =
        config::load(&Sources::text("configuration.md", example)).expect("it is good");
    assert_eq!(config.routes.len(), 3);
    // README and book say where the example request goes.
    let call = CallKey::new("411f0b00-d97f-49ad-a6ff-3f8c05dc64d7").expect("not empty");
    let count = NonZeroU32::new(4).expect("not zero");
    let queue = format!("queue `contoso.calls.{}`", partition(Some(&call), count));
    assert!(file("README.md").contains(&queue), "{queue}");
    let page = file("docs/src/application/callback-url.md");
    assert!(page.contains(call.as_str()), "the example request");
    assert!(page.contains(&queue), "{queue}");
}

/// The tests that a page names exist.
#[test]
fn the_tests_of_the_webhook_specification_exist() {
    let page = file("docs/src/sender/webhook-specification.md");
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

/// `tests/it/emulator/snippets.rs` runs exactly the printed snippets.
#[test]
fn the_snippets_for_the_emulator_are_those_that_are_tested() {
    let text = file("docs/src/getting-started/without-azure.md");
    let printed: Vec<&str> = ["```python sdk\n", "```js sdk\n"]
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

/// The printed scenario is valid.
#[test]
fn the_example_scenario_is_good() {
    let text = file("docs/src/getting-started/without-azure.md");
    let example = text
        .split("```toml scenario\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a TOML block");
    hookswitch_emulator::Scenario::parse(example).expect("it is good");
}

/// It begins with the two commands, leaves the rest to the book, and shows the real output of the program.
#[test]
fn the_readme_is_short_and_its_output_is_real() {
    let text = file("README.md");
    assert!(
        text.lines().count() <= 200,
        "{} lines",
        text.lines().count()
    );
    let commands: Vec<&str> = text
        .split("```sh")
        .nth(1)
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| line.starts_with("./"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(commands, ["./dev/demo", "./dev/test"]);
    let payload = "tests/data/events/ga/CallConnected.json";
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["validate", payload])
        .output()
        .expect("it starts");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        printed.starts_with(payload) && text.contains(&printed),
        "{printed}"
    );
}

/// Each direct dependency is in deny.toml with its reason, and nothing else is.
#[test]
fn every_direct_dependency_has_its_reason() {
    let manifest: toml::Table = file("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let used: BTreeSet<&str> = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies")?.as_table())
        .expect("all crates take their dependencies from the workspace")
        .keys()
        .map(String::as_str)
        .collect();
    assert!(
        !manifest.contains_key("build-dependencies") && !manifest.contains_key("target"),
        "they would have to be listed, too"
    );
    let reasons = file("deny.toml");
    let explained: Vec<&str> = reasons
        .lines()
        .filter_map(|line| {
            let (name, reason) = line.strip_prefix("# ")?.split_once(": ")?;
            (!name.contains(' ') && !reason.is_empty()).then_some(name)
        })
        .collect();
    assert!(explained.is_sorted(), "{explained:?}");
    assert_eq!(explained.len(), used.len(), "one is listed twice");
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), used);
}
