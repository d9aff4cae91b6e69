//! The public preview of 2021: 2021-06-15-preview and 2021-08-30-preview (docs/src/reference/acs-rest-api.md, "Public
//! preview of 2021").
//!
//! The text of 2021-06-15 changed under its name. Requests of its early form are taken, and answers carry the members of
//! both forms.

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
    post("/callConnections", create),
    post("/callConnections/{id}/:hangup", previews::hang_up),
    post("/callConnections/{id}/:playAudio", play),
    post("/callConnections/{id}/:cancelAllMediaOperations", cancel),
    post("/callConnections/{id}/participants", add),
    delete(
        "/callConnections/{id}/participants/{participantId}",
        previews::remove,
    ),
    post(
        "/serverCalls/{serverCallId}/participants",
        add_to_server_call,
    ),
    delete(
        "/serverCalls/{serverCallId}/participants/{participantId}",
        remove_from_server_call,
    ),
    post("/serverCalls/{serverCallId}/:join", join),
    post("/serverCalls/{serverCallId}/:playAudio", play_to_all),
    post(
        "/serverCalls/{serverCallId}/recordings",
        previews::start_recording,
    ),
    get(
        "/serverCalls/{serverCallId}/recordings/{recordingId}",
        previews::recording,
    ),
    delete(
        "/serverCalls/{serverCallId}/recordings/{recordingId}",
        previews::stop_recording,
    ),
    post(
        "/serverCalls/{serverCallId}/recordings/{recordingId}/:pause",
        previews::pause_recording,
    ),
    post(
        "/serverCalls/{serverCallId}/recordings/{recordingId}/:resume",
        previews::resume_recording,
    ),
];

fn create(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    previews::modalities(&body, "requestedMediaTypes")?;
    let call = world.create(Create {
        api: asked.api.clone(),
        targets: body.required("targets", BodyMembers::participants)?,
        source: Some(body.required("source", BodyMembers::identifier)?),
        caller_id: body.phone("alternateCallerId")?,
        display_name: None,
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: None,
        wants: previews::wants(&body, "requestedCallEvents")?.unwrap_or(previews::NO_EVENTS),
        media: Media::default(),
    })?;
    Ok(ApiResponse::with(201, json!({"callConnectionId": call})))
}

fn join(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    previews::modalities(&body, "requestedMediaTypes")?;
    let call = world.connect(Connect {
        api: asked.api.clone(),
        place: previews::place(asked),
        source: Some(body.required("source", BodyMembers::identifier)?),
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: None,
        wants: previews::wants(&body, "requestedCallEvents")?.unwrap_or(previews::NO_EVENTS),
        media: Media::default(),
    })?;
    Ok(ApiResponse::with(202, json!({"callConnectionId": call})))
}

/// `PlayAudioResult`, `CancelAllMediaOperationsResult`.
fn operation(asked: &OperationRequest<'_>, status: u16, media: &previews::Media) -> ApiResponse {
    let mut body = media.body();
    body.insert("operationId".to_owned(), json!(media.operation));
    if is_early(asked) {
        body.insert("id".to_owned(), json!(media.operation));
    }
    ApiResponse::with(status, Value::Object(body))
}

fn is_early(asked: &OperationRequest<'_>) -> bool {
    asked.api.version.starts_with("2021-06-15")
}

fn play(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let media = previews::Media::play(world, asked.id(), asked)?;
    Ok(operation(asked, 202, &media))
}

fn play_to_all(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    let media = previews::Media::play(world, &leg, asked)?;
    Ok(operation(asked, 202, &media))
}

fn cancel(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    let media = previews::Media::cancel(world, asked)?;
    Ok(operation(asked, 200, &media))
}

fn add(world: &mut World, asked: &OperationRequest<'_>) -> Result<ApiResponse, ApiError> {
    add_to(world, asked.id(), asked)
}

fn add_to_server_call(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    add_to(world, &leg, asked)
}

fn add_to(
    world: &mut World,
    connection: &str,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    // The early text invites several at once and answers without a body.
    if is_early(asked)
        && let Some(participants) = body.participants("participants")?
    {
        world.add(connection, previews::invitation(&body, participants)?)?;
        return Ok(ApiResponse::empty(202));
    }
    let participant = body.required("participant", BodyMembers::identifier)?;
    let added = world.add(connection, previews::invitation(&body, vec![participant])?)?;
    let participant_id = added.participant_ids.first();
    Ok(ApiResponse::with(
        202,
        json!({"participantId": participant_id}),
    ))
}

fn remove_from_server_call(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let leg = world.leg_of(&previews::place(asked))?;
    world.remove_by_id(&leg, asked.inner_id())?;
    Ok(ApiResponse::empty(202))
}
