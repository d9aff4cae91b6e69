// The other end: takes what Hookswitch put into the queues, and has the SDKs parse it.
import { setTimeout as sleep } from "node:timers/promises";

import { EventGridDeserializer, isSystemEvent } from "@azure/eventgrid";
import amqp from "amqplib";

import { ALL_EVENTS, known } from "./table.mjs";

const PREFIX = "Microsoft.Communication.";
const OF_RECORDINGS = new Set(["RecordingStateChanged", "StartRecordingFailed"]);

/** The endpoint inside a recording id, which is unpadded base64url of an object. */
export function endpoint(recordingId) {
  if (!/^[\w-]+$/.test(recordingId)) throw new Error(`${recordingId} is not base64url without padding`);
  return JSON.parse(Buffer.from(recordingId, "base64url").toString()).PlatformEndpointId;
}

/** Everything that arrived so far, in order. */
export class Inbox {
  taken = [];
  broken = [];
  #parse;
  #known;
  #wake = [];
  #connection;
  #deserializer = new EventGridDeserializer();

  constructor(parse, newest) {
    this.#parse = parse;
    this.#known = new Set(known("events", newest));
  }

  async open(url, calls, grid) {
    this.#connection = await amqp.connect(url);
    const channel = await this.#connection.createChannel();
    // Parsing of one message must not be overtaken by that of the next.
    let last = Promise.resolve();
    for (const [queue, parse] of [[calls, (text) => this.#callback(text)], [grid, (text) => this.#grid(text)]]) {
      await channel.consume(queue, (message) => {
        last = last.then(() => this.#take(queue, parse, message)).then(() => channel.ack(message));
      });
    }
  }

  async close() {
    await this.#connection.close();
  }

  async #take(queue, parse, message) {
    const text = message.content.toString();
    try {
      this.taken.push({ queue, headers: message.properties.headers, ...(await parse(text)) });
    } catch (error) {
      this.broken.push(`${error.name} ${error.message}: ${text.slice(0, 600)}`);
    }
    for (const wake of this.#wake.splice(0)) wake();
  }

  #callback(text) {
    const { type, source, subject, data } = JSON.parse(text);
    const kind = type.replace(PREFIX, "");
    if (!ALL_EVENTS.has(kind)) throw new Error(`${type} is no event of Call Automation`);
    // The parser of 1.0.0 throws where it knows no class; of this one the envelope is all that can be had.
    const unknown = !this.#known.has(kind);
    const event = unknown ? data : this.#parse(text);
    if (!unknown && event.kind !== kind) throw new Error(`the SDK takes ${kind} for ${event.kind}`);
    for (const id of ["callConnectionId", "serverCallId", "correlationId"]) {
      if (!event[id]) throw new Error(`the SDK finds no ${id}`);
    }
    if (OF_RECORDINGS.has(kind)) {
      const path = `calling/recordings/${event.serverCallId}/${event.recordingId}/RecordingStateChanged`;
      if (source !== path || subject !== path) throw new Error(`source ${source} or subject ${subject} is not ${path}`);
      if (endpoint(event.recordingId) !== event.callConnectionId) {
        throw new Error(`${event.callConnectionId} is not the endpoint of the recording`);
      }
    } else if (source !== `calling/callConnections/${event.callConnectionId}`) {
      throw new Error(`source ${source} names another call`);
    }
    return { kind, event, call: event.callConnectionId, context: event.operationContext };
  }

  async #grid(text) {
    // Hookswitch has made a CloudEvent of it, whatever the schema of the subscription.
    const [event] = await this.#deserializer.deserializeCloudEvents(text);
    const kind = event.type.replace(PREFIX, "");
    if (!isSystemEvent(event.type, event)) throw new Error(`${event.type} is no system event`);
    if (!(event.time instanceof Date) || Number.isNaN(event.time.getTime())) throw new Error("no time");
    // The SDK's class leaves out what it does not model.
    return { kind, event: event.data, subject: event.subject, data: JSON.parse(text).data };
  }

  /** The first message of this kind, of this call, with this operation context, for which `where` is true. */
  async wait(kind, { call, context, where, limit = 10_000 } = {}) {
    const deadline = performance.now() + limit;
    for (;;) {
      const found = this.taken.find((taken) =>
        taken.kind === kind &&
        (call === undefined || taken.call === call) &&
        (context === undefined || taken.context === context) &&
        (where === undefined || where(taken.event, taken)));
      if (found) return found;
      const left = deadline - performance.now();
      if (left <= 0) {
        const came = this.taken.filter((taken) => call && taken.call === call).map((taken) => taken.kind);
        throw new Error(`no ${kind} of ${context} within ${limit} ms; of this call came ${came}`);
      }
      const stop = new AbortController();
      await Promise.race([
        new Promise((resolve) => this.#wake.push(resolve)),
        sleep(left, undefined, { signal: stop.signal }).catch(() => {}),
      ]);
      stop.abort();
    }
  }

  kinds() {
    return new Set(this.taken.map((taken) => taken.kind));
  }

  /** Of each queue and call the sequences in the order of arrival. */
  sequences() {
    const lines = new Map();
    for (const { queue, headers } of this.taken) {
      const call = headers["hookswitch-call"];
      if (call === undefined) continue;
      const line = `${call} in ${queue}`;
      lines.set(line, [...(lines.get(line) ?? []), Number(headers["hookswitch-sequence"])]);
    }
    return lines;
  }
}
