//! What both previews of 2021 have in common.

use serde_json::{Value, json};

use super::{body::BodyMembers, endpoint::OperationRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    event::Generation,
    identity::Identifier,
    world::{Add, Place, Play, Recorded, Source, StartRecording, Wants, World},
};

/// The operation's own callback, in both previews.
const CALLBACK: &str = "callbackUri";

const MODALITIES: [&str; 2] = ["audio", "video"];
const PARTICIPANTS: &str = "participantsUpdated";
/// `toneReceived` is what the newer text of 2021 calls it.
const EVENTS: [&str; 3] = [PARTICIPANTS, "dtmfReceived", "toneReceived"];

/// Checks the kinds of media that a call is to have; an emulated call has no media.
pub(super) fn modalities(body: &BodyMembers<'_>, name: &str) -> Result<Option<()>, ApiError> {
    Ok(body.words(name, &MODALITIES)?.map(|_| ()))
}

/// `requestedCallEvents`.
pub(super) fn wants(body: &BodyMembers<'_>, name: &str) -> Result<Option<Wants>, ApiError> {
    Ok(body.words(name, &EVENTS)?.map(|events| Wants {
        participants: events.contains(&PARTICIPANTS),
        tones: events.iter().any(|event| *event != PARTICIPANTS),
    }))
}

/// Nothing was asked for.
pub(super) const NO_EVENTS: Wants = Wants {
    participants: false,
    tones: false,
};

/// A media operation as its answer shows it.
pub(super) struct Media {
    pub(super) operation: String,
    status: &'static str,
    context: Option<String>,
}

impl Media {
    /// Plays audio to all participants of the call of a connection.
    pub(super) fn play(
        world: &mut World,
        connection: &str,
        asked: &OperationRequest<'_>,
    ) -> Result<Self, ApiError> {
        let (play, context) = play(&asked.body())?;
        Ok(Self {
            operation: world.play(connection, play)?,
            status: "running",
            context,
        })
    }

    /// Cancels what plays.
    pub(super) fn cancel(
        world: &mut World,
        asked: &OperationRequest<'_>,
    ) -> Result<Self, ApiError> {
        let context = asked.body().context()?;
        Ok(Self {
            operation: world.cancel_media(asked.id(), context.clone())?,
            status: "completed",
            context,
        })
    }

    /// The members that both previews have.
    pub(super) fn body(&self) -> serde_json::Map<String, Value> {
        let mut body = serde_json::Map::new();
        body.insert("status".to_owned(), json!(self.status));
        body.insert("operationContext".to_owned(), json!(self.context));
        body.insert(
            "resultInfo".to_owned(),
            json!({"code": 200, "subcode": 0, "message": "Action accepted."}),
        );
        body
    }
}

fn play(body: &BodyMembers<'_>) -> Result<(Play, Option<String>), ApiError> {
    let uri = body.required("audioFileUri", BodyMembers::text)?;
    let operation = body.operation(CALLBACK)?;
    let context = operation.context.clone();
    let play = Play {
        sources: vec![Source::File { uri }],
        to: Vec::new(),
        repeat: body.flag("loop")?.unwrap_or(false),
        // The previews do not have this member; one prompt waits for the other.
        interrupt: false,
        operation,
    };
    Ok((play, context))
}

/// Reads an invitation of these participants.
pub(super) fn invitation(
    body: &BodyMembers<'_>,
    participants: Vec<Identifier>,
) -> Result<Add, ApiError> {
    // The emulated phone network does not ask for a caller id, but one without a number is an error.
    body.phone("alternateCallerId")?;
    Ok(Add {
        participants,
        timeout: None,
        operation: body.operation(CALLBACK)?,
    })
}

/// The conversation that the path names: in the private preview by a `groupId` or the id that the service gave it.
pub(super) fn place(asked: &OperationRequest<'_>) -> Place {
    let id = asked.id().to_owned();
    if asked.api.generation == Generation::Private && uuid::Uuid::parse_str(&id).is_ok() {
        Place::Group(id)
    } else {
        Place::ServerCall(id)
    }
}

/// The recording that the path names; it must belong to the conversation that the path names.
fn recording_here<'a>(world: &World, asked: &'a OperationRequest<'_>) -> Result<&'a str, ApiError> {
    world.recording_in(&place(asked), asked.inner_id())?;
    Ok(asked.inner_id())
}

/// Starts the recording of a conversation.
pub(super) fn start_recording(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    body.context()?;
    let word = |name: &str, words: &[&'static str]| -> Result<_, ApiError> {
        Ok(body.word(name, words)?.map(str::to_owned))
    };
    let recording = world.start_recording(StartRecording {
        api: asked.api.clone(),
        of: Recorded::Place(place(asked)),
        callback: body.url("recordingStateCallbackUri")?,
        content: word("recordingContentType", &["audio", "audioVideo"])?,
        channel: word("recordingChannelType", &["mixed", "unmixed"])?,
        format: word("recordingFormatType", &["wav", "mp3", "mp4"])?,
        paused: false,
    })?;
    Ok(ApiResponse::with(200, json!({"recordingId": recording})))
}

/// `{recordingState}`.
pub(super) fn recording(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let recording = world.recording(recording_here(world, asked)?)?;
    let state = if recording.active {
        "active"
    } else {
        "inactive"
    };
    Ok(ApiResponse::with(200, json!({"recordingState": state})))
}

pub(super) fn stop_recording(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.stop_recording(recording_here(world, asked)?)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn pause_recording(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.pause_recording(recording_here(world, asked)?)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn resume_recording(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.resume_recording(recording_here(world, asked)?)?;
    Ok(ApiResponse::empty(200))
}

/// Ends the application's leg.
pub(super) fn hang_up(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.hang_up(asked.id())?;
    Ok(ApiResponse::empty(202))
}

/// Removes a participant of the application's own call.
pub(super) fn remove(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.remove_by_id(asked.id(), asked.inner_id())?;
    Ok(ApiResponse::empty(202))
}
