//! What a REST request asks of the world: checked, and independent of a generation's form.

use std::time::Duration;

use super::super::{
    event::{Generation, Tone},
    identity::Identifier,
};

/// The API that the request used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) generation: Generation,
    /// `api-version`, as sent.
    pub(crate) version: String,
}

/// The events of 2021 that a call gets only if it asked for them (`requestedCallEvents`). GA always gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) participants: bool,
    /// If no events are requested, tones are reported as they are pressed.
    pub(crate) tones: bool,
}

/// `operationContext` and the operation's own callback URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) context: Option<String>,
    /// `operationCallbackUri` (GA), `callbackUri` of the operation (2021); the call's own if `None`.
    pub(crate) callback: Option<String>,
}

/// `POST /calls`, `POST /callConnections`.
#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub(crate) api: Api,
    /// At least one.
    pub(crate) targets: Vec<Identifier>,
    /// The application's own identity; made up if `None`.
    pub(crate) source: Option<Identifier>,
    /// `sourceCallerIdNumber`, `alternateCallerId`: E.164.
    pub(crate) caller_id: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) callback: String,
    pub(crate) context: Option<String>,
    pub(crate) wants: Wants,
    pub(crate) media: Media,
}

/// `POST /callConnections:answer`.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) api: Api,
    /// `incomingCallContext` of the Event Grid event.
    pub(crate) token: String,
    pub(crate) callback: String,
    pub(crate) context: Option<String>,
    pub(crate) answered_by: Option<Identifier>,
    pub(crate) media: Media,
}

/// `POST /callConnections:connect` and the joins of 2021.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) api: Api,
    pub(crate) place: Place,
    pub(crate) source: Option<Identifier>,
    pub(crate) callback: String,
    pub(crate) context: Option<String>,
    pub(crate) wants: Wants,
    pub(crate) media: Media,
}

/// `CallLocator`: a conversation, whether or not the application is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `serverCallId`, or the `conversationId` of the private preview.
    ServerCall(String),
    Group(String),
    Room(String),
}

/// `mediaStreamingOptions` and `transcriptionOptions` of a new call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) streaming: Option<Subscription>,
    pub(crate) transcription: Option<Subscription>,
}

/// A subscription as the call's properties show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// `startMediaStreaming`, `startTranscription`: begin with the call.
    pub(crate) at_once: bool,
    /// Transcription: `locale`.
    pub(crate) locale: Option<String>,
}

/// `participants:add`, the invitations of 2021.
#[derive(Clone, Debug)]
pub(crate) struct Add {
    /// One in GA and 2021-08-30, several before.
    pub(crate) participants: Vec<Identifier>,
    /// `invitationTimeoutInSeconds`; 180 s at most.
    pub(crate) timeout: Option<Duration>,
    pub(crate) operation: Operation,
}

/// `:transferToParticipant`.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) target: Identifier,
    /// The participant to transfer; the only other participant if `None`.
    pub(crate) transferee: Option<Identifier>,
    pub(crate) operation: Operation,
}

/// What to play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File { uri: String },
    Text { text: String },
    Ssml { text: String },
}

/// `:play`, `PlayAudio`.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    /// At least one.
    pub(crate) sources: Vec<Source>,
    /// `playTo`; all if empty.
    pub(crate) to: Vec<Identifier>,
    /// Until it is cancelled or the call ends.
    pub(crate) repeat: bool,
    /// `interruptCallMediaOperation`: what plays now is cancelled; else this one waits.
    pub(crate) interrupt: bool,
    pub(crate) operation: Operation,
}

/// `:recognize`.
#[derive(Clone, Debug)]
pub(crate) struct Recognize {
    pub(crate) input: Input,
    /// `playPrompt`, `playPrompts`.
    pub(crate) prompts: Vec<Source>,
    pub(crate) target: Identifier,
    /// `initialSilenceTimeoutInSeconds`, from the end of the prompt.
    pub(crate) initial_silence: Duration,
    /// `interruptPrompt`: what the callee does while the prompt plays counts.
    pub(crate) interrupt_prompt: bool,
    pub(crate) interrupt: bool,
    pub(crate) operation: Operation,
}

/// `recognizeInputType` with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Dtmf(DtmfOptions),
    Speech,
    SpeechOrDtmf(DtmfOptions),
    /// At least one.
    Choices(Vec<Choice>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DtmfOptions {
    /// `interToneTimeoutInSeconds`.
    pub(crate) between_tones: Duration,
    /// `maxTonesToCollect`; `None`: until a stop tone or the timeout.
    pub(crate) most: Option<usize>,
    /// `stopTones`; the tone that stops is part of the result.
    pub(crate) stop: Vec<Tone>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) label: String,
    pub(crate) phrases: Vec<String>,
    pub(crate) tone: Option<Tone>,
}

/// `POST /recordings`, `POST .../recordings` of 2021.
#[derive(Clone, Debug)]
pub(crate) struct StartRecording {
    pub(crate) api: Api,
    pub(crate) of: Recorded,
    /// `recordingStateCallbackUri`; nothing is reported if `None`.
    pub(crate) callback: Option<String>,
    /// `audioVideo` if `None`.
    pub(crate) content: Option<String>,
    /// `mixed` if `None`.
    pub(crate) channel: Option<String>,
    /// `mp4`, with audio alone `mp3`, if `None`.
    pub(crate) format: Option<String>,
    /// `pauseOnStart`.
    pub(crate) paused: bool,
}

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// `callConnectionId`.
    Connection(String),
    Place(Place),
}
