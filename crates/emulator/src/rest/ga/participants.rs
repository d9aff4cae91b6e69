//! Participants: list, look at, add, cancel the adding, remove, mute, move.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{body::BodyMembers, endpoint::OperationRequest, response::ApiResponse},
    members::{CALLBACK, context, with_context},
};
use crate::{
    api_error::ApiError,
    event::Participant,
    world::{Add, World},
};

/// `invitationTimeoutInSeconds` (docs/src/reference/acs-rest-api.md, "Bodies").
const LONGEST_INVITATION: Duration = Duration::from_secs(180);

/// `CallParticipant`.
fn participant(participant: &Participant) -> Value {
    json!({
        "identifier": participant.identifier.to_json(),
        "isMuted": participant.muted,
        "isOnHold": participant.on_hold,
    })
}

pub(super) fn list(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let all: Vec<_> = world
        .participants(asked.id())?
        .iter()
        .map(participant)
        .collect();
    // All on one page: there is no `nextLink`.
    Ok(ApiResponse::with(200, json!({"value": all})))
}

pub(super) fn one(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let found = world.participant(asked.id(), asked.inner_id())?;
    Ok(ApiResponse::with(200, participant(&found)))
}

pub(super) fn add(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    const TIMEOUT: &str = "invitationTimeoutInSeconds";
    let body = asked.body();
    // The emulated phone network does not ask for a caller id, but one without a number is an error.
    body.phone("sourceCallerIdNumber")?;
    body.text("sourceDisplayName")?;
    let timeout = body.seconds(TIMEOUT)?;
    if timeout.is_some_and(|timeout| timeout > LONGEST_INVITATION) {
        return Err(body.wrong(TIMEOUT, "is more than 180, the longest that is allowed"));
    }
    let who = body.required("participantToAdd", BodyMembers::identifier)?;
    let operation = body.operation(CALLBACK)?;
    let said = operation.context.clone();
    let added = world.add(
        asked.id(),
        Add {
            participants: vec![who.clone()],
            timeout,
            operation,
        },
    )?;
    let members = json!({
        "participant": {"identifier": who.to_json(), "isMuted": false, "isOnHold": false},
        "invitationId": added.invitation,
    });
    Ok(with_context(202, members, said))
}

pub(super) fn cancel_add(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let invitation = body.required("invitationId", BodyMembers::text)?;
    let operation = body.operation(CALLBACK)?;
    let said = operation.context.clone();
    world.cancel_add(asked.id(), &invitation, operation)?;
    let members = json!({"invitationId": invitation});
    Ok(with_context(202, members, said))
}

pub(super) fn remove(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let who = body.required("participantToRemove", BodyMembers::identifier)?;
    let operation = body.operation(CALLBACK)?;
    let said = operation.context.clone();
    world.remove(asked.id(), &who, operation)?;
    Ok(context(202, said))
}

pub(super) fn mute(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let who = body.required("targetParticipants", BodyMembers::participants)?;
    let said = body.context()?;
    world.mute(asked.id(), &who, said.clone())?;
    Ok(context(200, said))
}

pub(super) fn move_here(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let who = body.required("targetParticipants", BodyMembers::participants)?;
    let from = body.required("fromCall", BodyMembers::text)?;
    let operation = body.operation(CALLBACK)?;
    let said = operation.context.clone();
    let moved: Vec<_> = world
        .move_here(asked.id(), &from, &who, operation)?
        .iter()
        .map(participant)
        .collect();
    let members = json!({"participants": moved, "fromCall": from});
    Ok(with_context(202, members, said))
}
