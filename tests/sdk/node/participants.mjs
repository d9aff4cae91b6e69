// Who takes part: add, cancel add, mute, hold, remove, move here, transfer.
import { refused, same } from "./checks.mjs";
import { DECLINES, FRIEND, NEVER_ANSWERS, NOBODY, STUBBORN, USER, entry, invite, name } from "./world.mjs";

/** Somebody comes and goes, somebody else does not come. */
export async function adding(world) {
  const { inbox } = world;
  const made = await world.connected(FRIEND, "adding");
  const { connection, call } = made;
  const invitation = await world.must("add", async () => {
    const added = await connection.addParticipant(invite(USER), { operationContext: "add" });
    same([added.operationContext, name(added.participant.identifier)], ["add", name(USER)], "the answer");
    const { event } = await inbox.wait("AddParticipantSucceeded", { call, context: "add" });
    same(name(event.participant), name(USER), "the participant");
    await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, USER) });
    return added.invitationId;
  });
  await world.check("AddParticipantFailed, where the callee declines", async () => {
    await connection.addParticipant(invite(DECLINES), { operationContext: "add-declined" });
    const { event } = await inbox.wait("AddParticipantFailed", { call, context: "add-declined" });
    same([name(event.participant), event.resultInformation.code], [name(DECLINES), 603], "who, and why");
  });
  if (world.newest) {
    await canceling(world, made, invitation);
    await muting(world, made);
  }
  await world.check("remove", async () => {
    const removed = await connection.removeParticipant(USER, { operationContext: "remove" });
    same(removed.operationContext, "remove", "the answer");
    const { event } = await inbox.wait("RemoveParticipantSucceeded", { call, context: "remove" });
    same(name(event.participant), name(USER), "the participant");
    const there = await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, USER) });
    const later = ({ sequenceNumber }) => sequenceNumber > there.event.sequenceNumber;
    await inbox.wait("ParticipantsUpdated", { call, where: (event) => later(event) && !entry(event, USER) });
  });
  await world.check("a participant who is not there is refused with 404", async () => {
    await refused(404, () => connection.getParticipant(NOBODY));
    await refused(404, () => connection.removeParticipant(NOBODY));
  });
  await world.check("the call ends", () => world.ended(made));
}

/** Invitations that are taken back, in time and too late. */
async function canceling(world, { connection, call }, accepted) {
  const { inbox } = world;
  await world.check("cancel add while it rings", async () => {
    const options = { operationContext: "ringing", invitationTimeoutInSeconds: 180 };
    const { invitationId } = await connection.addParticipant(invite(NEVER_ANSWERS), options);
    const canceled = await connection.cancelAddParticipantOperation(invitationId, { operationContext: "cancel" });
    same(canceled.invitationId, invitationId, "the invitation");
    const { event } = await inbox.wait("CancelAddParticipantSucceeded", { call, context: "cancel" });
    same(event.invitationId, invitationId, "the invitation");
  });
  await world.check("CancelAddParticipantFailed, when it was accepted", async () => {
    await connection.cancelAddParticipantOperation(accepted, { operationContext: "cancel-late" });
    const { event } = await inbox.wait("CancelAddParticipantFailed", { call, context: "cancel-late" });
    same(event.invitationId, accepted, "the invitation");
  });
}

/** Mute, hold and unhold, as the list of participants shows them. */
async function muting(world, { connection, call }) {
  const { inbox } = world;
  await world.check("mute", async () => {
    const muted = await connection.muteParticipant(USER, { operationContext: "mute" });
    same(muted.operationContext, "mute", "the answer");
    await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, USER)?.isMuted });
    same((await connection.getParticipant(USER)).isMuted, true, "muted");
  });
  const media = connection.getCallMedia();
  await world.check("hold and unhold", async () => {
    await media.hold(USER, { operationContext: "hold" });
    const held = await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, USER)?.isOnHold });
    same((await connection.getParticipant(USER)).isOnHold, true, "on hold");
    await media.unhold(USER, { operationContext: "unhold" });
    const later = ({ sequenceNumber }) => sequenceNumber > held.event.sequenceNumber;
    const off = (event) => later(event) && entry(event, USER)?.isOnHold === false;
    await inbox.wait("ParticipantsUpdated", { call, where: off });
    same((await connection.getParticipant(USER)).isOnHold, false, "on hold");
  });
}

