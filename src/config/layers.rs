//! The layers of a configuration: defaults (in the sections), file, environment, flags; later ones win.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    problems::{Origin, ProblemCollector},
    tree::{Entries, Node, Value, overlay, parse},
};

/// Prefix of every environment variable that is a setting. Two underscores, because Kubernetes injects variables like
/// `HOOKSWITCH_PORT` for a service called `hookswitch`, and those are not settings.
const PREFIX: &str = "HOOKSWITCH__";

/// The sources of a configuration.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The layer above the defaults.
    pub base: Base,
    /// Environment variables; those without the prefix `HOOKSWITCH__` are ignored.
    pub environment: Vec<(OsString, OsString)>,
    /// Command line flags.
    pub flags: Vec<Flag>,
}

/// The layer above the defaults.
#[derive(Clone, Debug)]
pub enum Base {
    /// A TOML file.
    File(PathBuf),
    /// TOML text, with a name for error messages.
    Text { name: String, text: String },
    /// The development receiver (docs/src/getting-started/without-a-broker.md): app `dev` without auth, on a loopback
    /// address only, deliveries on stdout.
    Development {
        /// A directory that may be deleted afterwards.
        journal: PathBuf,
    },
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As the user wrote it, for error messages: `--listen`.
    pub name: &'static str,
    /// The setting: `server.listen`.
    pub key: &'static str,
    pub value: String,
}

impl Sources {
    /// The file at `path` under this process's environment, without flags.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            base: Base::File(path.into()),
            environment: std::env::vars_os().collect(),
            flags: Vec::new(),
        }
    }

    /// Only `text`, for tests and examples.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        Self {
            base: Base::Text {
                name: name.to_owned(),
                text: text.to_owned(),
            },
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// The development receiver with its journal in `journal`, under this process's environment.
    #[must_use]
    pub fn development(journal: impl Into<PathBuf>) -> Self {
        Self {
            base: Base::Development {
                journal: journal.into(),
            },
            environment: std::env::vars_os().collect(),
            flags: Vec::new(),
        }
    }

    /// The name of this machine, the default of `server.instance`.
    pub(super) fn host_name(&self) -> String {
        let exported = self
            .environment
            .iter()
            .find(|(name, _)| name == "HOSTNAME")
            .and_then(|(_, value)| value.to_str().map(str::to_owned));
        exported
            .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "hookswitch".to_owned())
    }

    /// The merged layers, and what to call the file as a whole. `None` after a problem that leaves nothing to check.
    pub(super) fn joined(&self, findings: &ProblemCollector) -> Option<(Origin, Entries)> {
        let (name, text): (Rc<str>, String) = match &self.base {
            Base::File(path) => {
                let name: Rc<str> = path.display().to_string().into();
                match std::fs::read_to_string(path) {
                    Ok(text) => (name, text),
                    Err(error) => {
                        let message = format!("cannot read this configuration file: {error}");
                        findings.add(&Origin::File(name), "", message);
                        return None;
                    }
                }
            }
            Base::Text { name, text } => (name.as_str().into(), text.clone()),
            Base::Development { journal } => ("development".into(), development(journal)),
        };
        let mut entries = parse(&name, &text, findings);
        if findings.count() > 0 {
            // The content of a broken line is unknown: a problem about a missing key would mislead.
            return None;
        }
        overlay(&mut entries, self.environment_layer(findings));
        overlay(&mut entries, self.flag_layer());
        Some((Origin::File(name), entries))
    }

    fn environment_layer(&self, findings: &ProblemCollector) -> Entries {
        let mut layer = Entries::new();
        for (name, value) in &self.environment {
            let name = name.to_string_lossy();
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let place = Origin::Environment(name.to_string());
            let Some(value) = value.to_str() else {
                findings.add(&place, "", "is not UTF-8");
                continue;
            };
            let key = path.to_lowercase().replace("__", ".");
            if key.starts_with("apps") || key.starts_with("routes") {
                findings.add(&place, "", "apps and routes are set in the file only");
                continue;
            }
            // A value for a whole table would be lost under a flag for a key in it.
            let is_setting = key.contains('.');
            if !is_setting || set(&mut layer, &key, &place, value).is_none() {
                let message = "names no setting: write HOOKSWITCH__SECTION__KEY";
                findings.add(&place, "", message);
            }
        }
        layer
    }

    fn flag_layer(&self) -> Entries {
        let mut layer = Entries::new();
        for flag in &self.flags {
            set(&mut layer, flag.key, &Origin::Flag(flag.name), &flag.value)
                .expect("flags name a section and a key, each once");
        }
        layer
    }
}

/// Sets `section.key` (or deeper) to `value`; `None` where the path is not a path or runs into a value.
fn set(layer: &mut Entries, path: &str, place: &Origin, value: &str) -> Option<()> {
    match path.split_once('.') {
        Some((table, rest)) => {
            let node = layer.entry(table.to_owned()).or_insert_with(|| Node {
                place: place.clone(),
                value: Value::Table(Entries::new()),
            });
            match &mut node.value {
                Value::Table(entries) if !table.is_empty() => set(entries, rest, place, value),
                _ => None,
            }
        }
        None if path.is_empty() || layer.contains_key(path) => None,
        None => {
            layer.insert(path.to_owned(), untyped(place, value));
            Some(())
        }
    }
}

/// A text, or a TOML list of texts (`["a", "b"]`).
fn untyped(place: &Origin, value: &str) -> Node {
    let items = value
        .starts_with('[')
        .then(|| format!("list = {value}").parse::<toml::Table>().ok())
        .flatten()
        .and_then(|table| table.get("list")?.clone().try_into::<Vec<String>>().ok());
    let node = |value| Node {
        place: place.clone(),
        value,
    };
    match items {
        Some(items) => node(Value::List(
            items
                .into_iter()
                .map(|item| node(Value::Text(item)))
                .collect(),
        )),
        None => node(Value::Text(value.to_owned())),
    }
}

fn development(journal: &Path) -> String {
    let journal = toml::Value::from(journal.display().to_string());
    format!(
        "server = {{ listen = \"127.0.0.1:8080\" }}\n\
         journal = {{ path = {journal} }}\n\
         broker = {{ url = \"stdout:\" }}\n\
         apps = [{{ name = \"dev\", auth = \"none\", event_grid = true, allowed_origins = [\"eventgrid.azure.net\"] }}]\n\
         routes = [{{ name = \"dev\", app = \"dev\", queue = \"dev\" }}]\n"
    )
}
