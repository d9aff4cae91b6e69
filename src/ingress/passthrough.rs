//! What a callback passes on to the consumer besides its events: the rest of its path, the query parameters that the
//! app names, its trace context. Pure.

use percent_encoding::percent_decode_str;

/// Longest rest of a path that is passed on: it becomes an AMQP header.
pub(super) const PATH_LIMIT_BYTES: usize = 1_024;

/// Longest query string that is passed on, counted without the other parameters.
pub(super) const QUERY_LIMIT_BYTES: usize = 2_048;

/// Longest `tracestate` that is passed on (Trace Context, 3.3.1.5 asks for at least 512).
const TRACESTATE_LIMIT_BYTES: usize = 512;

/// The destination of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestPath<'a> {
    /// `/callbacks/{app}` and below.
    Callbacks {
        /// The segment that names the app.
        app: &'a str,
        /// The rest, percent-encoded as received; belongs to the application.
        rest: Option<&'a str>,
    },
    /// Any other path.
    Elsewhere,
}

impl<'a> RequestPath<'a> {
    /// Reads a path as in the request line.
    pub(super) fn of(path: &'a str) -> Self {
        let Some(tail) = path.strip_prefix("/callbacks/") else {
            return Self::Elsewhere;
        };
        let (app, rest) = tail.split_once('/').unwrap_or((tail, ""));
        if app.is_empty() {
            return Self::Elsewhere;
        }
        Self::Callbacks {
            app,
            rest: (!rest.is_empty()).then_some(rest),
        }
    }
}

/// Why something cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassthroughError {
    /// The rest of the path.
    #[error(
        "the rest of the path after the app must be visible ASCII of at most {PATH_LIMIT_BYTES} bytes"
    )]
    Path,
    /// The parameters named in `pass_query`.
    #[error(
        "the query parameters that are passed on to consumers must be visible ASCII of at most {QUERY_LIMIT_BYTES} bytes"
    )]
    Query,
}

fn fits(text: &str, limit: usize) -> bool {
    text.len() <= limit && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The rest of the path, if it can be passed on.
///
/// # Errors
/// If it is too long or not visible ASCII.
pub(super) fn path(rest: Option<&str>) -> Result<Option<String>, PassthroughError> {
    match rest {
        Some(rest) if !fits(rest, PATH_LIMIT_BYTES) => Err(PassthroughError::Path),
        rest => Ok(rest.map(str::to_owned)),
    }
}

/// The parameters of `query` that `names` lists, as received and in their order.
///
/// # Errors
/// If they are too long or not visible ASCII.
pub(super) fn query(query: &str, names: &[String]) -> Result<Option<String>, PassthroughError> {
    if names.is_empty() || query.is_empty() {
        return Ok(None);
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| {
            // The name may be percent-encoded; the pair is passed on as received.
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            percent_decode_str(name)
                .decode_utf8()
                .is_ok_and(|name| names.iter().any(|wanted| *wanted == name))
        })
        .collect();
    let kept = kept.join("&");
    match kept.as_str() {
        "" => Ok(None),
        kept if !fits(kept, QUERY_LIMIT_BYTES) => Err(PassthroughError::Query),
        _ => Ok(Some(kept)),
    }
}

/// `traceparent` if it has the shape of W3C Trace Context, 3.2.2. A malformed one is dropped: tracing never costs an event.
pub(super) fn traceparent(value: &str) -> Option<String> {
    let value = value.trim();
    let mut fields = value.splitn(5, '-');
    let (version, trace, parent, flags, more) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next(),
    );
    let hex = |field: &str, length: usize| {
        field.len() == length
            && field
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |field: &str| field.bytes().all(|b| b == b'0');
    let good = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2)
        // Version 00 has four fields; later ones may have more, which are passed on within reason.
        && (more.is_none() || version != "00")
        && fits(value, 256);
    good.then(|| value.to_owned())
}

/// `tracestate` if it is a list of members as in W3C Trace Context, 3.3.1. `values` are its header lines in order.
pub(super) fn tracestate<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let members: Vec<&str> = values
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect();
    let good = members.len() <= 32
        && members.iter().all(|member| {
            member.split_once('=').is_some_and(|(key, value)| {
                is_key(key)
                    && !value.is_empty()
                    && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
            })
        });
    let list = members.join(",");
    (good && !list.is_empty() && list.len() <= TRACESTATE_LIMIT_BYTES).then_some(list)
}

fn is_key(key: &str) -> bool {
    (1..=256).contains(&key.len())
        && key
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_the_app_and_keeps_the_rest_as_received() {
        let at = |app, rest| RequestPath::Callbacks { app, rest };
        for (path, expected) in [
            ("/callbacks/contoso", at("contoso", None)),
            ("/callbacks/contoso/", at("contoso", None)),
            ("/callbacks/contoso/a%2Fb/c", at("contoso", Some("a%2Fb/c"))),
            ("/callbacks/contoso//c", at("contoso", Some("/c"))),
            ("/callbacks/", RequestPath::Elsewhere),
            ("/callbacks//x", RequestPath::Elsewhere),
            ("/callbacks", RequestPath::Elsewhere),
            ("/livez", RequestPath::Elsewhere),
            ("/", RequestPath::Elsewhere),
        ] {
            assert_eq!(RequestPath::of(path), expected, "{path}");
        }
    }

    #[test]
    fn a_rest_that_is_too_long_for_a_header_is_refused() {
        assert_eq!(path(None), Ok(None));
        let longest = "x".repeat(PATH_LIMIT_BYTES);
        assert_eq!(path(Some(&longest)), Ok(Some(longest.clone())));
        assert_eq!(
            path(Some(&format!("{longest}x"))),
            Err(PassthroughError::Path)
        );
        assert_eq!(path(Some("ä")), Err(PassthroughError::Path));
    }

    #[test]
    fn only_the_named_parameters_are_carried_and_never_a_secret_beside_them() {
        let names = ["callerId".to_owned(), "lang".to_owned()];
        for (received, expected) in [
            ("", None),
            ("code=secret", None),
            (
                "code=secret&callerId=%2B1425&lang=de",
                Some("callerId=%2B1425&lang=de"),
            ),
            ("caller%49d=1&callerid=2", Some("caller%49d=1")),
            ("lang&lang=", Some("lang&lang=")),
            ("callerId=1&callerId=2", Some("callerId=1&callerId=2")),
        ] {
            assert_eq!(
                query(received, &names).unwrap().as_deref(),
                expected,
                "{received}"
            );
        }
        assert_eq!(query("callerId=1", &[]), Ok(None));
        let long = format!("callerId={}", "1".repeat(QUERY_LIMIT_BYTES));
        assert_eq!(query(&long, &names), Err(PassthroughError::Query));
    }

    #[test]
    fn a_traceparent_is_kept_only_in_its_shape() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(good).as_deref(), Some(good));
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what";
        assert_eq!(traceparent(later).as_deref(), Some(later));
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_joined_from_its_lines_or_dropped() {
        let check = |lines: &[&str], expected: Option<&str>| {
            assert_eq!(
                tracestate(lines.iter().copied()).as_deref(),
                expected,
                "{lines:?}"
            );
        };
        check(&["a=1, b@c=2", "d=3"], Some("a=1,b@c=2,d=3"));
        check(&[], None);
        check(&["nonsense"], None);
        check(&["A=1"], None);
        check(&["a=1=2"], None);
        check(&[&format!("a={}", "x".repeat(511))], None);
    }
}
