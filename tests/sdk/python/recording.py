"""Recordings: start, state, pause, resume, stop, and the file that Event Grid tells of."""

from azure.core.exceptions import HttpResponseError

from checks import refused, same
from inbox import endpoint
from world import FRIEND, World


def recording(world: World):
    """One recording of a call by its server call id and one by its connection, which 1.0.0 cannot, from start to file."""
    connection, call = world.connected(FRIEND, "recording")
    server_call = connection.get_call_properties().server_call_id
    if world.newest:
        one_recording(world, call, server_call, "by server call id", server_call_id=server_call)
        one_recording(world, call, server_call, "by call connection id", call_connection_id=call)
    else:
        from azure.communication.callautomation import ServerCallLocator

        one_recording(world, call, server_call, "by server call id", ServerCallLocator(server_call))
    with world.check("the call ends"):
        world.ended(connection, call)


def one_recording(world: World, call, server_call, how, *locator, **what):
    """From start to file."""
    check, inbox, client = world.check, world.inbox, world.client

    def changed(to, times):
        """Waits until the recording has become active or inactive so many times."""
        seen = set()

        def fits(taken):
            if taken.data["recordingId"] == made.recording_id and state(taken.event.state) == to:
                seen.add(id(taken))
            return len(seen) >= times

        return inbox.wait("RecordingStateChanged", where=fits).event

    with check.must(f"start recording {how}"):
        options = {"recording_state_callback_url": world.callback, "recording_content_type": "audio",
                   "recording_channel_type": "mixed", "recording_format_type": "wav"}
        made = client.start_recording(*locator, **what, **options)
        same(state(made.recording_state), "active", "the state")
        event = changed("active", 1)
        same(event.recording_id, made.recording_id, "the recording")
        if event.start_date_time is None:
            raise AssertionError("the SDK finds no start")
    with check(f"recording state {how}"):
        same(state(client.get_recording_properties(made.recording_id).recording_state), "active", "the state")
    with check(f"pause recording {how}"):
        client.pause_recording(made.recording_id)
        changed("inactive", 1)
        same(state(client.get_recording_properties(made.recording_id).recording_state), "inactive", "the state")
    with check(f"resume recording {how}"):
        client.resume_recording(made.recording_id)
        changed("active", 2)
    if world.newest:
        with check(f"what is being recorded {how} is refused with 409"), refused(HttpResponseError, 409):
            client.start_recording(call_connection_id=call, **options)
    with check(f"stop recording {how}"):
        client.stop_recording(made.recording_id)
        changed("inactive", 2)
        with refused(HttpResponseError, 404):
            client.get_recording_properties(made.recording_id)
    with check(f"events of a recording {how} name its endpoint and come under the call"):
        events = [taken for taken in inbox.taken
                  if taken.kind == "RecordingStateChanged" and taken.data["recordingId"] == made.recording_id]
        same([state(taken.event.state) for taken in events], ["active", "inactive", "active", "inactive"], "the states")
        for taken in events:
            named(world, taken, call, server_call, "call_connection_id" in what)
    with check(f"Event Grid tells of the file of a recording {how}"):
        end = f"/serverCallId/{server_call}/recordingId/{made.recording_id}"
        taken = inbox.wait("RecordingFileStatusUpdated", where=lambda taken: taken.event.subject.endswith(end))
        chunks = taken.data["recordingStorageInfo"]["recordingChunks"]
        same((len(chunks) > 0, chunks[0]["index"]), (True, 0), "the chunks")
        same(taken.data["recordingId"], made.recording_id, "the recording")
        same(taken.headers["hookswitch-call"], server_call, "the call of the queue")


def named(world: World, taken, call, server_call, by_connection):
    """Which ids an event of a recording has, by how it was started, and that the queue shows it under its call."""
    same(taken.event.server_call_id, server_call, "the server call")
    connection = taken.event.call_connection_id
    same(connection, endpoint(taken.event.recording_id), "the connection")
    if by_connection:
        same(connection, call, "the connection")
    else:
        calls = {other.data["callConnectionId"] for other in world.inbox.taken if other.kind == "CallConnected"}
        same(call in calls, True, "whether the call is among the calls")
        same(connection in calls, False, "whether the endpoint is a call")
    same(taken.headers["hookswitch-call"], call, "the call of the queue")


def unrecorded(world: World):
    """Where the scenario says that recordings do not start."""
    connection, call = world.connected(FRIEND, "unrecorded")
    server_call = connection.get_call_properties().server_call_id
    ways = [("by server call id", {"server_call_id": server_call}), ("by call connection id", {"call_connection_id": call})]
    for how, what in ways:
        with world.check(f"StartRecordingFailed of a recording {how}"):
            made = world.client.start_recording(recording_state_callback_url=world.callback, **what)

            def fits(taken, wanted=made.recording_id):
                return taken.data["recordingId"] == wanted

            taken = world.inbox.wait("StartRecordingFailed", where=fits)
            named(world, taken, call, server_call, "call_connection_id" in what)
    with world.check("the call ends"):
        world.ended(connection, call)


def state(value) -> str:
    """The word, whether the SDK has a member of an enumeration for it or not."""
    return str(getattr(value, "value", value))
