//! Routing key templates of exchange destinations: `{app}.{kind}.{event}`.

/// A checked routing key template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it stands.
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
