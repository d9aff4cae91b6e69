"""What is heard: play, recognize, tones, cancel, media streaming, transcription."""

from checks import same
from world import BROKEN, FRIEND, PRESSES, PROMPT, SPEAKS, World


def playing(world: World):
    """Prompts of every kind, one that is broken, one that is cancelled."""
    check, inbox = world.check, world.inbox
    connection, call = world.connected(FRIEND, "playing")

    def completed(context):
        inbox.wait("PlayCompleted", call, context)
        if world.newest:
            inbox.wait("PlayStarted", call, context)

    with check("play to all"):
        connection.play_media_to_all(PROMPT, operation_context="play-all")
        completed("play-all")
    with check("play to one"):
        connection.play_media(PROMPT, [FRIEND], operation_context="play-one")
        completed("play-one")
    with check("PlayFailed, where the file is broken"):
        connection.play_media_to_all(BROKEN, operation_context="play-broken")
        event = inbox.wait("PlayFailed", call, "play-broken").event
        if event.result_information.sub_code not in (8535, 8536):
            raise AssertionError(f"sub code {event.result_information.sub_code} is none of a bad file")
        if world.newest:
            same(event.failed_play_source_index, 0, "the source")
    with check("cancel media"):
        connection.play_media_to_all(PROMPT, loop=True, operation_context="play-loop")
        if world.newest:
            inbox.wait("PlayStarted", call, "play-loop")
        connection.cancel_all_media_operations()
        inbox.wait("PlayCanceled", call, "play-loop")
    if world.newest:
        with check("text and ssml, to a callback URL of their own"):
            from azure.communication.callautomation import SsmlSource, TextSource

            sources = [
                TextSource(text="Good morning to you", source_locale="en-US", voice_kind="female"),
                SsmlSource(ssml_text='<speak version="1.0" xml:lang="en-US">Good evening</speak>'),
            ]
            elsewhere = f"{world.callback}/prompts"
            connection.play_media_to_all(sources, operation_context="play-text", operation_callback_url=elsewhere)
            completed("play-text")
            same(inbox.wait("PlayCompleted", call, "play-text").headers.get("hookswitch-path"), "prompts", "the path")
    with check("the call ends"):
        world.ended(connection, call)


def tones(world: World):
    """A callee who presses 1 2 3 #."""
    check, inbox = world.check, world.inbox
    connection, call = world.connected(PRESSES, "tones")

    def recognized(context):
        event = inbox.wait("RecognizeCompleted", call, context).event
        same(event.recognition_type, "dtmf", "the type")
        return [str(getattr(tone, "value", tone)) for tone in event.dtmf_result.tones]

    with check("recognize so many tones"):
        connection.start_recognizing_media(
            "dtmf", PRESSES, play_prompt=PROMPT, dtmf_max_tones_to_collect=2, operation_context="dtmf-most")
        same(recognized("dtmf-most"), ["one", "two"], "the tones")
    with check("recognize up to a stop tone"):
        connection.start_recognizing_media(
            "dtmf", PRESSES, play_prompt=PROMPT, dtmf_max_tones_to_collect=10, dtmf_stop_tones=["pound"], operation_context="dtmf-stop")
        same(recognized("dtmf-stop")[:3], ["one", "two", "three"], "the tones")
    with check("RecognizeCanceled"):
        connection.start_recognizing_media(
            "dtmf", PRESSES, play_prompt=PROMPT, dtmf_max_tones_to_collect=10, initial_silence_timeout=120,
            dtmf_inter_tone_timeout=60, operation_context="dtmf-cancel")
        connection.cancel_all_media_operations()
        inbox.wait("RecognizeCanceled", call, "dtmf-cancel")
    if world.newest:
        continuous(world, connection, call)
        with check("recognize a choice by its tone"):
            from azure.communication.callautomation import RecognitionChoice

            choices = [RecognitionChoice(label="Yes", phrases=["yes", "sure"], tone="one"), RecognitionChoice(label="No", phrases=["no"], tone="nine")]
            connection.start_recognizing_media("choices", PRESSES, choices=choices, operation_context="choice-tone")
            event = inbox.wait("RecognizeCompleted", call, "choice-tone").event
            same((event.recognition_type, event.choice_result.label), ("choices", "Yes"), "the choice")
    with check("the call ends"):
        world.ended(connection, call)