/** A callee with whom nothing works. */
export async function stubborn(world) {
  const { inbox } = world;
  const made = await world.connected(STUBBORN, "stubborn");
  const { connection, call } = made;
  if (world.newest) {
    await world.check("HoldFailed", async () => {
      await connection.getCallMedia().hold(STUBBORN, { operationContext: "hold-stubborn" });
      await inbox.wait("HoldFailed", { call, context: "hold-stubborn" });
    });
    await world.check("SendDtmfTonesFailed", async () => {
      await connection.getCallMedia().sendDtmfTones(["one"], STUBBORN, { operationContext: "tones-stubborn" });
      await inbox.wait("SendDtmfTonesFailed", { call, context: "tones-stubborn" });
    });
    await world.check("ContinuousDtmfRecognitionToneFailed", async () => {
      const options = { operationContext: "listen-stubborn" };
      await connection.getCallMedia().startContinuousDtmfRecognition(STUBBORN, options);
      await inbox.wait("ContinuousDtmfRecognitionToneFailed", { call, context: "listen-stubborn" });
    });
    await world.check("media without its options: MediaStreamingFailed, TranscriptionFailed", async () => {
      const media = connection.getCallMedia();
      await media.startMediaStreaming({ operationContext: "media-nowhere" });
      const streaming = await inbox.wait("MediaStreamingFailed", { call, context: "media-nowhere" });
      same(streaming.event.mediaStreamingUpdate.mediaStreamingStatus, "mediaStreamingFailed", "the status");
      await media.startTranscription({ locale: "en-US", operationContext: "text-nowhere" });
      const text = await inbox.wait("TranscriptionFailed", { call, context: "text-nowhere" });
      same(text.event.transcriptionUpdate.transcriptionStatus, "transcriptionFailed", "the status");
    });
  }
  await world.check("RemoveParticipantFailed", async () => {
    await connection.removeParticipant(STUBBORN, { operationContext: "remove-stubborn" });
    const { event } = await inbox.wait("RemoveParticipantFailed", { call, context: "remove-stubborn" });
    same(name(event.participant), name(STUBBORN), "the participant");
  });
  await world.check("CallTransferFailed, where the target declines", async () => {
    await connection.transferCallToParticipant(DECLINES, { operationContext: "transfer-declined" });
    const { event } = await inbox.wait("CallTransferFailed", { call, context: "transfer-declined" });
    same(event.resultInformation.code, 603, "the code");
  });
  await world.check("the call is still there, and ends", async () => {
    await connection.getCallConnectionProperties();
    await world.ended(made);
  });
}

/** The callee is handed on, and we are out of it. */
export async function transferring(world) {
  const { connection, call } = await world.connected(USER, "transferring");
  await world.check("transfer", async () => {
    const answer = await connection.transferCallToParticipant(FRIEND, { operationContext: "transfer" });
    same(answer.operationContext, "transfer", "the answer");
    const { event } = await world.inbox.wait("CallTransferAccepted", { call, context: "transfer" });
    if (world.newest) {
      const [target, transferee] = [event.transferTarget.rawId, event.transferee.rawId];
      same([target, transferee], [`4:${name(FRIEND)}`, name(USER)], "the target and who is transferred");
    }
    await world.inbox.wait("CallDisconnected", { call });
  });
}

/** From one call to another. */
export async function moving(world) {
  const { inbox } = world;
  const [here, there] = [await world.connected(FRIEND, "moving-here"), await world.connected(USER, "moving-there")];
  const { connection, call } = here;
  await world.check("move here", async () => {
    const moved = await connection.moveParticipants([USER], there.call, { operationContext: "move" });
    same([moved.operationContext, moved.fromCall], ["move", there.call], "the answer");
    const { event } = await inbox.wait("MoveParticipantSucceeded", { call, context: "move" });
    same([name(event.participant), event.fromCall], [name(USER), there.call], "who, and from where");
    await inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, USER) });
  });
  const third = await world.connected(STUBBORN, "moving-stubborn");
  await world.check("MoveParticipantFailed", async () => {
    await connection.moveParticipants([STUBBORN], third.call, { operationContext: "move-stubborn" });
    const { event } = await inbox.wait("MoveParticipantFailed", { call, context: "move-stubborn" });
    same([name(event.participant), event.fromCall], [name(STUBBORN), third.call], "who, and from where");
  });
  await world.check("the calls end", async () => {
    await world.ended(here);
    await world.ended(third);
    // The call that was left may have ended by itself.
    await there.connection.hangUp(true).catch((error) => same(error.statusCode, 404, "the status"));
    await inbox.wait("CallDisconnected", { call: there.call });
  });
}
