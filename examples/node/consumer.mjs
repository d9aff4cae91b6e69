// Takes call events from the queues of one Hookswitch destination: each call in order, each event once.
//
//     node consumer.mjs --store FILE [--amqp URL] [--parking QUEUE] [--prefetch N] QUEUE...
//
// The business logic is in `work` and in `Store.settle`; put yours there. The rest keeps order and drops repeats;
// docs/src/consumer/consume-in-order.md gives the reasons. Several queues are the partitions of one destination: each has its own
// connection. SIGTERM or Ctrl-C finishes the current message and stops.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import amqplib from 'amqplib';
import Database from 'libsql';

// Longer than Hookswitch remembers a sequence (24 h after its last use).
const REMEMBERED_MS = 48 * 60 * 60 * 1000;
const REMEMBERED_IDS = 1_000_000;
const LONGEST_PAUSE_MS = 60_000;

/** No number of tries will handle this message: park it. */
class Poison extends Error {}

/** One message, with the headers that decide about order and repeats. */
class Message {
  constructor(queue, { content, fields, properties }) {
    const headers = properties.headers ?? {};
    this.queue = queue;
    this.properties = properties;
    this.body = content;
    this.redelivered = fields.redelivered;
    this.id = properties.messageId ?? '';
    this.type = properties.type ?? '';
    this.instance = headers['hookswitch-instance'] ?? '';
    this.call = headers['hookswitch-call'] ?? null;
    this.sequence = headers['hookswitch-sequence'] ?? null;
    this.received = Date.parse(headers['hookswitch-received'] ?? new Date().toISOString());
    // The same id with other content is another event, as it is for Hookswitch.
    this.identity = `${this.id} ${createHash('sha256').update(content).digest('hex')}`;
  }
}

/**
 * Your business logic. `Store.settle` writes what it returns, together with the mark that it is done.
 *
 * It may wait for minutes, but must not compute for long: this thread answers heartbeats too (for that there is
 * `node:worker_threads`). What it does outside of the store (a letter, a payment) can happen twice if the process dies in
 * between: hand `message.id` over as the idempotency key there.
 */
async function work(message) {
  let name;
  try {
    name = JSON.parse(message.body.toString()).type.replace(/^Microsoft\.Communication\./, '');
  } catch (error) {
    throw new Poison(`not an event: ${error.message}`, { cause: error });
  }
  await sleep(Number(process.env.WORK_MS ?? 0)); // for trials: slow work
  return name;
}

/** Your database. Effect and progress are in it, so that one transaction writes both. */
class Store {
  constructor(path) {
    this.db = new Database(path);
    this.db.exec(`
      PRAGMA busy_timeout = 30000;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY, queue TEXT, instance TEXT, call TEXT, sequence INTEGER,
        message_id TEXT, name TEXT, body BLOB);
      -- The last event handled of each call.
      CREATE TABLE IF NOT EXISTS calls (
        queue TEXT, instance TEXT, call TEXT, sequence INTEGER, received INTEGER,
        PRIMARY KEY (queue, instance, call)) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS calls_by_age ON calls (queue, received);
      -- What was handled lately, for events without a sequence and for those that come from two instances.
      CREATE TABLE IF NOT EXISTS known (
        number INTEGER PRIMARY KEY, queue TEXT, identity TEXT, instance TEXT, received INTEGER,
        UNIQUE (queue, identity));
      CREATE INDEX IF NOT EXISTS known_by_age ON known (queue, received);
    `);
    const prepare = (sql) => this.db.prepare(sql);
    this.last = prepare('SELECT sequence, received FROM calls WHERE queue = ? AND instance = ? AND call = ?');
    this.known = prepare('SELECT instance FROM known WHERE queue = ? AND identity = ?');
    this.write = prepare(
      'INSERT INTO events (queue, instance, call, sequence, message_id, name, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.advance = prepare(
      `INSERT INTO calls VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue, instance, call) DO UPDATE
       SET sequence = excluded.sequence, received = max(received, excluded.received)`,
    );
    this.know = prepare('INSERT OR REPLACE INTO known (queue, identity, instance, received) VALUES (?, ?, ?, ?)');
    this.forget = [
      prepare('DELETE FROM calls WHERE queue = ? AND received < ?'),
      prepare('DELETE FROM known WHERE queue = ? AND received < ?'),
    ];
    this.forgetMany = prepare('DELETE FROM known WHERE number <= (SELECT max(number) FROM known) - ?');
    // Writes effect and progress in one transaction; false if another consumer has been faster. IMMEDIATE: what is read
    // in the transaction stays true until it is committed.
    this.settle = this.db.transaction((message, effect) => {
      if (this.isRepeat(message)) return false;
      if (effect !== null) {
        const { queue, instance, call, sequence, id, body } = message;
        this.write.run(queue, instance, call, sequence, id, effect, body);
      }
      this.remember(message);
      return true;
    }).immediate;
  }

  /** True for what was handled before. */
  isRepeat(message) {
    if (message.call !== null && message.sequence !== null) {
      const last = this.last.get(message.queue, message.instance, message.call);
      // A sequence begins again at 1 when its call was silent for a day. Then it is a later event, not a repeat.
      if (last && message.sequence <= last.sequence && message.received <= last.received) return true;
    }
    const known = this.known.get(message.queue, message.identity);
    // On one instance the sequence decides: two equal events of a sender that gives no ids are two events.
    return known !== undefined && (message.sequence === null || known.instance !== message.instance);
  }