def continuous(world: World, connection, call: str):
    """Tones as they come, and tones that we send."""
    check, inbox = world.check, world.inbox
    with check("continuous tones"):
        connection.start_continuous_dtmf_recognition(PRESSES, operation_context="listen")
        for number, tone in enumerate(["one", "two", "three", "pound"], start=1):
            event = inbox.wait("ContinuousDtmfRecognitionToneReceived", call,
                               where=lambda taken, number=number: taken.event.sequence_id == number).event
            same(str(getattr(event.tone, "value", event.tone)), tone, f"tone {number}")
        connection.stop_continuous_dtmf_recognition(PRESSES, operation_context="listen-no-more")
        inbox.wait("ContinuousDtmfRecognitionStopped", call)
    with check("send tones"):
        sent = connection.send_dtmf_tones(["one", "pound"], PRESSES, operation_context="send")
        same(sent.operation_context, "send", "the answer")
        inbox.wait("SendDtmfTonesCompleted", call, "send")


def silence(world: World):
    """A callee who does nothing when asked."""
    connection, call = world.connected(FRIEND, "silence")
    with world.check("RecognizeFailed, after the initial silence"):
        connection.start_recognizing_media(
            "dtmf", FRIEND, play_prompt=PROMPT, dtmf_max_tones_to_collect=1, initial_silence_timeout=2, operation_context="silent")
        event = world.inbox.wait("RecognizeFailed", call, "silent").event
        same(event.result_information.sub_code, 8510, "the sub code")
    with world.check("the call ends"):
        world.ended(connection, call)


def speech(world: World):
    """A callee who speaks."""
    from azure.communication.callautomation import RecognitionChoice, TextSource

    check, inbox = world.check, world.inbox
    connection, call = world.connected(SPEAKS, "speech")
    with check("recognize speech"):
        connection.start_recognizing_media(
            "speech", SPEAKS, play_prompt=TextSource(text="How may I help", voice_name="en-US-NancyNeural"),
            speech_language="en-US", end_silence_timeout=1, operation_context="speech")
        event = inbox.wait("RecognizeCompleted", call, "speech").event
        same((event.recognition_type, event.speech_result.speech), ("speech", "confirm"), "the speech")
    with check("recognize a choice by its phrase"):
        choices = [RecognitionChoice(label="Confirmed", phrases=["confirm", "first"]), RecognitionChoice(label="Cancelled", phrases=["cancel"])]
        connection.start_recognizing_media(
            "choices", SPEAKS, choices=choices, speech_language="en-US", operation_context="choice")
        event = inbox.wait("RecognizeCompleted", call, "choice").event
        same((event.recognition_type, event.choice_result.label, event.choice_result.recognized_phrase),
             ("choices", "Confirmed", "confirm"), "the choice")
    with check("the call ends"):
        world.ended(connection, call)


def streams(world: World):
    """Media streaming and transcription, as subscribed when the call was made."""
    from azure.communication.callautomation import MediaStreamingOptions, TranscriptionOptions

    check, inbox = world.check, world.inbox
    connection, call = world.connected(
        FRIEND, "streams",
        media_streaming=MediaStreamingOptions(
            transport_url="wss://contoso.example/media", transport_type="websocket", content_type="audio",
            audio_channel_type="mixed", start_media_streaming=False),
        transcription=TranscriptionOptions(
            transport_url="wss://contoso.example/text", transport_type="websocket", locale="en-US",
            start_transcription=False))
    with check("start and stop media streaming"):
        for act, kind, status in ((connection.start_media_streaming, "Started", "mediaStreamingStarted"),
                                  (connection.stop_media_streaming, "Stopped", "mediaStreamingStopped")):
            act(operation_context=f"media-{kind}")
            event = inbox.wait(f"MediaStreaming{kind}", call, f"media-{kind}").event
            same(event.media_streaming_update.media_streaming_status, status, "the status")
    with check("start, update and stop transcription"):
        connection.start_transcription(locale="en-US", operation_context="text-started")
        started = inbox.wait("TranscriptionStarted", call, "text-started").event
        same(started.transcription_update.transcription_status, "transcriptionStarted", "the status")
        connection.update_transcription(locale="de-DE", operation_context="text-updated")
        updated = inbox.wait("TranscriptionUpdated", call, "text-updated").event
        same(updated.transcription_update.transcription_status, "transcriptionUpdated", "the status")
        connection.stop_transcription(operation_context="text-stopped")
        stopped = inbox.wait("TranscriptionStopped", call, "text-stopped").event
        same(stopped.transcription_update.transcription_status, "transcriptionStopped", "the status")
    with check("the call ends"):
        world.ended(connection, call)
