//! Recordings: start, state, stop, pause, resume.

use serde_json::json;

use super::{
    super::{body::BodyMembers, endpoint::OperationRequest, response::ApiResponse},
    members::locator,
};
use crate::{
    api_error::ApiError,
    world::{Recorded, StartRecording, World},
};

pub(super) fn start(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    check_the_rest(&body)?;
    let word = |name: &str, words: &[&'static str]| -> Result<_, ApiError> {
        Ok(body.word(name, words)?.map(str::to_owned))
    };
    let recording = world.start_recording(StartRecording {
        api: asked.api.clone(),
        of: recorded(&body)?,
        callback: body.url("recordingStateCallbackUri")?,
        content: word("recordingContentType", &["audio", "audioVideo"])?,
        channel: word("recordingChannelType", &["mixed", "unmixed"])?,
        format: word("recordingFormatType", &["wav", "mp3", "mp4"])?,
        paused: body.flag("pauseOnStart")?.unwrap_or(false),
    })?;
    if world.recording(&recording).is_ok() {
        return show(world, &recording);
    }
    // The recording could not be started, which `StartRecordingFailed` reports: the request itself is valid.
    Ok(ApiResponse::with(
        200,
        json!({"recordingId": recording, "recordingState": "inactive"}),
    ))
}

fn recorded(body: &BodyMembers<'_>) -> Result<Recorded, ApiError> {
    match (body.members("callLocator")?, body.text("callConnectionId")?) {
        (Some(place), None) => Ok(Recorded::Place(locator(&place)?)),
        (None, Some(connection)) => Ok(Recorded::Connection(connection)),
        (None, None) => Err(body.wrong("callLocator", "is missing, and so is callConnectionId")),
        (Some(_), Some(_)) => Err(body.wrong(
            "callLocator",
            "is there as well as callConnectionId: name one",
        )),
    }
}

/// Members that change nothing for a recording without media, checked for their types.
fn check_the_rest(body: &BodyMembers<'_>) -> Result<(), ApiError> {
    body.identifiers("audioChannelParticipantOrdering")?;
    for affinity in body.list("channelAffinity")?.unwrap_or_default() {
        affinity.whole("channel")?;
        affinity.identifier("participant")?;
    }
    if let Some(storage) = body.members("externalStorage")? {
        storage.required("recordingStorageKind", BodyMembers::text)?;
        storage.url("recordingDestinationContainerUrl")?;
    }
    Ok(())
}

pub(super) fn state(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    show(world, asked.id())
}

fn show(world: &mut World, recording: &str) -> Result<ApiResponse, ApiError> {
    let recording = world.recording(recording)?;
    Ok(ApiResponse::with(
        200,
        json!({
            "recordingId": recording.id,
            "recordingState": if recording.active { "active" } else { "inactive" },
            "recordingKind": recording.kind,
        }),
    ))
}

pub(super) fn stop(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.stop_recording(asked.id())?;
    Ok(ApiResponse::empty(204))
}

pub(super) fn pause(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.pause_recording(asked.id())?;
    Ok(ApiResponse::empty(202))
}

pub(super) fn resume(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.resume_recording(asked.id())?;
    Ok(ApiResponse::empty(202))
}
