//! The private preview of 2021 (docs/src/reference/acs-rest-api.md, "Private preview of 2021").
//!
//! Its two documents disagree; where they do, the request tells which of them it follows: under `/calling` with a version
//! of 2021-03-28 it is the specification, otherwise the documentation page.

use serde_json::{Value, json};

use super::{
    body::BodyMembers,
    endpoint::{Endpoint, OperationRequest, delete, get, post},
    previews,
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    world::{Connect, Create, Media, World},
};

/// Every operation.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post("/calls", create),
    post("/calls/{callId}/Hangup", previews::hang_up),
    delete("/calls/{callId}", previews::hang_up),
    post("/calls/{callId}/PlayAudio", play),
    post("/calls/{callId}/CancelMediaOperations", cancel_operations),
    post("/calls/{callId}/CancelMediaProcessing", cancel_processing),
    post("/calls/{callId}/participants", invite),
    delete(
        "/calls/{callId}/participants/{participantId}",
        previews::remove,
    ),
    post("/conversations/{conversationId}/Join", join),
    post("/conversations/{conversationId}/PlayAudio", play_to_all),
    post(
        "/conversations/{conversationId}/participants",
        invite_to_conversation,
    ),
    delete(
        "/conversations/{conversationId}/participants/{participantId}",
        remove_from_conversation,
    ),
    post(
        "/conversations/{conversationId}/recordings",
        previews::start_recording,
    ),
    get(
        "/conversations/{conversationId}/recordings/{recordingId}",
        previews::recording,
    ),
    delete(
        "/conversations/{conversationId}/recordings/{recordingId}",
        previews::stop_recording,
    ),
    post(
        "/conversations/{conversationId}/recordings/{recordingId}/Pause",
        previews::pause_recording,
    ),
    post(
        "/conversations/{conversationId}/recordings/{recordingId}/Resume",
        previews::resume_recording,
    ),
];

/// Whether the request follows the specification rather than the documentation page.
fn by_specification(asked: &OperationRequest<'_>) -> bool {
    asked.prefixed && asked.api.version.starts_with("2021-03-28")
}

fn create(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    // The page says `alternateCallerId`, the specification `sourceAlternateIdentity`.
    let caller_id = match body.phone("alternateCallerId")? {
        Some(number) => Some(number),
        None => body.phone("sourceAlternateIdentity")?,
    };
    body.required("requestedModalities", previews::modalities)?;
    let call = world.create(Create {
        api: asked.api.clone(),
        targets: body.required("targets", BodyMembers::participants)?,
        source: Some(body.required("source", BodyMembers::identifier)?),
        caller_id,
        display_name: None,
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: None,
        wants: body.required("requestedCallEvents", previews::wants)?,
        media: Media::default(),
    })?;
    let status = if by_specification(asked) { 201 } else { 200 };
    Ok(ApiResponse::with(status, json!({"callLegId": call})))
}

fn join(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    body.required("requestedModalities", previews::modalities)?;
    let call = world.connect(Connect {
        api: asked.api.clone(),
        place: previews::place(asked),
        source: Some(body.required("source", BodyMembers::identifier)?),
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: None,
        wants: body.required("requestedCallEvents", previews::wants)?,
        media: Media::default(),
    })?;
    let status = if by_specification(asked) { 202 } else { 200 };
    Ok(ApiResponse::with(status, json!({"callLegId": call})))
}

/// `OperationResponse`.
fn operation(status: u16, media: &previews::Media) -> ApiResponse {
    let mut body = media.body();
    body.insert("id".to_owned(), json!(media.operation));
    ApiResponse::with(status, Value::Object(body))
}

fn play(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let media = previews::Media::play(world, asked.id(), asked)?;
    Ok(operation(202, &media))
}

fn play_to_all(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    let media = previews::Media::play(world, &leg, asked)?;
    Ok(operation(202, &media))
}

fn cancel_operations(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    Ok(operation(200, &previews::Media::cancel(world, asked)?))
}

fn cancel_processing(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    Ok(operation(202, &previews::Media::cancel(world, asked)?))
}

fn invite(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    invite_to(world, asked.id(), asked)
}

fn invite_to_conversation(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    invite_to(world, &leg, asked)
}

fn invite_to(
    world: &mut World,
    connection: &str,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let participants = body.required("participants", BodyMembers::participants)?;
    world.add(connection, previews::invitation(&body, participants)?)?;
    Ok(ApiResponse::empty(202))
}

fn remove_from_conversation(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    world.remove_by_id(&leg, asked.inner_id())?;
    Ok(ApiResponse::empty(202))
}
