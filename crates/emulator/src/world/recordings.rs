//! Recordings of conversations.

use std::time::Duration;

use rand::RngExt;

use super::{
    super::{
        api_error::ApiError,
        event::{
            CallFacts, Generation, GridHappened, Happened, Notice, RecordingId, ResultInformation,
        },
    },
    Place, PlannedAct, QueuedNotice, Recorded, RecordingView, StartRecording, World,
    conversation::Recording,
    guid,
    request::Api,
};

/// From an `inactive` without a start to the `active` that follows it: 138 ms where the service was recorded.
const UNTIL_ACTIVE: Duration = Duration::from_millis(140);

impl World {
    /// Records a conversation. One at a time.
    pub(crate) fn start_recording(&mut self, request: StartRecording) -> Result<String, ApiError> {
        let (leg, conversation) = match &request.of {
            Recorded::Connection(id) => {
                let conversation = self.connected(id)?.conversation;
                (Some(id.clone()), conversation)
            }
            Recorded::Place(place) => {
                let conversation = self
                    .conversation_at(place)
                    .ok_or_else(|| ApiError::not_found("the call is unknown, or it has ended"))?;
                (self.legs_in(conversation).into_iter().next(), conversation)
            }
        };
        if self
            .conversations
            .get(&conversation)
            .is_none_or(|known| known.started.is_none())
        {
            return Err(ApiError::conflict("the call is not connected yet"));
        }
        if self
            .recordings
            .values()
            .any(|recording| recording.conversation == conversation)
        {
            return Err(ApiError::conflict("the call is being recorded already"));
        }
        let (id, chance) = self.draw_recording(&request.of, conversation)?;
        let facts = self.facts_of(leg.as_deref(), conversation, &id, &request.api)?;
        let audio = request
            .content
            .as_deref()
            .is_some_and(|content| content.eq_ignore_ascii_case("audio"));
        let mut recording = Recording {
            id,
            conversation,
            active: !request.paused,
            started: self.time(),
            begun: self.now,
            callback: request.callback,
            told: Duration::ZERO,
            facts,
            content: request.content.unwrap_or_else(|| "audioVideo".to_owned()),
            channel: request.channel.unwrap_or_else(|| "mixed".to_owned()),
            format: request
                .format
                .unwrap_or_else(|| if audio { "mp3" } else { "mp4" }.to_owned()),
        };
        let id = recording.id.as_str().to_owned();
        if self.setup.scenario.line.recording {
            // Recorded of GA only.
            let inactive_first = recording.active
                && request.api.generation == Generation::Ga
                && chance < self.setup.inactive_first;
            if inactive_first {
                let not_started = Happened::RecordingStateChanged {
                    recording: recording.id.clone(),
                    active: false,
                    started: None,
                };
                self.tell_of_recording(&mut recording, not_started, ResultInformation::fine());
                recording.told += UNTIL_ACTIVE;
            }
            let started = recording.state_changed();
            self.tell_of_recording(&mut recording, started, ResultInformation::fine());
            self.recordings.insert(id.clone(), recording);
        } else {
            let failed = Happened::StartRecordingFailed {
                recording: recording.id.clone(),
            };
            let why = ResultInformation::new(500, 9999, "The recording could not be started.");
            self.tell_of_recording(&mut recording, failed, why);
        }
        Ok(id)
    }

    pub(crate) fn recording(&self, id: &str) -> Result<RecordingView, ApiError> {
        let recording = self.recordings.get(id).ok_or_else(|| no_recording(id))?;
        Ok(RecordingView {
            id: id.to_owned(),
            active: recording.active,
            kind: "azureCommunicationServices",
        })
    }

    /// Whether the recording is of the conversation that a path of 2021 names.
    pub(crate) fn recording_in(&self, place: &Place, id: &str) -> Result<(), ApiError> {
        let recording = self.recordings.get(id).ok_or_else(|| no_recording(id))?;
        if self.conversation_at(place) == Some(recording.conversation) {
            Ok(())
        } else {
            Err(no_recording(id))
        }
    }

