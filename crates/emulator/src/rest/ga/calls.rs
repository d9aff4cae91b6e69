//! Calls: create, answer, connect, redirect, reject, look at, hang up, transfer.

use serde_json::{Map, Value, json};

use super::{
    super::{body::BodyMembers, endpoint::OperationRequest, response::ApiResponse},
    members::{CALLBACK, context, locator},
};
use crate::{
    api_error::ApiError,
    identity::Identifier,
    world::{self, CallView, Connect, Create, Media, Subscription, Transfer, Wants, World},
};

/// Every call gets these events; tones come once continuous recognition is on.
const WANTS: Wants = Wants {
    participants: true,
    tones: false,
};

pub(super) fn create(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    intelligence(&body)?;
    let call = world.create(Create {
        api: asked.api.clone(),
        targets: body.required("targets", BodyMembers::participants)?,
        source: source(&body)?,
        caller_id: body.phone("sourceCallerIdNumber")?,
        display_name: body.text("sourceDisplayName")?,
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: body.context()?,
        wants: WANTS,
        media: media(&body)?,
    })?;
    show(world, 201, &call)
}

/// The calling side: a user of the resource, or a Teams app in its place.
fn source(body: &BodyMembers<'_>) -> Result<Option<Identifier>, ApiError> {
    if let Some(user) = body.user("source")? {
        return Ok(Some(user));
    }
    body.members("teamsAppSource")?
        .map(|app| {
            let raw_id = format!("28:orgid:{}", app.required("appId", BodyMembers::text)?);
            Ok(Identifier::from_raw_id(&raw_id))
        })
        .transpose()
}

pub(super) fn answer(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    intelligence(&body)?;
    let call = world.answer(world::Answer {
        api: asked.api.clone(),
        token: body.required("incomingCallContext", BodyMembers::text)?,
        callback: body.required("callbackUri", BodyMembers::url)?,
        context: body.context()?,
        answered_by: body.user("answeredBy")?,
        media: media(&body)?,
    })?;
    show(world, 200, &call)
}

pub(super) fn connect(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    intelligence(&body)?;
    let callback = body.required("callbackUri", BodyMembers::url)?;
    let call = world.connect(Connect {
        api: asked.api.clone(),
        place: locator(&body.required("callLocator", BodyMembers::members)?)?,
        source: None,
        callback: callback.clone(),
        context: body.context()?,
        wants: WANTS,
        media: media(&body)?,
    })?;
    if world.call(&call).is_ok() {
        return show(world, 200, &call);
    }
    // There is nothing to connect to, which `ConnectFailed` reports: the request itself is valid.
    Ok(ApiResponse::with(
        200,
        json!({
            "callConnectionId": call, "callConnectionState": "connecting",
            "callbackUri": callback, "targets": [],
        }),
    ))
}

pub(super) fn redirect(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let token = body.required("incomingCallContext", BodyMembers::text)?;
    world.redirect(&token, body.identifier("target")?)?;
    Ok(ApiResponse::empty(204))
}

pub(super) fn reject(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let token = body.required("incomingCallContext", BodyMembers::text)?;
    let reason = body.word("callRejectReason", &["none", "busy", "forbidden"])?;
    world.reject(&token, reason)?;
    Ok(ApiResponse::empty(204))
}

pub(super) fn properties(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    show(world, 200, asked.id())
}

pub(super) fn hang_up(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.hang_up(asked.id())?;
    Ok(ApiResponse::empty(204))
}

pub(super) fn terminate(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.terminate(asked.id())?;
    Ok(ApiResponse::empty(204))
}

pub(super) fn transfer(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    body.phone("sourceCallerIdNumber")?;
    let operation = body.operation(CALLBACK)?;
    let said = operation.context.clone();
    world.transfer(
        asked.id(),
        Transfer {
            target: body.required("targetParticipant", BodyMembers::identifier)?,
            transferee: body.identifier("transferee")?,
            operation,
        },
    )?;
    Ok(context(202, said))
}

/// The emulator recognizes without help of another service; a wrong address is an error all the same.
fn intelligence(body: &BodyMembers<'_>) -> Result<(), ApiError> {
    if let Some(options) = body.members("callIntelligenceOptions")? {
        options.url("cognitiveServicesEndpoint")?;
    }
    Ok(())
}

fn media(body: &BodyMembers<'_>) -> Result<Media, ApiError> {
    let streaming = body
        .members("mediaStreamingOptions")?
        .map(|options| {
            options.required("transportType", BodyMembers::text)?;
            options.required("audioChannelType", BodyMembers::text)?;
            Ok(Subscription {
                at_once: options.flag("startMediaStreaming")?.unwrap_or(false),
                locale: None,
            })
        })
        .transpose()?;
    let transcription = body
        .members("transcriptionOptions")?
        .map(|options| {
            options.required("transportType", BodyMembers::text)?;
            Ok(Subscription {
                at_once: options.flag("startTranscription")?.unwrap_or(false),
                locale: Some(options.required("locale", BodyMembers::text)?),
            })
        })
        .transpose()?;
    Ok(Media {
        streaming,
        transcription,
    })
}

fn show(world: &mut World, status: u16, call: &str) -> Result<ApiResponse, ApiError> {
    Ok(ApiResponse::with(
        status,
        Value::Object(connection(&world.call(call)?)),
    ))
}

/// `CallConnectionProperties`; members without a value are left out.
fn connection(call: &CallView) -> Map<String, Value> {
    let phone = |number: &String| json!({"value": number});
    let user = |identifier: &Identifier| json!({"id": identifier.raw_id()});
    let subscription = |on: bool, kinds: &str, kind: &str| {
        json!({
            "id": call.connection,
            "state": if on { "active" } else { "inactive" },
            kinds: [kind],
        })
    };
    let members = [
        ("callConnectionId", Some(json!(call.connection))),
        ("serverCallId", Some(json!(call.server_call))),
        ("correlationId", Some(json!(call.correlation))),
        (
            "targets",
            Some(call.targets.iter().map(Identifier::to_json).collect()),
        ),
        ("callConnectionState", Some(json!(call.state))),
        ("callbackUri", Some(json!(call.callback))),
        ("sourceCallerIdNumber", call.caller_id.as_ref().map(phone)),
        (
            "sourceDisplayName",
            call.display_name.as_ref().map(|name| json!(name)),
        ),
        ("source", call.source.as_ref().map(Identifier::to_json)),
        ("answeredBy", call.answered_by.as_ref().map(user)),
        ("answeredFor", call.answered_for.as_ref().map(phone)),
        (
            "mediaStreamingSubscription",
            call.media
                .streaming
                .as_ref()
                .map(|_| subscription(call.streaming_on, "subscribedContentTypes", "audio")),
        ),
        (
            "transcriptionSubscription",
            call.media.transcription.as_ref().map(|transcription| {
                let mut shown =
                    subscription(call.transcription_on, "subscribedResultTypes", "final");
                if let (Some(locale), Some(shown)) = (&transcription.locale, shown.as_object_mut())
                {
                    shown.insert("locale".to_owned(), json!(locale));
                }
                shown
            }),
        ),
    ];
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}
