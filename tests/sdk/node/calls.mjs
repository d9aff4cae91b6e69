// Calls begin and end: create, answer, redirect, reject, connect, get, hang up, terminate.
import { randomUUID } from "node:crypto";

import { refused, same } from "./checks.mjs";
import { BUSY, COLLEAGUE, DECLINES, FRIEND, USER, entry, invite, name } from "./world.mjs";

// Numbers of ours that calls of the scenario come in on.
const [ANSWERED, REDIRECTED, REJECTED, GIVEN_UP] = ["+15550200", "+15550201", "+15550202", "+15550203"];

/** A call from its first request to its last event. */
export async function outgoing(world) {
  const { inbox } = world;
  const made = await world.must("create", async () => {
    const made = await world.create(FRIEND, "outgoing");
    const told = made.callConnectionProperties;
    // It is declared as callbackUrl, but keeps its name of the REST API here.
    same(told.callbackUrl ?? told.callbackUri, world.callback, "the callback URL");
    same(told.targetParticipants.map(name), [name(FRIEND)], "the targets");
    for (const id of ["callConnectionId", "serverCallId", "correlationId", "source"]) {
      if (!told[id]) throw new Error(`no ${id} in ${JSON.stringify(told)}`);
    }
    return { connection: made.callConnection, call: told.callConnectionId, told };
  });
  const { connection, call, told } = made;
  await world.check("CallConnected says the ids of the call", async () => {
    const { event } = await inbox.wait("CallConnected", { call, context: "outgoing" });
    same([event.serverCallId, event.correlationId], [told.serverCallId, told.correlationId], "the ids");
    if (world.newest) same(event.resultInformation.code, 200, "the code");
  });
  await world.check("ParticipantsUpdated lists who answered", async () => {
    const { event } = await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, FRIEND) });
    same(entry(event, FRIEND).isMuted, false, "muted");
  });
  await world.check("get call", async () => {
    same((await connection.getCallConnectionProperties()).callConnectionState, "connected", "the state");
  });
  await world.check("list participants, get one", async () => {
    const { values } = await connection.listParticipants();
    if (!values.some(({ identifier }) => name(identifier) === name(FRIEND))) {
      throw new Error(`nobody of that name in ${JSON.stringify(values)}`);
    }
    const one = await connection.getParticipant(FRIEND);
    same([name(one.identifier), one.isMuted], [name(FRIEND), false], "the participant");
  });
  await world.check("hang up", async () => {
    await connection.hangUp(false);
    await inbox.wait("CallDisconnected", { call });
  });
  await world.check("a call that is gone is refused with 404", async () => {
    await refused(404, () => connection.getCallConnectionProperties());
    await refused(404, () => connection.hangUp(true));
  });
}

/** A call to several, ended for all. */
export async function group(world) {
  const { client, inbox } = world;
  const serverCallId = await world.must("create a group call, terminate it", async () => {
    const made = await client.createGroupCall([USER, COLLEAGUE], world.callback, { operationContext: "group" });
    const { callConnectionId: call, serverCallId } = made.callConnectionProperties;
    const both = (event) => entry(event, USER) && entry(event, COLLEAGUE);
    await inbox.wait("ParticipantsUpdated", { call, where: both });
    await world.ended({ connection: made.callConnection, call });
    return serverCallId;
  });
  await world.check("Event Grid tells of the call of users", async () => {
    for (const kind of ["CallStarted", "CallParticipantAdded", "CallParticipantRemoved", "CallEnded"]) {
      await inbox.wait(kind, { where: (event) => event.serverCallId === serverCallId });
    }
  });
}

/** Nobody answers. */
export async function unanswered(world) {
  for (const [who, code] of [[DECLINES, 603], [BUSY, 486]]) {
    await world.check(`CreateCallFailed, ${code}`, async () => {
      const context = `unanswered-${code}`;
      const call = (await world.create(who, context)).callConnectionProperties.callConnectionId;
      if (!world.newest) return world.inbox.wait("CallDisconnected", { call });
      const { event } = await world.inbox.wait("CreateCallFailed", { call, context });
      return same(event.resultInformation.code, code, "the code");
    });
  }
}

