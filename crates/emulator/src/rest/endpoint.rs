//! The tables of operations: which path is which operation, and which operations are near an unknown path.

use serde_json::{Map, Value};

use super::{address::RequestAddress, body::BodyMembers, response::ApiResponse};
use crate::{
    api_error::ApiError,
    world::{Api, World},
};

/// One operation of a generation.
pub(super) struct Endpoint {
    method: &'static str,
    /// Below `/calling`. `{name}` takes a segment, `{name}:action` one that ends like this; everything else is compared
    /// without regard to case, because the documents of one generation differ in it (`Join` and `join`).
    path: &'static str,
    run: fn(&mut World, &OperationRequest<'_>) -> Result<ApiResponse, ApiError>,
}

type Run = fn(&mut World, &OperationRequest<'_>) -> Result<ApiResponse, ApiError>;

pub(super) const fn get(path: &'static str, run: Run) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        run,
    }
}

pub(super) const fn post(path: &'static str, run: Run) -> Endpoint {
    Endpoint {
        method: "POST",
        path,
        run,
    }
}

pub(super) const fn delete(path: &'static str, run: Run) -> Endpoint {
    Endpoint {
        method: "DELETE",
        path,
        run,
    }
}

/// What an operation sees of a request.
pub(super) struct OperationRequest<'a> {
    pub(super) api: Api,
    /// Whether the path began with `/calling`.
    pub(super) prefixed: bool,
    /// What the `{names}` of the path took, in their order.
    ids: Vec<String>,
    body: &'a Map<String, Value>,
}

impl OperationRequest<'_> {
    /// The first id of the path: the call, the conversation, the recording.
    pub(super) fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// The second one: the participant or the recording in it.
    pub(super) fn inner_id(&self) -> &str {
        self.ids.get(1).map_or("", String::as_str)
    }

    pub(super) fn body(&self) -> BodyMembers<'_> {
        BodyMembers::of(self.body)
    }
}

/// An operation with the ids of its path.
pub(super) struct MatchedOperation {
    run: Run,
    ids: Vec<String>,
}

impl MatchedOperation {
    /// Runs the operation.
    pub(super) fn run(
        self,
        world: &mut World,
        api: Api,
        address: &RequestAddress,
        body: &Map<String, Value>,
    ) -> Result<ApiResponse, ApiError> {
        let asked = OperationRequest {
            api,
            prefixed: address.prefixed(),
            ids: self.ids,
            body,
        };
        (self.run)(world, &asked)
    }
}

/// Looks up an address.
///
/// # Errors
/// 404 that names the nearest operations.
pub(super) fn find(
    table: &'static [Endpoint],
    method: &str,
    address: &RequestAddress,
    prefix_needed: bool,
) -> Result<MatchedOperation, ApiError> {
    if address.prefixed() || !prefix_needed {
        for endpoint in table.iter().filter(|endpoint| endpoint.method == method) {
            if let Some(ids) = endpoint.ids(address.segments()) {
                return Ok(MatchedOperation {
                    run: endpoint.run,
                    ids,
                });
            }
        }
    }
    Err(ApiError::not_found(format!(
        "this generation of the API does not have this operation; similar ones are {}",
        near(table, method, address.segments()).join(", ")
    )))
}

/// How many operations a 404 names.
const NEAR: usize = 3;

fn near(table: &[Endpoint], method: &str, segments: &[String]) -> Vec<String> {
    let mut likely: Vec<_> = table
        .iter()
        .map(|endpoint| (endpoint.likeness(method, segments), endpoint))
        .collect();
    likely.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    likely
        .into_iter()
        .take(NEAR)
        .map(|(_, endpoint)| format!("{} /calling{}", endpoint.method, endpoint.path))
        .collect()
}

impl Endpoint {
    fn patterns(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').skip(1)
    }

    /// The ids, if the path is this operation's.
    fn ids(&self, segments: &[String]) -> Option<Vec<String>> {
        if self.patterns().count() != segments.len() {
            return None;
        }
        let mut ids = Vec::new();
        for (pattern, segment) in self.patterns().zip(segments) {
            match action_of(pattern) {
                Some(action) => ids.push(id_before(segment, action)?.to_owned()),
                None if pattern.eq_ignore_ascii_case(segment) => {}
                None => return None,
            }
        }
        Some(ids)
    }

