//! What a leg plays, streams and transcribes, and the tones that it listens to and sends.
//!
//! One thing plays at a time; the next waits for it unless it is to interrupt it.

use std::time::Duration;

use super::{
    super::{
        api_error::ApiError,
        event::{Generation, Happened, ResultInformation, Tone},
        identity::Identifier,
    },
    Operation, PlannedAct, Play, Recognize, Source, World,
    calls::participant_not_found,
    conversation::{LegState, Listening, Playable, Playing},
    participants::operation_failed,
};

/// How long a tone that the application sends sounds.
const TONE: Duration = Duration::from_millis(300);

impl World {
    /// Plays something to all or to some participants; returns the `operationId` of 2021.
    pub(crate) fn play(&mut self, id: &str, request: Play) -> Result<String, ApiError> {
        self.connected(id)?;
        for who in &request.to {
            self.participant(id, &who.raw_id())?;
        }
        let operation = self.guid();
        let playing = Playing {
            id: operation.clone(),
            what: Playable::Prompt {
                sources: request.sources,
                repeat: request.repeat,
            },
            operation: request.operation,
        };
        self.enqueue(id, playing, request.interrupt);
        Ok(operation)
    }

    /// Plays a prompt, then waits for what the target presses or says.
    pub(crate) fn recognize(&mut self, id: &str, request: Recognize) -> Result<(), ApiError> {
        self.connected(id)?;
        self.participant(id, &request.target.raw_id())?;
        let interrupt = request.interrupt;
        let playing = Playing {
            id: self.guid(),
            operation: request.operation.clone(),
            what: Playable::Recognize(Box::new(request)),
        };
        self.enqueue(id, playing, interrupt);
        Ok(())
    }

    /// Cancels what plays and what waits; returns an `operationId` of 2021.
    pub(crate) fn cancel_media(
        &mut self,
        id: &str,
        _context: Option<String>,
    ) -> Result<String, ApiError> {
        self.connected(id)?;
        self.cancel_everything(id);
        Ok(self.guid())
    }

    fn enqueue(&mut self, id: &str, playing: Playing, interrupt: bool) {
        if interrupt {
            self.cancel_everything(id);
        }
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        leg.waiting.push_back(playing);
        self.play_next(id);
    }

    /// Each canceled operation is reported, as its end would have been.
    pub(super) fn cancel_everything(&mut self, id: &str) {
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        let ended: Vec<_> = leg
            .playing
            .take()
            .into_iter()
            .chain(leg.waiting.drain(..))
            .collect();
        for playing in ended {
            let happened = match playing.what {
                Playable::Prompt { .. } => Happened::PlayCanceled,
                Playable::Recognize(_) => Happened::RecognizeCanceled,
            };
            let why =
                ResultInformation::new(400, 8508, "Action failed, the operation was cancelled.");
            self.tell(id, &playing.operation, Some(why), happened);
        }
    }

    fn play_next(&mut self, id: &str) {
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        if leg.playing.is_some() || leg.state != LegState::Connected {
            return;
        }
        let Some(playing) = leg.waiting.pop_front() else {
            return;
        };
        leg.playing = Some(playing.clone());
        let ends = PlannedAct::MediaEnds {
            leg: id.to_owned(),
            operation: playing.id.clone(),
        };
        match &playing.what {
            Playable::Prompt { sources, repeat } => {
                if self.broken(sources).is_none() {
                    self.tell(
                        id,
                        &playing.operation,
                        Some(ResultInformation::completed()),
                        Happened::PlayStarted,
                    );
                    if *repeat {
                        // It ends when it is cancelled.
                        return;
                    }
                }
                self.after(self.length(sources), ends);
            }
            Playable::Recognize(request) => {
                let prompt = if request.interrupt_prompt {
                    // What the callee does while the prompt plays counts, so the prompt is over when the callee acts.
                    Duration::ZERO
                } else {
                    self.length(&request.prompts)
                };
                self.after(prompt, ends);
            }
        }
    }

    /// A prompt is over. What was recognized comes later.
    pub(super) fn media_ends(&mut self, id: &str, operation: &str) {
        let Some(playing) = self.playing(id, operation) else {
            return;
        };
        match &playing.what {
            Playable::Prompt { sources, .. } => {
                let (result, happened) = match self.broken(sources) {
                    Some(source) => (
                        ResultInformation::new(
                            400,
                            8536,
                            "Action failed, file could not be downloaded.",
                        ),
                        Happened::PlayFailed {
                            source: Some(source),
                        },
                    ),
                    None => (ResultInformation::completed(), Happened::PlayCompleted),
                };
                self.finish(id, &playing.operation, result, happened);
            }
            Playable::Recognize(request) => {
                if let Some(source) = self.broken(&request.prompts) {
                    self.finish(
                        id,
                        &playing.operation,
                        ResultInformation::new(
                            500,
                            8511,
                            "Action failed, encountered failure while trying to play the prompt.",
                        ),
                        Happened::RecognizeFailed {
                            source: Some(source),
                        },
                    );
                    return;
                }
                let mut request = request.clone();
                if request.interrupt_prompt {
                    // The silence begins when the prompt would have been over.
                    request.initial_silence += self.length(&request.prompts);
                }
                let outcome = super::recognize::outcome(&request, &self.callee(&request.target));
                self.after(
                    outcome.after,
                    PlannedAct::Recognized {
                        leg: id.to_owned(),
                        operation: operation.to_owned(),
                        outcome,
                    },
                );
            }
        }
    }

