//! Members of requests and answers that operations of several subjects have.

use serde_json::{Value, json};

use super::super::{body::BodyMembers, response::ApiResponse};
use crate::{api_error::ApiError, world::Place};

/// The operation's own callback.
pub(super) const CALLBACK: &str = "operationCallbackUri";

/// These members with `operationContext`, without it where the request had none.
pub(super) fn with_context(
    status: u16,
    mut members: Value,
    context: Option<String>,
) -> ApiResponse {
    if let (Some(context), Some(object)) = (context, members.as_object_mut()) {
        object.insert("operationContext".to_owned(), json!(context));
    }
    ApiResponse::with(status, members)
}

/// `{operationContext}`.
pub(super) fn context(status: u16, context: Option<String>) -> ApiResponse {
    with_context(status, json!({}), context)
}

/// `CallLocator`. Older clients name the kind only by the member that they fill.
pub(super) fn locator(locator: &BodyMembers<'_>) -> Result<Place, ApiError> {
    let kind = locator.word(
        "kind",
        &["groupCallLocator", "serverCallLocator", "roomCallLocator"],
    )?;
    let (server, group, room) = (
        locator.text("serverCallId")?,
        locator.text("groupCallId")?,
        locator.text("roomId")?,
    );
    match (kind, server, group, room) {
        (None | Some("serverCallLocator"), Some(id), _, _) => Ok(Place::ServerCall(id)),
        (None | Some("groupCallLocator"), _, Some(id), _) => Ok(Place::Group(id)),
        (None | Some("roomCallLocator"), _, _, Some(id)) => Ok(Place::Room(id)),
        (Some("groupCallLocator"), ..) => Err(locator.wrong("groupCallId", "is missing")),
        (Some("roomCallLocator"), ..) => Err(locator.wrong("roomId", "is missing")),
        _ => Err(locator.wrong("serverCallId", "is missing")),
    }
}