    /// From 0 to 1, with a bonus for the method.
    fn likeness(&self, method: &str, segments: &[String]) -> f64 {
        let same: f64 = self
            .patterns()
            .zip(segments)
            .map(|(pattern, segment)| {
                let segment = segment.to_ascii_lowercase();
                match action_of(pattern) {
                    Some("") if segment.contains(':') => 0.5,
                    Some("") => 1.0,
                    Some(action) => {
                        let asked = segment.rsplit_once(':').map_or("", |(_, asked)| asked);
                        strsim::jaro_winkler(&action.to_ascii_lowercase(), &format!(":{asked}"))
                    }
                    None => strsim::jaro_winkler(&pattern.to_ascii_lowercase(), &segment),
                }
            })
            .sum();
        let longest = self.patterns().count().max(segments.len());
        let longest = u32::try_from(longest).map_or(f64::INFINITY, f64::from);
        same / longest + if self.method == method { 0.1 } else { 0.0 }
    }
}

/// What follows the `{name}` of a pattern that has one: `:action` or nothing.
fn action_of(pattern: &'static str) -> Option<&'static str> {
    pattern
        .strip_prefix('{')
        .and_then(|pattern| pattern.split_once('}'))
        .map(|(_, action)| action)
}

fn id_before<'a>(segment: &'a str, action: &str) -> Option<&'a str> {
    let (id, tail) = segment.split_at_checked(segment.len().checked_sub(action.len())?)?;
    (!id.is_empty() && tail.eq_ignore_ascii_case(action)).then_some(id)
}

/// Every operation of a table, for tests that check that they covered all of them.
#[cfg(test)]
pub(super) fn names(table: &[Endpoint]) -> std::collections::BTreeSet<String> {
    table
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect()
}

/// The operation that a request would be.
#[cfg(test)]
pub(super) fn name_of(
    table: &[Endpoint],
    method: &str,
    address: &RequestAddress,
) -> Option<String> {
    table
        .iter()
        .find(|endpoint| endpoint.method == method && endpoint.ids(address.segments()).is_some())
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &mut World, _: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
        Ok(ApiResponse::empty(204))
    }

    const TABLE: &[Endpoint] = &[
        post("/calls/{callId}/Hangup", nothing),
        get("/calls/{callId}", nothing),
        post("/calls/{callId}:play", nothing),
        post("/calls/{callId}:stopTranscription", nothing),
        post("/calls/{callId}/participants:add", nothing),
        get("/calls/{callId}/participants/{rawId}", nothing),
    ];

    fn check(method: &str, path: &str) -> Result<Vec<String>, ApiError> {
        let address = RequestAddress::parse(path, None)?;
        find(TABLE, method, &address, true).map(|found| found.ids)
    }

    #[test]
    fn ids_are_taken_with_and_without_an_action_and_encoded_or_not() {
        for (method, path, ids) in [
            ("POST", "/calling/calls/1/Hangup", &["1"][..]),
            ("POST", "/calling/CALLS/1/hangup", &["1"]),
            ("GET", "/calling/calls/a-1", &["a-1"]),
            ("POST", "/calling/calls/a:1:play", &["a:1"]),
            ("POST", "/calling/calls/a%3Aplay", &["a"]),
            ("POST", "/calling/calls/1/participants:add", &["1"]),
            (
                "GET",
                "/calling/calls/1/participants/4%3A%2B15550100",
                &["1", "4:+15550100"],
            ),
            (
                "GET",
                "/calling/calls/1/participants/8:acs:2_3",
                &["1", "8:acs:2_3"],
            ),
        ] {
            assert_eq!(check(method, path).expect(path), ids, "{path}");
        }
    }

    #[test]
    fn an_unknown_path_is_answered_with_similar_paths() {
        for (method, path, near) in [
            (
                "POST",
                "/calling/calls/1:pley",
                "POST /calling/calls/{callId}:play",
            ),
            (
                "POST",
                "/calling/calls/:play",
                "POST /calling/calls/{callId}:play",
            ),
            (
                "POST",
                "/calling/calls/1/HangUpp",
                "POST /calling/calls/{callId}/Hangup",
            ),
            (
                "DELETE",
                "/calling/calls/1/Hangup",
                "POST /calling/calls/{callId}/Hangup",
            ),
            ("GET", "/calls/1", "GET /calling/calls/{callId}"),
            ("GET", "/", "/calling/"),
        ] {
            let fault = check(method, path).expect_err(path);
            assert_eq!(fault.status, 404);
            assert!(fault.message.contains(near), "{path}: {}", fault.message);
        }
    }
}
