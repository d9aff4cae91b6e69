//! Every path and heading that a text of the repository cites is in the repository: in comments of the code, in the
//! schemas, in the configuration, in scripts and in documents.
//!
//! A citation is a path from the root, alone, with an anchor (`docs/src/promises.md#when-not-to-use-it`), or with a
//! heading in quotes (`docs/src/internals/journal.md, "Group commit"`). Links of documents are citations, too.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use regex::Regex;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect(pattern)
}

/// A path from the root, with what may follow it: an anchor, or a heading in quotes.
static CITED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?:^|[^\w/.\-~])((?:docs|src|tests|config|deploy|dev|examples|benches|fuzz|schemas|crates)/[\w./\-]*\w|(?:README|ARCHITECTURE|CONTRIBUTING|SECURITY|CHANGELOG)\.md)(#[\w\-]+)?(\*|\{|<|/\*|/\{|/<|…)?(?:`?, "([^"]+)")?"#,
    )
});

/// A link of a document to a place that is not a URL.
static LINKED: LazyLock<Regex> = LazyLock::new(|| regex(r"\]\(([^)#:\s]*)(#[^)\s]*)?\)"));

/// Texts that are not in the repository, by the words with which they were cited.
static ELSEWHERE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?i)\bdesign,? \d|\bdesign, section|\b(?:events|rest-api|types|style)\.md \d|\bstyle\.md|\bmust\s+show|\bissue\s+text|\bissue \d|\bissue ""#,
    )
});

/// Which part of a file is searched.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Whole,
    /// Lines that begin with this.
    Comments(&'static str),
}

fn part(path: &str) -> Option<Part> {
    if path.starts_with("tests/data/")
        || path == "tests/citations.rs"
        || path.ends_with("-lock.json")
    {
        return None;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    Some(
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("rs" | "mjs" | "js") => Part::Comments("//"),
            Some("json") => Part::Comments("\"$comment\""),
            Some("md") => Part::Whole,
            Some("py" | "toml" | "yaml" | "yml" | "txt" | "conf" | "sh") => Part::Comments("#"),
            None | Some("Dockerfile") => Part::Comments("#"),
            Some(_) => return None,
        },
    )
}

/// The text as one line, so that a citation may go on in the next line of a comment.
fn joined(text: &str, part: Part) -> String {
    let mut line = String::new();
    for text in text.lines() {
        let text = text.trim_start();
        let text = match part {
            Part::Whole => text,
            Part::Comments(sign) => match text.strip_prefix(sign) {
                Some(comment) => comment.trim_start_matches(['/', '!', '#']),
                None => {
                    line.push('\n');
                    continue;
                }
            },
        };
        line.push_str(text.trim());
        line.push(' ');
    }
    line
}

/// The files and headings that citations are compared with.
struct Repository {
    root: PathBuf,
    ignored: Vec<String>,
}

impl Repository {
    fn has(&self, path: &str) -> bool {
        let ignored = self
            .ignored
            .iter()
            .any(|ignored| path == ignored || path.starts_with(&format!("{ignored}/")));
        ignored || self.root.join(path).exists()
    }

