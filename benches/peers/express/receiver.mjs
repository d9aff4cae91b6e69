// The callback endpoint that a Node team writes: Express, ajv, amqplib with a confirm channel.
//
// A callback is answered 202 when the broker has confirmed each of its events on one durable quorum queue (persistent,
// mandatory), 422 when an event does not fit the schema of its type, 503 when the broker did not take it.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import Ajv2020 from "ajv/dist/2020.js";
import amqplib from "amqplib";
import express from "express";

const queue = process.env.PEER_QUEUE;
const schemas = process.env.PEER_SCHEMAS;
const base = "schemas:///";

function validators() {
  // Strict mode would refuse our own annotations, and in 2020-12 a format is an annotation, too.
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  for (const directory of ["ga", "shared"]) {
    for (const name of readdirSync(join(schemas, directory))) {
      const text = readFileSync(join(schemas, directory, name), "utf8");
      ajv.addSchema(JSON.parse(text), `${base}${directory}/${name}`);
    }
  }
  const rows = JSON.parse(readFileSync(join(schemas, "catalog.json"), "utf8")).events;
  return new Map(
    rows
      .filter((row) => row.generation === "ga")
      .map((row) => [row.type, ajv.getSchema(base + row.schema)]),
  );
}

let channel;
const returned = new Set();

async function connect() {
  try {
    const connection = await amqplib.connect(process.env.PEER_AMQP);
    connection.on("error", () => {});
    connection.on("close", () => {
      channel = undefined;
      setTimeout(connect, 100);
    });
    const opened = await connection.createConfirmChannel();
    opened.on("error", () => {});
    opened.on("return", (message) => returned.add(message.properties.messageId));
    await opened.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
    channel = opened;
  } catch {
    setTimeout(connect, 100);
  }
}

function publish(event) {
  return new Promise((resolve, reject) => {
    if (!channel) {
      reject(new Error("not connected"));
      return;
    }
    const properties = {
      contentType: "application/cloudevents+json",
      persistent: true,
      mandatory: true,
      messageId: event.id,
    };
    channel.publish("", queue, Buffer.from(JSON.stringify(event)), properties, (error) => {
      if (error || returned.delete(event.id)) reject(error ?? new Error("no queue"));
      else resolve();
    });
  });
}

const known = validators();
const app = express();
app.disable("x-powered-by");
app.use(express.json({ limit: "1mb", type: () => true }));

app.post("/callbacks/*name", async (request, response) => {
  const events = Array.isArray(request.body) ? request.body : [request.body];
  for (const event of events) {
    const validate = known.get(event.type);
    if (!validate) return response.status(422).json({ error: "unknown type" });
    if (!validate(event.data)) return response.status(422).json({ errors: validate.errors });
    try {
      await publish(event);
    } catch {
      return response.status(503).set("Retry-After", "1").json({ error: "the broker did not take it" });
    }
  }
  response.status(202).json({ accepted: true });
});

await connect();
app.listen(Number(process.env.PEER_PORT), "127.0.0.1");