    pub(crate) fn pause_recording(&mut self, id: &str) -> Result<(), ApiError> {
        self.set_recording(id, false)
    }

    pub(crate) fn resume_recording(&mut self, id: &str) -> Result<(), ApiError> {
        self.set_recording(id, true)
    }

    /// Pausing what is paused is fine and changes nothing.
    fn set_recording(&mut self, id: &str, active: bool) -> Result<(), ApiError> {
        let mut recording = self
            .recordings
            .get(id)
            .cloned()
            .ok_or_else(|| no_recording(id))?;
        if recording.active != active {
            recording.active = active;
            let changed = recording.state_changed();
            self.tell_of_recording(&mut recording, changed, ResultInformation::fine());
            self.recordings.insert(id.to_owned(), recording);
        }
        Ok(())
    }

    pub(crate) fn stop_recording(&mut self, id: &str) -> Result<(), ApiError> {
        self.finish_recording(id, "RecordingStopped")
    }

    /// The call is over.
    pub(super) fn stop_recordings_of(&mut self, conversation: u64) {
        let of: Vec<_> = self
            .recordings
            .iter()
            .filter(|(_, recording)| recording.conversation == conversation)
            .map(|(id, _)| id.clone())
            .collect();
        for id in of {
            // It was there a moment ago.
            drop(self.finish_recording(&id, "CallEnded"));
        }
    }

    fn finish_recording(&mut self, id: &str, end_reason: &str) -> Result<(), ApiError> {
        let mut recording = self.recordings.remove(id).ok_or_else(|| no_recording(id))?;
        if recording.active {
            recording.active = false;
            let changed = recording.state_changed();
            self.tell_of_recording(&mut recording, changed, ResultInformation::fine());
        }
        let duration = self.now.saturating_sub(recording.begun);
        self.tell_grid(
            recording.conversation,
            GridHappened::RecordingFileReady {
                recording: recording.id,
                started: recording.started,
                duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                content: recording.content,
                channel: recording.channel,
                format: recording.format,
                end_reason: end_reason.to_owned(),
            },
        );
        Ok(())
    }

    fn tell_of_recording(
        &mut self,
        recording: &mut Recording,
        happened: Happened,
        result: ResultInformation,
    ) {
        let Some(to) = recording.callback.clone() else {
            return;
        };
        let notice = Notice {
            call: recording.facts.clone(),
            to,
            context: None,
            result: Some(result),
            happened,
        };
        let at = (self.now + self.setup.scenario.line.latency).max(recording.told);
        recording.told = at;
        self.plan
            .add(at, PlannedAct::Tell(QueuedNotice::Call(notice)));
    }

    /// The application may have no leg in the conversation: then the recording's endpoint is used in its place.
    fn facts_of(
        &self,
        leg: Option<&str>,
        conversation: u64,
        recording: &RecordingId,
        api: &Api,
    ) -> Result<CallFacts, ApiError> {
        let known = self
            .conversations
            .get(&conversation)
            .ok_or_else(|| ApiError::not_found("the call does not exist"))?;
        let ordinal = leg
            .and_then(|leg| self.legs.get(leg))
            .map_or(0, |leg| leg.ordinal);
        Ok(known.facts(leg.unwrap_or(recording.endpoint()), ordinal, api))
    }

    /// The id of the next recording of a conversation, and a number from 0 to 1 that decides how its start is reported. Both
    /// are drawn always, so that neither the request nor the rate changes what later recordings of the call get.
    fn draw_recording(
        &mut self,
        of: &Recorded,
        conversation: u64,
    ) -> Result<(RecordingId, f64), ApiError> {
        let known = self
            .conversations
            .get_mut(&conversation)
            .ok_or_else(|| ApiError::not_found("the call does not exist"))?;
        let chance = &mut known.recordings;
        let (own, resource) = (guid(chance), guid(chance));
        let endpoint = match of {
            Recorded::Connection(connection) => connection.clone(),
            Recorded::Place(_) => own,
        };
        Ok((RecordingId::new(endpoint, &resource), chance.random()))
    }
}

fn no_recording(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no recording {id}, or it was stopped"))
}
