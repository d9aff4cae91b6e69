//! `apps.allowed_origins` and `apps.allowed_rate`: the origins that may send events here (CloudEvents webhooks, 4).

use std::num::NonZeroU32;

use super::{section::Section, tree::Value};

/// A higher rate per minute has no effect.
const RATE_LIMIT: u32 = 1_000_000;

const EXAMPLE: &str = "eventgrid.azure.net";

/// Reads both: the origins in lower case, and the rate per minute in the answer.
pub(super) fn consent(section: &mut Section<'_>) -> (Vec<String>, Option<NonZeroU32>) {
    let origins = origins(section);
    let given = section.given("allowed_rate").is_some();
    let rate = section.integer("allowed_rate", 1..=RATE_LIMIT, 1);
    if given && section.given("allowed_origins").is_none() {
        section.refuse(
            "allowed_rate",
            "applies to allowed origins only: set allowed_origins too",
        );
    }
    (origins, NonZeroU32::new(rate).filter(|_| given))
}

fn origins(section: &mut Section<'_>) -> Vec<String> {
    if let Some(given) = section.given("allowed_origins")
        && matches!(&given.node.value, Value::List(items) if items.is_empty())
    {
        given.refuse(format!(
            "is empty: leave it out, or write for example [{EXAMPLE:?}]"
        ));
    }
    let all = section.texts("allowed_origins");
    let several = all.len() > 1;
    let mut names = Vec::new();
    for given in all {
        let name = given.text().unwrap_or_default().to_ascii_lowercase();
        if name == "*" && several {
            given.refuse(
                "is \"*\" among others: it allows every origin, so it must be the only one",
            );
        } else if name != "*" && !is_dns_name(&name) {
            given.refuse(format!(
                "{name:?} is not a DNS name: write the name alone, for example {EXAMPLE:?}, without scheme, port or path"
            ));
        } else if names.contains(&name) {
            given.refuse(format!("{name:?} is named twice"));
        } else {
            names.push(name);
        }
    }
    names
}

/// Letters, digits, hyphens and underscores between dots, with the lengths of RFC 1035 (2.3.4).
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(label)
}
