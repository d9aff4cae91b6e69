//! Notices about types that routes name and the catalogue does not have. That is allowed, but may be a misspelling.

use crate::{
    catalog::Catalog,
    event::Kind,
    route::{Filter, Route},
};

use super::{App, OnUnknown};

/// Most letters in which a misspelt name differs from the right one.
const MISSPELT: usize = 2;

/// Whether `name` is the full name of a type. A route may name unknown types in full only: a short name is more
/// probably a misspelling.
pub(super) fn is_full(name: &str) -> bool {
    name.contains('.')
}

/// One notice for each route and type that the route names and `catalog` does not have; for `check-config`, the log and
/// `/readyz`, at start and after a reload of the schemas.
#[must_use]
pub fn type_notices(apps: &[App], routes: &[Route], catalog: &Catalog) -> Vec<String> {
    let mut notices = Vec::new();
    for route in routes {
        let mut names: Vec<&str> = route.types.iter().map(String::as_str).collect();
        for filter in &route.filters {
            named_by(filter, &mut names);
        }
        for name in names {
            if catalog.knows_type(name) {
                continue;
            }
            let notice = notice(name, route, apps, catalog);
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
    }
    notices
}

/// Collects the full types that a filter asks for, but not those that it excludes.
fn named_by<'f>(filter: &'f Filter, names: &mut Vec<&'f str>) {
    match filter {
        Filter::Exact(pairs) => {
            let types = pairs.iter().filter(|(attribute, _)| *attribute == "type");
            names.extend(
                types
                    .map(|(_, name)| name.as_str())
                    .filter(|name| is_full(name)),
            );
        }
        Filter::All(filters) | Filter::Any(filters) => {
            for filter in filters {
                named_by(filter, names);
            }
        }
        Filter::Prefix(_) | Filter::Suffix(_) | Filter::Not(_) => {}
    }
}

fn notice(name: &str, route: &Route, apps: &[App], catalog: &Catalog) -> String {
    let mut text = format!(
        "route {} names type {name}, which is not in the catalogue: routed when it comes",
        route.name
    );
    if let Some(meant) = meant(name, catalog) {
        text.push_str(&format!("; did you mean {meant:?}?"));
    }
    if !route.kinds.is_empty() && !route.kinds.contains(&Kind::Unknown) {
        text.push_str("; it never comes to this route, because its kind is Unknown and kinds does not list that");
    }
    if !route.generations.is_empty() {
        text.push_str("; it never comes to this route, because it has no generation and generations lists some");
    }
    let served = apps
        .iter()
        .filter(|app| route.app.as_ref().is_none_or(|wanted| *wanted == app.name));
    for app in served {
        let why = match app.on_unknown {
            OnUnknown::Route => continue,
            OnUnknown::Quarantine => "on_unknown = \"quarantine\" keeps it in quarantine",
            OnUnknown::Reject => "on_unknown = \"reject\" refuses it",
        };
        let app = &app.name;
        text.push_str(&format!("; from app {app} it never comes, because {why}"));
    }
    text
}

/// The type of the catalogue that `name` is probably a misspelling of. Only the last parts are compared: the long
/// common prefix would make any two names similar.
fn meant<'c>(name: &str, catalog: &'c Catalog) -> Option<&'c str> {
    let last = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        last.to_lowercase()
    };
    let wanted = last(name);
    catalog
        .types()
        .into_iter()
        .map(|known| (strsim::osa_distance(&wanted, &last(known)), known))
        .filter(|(distance, _)| *distance <= MISSPELT)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    use super::*;

    /// The notices for two apps, of which `strict` has this `on_unknown`, and one route with these lines.
    fn check(on_unknown: &str, lines: &str) -> Vec<String> {
        let text = format!(
            "[broker]\nurl = \"stdout:\"\n[[apps]]\nname = \"strict\"\nauth = \"none\"\non_unknown = {on_unknown:?}\n\
             [[apps]]\nname = \"contoso\"\nauth = \"none\"\n[[routes]]\nname = \"r\"\nqueue = \"q\"\n{lines}\n"
        );
        let (config, catalog) = load(&Sources::text("f.toml", &text)).unwrap();
        type_notices(&config.apps, &config.routes, &catalog)
    }

    const SOMETHING: &str = "route r names type Microsoft.Communication.Something, which is not in the catalogue: routed when it comes";

    #[test]
    fn a_type_that_is_not_in_the_catalogue_is_noticed_and_others_are_not() {
        assert_eq!(check("route", "types = [\"PlayFailed\"]"), [""; 0]);
        let lines = "types = [\"Microsoft.Communication.Something\", \"Microsoft.Communication.PlayFailed\"]";
        assert_eq!(check("route", lines), [SOMETHING]);
    }

    #[test]
    fn a_filter_for_an_unknown_type_is_noticed_and_one_against_it_is_not() {
        let exact = "{ exact = { type = \"Microsoft.Communication.Something\" } }";
        for filter in [
            exact.to_owned(),
            format!("{{ all = [{{ any = [{exact}, {exact}] }}] }}"),
        ] {
            assert_eq!(check("route", &format!("filter = [{filter}]")), [SOMETHING]);
        }
        for filter in [
            &format!("{{ not = {exact} }}"),
            "{ exact = { type = \"Microsoft.Communication.PlayFailed\" } }",
            "{ exact = { subject = \"Not.A.Type\" } }",
            "{ prefix = { type = \"Microsoft.Communication.Some\" } }",
        ] {
            assert_eq!(check("route", &format!("filter = [{filter}]")), [""; 0]);
        }
    }

    #[test]
    fn the_notice_says_what_keeps_the_events_from_the_route() {
        let types = "types = [\"Microsoft.Communication.Something\"]";
        for (on_unknown, lines, why) in [
            (
                "quarantine",
                "",
                "; from app strict it never comes, because on_unknown = \"quarantine\" keeps it in quarantine",
            ),
            (
                "reject",
                "app = \"strict\"",
                "; from app strict it never comes, because on_unknown = \"reject\" refuses it",
            ),
            ("reject", "app = \"contoso\"", ""),
            (
                "route",
                "kinds = [\"Recording\"]",
                "; it never comes to this route, because its kind is Unknown and kinds does not list that",
            ),
            ("route", "kinds = [\"Recording\", \"Unknown\"]", ""),
            (
                "route",
                "generations = [\"ga\"]",
                "; it never comes to this route, because it has no generation and generations lists some",
            ),
        ] {
            let found = check(on_unknown, &format!("{types}\n{lines}"));
            assert_eq!(found, [format!("{SOMETHING}{why}")], "{on_unknown} {lines}");
        }
    }

    #[test]
    fn the_notice_for_a_misspelt_full_name_says_the_right_one() {
        for (name, meant) in [
            (
                "Microsoft.Communication.PlayFaild",
                "Microsoft.Communication.PlayFailed",
            ),
            (
                "microsoft.communication.callconnected",
                "Microsoft.Communication.CallConnected",
            ),
            (
                "Microsoft.Comunication.PlayFailed",
                "Microsoft.Communication.PlayFailed",
            ),
        ] {
            let found = check("route", &format!("types = [{name:?}]"));
            let [notice] = &found[..] else {
                panic!("{found:?}");
            };
            assert!(
                notice.ends_with(&format!("; did you mean {meant:?}?")),
                "{notice}"
            );
        }
    }
}
