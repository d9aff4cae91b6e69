//! The API since 2023-03-06 (docs/src/reference/acs-rest-api.md, "GA"), by subject.

mod calls;
mod media;
mod participants;
mod recordings;

use serde_json::{Value, json};

use super::{
    body::BodyMembers,
    endpoint::{Endpoint, delete, get, post},
    response::ApiResponse,
};
use crate::{api_error::ApiError, world::Place};

/// The operation's own callback.
const CALLBACK: &str = "operationCallbackUri";

/// Every operation.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post("/callConnections", calls::create),
    post("/callConnections:answer", calls::answer),
    post("/callConnections:redirect", calls::redirect),
    post("/callConnections:reject", calls::reject),
    post("/callConnections:connect", calls::connect),
    get("/callConnections/{id}", calls::properties),
    delete("/callConnections/{id}", calls::hang_up),
    post("/callConnections/{id}:terminate", calls::terminate),
    post(
        "/callConnections/{id}:transferToParticipant",
        calls::transfer,
    ),
    get("/callConnections/{id}/participants", participants::list),
    get(
        "/callConnections/{id}/participants/{participantRawId}",
        participants::one,
    ),
    post("/callConnections/{id}/participants:add", participants::add),
    post(
        "/callConnections/{id}/participants:remove",
        participants::remove,
    ),
    post(
        "/callConnections/{id}/participants:mute",
        participants::mute,
    ),
    post(
        "/callConnections/{id}/participants:cancelAddParticipant",
        participants::cancel_add,
    ),
    post(
        "/callConnections/{id}/participants:moveHere",
        participants::move_here,
    ),
    post("/callConnections/{id}:play", media::play),
    post("/callConnections/{id}:recognize", media::recognize),
    post(
        "/callConnections/{id}:cancelAllMediaOperations",
        media::cancel,
    ),
    post(
        "/callConnections/{id}:startContinuousDtmfRecognition",
        media::start_tones,
    ),
    post(
        "/callConnections/{id}:stopContinuousDtmfRecognition",
        media::stop_tones,
    ),
    post("/callConnections/{id}:sendDtmfTones", media::send_tones),
    post("/callConnections/{id}:hold", media::hold),
    post("/callConnections/{id}:unhold", media::unhold),
    post(
        "/callConnections/{id}:startMediaStreaming",
        media::start_streaming,
    ),
    post(
        "/callConnections/{id}:stopMediaStreaming",
        media::stop_streaming,
    ),
    post(
        "/callConnections/{id}:startTranscription",
        media::start_transcription,
    ),
    post(
        "/callConnections/{id}:stopTranscription",
        media::stop_transcription,
    ),
    post(
        "/callConnections/{id}:updateTranscription",
        media::update_transcription,
    ),
    post("/recordings", recordings::start),
    get("/recordings/{recordingId}", recordings::state),
    delete("/recordings/{recordingId}", recordings::stop),
    post("/recordings/{recordingId}:pause", recordings::pause),
    post("/recordings/{recordingId}:resume", recordings::resume),
];

/// These members with `operationContext`, without it where the request had none.
fn with_context(status: u16, mut members: Value, context: Option<String>) -> ApiResponse {
    if let (Some(context), Some(object)) = (context, members.as_object_mut()) {
        object.insert("operationContext".to_owned(), json!(context));
    }
    ApiResponse::with(status, members)
}

/// `{operationContext}`.
fn context(status: u16, context: Option<String>) -> ApiResponse {
    with_context(status, json!({}), context)
}

/// `CallLocator`. Older clients name the kind only by the member that they fill.
fn locator(locator: &BodyMembers<'_>) -> Result<Place, ApiError> {
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
