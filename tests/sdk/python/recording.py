"""Recordings: start, state, pause, resume, stop, and the file that Event Grid tells of."""

from azure.core.exceptions import HttpResponseError

from checks import refused, same
from world import FRIEND, World


def recording(world: World):
    """One recording from start to file."""
    check, inbox, client = world.check, world.inbox, world.client
    connection, call = world.connected(FRIEND, "recording")

    def changed(to, times):
        """Waits until the recording has become active or inactive so many times."""
        seen = set()

        def fits(taken):
            if taken.data["recordingId"] == made.recording_id and state(taken.event.state) == to:
                seen.add(id(taken))
            return len(seen) >= times

        return inbox.wait("RecordingStateChanged", call, where=fits).event

    with check.must("start recording"):
        server_call = connection.get_call_properties().server_call_id
        options = {"recording_state_callback_url": world.callback, "recording_content_type": "audio",
                   "recording_channel_type": "mixed", "recording_format_type": "wav"}
        if world.newest:
            made = client.start_recording(server_call_id=server_call, **options)
        else:
            from azure.communication.callautomation import ServerCallLocator

            made = client.start_recording(ServerCallLocator(server_call), **options)
        same(state(made.recording_state), "active", "the state")
        event = changed("active", 1)
        same(event.recording_id, made.recording_id, "the recording")
        if event.start_date_time is None:
            raise AssertionError("the SDK finds no start")
    with check("recording state"):
        same(state(client.get_recording_properties(made.recording_id).recording_state), "active", "the state")
    with check("pause recording"):
        client.pause_recording(made.recording_id)
        changed("inactive", 1)
        same(state(client.get_recording_properties(made.recording_id).recording_state), "inactive", "the state")
    with check("resume recording"):
        client.resume_recording(made.recording_id)
        changed("active", 2)
    if world.newest:
        with check("what is being recorded is refused with 409"), refused(HttpResponseError, 409):
            client.start_recording(call_connection_id=call, **options)
    with check("stop recording"):
        client.stop_recording(made.recording_id)
        changed("inactive", 2)
        with refused(HttpResponseError, 404):
            client.get_recording_properties(made.recording_id)
    with check("Event Grid tells of the file"):
        taken = inbox.wait("RecordingFileStatusUpdated",
                           where=lambda taken: made.recording_id in taken.event.subject)
        chunks = taken.data["recordingStorageInfo"]["recordingChunks"]
        same((len(chunks) > 0, chunks[0]["index"]), (True, 0), "the chunks")
    with check("the call ends"):
        world.ended(connection, call)


def unrecorded(world: World):
    """Where the scenario says that recordings do not start."""
    connection, call = world.connected(FRIEND, "unrecorded")
    with world.check("StartRecordingFailed"):
        made = world.client.start_recording(call_connection_id=call, recording_state_callback_url=world.callback)
        event = world.inbox.wait("StartRecordingFailed", call).event
        same(event.recording_id, made.recording_id, "the recording")
    with world.check("the call ends"):
        world.ended(connection, call)


def state(value) -> str:
    """The word, whether the SDK has a member of an enumeration for it or not."""
    return str(getattr(value, "value", value))
