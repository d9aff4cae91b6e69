"""Takes call events from the queues of one Hookswitch destination: each call in order, each event once.

    consumer.py --store FILE [--amqp URL] [--parking QUEUE] QUEUE...

The business logic is in `work` and in `Store.settle`; put yours there. The rest keeps order and drops repeats;
docs/src/consumer/consume-in-order.md gives the reasons. Several queues are the partitions of one destination: each has its own
connection and thread. SIGTERM or Ctrl-C finishes the current message and stops.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pika
from pika.exceptions import AMQPError

# More would not keep order: when pika closes, it rejects the messages that it has not handed over yet, and
# a quorum queue puts those at its end.
PREFETCH = 1
# Longer than Hookswitch remembers a sequence (24 h after its last use).
REMEMBERED_MS = 48 * 60 * 60 * 1000
REMEMBERED_IDS = 1_000_000
LONGEST_PAUSE_SECONDS = 60


class Poison(Exception):
    """This message can never be handled: park it."""


class Message:
    """One message, with the headers that decide about order and repeats."""

    def __init__(self, queue, method, properties, body):
        headers = properties.headers or {}
        self.queue = queue
        self.properties = properties
        self.body = body
        self.redelivered = method.redelivered
        self.id = properties.message_id or ""
        self.type = properties.type or ""
        self.instance = headers.get("hookswitch-instance", "")
        self.call = headers.get("hookswitch-call")
        self.sequence = headers.get("hookswitch-sequence")
        self.received = milliseconds(headers.get("hookswitch-received"))
        # The same id with other content is another event, as it is for Hookswitch.
        self.identity = f"{self.id} {hashlib.sha256(body).hexdigest()}"


def milliseconds(moment):
    """An RFC 3339 time as milliseconds since the epoch; the current time if there is none."""
    if moment is None:
        return time.time_ns() // 1_000_000
    return round(datetime.datetime.fromisoformat(moment).timestamp() * 1000)


def work(message):
    """Your business logic. `Store.settle` writes what it returns, together with the mark that it is done.

    It may take minutes: it runs beside the connection. What it does outside of the store (a letter, a payment) can happen
    twice if the process dies in between: hand `message.id` over as the idempotency key there.
    """
    try:
        event = json.loads(message.body)
        name = event["type"].removeprefix("Microsoft.Communication.")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Poison(f"not an event: {error!r}") from error
    time.sleep(int(os.environ.get("WORK_MS", "0")) / 1000)  # for trials: slow work
    return name


class Store:
    """Your database. Effect and progress are in it, so that one transaction writes both."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self.db.executescript(
            """
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
            """
        )

    @contextlib.contextmanager
    def transaction(self):
        """IMMEDIATE: what is read in the transaction stays true until it is committed."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def is_repeat(self, message):
        """True for a message that was handled before."""
        if message.call is not None and message.sequence is not None:
            last = self.db.execute(
                "SELECT sequence, received FROM calls WHERE queue = ? AND instance = ? AND call = ?",
                (message.queue, message.instance, message.call),
            ).fetchone()
            # A sequence begins again at 1 when its call was silent for a day. Then it is a later event, not a repeat.
            if last and message.sequence <= last[0] and message.received <= last[1]:
                return True
        known = self.db.execute(
            "SELECT instance FROM known WHERE queue = ? AND identity = ?", (message.queue, message.identity)
        ).fetchone()
        # On one instance the sequence decides: two equal events of a sender that gives no ids are two events.
        return known is not None and (message.sequence is None or known[0] != message.instance)

    def settle(self, message, effect):
        """Writes effect and progress in one transaction; False if another consumer has been faster."""
        with self.transaction():
            if self.is_repeat(message):
                return False
            if effect is not None:
                self.db.execute(
                    "INSERT INTO events (queue, instance, call, sequence, message_id, name, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (message.queue, message.instance, message.call, message.sequence, message.id, effect, message.body),
                )
            self.remember(message)
            return True

    def remember(self, message):
        """Notes that the message is done, and deletes expired rows.

        Age is counted in the time of the messages: a consumer that was down for a week keeps its rows.
        """
        queue, received = message.queue, message.received
        if message.call is not None and message.sequence is not None:
            self.db.execute(
                "INSERT INTO calls VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue, instance, call) DO UPDATE"
                " SET sequence = excluded.sequence, received = max(received, excluded.received)",
                (queue, message.instance, message.call, message.sequence, received),
            )
        self.db.execute(
            "INSERT OR REPLACE INTO known (queue, identity, instance, received) VALUES (?, ?, ?, ?)",
            (queue, message.identity, message.instance, received),
        )
        for table in ("calls", "known"):
            self.db.execute(f"DELETE FROM {table} WHERE queue = ? AND received < ?", (queue, received - REMEMBERED_MS))
        self.db.execute("DELETE FROM known WHERE number <= (SELECT max(number) FROM known) - ?", (REMEMBERED_IDS,))


class Consumer(threading.Thread):
    """Consumes one queue until it is told to stop, and reconnects as often as needed."""

    def __init__(self, queue, options, stopping):
        super().__init__(name=queue)
        self.queue = queue
        self.parking = options.parking
        self.parameters = pika.URLParameters(options.amqp)
        self.parameters.heartbeat = 20
        self.parameters.blocked_connection_timeout = 60
        self.stopping = stopping
        self.pause = 1
        self.store = Store(options.store)
        # One thread, so one message at a time, also when an old connection was lost in the middle of its message.
        self.worker = ThreadPoolExecutor(max_workers=1)

    def run(self):
        while not self.stopping.is_set():
            connection = None
            try:
                connection = pika.BlockingConnection(self.parameters)
                self.take(connection)
            except Exception as error:  # on any error try again later; the message keeps its place
                print(f"{self.queue}: {error!r}, again in about {self.pause} s", file=sys.stderr, flush=True)
                # The current message goes back to the head of the queue. It is the only one that this connection may
                # have (PREFETCH), so pika has nothing to reject.
                if connection is not None and connection.is_open:
                    with contextlib.suppress(AMQPError):
                        connection.close()
                self.stopping.wait(self.pause * random.uniform(0.5, 1))
                self.pause = min(2 * self.pause, LONGEST_PAUSE_SECONDS)
        self.worker.shutdown()

    def take(self, connection):
        channel = connection.channel()
        # Passive: the receiver or the operator declares queues, and other arguments would be an error.
        channel.queue_declare(self.queue, passive=True)
        channel.basic_qos(prefetch_count=PREFETCH)
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.5):
            if method is not None:
                self.handle(connection, Message(self.queue, method, properties, body))
                if self.stopping.is_set():
                    # Before the acknowledgement, so that no other message is on its way.
                    channel.cancel()
                    channel.basic_ack(method.delivery_tag)
                    connection.close()
                    return
                channel.basic_ack(method.delivery_tag)
                self.pause = 1
            elif self.stopping.is_set():
                # Not closed: pika would reject a message that arrives now. The end of the process closes it.
                return
        # The queue was deleted, or its node is shutting down.
        raise ConnectionError("the broker cancelled the consumer")

    def handle(self, connection, message):
        """Does the work on the worker thread; meanwhile this thread answers heartbeats."""

        def wake(_: Future):
            with contextlib.suppress(AMQPError):
                connection.add_callback_threadsafe(lambda: None)

        job = self.worker.submit(self.settle, message)
        job.add_done_callback(wake)
        while not job.done():
            connection.process_data_events(time_limit=1)
        job.result()

    def settle(self, message):
        outcome = "handled"
        if self.store.is_repeat(message):
            outcome = "dropped"
        else:
            try:
                effect = work(message)
            except Poison as reason:
                self.park(message, reason)
                effect, outcome = None, "parked"
            if not self.store.settle(message, effect):
                outcome = "dropped"
        again = " (redelivered)" if message.redelivered else ""
        print(f"{outcome} {self.queue} {message.call} {message.sequence} {message.type}{again}", flush=True)

    def park(self, message, reason):
        """Puts a message aside for manual handling, so that its call goes on. It uses a separate connection: one that
        publishes can be blocked by the broker, and then could not acknowledge either."""
        if self.parking is None:
            raise RuntimeError(f"poison, and no --parking queue: {reason}") from reason
        properties = message.properties
        properties.headers = {**(properties.headers or {}), "parked-from": self.queue, "parked-because": str(reason)}
        properties.delivery_mode = 2
        connection = pika.BlockingConnection(self.parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            # Raises if the broker returns the message (the queue does not exist) or refuses it.
            channel.basic_publish("", self.parking, message.body, properties, mandatory=True)
        finally:
            with contextlib.suppress(AMQPError):
                connection.close()


def main():
    environment = os.environ.get
    parser = argparse.ArgumentParser(description="Takes call events in order, each once.")
    parser.add_argument("--amqp", default=environment("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"))
    parser.add_argument("--store", default=environment("STORE", "events.sqlite"), help="one file for each destination")
    parser.add_argument("--parking", default=environment("PARKING"), help="queue for what cannot be handled; it must exist")
    queues = environment("QUEUES", "").split()
    parser.add_argument("queues", nargs="*" if queues else "+", default=queues, metavar="QUEUE")
    options = parser.parse_args()

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    consumers = [Consumer(queue, options, stopping) for queue in options.queues]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()


if __name__ == "__main__":
    main()