    pub(super) fn recognized(
        &mut self,
        id: &str,
        operation: &str,
        outcome: super::recognize::RecognizeOutcome,
    ) {
        let Some(playing) = self.playing(id, operation) else {
            return;
        };
        let left = match &playing.what {
            Playable::Recognize(request) => self.participant(id, &request.target.raw_id()).is_err(),
            Playable::Prompt { .. } => false,
        };
        let (result, happened) = if left {
            (
                ResultInformation::new(
                    400,
                    8585,
                    "Action failed, the participant has left the call.",
                ),
                Happened::RecognizeFailed { source: None },
            )
        } else {
            (outcome.result, outcome.happened)
        };
        self.finish(id, &playing.operation, result, happened);
    }

    fn playing(&self, id: &str, operation: &str) -> Option<Playing> {
        self.legs
            .get(id)?
            .playing
            .clone()
            .filter(|playing| playing.id == operation)
    }

    fn finish(
        &mut self,
        id: &str,
        operation: &Operation,
        result: ResultInformation,
        happened: Happened,
    ) {
        self.tell(id, operation, Some(result), happened);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.playing = None;
        }
        self.play_next(id);
    }

    /// The first source that cannot be fetched.
    fn broken(&self, sources: &[Source]) -> Option<usize> {
        sources.iter().position(|source| match source {
            Source::File { uri } => self
                .setup
                .scenario
                .line
                .broken_files
                .iter()
                .any(|broken| broken.fits(uri)),
            Source::Text { .. } | Source::Ssml { .. } => false,
        })
    }

    fn length(&self, sources: &[Source]) -> Duration {
        let line = &self.setup.scenario.line;
        sources
            .iter()
            .map(|source| match source {
                Source::File { .. } => line.prompt,
                Source::Text { text } | Source::Ssml { text } => {
                    let words = text.split_whitespace().count();
                    line.word * u32::try_from(words).unwrap_or(u32::MAX)
                }
            })
            .sum()
    }

    /// Continuous DTMF: every tone of the target is reported.
    pub(crate) fn start_tones(
        &mut self,
        id: &str,
        who: &Identifier,
        operation: Operation,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        let raw_id = who.raw_id();
        self.participant(id, &raw_id)?;
        if !self.callee(who).obliging {
            self.tell(
                id,
                &operation,
                Some(operation_failed(
                    "The tones of the participant cannot be heard.",
                )),
                Happened::ToneFailed,
            );
            return Ok(());
        }
        self.listen(id, raw_id, operation);
        Ok(())
    }

    pub(crate) fn stop_tones(
        &mut self,
        id: &str,
        who: &Identifier,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let raw_id = who.raw_id();
        let leg = self.connected(id)?;
        let before = leg.listening.len();
        leg.listening.retain(|listening| listening.who != raw_id);
        if leg.listening.len() == before {
            return Err(ApiError::conflict(format!(
                "the tones of {raw_id} are not listened to"
            )));
        }
        self.tell(
            id,
            &operation,
            Some(ResultInformation::completed()),
            Happened::ContinuousDtmfStopped,
        );
        Ok(())
    }

    fn listen(&mut self, id: &str, raw_id: String, operation: Operation) {
        let callee = self.callee(&Identifier::from_raw_id(&raw_id));
        let listening = self.guid();
        let Some(leg) = self.legs.get_mut(id) else {
            return;
        };
        if leg
            .listening
            .iter()
            .any(|listening| listening.who == raw_id)
        {
            return;
        }
        leg.listening.push(Listening {
            id: listening.clone(),
            who: raw_id,
            sequence: 0,
            operation,
        });
        if !callee.press.is_empty() {
            self.after(
                callee.press_after,
                PlannedAct::Press {
                    leg: id.to_owned(),
                    listening,
                    left: callee.press,
                },
            );
        }
    }

    /// 2021: the call asked for tones when it was made.
    pub(super) fn listen_as_wanted(&mut self, id: &str) {
        let Some(leg) = self.legs.get(id) else {
            return;
        };
        let source = leg.source.raw_id();
        if !leg.wants.tones || leg.api.generation == Generation::Ga {
            return;
        }
        let Some((_, conversation)) = self.conversation_of(id) else {
            return;
        };
        let there: Vec<_> = conversation
            .participants
            .iter()
            .map(|participant| participant.identifier.raw_id())
            .filter(|raw_id| *raw_id != source)
            .collect();
        for raw_id in there {
            self.listen(id, raw_id, Operation::default());
        }
    }

    pub(super) fn press(&mut self, id: &str, listening: &str, left: &[Tone]) {
        let Some((tone, left)) = left.split_first() else {
            return;
        };
        let listened = self.legs.get_mut(id).and_then(|leg| {
            let mut all = leg.listening.iter_mut();
            all.find(|known| known.id == listening)
        });
        let Some(known) = listened else {
            return;
        };
        known.sequence += 1;
        let (sequence, operation) = (known.sequence, known.operation.clone());
        let who = known.who.clone();
        if self.participant(id, &who).is_err() {
            return;
        }
        self.tell(
            id,
            &operation,
            Some(ResultInformation::completed()),
            Happened::ToneReceived {
                sequence,
                tone: *tone,
            },
        );
        if !left.is_empty() {
            let every = self.callee(&Identifier::from_raw_id(&who)).press_every;
            self.after(
                every,
                PlannedAct::Press {
                    leg: id.to_owned(),
                    listening: listening.to_owned(),
                    left: left.to_vec(),
                },
            );
        }
    }

    /// Sends tones to a participant.
    pub(crate) fn send_tones(
        &mut self,
        id: &str,
        tones: &[Tone],
        who: &Identifier,
        operation: Operation,
    ) -> Result<(), ApiError> {
        self.connected(id)?;
        let raw_id = who.raw_id();
        if self.participant(id, &raw_id).is_err() {
            return Err(participant_not_found(&raw_id));
        }
        let sound = TONE * u32::try_from(tones.len()).unwrap_or(u32::MAX);
        let sent = self.callee(who).obliging;
        let pending = self.pend(id, operation, Happened::SendDtmfFailed);
        self.after(
            sound,
            PlannedAct::TonesSent {
                leg: id.to_owned(),
                pending,
                sent,
            },
        );
        Ok(())
    }

    pub(super) fn tones_sent(&mut self, id: &str, pending: &str, sent: bool) {
        let known = self.legs.get(id).and_then(|leg| {
            let mut all = leg.pending.iter();
            all.find(|known| known.id == pending).cloned()
        });
        let Some(known) = known else { return };
        self.no_longer_pending(id, pending);
        let (result, happened) = if sent {
            (ResultInformation::completed(), Happened::DtmfSent)
        } else {
            (
                operation_failed("The tones could not be sent."),
                known.failed,
            )
        };
        self.tell(id, &known.operation, Some(result), happened);
    }

    /// Without options in the request that made the call there is no address to stream to; this is reported by an
    /// event, not refused.
    pub(crate) fn start_streaming(
        &mut self,
        id: &str,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        if leg.streaming {
            return Err(ApiError::conflict("media streaming is on already"));
        }
        let configured = leg.media.streaming.is_some();
        leg.streaming = configured;
        let (result, happened) = if configured {
            (
                ResultInformation::completed(),
                Happened::MediaStreamingStarted,
            )
        } else {
            (
                not_configured("mediaStreamingOptions"),
                Happened::MediaStreamingFailed,
            )
        };
        self.tell(id, &operation, Some(result), happened);
        Ok(())
    }

    pub(crate) fn stop_streaming(
        &mut self,
        id: &str,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        if !leg.streaming {
            return Err(ApiError::conflict("media streaming is not on"));
        }
        leg.streaming = false;
        let result = Some(ResultInformation::completed());
        self.tell(id, &operation, result, Happened::MediaStreamingStopped);
        Ok(())
    }

    pub(crate) fn start_transcription(
        &mut self,
        id: &str,
        locale: Option<String>,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        if leg.transcribing {
            return Err(ApiError::conflict("transcription is on already"));
        }
        if let (Some(subscription), Some(_)) = (leg.media.transcription.as_mut(), &locale) {
            subscription.locale = locale;
        }
        let configured = leg.media.transcription.is_some();
        leg.transcribing = configured;
        let (result, happened) = if configured {
            (
                ResultInformation::completed(),
                Happened::TranscriptionStarted,
            )
        } else {
            (
                not_configured("transcriptionOptions"),
                Happened::TranscriptionFailed,
            )
        };
        self.tell(id, &operation, Some(result), happened);
        Ok(())
    }

    pub(crate) fn stop_transcription(
        &mut self,
        id: &str,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        if !leg.transcribing {
            return Err(ApiError::conflict("transcription is not on"));
        }
        leg.transcribing = false;
        let result = Some(ResultInformation::completed());
        self.tell(id, &operation, result, Happened::TranscriptionStopped);
        Ok(())
    }

    pub(crate) fn update_transcription(
        &mut self,
        id: &str,
        locale: Option<String>,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let leg = self.connected(id)?;
        if !leg.transcribing {
            return Err(ApiError::conflict("transcription is not on"));
        }
        if let (Some(subscription), Some(_)) = (leg.media.transcription.as_mut(), &locale) {
            subscription.locale = locale;
        }
        let result = Some(ResultInformation::completed());
        self.tell(id, &operation, result, Happened::TranscriptionUpdated);
        Ok(())
    }
}

fn not_configured(options: &str) -> ResultInformation {
    ResultInformation::new(
        400,
        8500,
        format!("Action failed, the call was made without {options}."),
    )
}
