//! Routing key templates of exchange destinations: `{app}.{kind}.{event}`.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::event::{AppName, Generation, Kind};

/// The word for an unknown generation in a routing key: the `*` of a topic exchange needs a word there.
const UNKNOWN_GENERATION: &str = "unknown";

const PLACEHOLDERS: [&str; 4] = ["app", "kind", "event", "generation"];

/// A checked routing key template. [`Template::default`] is `{app}.{kind}.{event}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// `{app}`.
    App,
    /// `{kind}`.
    Kind,
    /// `{event}`: the last part of the type.
    Event,
    /// `{generation}`.
    Generation,
}

/// Why a text is not a template. Positions are byte offsets in the template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An unknown word in braces.
    #[error("unknown placeholder {{{word}}} at byte {offset}: {hint}")]
    Unknown {
        /// The word between the braces.
        word: String,
        /// Where its opening brace is.
        offset: usize,
        /// What to write instead.
        hint: String,
    },
    /// A brace without its partner.
    #[error(
        "the brace at byte {offset} is not paired: placeholders are {{app}}, {{kind}}, {{event}} and {{generation}}"
    )]
    Brace { offset: usize },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Unknown placeholders and unpaired braces.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let offset = text.len() - rest.len();
            let (literal, after) = match rest.find(['{', '}']) {
                Some(brace) => rest.split_at(brace),
                None => (rest, ""),
            };
            if !literal.is_empty() {
                parts.push(Part::Text(literal.to_owned()));
            }
            if after.is_empty() {
                break;
            }
            let offset = offset + literal.len();
            let Some((word, after)) = after.strip_prefix('{').and_then(|a| a.split_once('}'))
            else {
                return Err(TemplateError::Brace { offset });
            };
            if word.contains('{') {
                return Err(TemplateError::Brace { offset });
            }
            parts.push(placeholder(word, offset)?);
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The routing key of one event. `event` is the last part of the type; an unknown generation is the word
    /// `unknown`.
    #[must_use]
    pub fn render(
        &self,
        app: &AppName,
        kind: Kind,
        event: &str,
        generation: Option<&Generation>,
    ) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::App => app.as_str(),
                Part::Kind => kind.as_str(),
                Part::Event => event,
                Part::Generation => generation.map_or(UNKNOWN_GENERATION, Generation::as_str),
            })
            .collect()
    }
}

impl Default for Template {
    fn default() -> Self {
        let dot = || Part::Text(".".to_owned());
        Self {
            parts: vec![Part::App, dot(), Part::Kind, dot(), Part::Event],
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The template as written in the configuration.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::App => f.write_str("{app}"),
            Part::Kind => f.write_str("{kind}"),
            Part::Event => f.write_str("{event}"),
            Part::Generation => f.write_str("{generation}"),
        })
    }
}

fn placeholder(word: &str, offset: usize) -> Result<Part, TemplateError> {
    match word {
        "app" => Ok(Part::App),
        "kind" => Ok(Part::Kind),
        "event" => Ok(Part::Event),
        "generation" => Ok(Part::Generation),
        other => Err(TemplateError::Unknown {
            word: other.to_owned(),
            offset,
            hint: match super::nearest(other, &PLACEHOLDERS) {
                Some(known) => format!("did you mean {{{known}}}?"),
                None => "write {app}, {kind}, {event} or {generation}".to_owned(),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, generation: Option<&str>) -> String {
        Template::parse(template).unwrap().render(
            &AppName::try_from("contoso".to_owned()).unwrap(),
            Kind::PlayAudioResult,
            "PlayFailed",
            generation.map(Generation::new).as_ref(),
        )
    }

    fn refused(template: &str) -> String {
        Template::parse(template).unwrap_err().to_string()
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(
            check("{app}.{kind}.{event}", None),
            "contoso.PlayAudioResult.PlayFailed"
        );
        assert_eq!(
            check("x-{generation}-{app}{app}y", Some("ga")),
            "x-ga-contosocontosoy"
        );
        assert_eq!(check("{generation}", None), "unknown");
        assert_eq!(check("plain", None), "plain");
        assert_eq!(check("", None), "");
        assert_eq!(check("ä{event}ö", None), "äPlayFailedö");
    }

    #[test]
    fn the_default_is_the_documented_one_and_templates_print_as_written() {
        let text = "{app}.{kind}.{event}";
        assert_eq!(Template::default(), text.parse().unwrap());
        assert_eq!(Template::default().to_string(), text);
        let other = "a.{generation}";
        assert_eq!(Template::parse(other).unwrap().to_string(), other);
    }

    #[test]
    fn an_unknown_placeholder_is_refused_with_a_suggestion() {
        let error = refused("a.{evnt}");
        assert!(
            error.contains("unknown placeholder {evnt} at byte 2"),
            "{error}"
        );
        assert!(error.contains("did you mean {event}?"), "{error}");
        for template in ["{}", "{zzz}", "{App }"] {
            assert!(
                refused(template).contains("unknown placeholder"),
                "{template}"
            );
        }
        assert!(refused("{zzz}").contains("write {app}, {kind}, {event} or {generation}"));
    }

    #[test]
    fn a_lone_brace_is_refused_with_its_place() {
        for (template, offset) in [
            ("{app", 0),
            ("a}", 1),
            ("ä.{app}}", 8),
            ("a{b{app}", 1),
            ("{{app}}", 0),
        ] {
            let error = refused(template);
            assert!(
                error.contains(&format!("brace at byte {offset} ")),
                "{template}: {error}"
            );
        }
    }
}
