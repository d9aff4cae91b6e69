//! Filter expressions: the dialects exact, prefix, suffix, all, any and not of the CloudEvents Subscriptions API 1.0
//! (section 3.2.4), on attributes and, as our extension, on `data.` paths.

/// One filter expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every named value equals the string.
    Exact(Vec<(String, String)>),
    /// Every named value begins with the string.
    Prefix(Vec<(String, String)>),
    /// Every named value ends with the string.
    Suffix(Vec<(String, String)>),
    /// Every expression matches.
    All(Vec<Filter>),
    /// At least one expression matches.
    Any(Vec<Filter>),
    /// The expression does not match.
    Not(Box<Filter>),
}
