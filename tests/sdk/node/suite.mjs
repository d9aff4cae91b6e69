// Drives `hookswitch emulate` with the official JavaScript SDK, over http and over https, and takes the events that come of
// it out of RabbitMQ, where `hookswitch serve` put them, with the SDK's own parsers.
//
//   node suite.mjs --sdk newest|1.0.0 --http URL --https URL --ca FILE --unrecorded URL --key BASE64
//                  --callback URL --amqp URL --calls QUEUE --grid QUEUE
//
// --unrecorded is an emulator with another scenario, in which recordings do not start.
//
// One line for each check, `ok NAME` or `FAILED NAME: why`; exit code 1 if one failed.
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";

import * as calls from "./calls.mjs";
import { Checks, same } from "./checks.mjs";
import { Inbox } from "./inbox.mjs";
import * as media from "./media.mjs";
import * as participants from "./participants.mjs";
import { recording, unrecorded } from "./recording.mjs";
import { GRID_EVENTS, known } from "./table.mjs";
import { World, client } from "./world.mjs";

const PACKAGES = { newest: "@azure/communication-call-automation", "1.0.0": "call-automation-1.0.0" };

/** What this version of the SDK can tell. */
function stories(newest) {
  const told = [
    calls.outgoing, calls.group, calls.unanswered, calls.refusals, participants.adding, participants.stubborn,
    participants.transferring, media.playing, media.tones, media.silence, recording,
  ];
  return newest ? [...told, calls.connecting, participants.moving, media.speech, media.streams] : told;
}

/** Whether everything was asked, everything came, and everything was understood. */
async function coverage(checks, inbox, made, newest) {
  const [asked, caused] = [known("operations", newest), known("events", newest)];
  const kinds = inbox.kinds();
  await checks.check(`all ${asked.length} operations were called`, () =>
    same([...made].sort(), [...asked].sort(), "what was called"));
  await checks.check(`all ${caused.length} events came`, () =>
    same(caused.filter((kind) => !kinds.has(kind)), [], "what is missing"));
  await checks.check(`all ${GRID_EVENTS.length} events of Event Grid came`, () =>
    same(GRID_EVENTS.filter((kind) => !kinds.has(kind)), [], "what is missing"));
  await checks.check(`all ${inbox.taken.length} messages were parsed by the SDK`, () =>
    same(inbox.broken.slice(0, 3), [], "what it did not understand"));
  await checks.check("a server call id with a slash came", () =>
    same(inbox.taken.some(({ event }) => event.serverCallId?.includes("/")), true, "whether one did"));
  await checks.check("the events of each call are in order, without a gap", () => {
    const lines = inbox.sequences();
    for (const [call, line] of lines) same(line, line.map((_, index) => index + 1), `the sequence of ${call}`);
    same(lines.size > 0, true, "calls");
  });
}

async function main() {
  const names = ["sdk", "http", "https", "ca", "unrecorded", "key", "callback", "amqp", "calls", "grid"];
  const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
  for (const name of names) if (!values[name]) throw new Error(`--${name} is missing`);
  const newest = values.sdk === "newest";
  const where = new URL(`node_modules/${PACKAGES[values.sdk]}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(where, "utf8"));
  const sdk = await import(PACKAGES[values.sdk]);

  const [checks, made, seen, started] = [new Checks(), new Set(), new Set(), performance.now()];
  const inbox = new Inbox(sdk.parseCallAutomationEvent, newest);
  await inbox.open(values.amqp, values.calls, values.grid);
  const wrongKey = Buffer.from("of somebody else").toString("base64");
  for (const url of [values.http, values.https]) {
    checks.prefix = `node ${version} ${url.split(":")[0]}: `;
    const world = new World(
      client(sdk, url, values.ca, values.key, made),
      client(sdk, url, values.ca, wrongKey),
      newest, values.callback, inbox, checks,
    );
    await checks.story(calls.incoming, world, seen);
    for (const story of stories(newest)) await checks.story(story, world);
  }
  checks.prefix = `node ${version}: `;
  if (newest) {
    const other = client(sdk, values.unrecorded, values.ca, values.key);
    await checks.story(unrecorded, new World(other, other, newest, values.callback, inbox, checks));
  }
  await coverage(checks, inbox, made, newest);
  await inbox.close();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${checks.passed} passed, ${checks.failed} failed, ${inbox.taken.length} events, ${seconds} s: ` +
    `@azure/communication-call-automation ${version}`);
  return checks.failed ? 1 : 0;
}

process.exitCode = await main();
