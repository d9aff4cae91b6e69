// The SDK under test, of either version, pointed at the emulator; and who is called.
import { readFileSync } from "node:fs";

import { same } from "./checks.mjs";
import { operation } from "./table.mjs";

// What they do is written in tests/sdk/scenario.toml.
const phone = (phoneNumber) => ({ phoneNumber });
export const CALLER = phone("+15550100");
export const FRIEND = phone("+15550101");
export const DECLINES = phone("+15550110");
export const BUSY = phone("+15550111");
export const NEVER_ANSWERS = phone("+15550112");
export const PRESSES = phone("+15550120");
export const SPEAKS = phone("+15550121");
export const STUBBORN = phone("+15550130");
export const NOBODY = phone("+15550199");
const RESOURCE = "8:acs:5c2a5d4e-0f43-4a5c-9c5e-1f6a3f0b7a11_0000001a-0000-0000-0000";
export const USER = { communicationUserId: `${RESOURCE}-000000000001` };
export const COLLEAGUE = { communicationUserId: `${RESOURCE}-000000000002` };

export const PROMPT = { url: "https://contoso.example/welcome.wav", kind: "fileSource" };
export const BROKEN = { url: "https://contoso.example/broken.wav", kind: "fileSource" };

/** The SDK's identifier in a form in which two can be compared. */
export function name(identifier) {
  return identifier?.phoneNumber ?? identifier?.communicationUserId ?? JSON.stringify(identifier);
}

/** What ParticipantsUpdated says of one participant. */
export function entry(event, who) {
  return event.participants.find((participant) => name(participant.identifier) === name(who));
}

/** How the SDK says whom to call, and as whom. */
export function invite(who) {
  return who.phoneNumber
    ? { targetParticipant: who, sourceCallIdNumber: CALLER }
    : { targetParticipant: who };
}

/** Over http the SDK has to be allowed to; over https it has to trust the emulator's own authority. */
export function client(sdk, url, ca, key, made) {
  const note = {
    name: "note",
    sendRequest(request, next) {
      made?.add(operation(request.method, new URL(request.url).pathname));
      return next(request);
    },
  };
  const options = url.startsWith("http:")
    ? { allowInsecureConnection: true }
    : { tlsOptions: { ca: readFileSync(ca) } };
  return new sdk.CallAutomationClient(`endpoint=${url}/;accesskey=${key}`, {
    ...options,
    additionalPolicies: [{ policy: note, position: "perCall" }],
  });
}

/** What every story needs. */
export class World {
  constructor(client, stranger, newest, callback, inbox, checks) {
    Object.assign(this, { client, stranger, newest, callback, inbox, checks });
  }

  check(name, act) {
    return this.checks.check(name, act);
  }

  must(name, act) {
    return this.checks.must(name, act);
  }

  create(who, operationContext, options = {}) {
    return this.client.createCall(invite(who), this.callback, { operationContext, ...options });
  }

  /** A call with somebody who has joined, or the end of the story. */
  connected(who, context, options) {
    return this.must(`${context}: a call to ${name(who)}`, async () => {
      const { callConnection, callConnectionProperties } = await this.create(who, context, options);
      const call = callConnectionProperties.callConnectionId;
      const connected = await this.inbox.wait("CallConnected", { call, context });
      same(connected.event.callConnectionId, call);
      await this.inbox.wait("ParticipantsUpdated", { call, where: (event) => entry(event, who) });
      return { connection: callConnection, call, properties: callConnectionProperties };
    });
  }

  /** Ends a call for everyone, and waits until that is said. */
  async ended({ connection, call }) {
    await connection.hangUp(true);
    await this.inbox.wait("CallDisconnected", { call });
  }
}
