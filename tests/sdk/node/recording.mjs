// Recordings: start, state, pause, resume, stop, and the file that Event Grid tells of.
import { refused, same } from "./checks.mjs";
import { FRIEND } from "./world.mjs";

/** One recording from start to file. */
export async function recording(world) {
  const { inbox } = world;
  const made = await world.connected(FRIEND, "recording");
  const { call } = made;
  const recordings = world.client.getCallRecording();
  const options = {
    recordingStateCallbackEndpointUrl: world.callback,
    recordingContent: "audio",
    recordingChannel: "mixed",
    recordingFormat: "wav",
  };
  /** Waits until the recording has become active or inactive so many times. */
  const changed = async (id, state, times) => {
    const seen = new Set();
    const where = (event, taken) => {
      if (event.recordingId === id && event.state === state) seen.add(taken);
      return seen.size >= times;
    };
    return (await inbox.wait("RecordingStateChanged", { call, where })).event;
  };
  const id = await world.must("start recording", async () => {
    const callLocator = { id: made.properties.serverCallId, kind: "serverCallLocator" };
    const started = await recordings.start({ callLocator, ...options });
    same(started.recordingState, "active", "the state");
    const event = await changed(started.recordingId, "active", 1);
    if (Number.isNaN(new Date(event.startDateTime).getTime())) throw new Error(`no start: ${event.startDateTime}`);
    return started.recordingId;
  });
  await world.check("recording state", async () => {
    same((await recordings.getState(id)).recordingState, "active", "the state");
  });
  await world.check("pause recording", async () => {
    await recordings.pause(id);
    await changed(id, "inactive", 1);
    same((await recordings.getState(id)).recordingState, "inactive", "the state");
  });
  await world.check("resume recording", async () => {
    await recordings.resume(id);
    await changed(id, "active", 2);
  });
  if (world.newest) {
    await world.check("what is being recorded is refused with 409", () =>
      refused(409, () => recordings.start({ callConnectionId: call, ...options })));
  }
  await world.check("stop recording", async () => {
    await recordings.stop(id);
    await changed(id, "inactive", 2);
    await refused(404, () => recordings.getState(id));
  });
  await world.check("Event Grid tells of the file", async () => {
    const where = (_, { subject }) => subject.includes(id);
    const { event } = await inbox.wait("RecordingFileStatusUpdated", { where });
    same(event.recordingStorageInfo.recordingChunks[0].index, 0, "the first chunk");
  });
  await world.check("the call ends", () => world.ended(made));
}

/** Where the scenario says that recordings do not start. */
export async function unrecorded(world) {
  const made = await world.connected(FRIEND, "unrecorded");
  const { call } = made;
  await world.check("StartRecordingFailed", async () => {
    const options = { callConnectionId: call, recordingStateCallbackEndpointUrl: world.callback };
    const started = await world.client.getCallRecording().start(options);
    const { event } = await world.inbox.wait("StartRecordingFailed", { call });
    same(event.recordingId, started.recordingId, "the recording");
  });
  await world.check("the call ends", () => world.ended(made));
}
