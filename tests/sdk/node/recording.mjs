// Recordings: start, state, pause, resume, stop, and the file that Event Grid tells of.
import { refused, same } from "./checks.mjs";
import { endpoint } from "./inbox.mjs";
import { FRIEND } from "./world.mjs";

/** One recording of a call by its server call id and one by its connection, which 1.0.0 cannot, from start to file. */
export async function recording(world) {
  const made = await world.connected(FRIEND, "recording");
  const { call, properties: { serverCallId } } = made;
  await oneRecording(world, made, "by server call id", { callLocator: { id: serverCallId, kind: "serverCallLocator" } });
  if (world.newest) await oneRecording(world, made, "by call connection id", { callConnectionId: call });
  await world.check("the call ends", () => world.ended(made));
}

async function oneRecording(world, { call, properties: { serverCallId } }, how, what) {
  const { inbox } = world;
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
    return (await inbox.wait("RecordingStateChanged", { where })).event;
  };
  const id = await world.must(`start recording ${how}`, async () => {
    const started = await recordings.start({ ...what, ...options });
    same(started.recordingState, "active", "the state");
    const event = await changed(started.recordingId, "active", 1);
    if (Number.isNaN(new Date(event.startDateTime).getTime())) throw new Error(`no start: ${event.startDateTime}`);
    return started.recordingId;
  });
  await world.check(`recording state ${how}`, async () => {
    same((await recordings.getState(id)).recordingState, "active", "the state");
  });
  await world.check(`pause recording ${how}`, async () => {
    await recordings.pause(id);
    await changed(id, "inactive", 1);
    same((await recordings.getState(id)).recordingState, "inactive", "the state");
  });
  await world.check(`resume recording ${how}`, async () => {
    await recordings.resume(id);
    await changed(id, "active", 2);
  });
  if (world.newest) {
    await world.check(`what is being recorded ${how} is refused with 409`, () =>
      refused(409, () => recordings.start({ callConnectionId: call, ...options })));
  }
  await world.check(`stop recording ${how}`, async () => {
    await recordings.stop(id);
    await changed(id, "inactive", 2);
    await refused(404, () => recordings.getState(id));
  });
  await world.check(`events of a recording ${how} name its endpoint and come under the call`, () => {
    const events = inbox.taken.filter(({ kind, event }) => kind === "RecordingStateChanged" && event.recordingId === id);
    same(events.map(({ event }) => event.state), ["active", "inactive", "active", "inactive"], "the states");
    for (const { event, headers } of events) named(world, event, headers, what, { call, serverCallId });
  });
  await world.check(`Event Grid tells of the file of a recording ${how}`, async () => {
    const where = (_, { subject }) => subject.endsWith(`/serverCallId/${serverCallId}/recordingId/${id}`);
    const { event, data, headers } = await inbox.wait("RecordingFileStatusUpdated", { where });
    same(event.recordingStorageInfo.recordingChunks[0].index, 0, "the first chunk");
    same(data.recordingId, id, "the recording");
    same(headers["hookswitch-call"], serverCallId, "the call of the queue");
  });
}

/** Which ids an event of a recording has, by how it was started, and that the queue shows it under its call. */
function named(world, event, headers, { callConnectionId }, { call, serverCallId }) {
  same(event.serverCallId, serverCallId, "the server call");
  same(event.callConnectionId, endpoint(event.recordingId), "the connection");
  if (callConnectionId) {
    same(event.callConnectionId, call, "the connection");
  } else {
    const calls = world.inbox.taken.filter(({ kind }) => kind === "CallConnected").map((taken) => taken.call);
    same(calls.includes(call), true, "whether the call is among the calls");
    same(calls.includes(event.callConnectionId), false, "whether the endpoint is a call");
  }
  same(headers["hookswitch-call"], call, "the call of the queue");
}

/** Where the scenario says that recordings do not start. */
export async function unrecorded(world) {
  const made = await world.connected(FRIEND, "unrecorded");
  const { call, properties: { serverCallId } } = made;
  for (const [how, what] of [
    ["by server call id", { callLocator: { id: serverCallId, kind: "serverCallLocator" } }],
    ["by call connection id", { callConnectionId: call }],
  ]) {
    await world.check(`StartRecordingFailed of a recording ${how}`, async () => {
      const options = { ...what, recordingStateCallbackEndpointUrl: world.callback };
      const started = await world.client.getCallRecording().start(options);
      const where = (event) => event.recordingId === started.recordingId;
      const { event, headers } = await world.inbox.wait("StartRecordingFailed", { where });
      named(world, event, headers, what, { call, serverCallId });
    });
  }
  await world.check("the call ends", () => world.ended(made));
}