/** The context of a call to this number that has not been taken yet. */
async function incomingCall(world, number, seen) {
  const where = ({ to, incomingCallContext }) => to.rawId === `4:${number}` && !seen.has(incomingCallContext);
  const { event } = await world.inbox.wait("IncomingCall", { where });
  seen.add(event.incomingCallContext);
  return event.incomingCallContext;
}

/** Calls that the scenario makes by itself. */
export async function incoming(world, seen) {
  const { client, inbox } = world;
  const token = await world.must("IncomingCall is routed and parsed", () => incomingCall(world, ANSWERED, seen));
  const made = await world.must("answer", async () => {
    const made = await client.answerCall(token, world.callback, { operationContext: "answered" });
    const call = made.callConnectionProperties.callConnectionId;
    await inbox.wait("CallConnected", { call, context: "answered" });
    await inbox.wait("ParticipantsUpdated", { call });
    return { connection: made.callConnection, call };
  });
  await world.check("an answered call can be hung up", () => world.ended(made));
  await world.check("a call is answered once", () => refused(404, () => client.answerCall(token, world.callback)));
  await world.check("redirect", async () => {
    await client.redirectCall(await incomingCall(world, REDIRECTED, seen), invite(USER));
  });
  await world.check("reject", async () => {
    await client.rejectCall(await incomingCall(world, REJECTED, seen), { callRejectReason: "busy" });
  });
  if (!world.newest) return;
  await world.check("AnswerFailed, where the caller has hung up", async () => {
    const late = await incomingCall(world, GIVEN_UP, seen);
    const made = await client.answerCall(late, world.callback, { operationContext: "too-late" });
    const call = made.callConnectionProperties.callConnectionId;
    await inbox.wait("AnswerFailed", { call, context: "too-late" });
  });
}

/** A second leg of ours in a call that is there. */
export async function connecting(world) {
  const { client, inbox } = world;
  const first = await world.connected(FRIEND, "connect-first");
  const locator = { id: first.properties.serverCallId, kind: "serverCallLocator" };
  const second = await world.must("connect to a server call", async () => {
    const made = await client.connectCall(locator, world.callback, { operationContext: "connect-second" });
    const { callConnectionId: call, serverCallId } = made.callConnectionProperties;
    same(serverCallId, locator.id, "the server call id");
    if (call === first.call) throw new Error("the second leg has the id of the first");
    await inbox.wait("CallConnected", { call, context: "connect-second" });
    return call;
  });
  await world.check("terminating ends both legs", async () => {
    await world.ended(first);
    await inbox.wait("CallDisconnected", { call: second });
  });
  await world.check("ConnectFailed, where there is no such call", async () => {
    const made = await client.connectCall(locator, world.callback, { operationContext: "connect-late" });
    const call = made.callConnectionProperties.callConnectionId;
    await inbox.wait("ConnectFailed", { call, context: "connect-late" });
  });
}

/** What the service does not do, and whether the SDK understands why. */
export async function refusals(world) {
  const { client, stranger, inbox } = world;
  await world.check("a wrong key is refused with 401", () =>
    refused(401, () => stranger.createGroupCall([USER], world.callback)));
  await world.check("a call to nobody is refused with 400", () =>
    refused(400, () => client.createGroupCall([], world.callback)));
  await world.check("a call that never was is refused with 404", () =>
    refused(404, () => client.getCallConnection(randomUUID()).getCallConnectionProperties()));
  if (!world.newest) return;
  await world.check("a request repeated with its id makes one call", async () => {
    // As the SDK itself sends a request again after a timeout.
    const requestOptions = {
      customHeaders: {
        "Repeatability-Request-ID": randomUUID(),
        "Repeatability-First-Sent": new Date().toUTCString(),
      },
    };
    const create = () => client.createGroupCall([USER], world.callback, { requestOptions });
    const made = [await create(), await create()];
    const ids = made.map(({ callConnectionProperties }) => callConnectionProperties.callConnectionId);
    same(ids[0], ids[1], "the second call");
    await inbox.wait("CallConnected", { call: ids[0] });
    await world.ended({ connection: made[0].callConnection, call: ids[0] });
  });
}