    /// The headings of a page and of what it includes.
    fn headings(&self, page: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.root.join(page)).unwrap_or_default();
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        let mut headings = Vec::new();
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if let Some(included) = line.strip_prefix("{{#include ") {
                let included = normal(&folder.join(included.trim_end_matches('}')));
                headings.extend(self.headings(&included));
            } else if !fenced && line.starts_with('#') {
                headings.push(line.trim_start_matches('#').trim().replace('`', ""));
            }
        }
        headings
    }

    /// The citations of a text that do not exist, as messages.
    fn missing(&self, path: &str, text: &str, part: Part) -> Vec<String> {
        let text = joined(text, part);
        let mut missing = Vec::new();
        for found in CITED.captures_iter(&text) {
            let cited = found.get(1).expect("the path").as_str();
            let cut = found.get(3).is_some();
            let target = if cut {
                cited.rsplit_once('/').map_or(cited, |(folder, _)| folder)
            } else {
                cited
            };
            if !self.has(target) {
                missing.push(format!("{path} cites {cited}, which does not exist"));
                continue;
            }
            if let Some(anchor) = found.get(2) {
                self.anchor(path, cited, anchor.as_str(), &mut missing);
            }
            let heading = found.get(4).map(|heading| heading.as_str());
            if let Some(heading) = heading.filter(|_| cited.ends_with(".md"))
                && !self.headings(cited).iter().any(|there| there == heading)
            {
                missing.push(format!(
                    "{path} cites {cited}, {heading:?}, a heading that it does not have"
                ));
            }
        }
        if path.ends_with(".md") {
            let folder = Path::new(path).parent().unwrap_or(Path::new(""));
            for found in LINKED.captures_iter(&text) {
                let link = found.get(1).expect("the target").as_str();
                let target = if link.is_empty() {
                    path.to_owned()
                } else {
                    normal(&folder.join(link))
                };
                if !self.has(&target) {
                    missing.push(format!("{path} links to {target}, which does not exist"));
                } else if let Some(anchor) = found.get(2) {
                    self.anchor(path, &target, anchor.as_str(), &mut missing);
                }
            }
        }
        for found in ELSEWHERE.find_iter(&text) {
            missing.push(format!(
                "{path} cites {:?}, which is not in the repository",
                found.as_str()
            ));
        }
        missing
    }

    fn anchor(&self, path: &str, page: &str, anchor: &str, missing: &mut Vec<String>) {
        let anchor = anchor.trim_start_matches('#');
        let there = self.headings(page);
        if !there.iter().any(|heading| slug(heading) == anchor) {
            missing.push(format!(
                "{path} cites {page}#{anchor}, an anchor that it does not have"
            ));
        }
    }
}

/// The anchor that a heading has on a web page.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// `docs/src/a/../b.md` as `docs/src/b.md`.
fn normal(path: &Path) -> String {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            _ => {}
        }
    }
    parts.join("/")
}

fn repository() -> Repository {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let ignored = std::fs::read_to_string(root.join(".gitignore")).expect(".gitignore");
    let ignored = ignored
        .lines()
        .map(|line| line.trim_matches('/').to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    Repository { root, ignored }
}

#[test]
fn every_citation_resolves() {
    let repository = repository();
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&repository.root)
        .output()
        .expect("git");
    assert!(listed.status.success(), "git ls-files");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let files: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    assert!(files.len() > 300, "{} files", files.len());
    let mut missing = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(repository.root.join(path));
        if let (Some(part), Ok(text)) = (part(path), text) {
            missing.extend(repository.missing(path, &text, part));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The finder's result for a comment that a source file could have.
fn planted(comment: &str) -> Vec<String> {
    repository().missing("src/planted.rs", comment, Part::Comments("//"))
}

#[test]
fn a_citation_of_a_missing_target_is_reported() {
    let wrong = [
        "/// Durable first (docs/src/internals/jounal.md).",
        "/// Durable first (docs/src/internals/journal.md, \"Group comit\").",
        "//! One commit for all (docs/src/internals/journal.md,\n//! \"Group comit\").",
        "// See `docs/src/promises.md#when-to-use-it`.",
        "// src/no/such/file.rs has it.",
        concat!("//! The journal (Desi", "gn 6)."),
        concat!("// A case of the is", "sue \"Promises\"."),
    ];
    for comment in wrong {
        assert_eq!(
            planted(comment).len(),
            1,
            "{comment}: {:?}",
            planted(comment)
        );
    }
    let link = "# A page\n\n[one](nothing.md), [two](promises.md#nothing), [three](#nothing)\n";
    let found = repository().missing("docs/src/planted.md", link, Part::Whole);
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn a_citation_of_an_existing_target_is_not_reported() {
    let right = [
        "/// Durable first (docs/src/internals/journal.md, \"Group commit\").",
        "//! One commit for all (docs/src/internals/journal.md,\n//! \"Group commit\"), P2.",
        "// See `docs/src/promises.md#when-not-to-use-it`, docs/src/reference/acs-events.md#ids.",
        "// Every file of src/*.rs and docs/src/<page>.md, and the book in docs/book/index.html.",
        "let path = \"src/no/such/file.rs\"; // code is not looked at",
        "// https://example.com/docs/page.html",
    ];
    for comment in right {
        assert!(
            planted(comment).is_empty(),
            "{comment}: {:?}",
            planted(comment)
        );
    }
}