  /**
   * Notes that the message is done, and forgets what nobody will ask for any more.
   *
   * Age is counted in the time of the messages: a consumer that was away for a week finds its memory as it left it.
   */
  remember({ queue, instance, call, sequence, received, identity }) {
    if (call !== null && sequence !== null) this.advance.run(queue, instance, call, sequence, received);
    this.know.run(queue, identity, instance, received);
    for (const forget of this.forget) forget.run(queue, received - REMEMBERED_MS);
    this.forgetMany.run(REMEMBERED_IDS);
  }
}

/** Takes from one queue until it is told to stop, over as many connections as that needs. */
class Consumer {
  constructor(queue, options, store, stopping) {
    this.queue = queue;
    this.options = options;
    this.store = store;
    this.stopping = stopping;
    this.pause = 1_000;
    // One message after the other, also when an old connection was lost in the middle of its message.
    this.tail = Promise.resolve();
  }

  async run() {
    while (!this.stopping.aborted) {
      try {
        await this.take();
      } catch (error) {
        // On any error try again later; the message keeps its place.
        console.error(`${this.queue}: ${error.message}, again in about ${this.pause} ms`);
        const pause = this.pause * (0.5 + Math.random() / 2);
        await sleep(pause, null, { signal: this.stopping }).catch(() => {});
        this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
      }
    }
    await this.tail;
  }

  /** One connection, until it is lost (then it throws) or the program is asked to stop. */
  async take() {
    const connection = await amqplib.connect(this.options.amqp, { timeout: 10_000 });
    const end = new AbortController();
    const lost = (error) => end.abort(error ?? new Error('the connection was closed'));
    const stop = () => end.abort();
    connection.on('error', lost).on('close', lost);
    this.stopping.addEventListener('abort', stop);
    try {
      const channel = await connection.createChannel();
      channel.on('error', lost).on('close', lost);
      // Passive: the receiver or the operator declares queues, and other arguments would be an error.
      await channel.checkQueue(this.queue);
      await channel.prefetch(this.options.prefetch);
      await channel.consume(this.queue, (delivery) => {
        // null: the queue was deleted, or its node is shutting down.
        if (delivery === null) return lost(new Error('the broker cancelled the consumer'));
        this.tail = this.tail.then(() => this.handle(channel, delivery, end.signal)).catch(lost);
      });
      if (this.stopping.aborted) stop();
      if (!end.signal.aborted) await once(end.signal, 'abort');
      if (!this.stopping.aborted) throw end.signal.reason;
      // The current message is finished first.
      await this.tail;
    } finally {
      this.stopping.removeEventListener('abort', stop);
      // Unacknowledged messages go back to the head of the queue, in order. If it is closed already, that has happened.
      await connection.close().catch(() => {});
    }
  }

  async handle(channel, delivery, end) {
    // After a failure no later message may be handled: they all come again, in order.
    if (end.aborted) return;
    await this.settle(new Message(this.queue, delivery));
    // The acknowledgement is the last thing: until then the broker keeps the message for us.
    channel.ack(delivery);
    this.pause = 1_000;
  }

  async settle(message) {
    let outcome = 'handled';
    if (this.store.isRepeat(message)) {
      outcome = 'dropped';
    } else {
      let effect = null;
      try {
        effect = await work(message);
      } catch (error) {
        if (!(error instanceof Poison)) throw error;
        await this.park(message, error);
        outcome = 'parked';
      }
      if (!this.store.settle(message, effect)) outcome = 'dropped';
    }
    const again = message.redelivered ? ' (redelivered)' : '';
    console.log(`${outcome} ${message.queue} ${message.call} ${message.sequence} ${message.type}${again}`);
  }

  /**
   * Puts a message aside for a person and lets its call go on. On a connection of its own: one that publishes can be
   * blocked by the broker, and then could not acknowledge either.
   */
  async park(message, reason) {
    const { parking, amqp } = this.options;
    if (parking === undefined) throw new Error(`poison, and no --parking queue: ${reason.message}`);
    const { headers, ...properties } = message.properties;
    const connection = await amqplib.connect(amqp, { timeout: 10_000 });
    try {
      let failure;
      connection.on('error', (error) => (failure = error));
      const channel = await connection.createConfirmChannel();
      channel.on('error', (error) => (failure = error));
      channel.on('return', () => (failure = new Error(`there is no queue ${parking}`)));
      channel.sendToQueue(parking, message.body, {
        ...properties,
        headers: { ...headers, 'parked-from': message.queue, 'parked-because': reason.message },
        persistent: true,
        mandatory: true,
      });
      await channel.waitForConfirms();
      if (failure) throw failure;
    } finally {
      await connection.close().catch(() => {});
    }
  }
}

const environment = process.env;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    amqp: { type: 'string', default: environment.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672/%2f' },
    store: { type: 'string', default: environment.STORE ?? 'events.sqlite' },
    parking: { type: 'string', default: environment.PARKING },
    prefetch: { type: 'string', default: environment.PREFETCH ?? '1' },
  },
});
const queues = positionals.length > 0 ? positionals : (environment.QUEUES ?? '').split(' ').filter(Boolean);
const prefetch = Number(values.prefetch);
if (queues.length === 0 || !(prefetch >= 1)) {
  console.error('usage: node consumer.mjs --store FILE [--amqp URL] [--parking QUEUE] [--prefetch N] QUEUE...');
  process.exit(64);
}
const amqp = new URL(values.amqp);
if (!amqp.searchParams.has('heartbeat')) amqp.searchParams.set('heartbeat', '20');
const options = { ...values, amqp: amqp.href, prefetch };

const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stopping.abort());
const store = new Store(values.store);
await Promise.all(queues.map((queue) => new Consumer(queue, options, store, stopping.signal).run()));
