"""The REST operations and the callback events of the service, as far as an SDK of one version knows them."""

import re

# Method and path of every operation of the GA REST API; what stands in braces is an id.
FIRST_OPERATIONS = {
    "create": ("POST", "/calling/callConnections"),
    "answer": ("POST", "/calling/callConnections:answer"),
    "redirect": ("POST", "/calling/callConnections:redirect"),
    "reject": ("POST", "/calling/callConnections:reject"),
    "get call": ("GET", "/calling/callConnections/{id}"),
    "hang up": ("DELETE", "/calling/callConnections/{id}"),
    "terminate": ("POST", "/calling/callConnections/{id}:terminate"),
    "transfer": ("POST", "/calling/callConnections/{id}:transferToParticipant"),
    "list participants": ("GET", "/calling/callConnections/{id}/participants"),
    "get participant": ("GET", "/calling/callConnections/{id}/participants/{id}"),
    "add": ("POST", "/calling/callConnections/{id}/participants:add"),
    "remove": ("POST", "/calling/callConnections/{id}/participants:remove"),
    "play": ("POST", "/calling/callConnections/{id}:play"),
    "recognize": ("POST", "/calling/callConnections/{id}:recognize"),
    "cancel media": ("POST", "/calling/callConnections/{id}:cancelAllMediaOperations"),
    "start recording": ("POST", "/calling/recordings"),
    "recording state": ("GET", "/calling/recordings/{id}"),
    "stop recording": ("DELETE", "/calling/recordings/{id}"),
    "pause recording": ("POST", "/calling/recordings/{id}:pause"),
    "resume recording": ("POST", "/calling/recordings/{id}:resume"),
}
LATER_OPERATIONS = {
    "connect": ("POST", "/calling/callConnections:connect"),
    "mute": ("POST", "/calling/callConnections/{id}/participants:mute"),
    "cancel add": ("POST", "/calling/callConnections/{id}/participants:cancelAddParticipant"),
    "move here": ("POST", "/calling/callConnections/{id}/participants:moveHere"),
    "start tones": ("POST", "/calling/callConnections/{id}:startContinuousDtmfRecognition"),
    "stop tones": ("POST", "/calling/callConnections/{id}:stopContinuousDtmfRecognition"),
    "send tones": ("POST", "/calling/callConnections/{id}:sendDtmfTones"),
    "hold": ("POST", "/calling/callConnections/{id}:hold"),
    "unhold": ("POST", "/calling/callConnections/{id}:unhold"),
    "start streaming": ("POST", "/calling/callConnections/{id}:startMediaStreaming"),
    "stop streaming": ("POST", "/calling/callConnections/{id}:stopMediaStreaming"),
    "start transcription": ("POST", "/calling/callConnections/{id}:startTranscription"),
    "stop transcription": ("POST", "/calling/callConnections/{id}:stopTranscription"),
    "update transcription": ("POST", "/calling/callConnections/{id}:updateTranscription"),
}

# Every callback event of GA with what causes it here. 1.0.0 knows the first ones only.
FIRST_EVENTS = {
    "AddParticipantSucceeded": "add: the callee accepts",
    "AddParticipantFailed": "add: the callee declines",
    "CallConnected": "create, answer, connect",
    "CallDisconnected": "hang up, terminate",
    "CallTransferAccepted": "transfer",
    "CallTransferFailed": "transfer: the callee is not obliging",
    "ParticipantsUpdated": "create, add, remove, mute, hold, move here",
    "PlayCanceled": "cancel media while it plays",
    "PlayCompleted": "play",
    "PlayFailed": "play: the file is broken",
    "RecognizeCanceled": "cancel media while it listens",
    "RecognizeCompleted": "recognize",
    "RecognizeFailed": "recognize: the callee is silent",
    "RecordingStateChanged": "start, pause, resume, stop recording",
    "RemoveParticipantSucceeded": "remove",
    "RemoveParticipantFailed": "remove: nobody of that name is there",
}
LATER_EVENTS = {
    "AnswerFailed": "answer: the caller has given up",
    "CancelAddParticipantSucceeded": "cancel add while it rings",
    "CancelAddParticipantFailed": "cancel add when it was accepted",
    "ConnectFailed": "connect: there is no such call",
    "ContinuousDtmfRecognitionToneReceived": "start tones: the callee presses keys",
    "ContinuousDtmfRecognitionStopped": "stop tones",
    "CreateCallFailed": "create: the callee declines, or is busy",
    "HoldFailed": "hold: the callee is not obliging",
    "MediaStreamingStarted": "start streaming",
    "MediaStreamingStopped": "stop streaming",
    "MoveParticipantSucceeded": "move here",
    "MoveParticipantFailed": "move here: nobody of that name is there",
    "PlayStarted": "play",
    "SendDtmfTonesCompleted": "send tones",
    "SendDtmfTonesFailed": "send tones: the callee is not obliging",
    "StartRecordingFailed": "start recording: the call is being recorded already",
    "TranscriptionStarted": "start transcription",
    "TranscriptionStopped": "stop transcription",
    "TranscriptionUpdated": "update transcription",
}
# Events of the service's own trouble, which no request can ask for.
UNCAUSED_EVENTS = {
    "ContinuousDtmfRecognitionToneFailed": "the service loses its tone detector",
    "MediaStreamingFailed": "the service loses the WebSocket of the media, which the emulator does not open",
    "TranscriptionFailed": "the same, of transcription",
}

# Events of the resource, by the name of their constant in azure-eventgrid.
GRID_EVENTS = {
    "AcsIncomingCallEventName": "a call of the scenario comes in",
    "AcsCallStartedEventName": "a call begins",
    "AcsCallEndedEventName": "a call ends",
    "AcsCallParticipantAddedEventName": "somebody joins",
    "AcsCallParticipantRemovedEventName": "somebody leaves",
    "AcsRecordingFileStatusUpdatedEventName": "a recording was stopped",
}


def operation(method: str, path: str) -> str:
    """The name of the operation that a request is; the request itself if it is none of them."""
    for name, (its_method, template) in {**FIRST_OPERATIONS, **LATER_OPERATIONS}.items():
        pattern = "[^/:]+".join(re.escape(part) for part in template.split("{id}"))
        if method == its_method and re.fullmatch(pattern, path):
            return name
    return f"{method} {path}"
