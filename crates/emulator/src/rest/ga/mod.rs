//! The API since 2023-03-06 (docs/src/reference/acs-rest-api.md, "GA"), by subject.

mod calls;
mod media;
mod members;
mod participants;
mod recordings;

use super::endpoint::{Endpoint, delete, get, post};

/// Every operation.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    post("/callConnections", calls::create),
    post("/callConnections:answer", calls::answer),
    post("/callConnections:redirect", calls::redirect),
    post("/callConnections:reject", calls::reject),
    post("/callConnections:connect", calls::connect),
    get("/callConnections/{id}", calls::properties),
    delete("/callConnections/{id}", calls::hang_up),
    post("/callConnections/{id}:terminate", calls::terminate),
    post(
        "/callConnections/{id}:transferToParticipant",
        calls::transfer,
    ),
    get("/callConnections/{id}/participants", participants::list),
    get(
        "/callConnections/{id}/participants/{participantRawId}",
        participants::one,
    ),
    post("/callConnections/{id}/participants:add", participants::add),
    post(
        "/callConnections/{id}/participants:remove",
        participants::remove,
    ),
    post(
        "/callConnections/{id}/participants:mute",
        participants::mute,
    ),
    post(
        "/callConnections/{id}/participants:cancelAddParticipant",
        participants::cancel_add,
    ),
    post(
        "/callConnections/{id}/participants:moveHere",
        participants::move_here,
    ),
    post("/callConnections/{id}:play", media::play),
    post("/callConnections/{id}:recognize", media::recognize),
    post(
        "/callConnections/{id}:cancelAllMediaOperations",
        media::cancel,
    ),
    post(
        "/callConnections/{id}:startContinuousDtmfRecognition",
        media::start_tones,
    ),
    post(
        "/callConnections/{id}:stopContinuousDtmfRecognition",
        media::stop_tones,
    ),
    post("/callConnections/{id}:sendDtmfTones", media::send_tones),
    post("/callConnections/{id}:hold", media::hold),
    post("/callConnections/{id}:unhold", media::unhold),
    post(
        "/callConnections/{id}:startMediaStreaming",
        media::start_streaming,
    ),
    post(
        "/callConnections/{id}:stopMediaStreaming",
        media::stop_streaming,
    ),
    post(
        "/callConnections/{id}:startTranscription",
        media::start_transcription,
    ),
    post(
        "/callConnections/{id}:stopTranscription",
        media::stop_transcription,
    ),
    post(
        "/callConnections/{id}:updateTranscription",
        media::update_transcription,
    ),
    post("/recordings", recordings::start),
    get("/recordings/{recordingId}", recordings::state),
    delete("/recordings/{recordingId}", recordings::stop),
    post("/recordings/{recordingId}:pause", recordings::pause),
    post("/recordings/{recordingId}:resume", recordings::resume),
];
