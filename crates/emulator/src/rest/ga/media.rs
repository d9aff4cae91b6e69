//! Media: play, recognize, tones, hold, streaming, transcription.

use std::time::Duration;

use super::{
    super::{body::BodyMembers, endpoint::OperationRequest, response::ApiResponse},
    members::{CALLBACK, context},
};
use crate::{
    api_error::ApiError,
    identity::Identifier,
    world::{Choice, DtmfOptions, Input, Operation, Play, Recognize, Source, World},
};

/// The service's default where a recognition does not name one (from its documentation of the options).
const INITIAL_SILENCE: Duration = Duration::from_secs(5);
const BETWEEN_TONES: Duration = Duration::from_secs(2);

/// The target of an operation.
const TARGET: &str = "targetParticipant";

pub(super) fn play(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let sources = body.required("playSources", BodyMembers::list)?;
    if sources.is_empty() {
        return Err(body.wrong("playSources", "names nothing to play"));
    }
    let repeat = match body.members("playOptions")? {
        Some(options) => options.required("loop", BodyMembers::flag)?,
        None => false,
    };
    world.play(
        asked.id(),
        Play {
            sources: sources.iter().map(source).collect::<Result<_, _>>()?,
            to: body.identifiers("playTo")?.unwrap_or_default(),
            repeat,
            interrupt: body.flag("interruptCallMediaOperation")?.unwrap_or(false),
            operation: body.operation(CALLBACK)?,
        },
    )?;
    Ok(ApiResponse::empty(202))
}

/// `PlaySource`.
fn source(source: &BodyMembers<'_>) -> Result<Source, ApiError> {
    let kind = source
        .word("kind", &["file", "text", "ssml"])?
        .ok_or_else(|| source.wrong("kind", "is missing"))?;
    let what = source.required(kind, BodyMembers::members)?;
    Ok(match kind {
        "file" => Source::File {
            uri: what.required("uri", BodyMembers::text)?,
        },
        "text" => Source::Text {
            text: what.required("text", BodyMembers::text)?,
        },
        _ => Source::Ssml {
            text: what.required("ssmlText", BodyMembers::text)?,
        },
    })
}

pub(super) fn recognize(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let kind = body
        .word(
            "recognizeInputType",
            &["dtmf", "speech", "speechOrDtmf", "choices"],
        )?
        .ok_or_else(|| body.wrong("recognizeInputType", "is missing"))?;
    let options = body.required("recognizeOptions", BodyMembers::members)?;
    let input = match kind {
        "dtmf" => Input::Dtmf(tones(&options)?),
        "speech" => Input::Speech,
        "speechOrDtmf" => Input::SpeechOrDtmf(tones(&options)?),
        _ => Input::Choices(choices(&options)?),
    };
    if let Some(speech) = options.members("speechOptions")? {
        speech.whole("endSilenceTimeoutInMs")?;
    }
    world.recognize(
        asked.id(),
        Recognize {
            input,
            prompts: prompts(&body)?,
            target: options.required(TARGET, BodyMembers::identifier)?,
            initial_silence: options
                .seconds("initialSilenceTimeoutInSeconds")?
                .unwrap_or(INITIAL_SILENCE),
            interrupt_prompt: options.flag("interruptPrompt")?.unwrap_or(false),
            interrupt: body.flag("interruptCallMediaOperation")?.unwrap_or(false),
            operation: body.operation(CALLBACK)?,
        },
    )?;
    Ok(ApiResponse::empty(202))
}

/// Older clients have one prompt, newer ones several.
fn prompts(body: &BodyMembers<'_>) -> Result<Vec<Source>, ApiError> {
    match body.list("playPrompts")? {
        Some(prompts) if !prompts.is_empty() => prompts.iter().map(source).collect(),
        _ => body
            .members("playPrompt")?
            .iter()
            .map(source)
            .collect::<Result<_, _>>(),
    }
}

fn tones(options: &BodyMembers<'_>) -> Result<DtmfOptions, ApiError> {
    let Some(options) = options.members("dtmfOptions")? else {
        return Ok(DtmfOptions {
            between_tones: BETWEEN_TONES,
            most: None,
            stop: Vec::new(),
        });
    };
    let most = options.whole("maxTonesToCollect")?;
    if most == Some(0) {
        return Err(options.wrong("maxTonesToCollect", "is 0: at least one tone is collected"));
    }
    Ok(DtmfOptions {
        between_tones: options
            .seconds("interToneTimeoutInSeconds")?
            .unwrap_or(BETWEEN_TONES),
        most: most.and_then(|most| usize::try_from(most).ok()),
        stop: options.tones("stopTones")?.unwrap_or_default(),
    })
}

fn choices(options: &BodyMembers<'_>) -> Result<Vec<Choice>, ApiError> {
    let choices = options.required("choices", BodyMembers::list)?;
    if choices.is_empty() {
        return Err(options.wrong("choices", "gives nothing to choose from"));
    }
    choices
        .iter()
        .map(|choice| {
            Ok(Choice {
                label: choice.required("label", BodyMembers::text)?,
                phrases: choice.required("phrases", BodyMembers::texts)?,
                tone: choice.tone("tone")?,
            })
        })
        .collect()
}

pub(super) fn cancel(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.cancel_media(asked.id(), asked.body().context()?)?;
    Ok(ApiResponse::empty(202))
}

/// The participant and the operation of a request about one participant.
fn of_one(body: &BodyMembers<'_>) -> Result<(Identifier, Operation), ApiError> {
    Ok((
        body.required(TARGET, BodyMembers::identifier)?,
        body.operation(CALLBACK)?,
    ))
}

pub(super) fn start_tones(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let (who, operation) = of_one(&asked.body())?;
    world.start_tones(asked.id(), &who, operation)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn stop_tones(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let (who, operation) = of_one(&asked.body())?;
    world.stop_tones(asked.id(), &who, operation)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn send_tones(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let tones = body.required("tones", BodyMembers::tones)?;
    if tones.is_empty() {
        return Err(body.wrong("tones", "names no tone"));
    }
    let (who, operation) = of_one(&body)?;
    let said = operation.context.clone();
    world.send_tones(asked.id(), &tones, &who, operation)?;
    Ok(context(202, said))
}

pub(super) fn hold(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    let (who, operation) = of_one(&body)?;
    let music = body
        .members("playSourceInfo")?
        .map(|music| source(&music))
        .transpose()?;
    world.hold(asked.id(), &who, music, operation)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn unhold(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let (who, operation) = of_one(&asked.body())?;
    world.unhold(asked.id(), &who, operation)?;
    Ok(ApiResponse::empty(200))
}

pub(super) fn start_streaming(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.start_streaming(asked.id(), asked.body().operation(CALLBACK)?)?;
    Ok(ApiResponse::empty(202))
}

pub(super) fn stop_streaming(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.stop_streaming(asked.id(), asked.body().operation(CALLBACK)?)?;
    Ok(ApiResponse::empty(202))
}

pub(super) fn start_transcription(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    world.start_transcription(asked.id(), body.text("locale")?, body.operation(CALLBACK)?)?;
    Ok(ApiResponse::empty(202))
}

pub(super) fn stop_transcription(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    world.stop_transcription(asked.id(), asked.body().operation(CALLBACK)?)?;
    Ok(ApiResponse::empty(202))
}

pub(super) fn update_transcription(
    world: &mut World,
    asked: &OperationRequest<'_>,
) -> Result<ApiResponse, ApiError> {
    let body = asked.body();
    world.update_transcription(asked.id(), body.text("locale")?, body.operation(CALLBACK)?)?;
    Ok(ApiResponse::empty(202))
}
