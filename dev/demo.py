"""The course of `dev/demo`: an application makes calls, parts of the system fail, and every queue is read call by call."""

import json
import os
import random
import signal
import sys
import threading
import time

from demo_accounting import CONTOSO, DIGITS, FABRIKAM, GRID, QUARANTINE, Accounts, Posted
from demo_calls import CALLEES, Api, Ga, Private, Public
from demo_processes import Failed, Processes, eventually, note, say
from demo_queues import Consumer, take

SPEED = 5
MISBEHAVIOUR = "reorder=0.1,duplicate=0.1,batch=0.1,late=0.05,drop=0.05"
# The schedule of the service is not known; the demo must not take minutes.
RETRIES = ",".join(["200ms"] * 5 + ["600ms"] * 100)
# It starts again at 0 with a new process.
DUPLICATE = 'hookswitch_events_total{outcome="duplicate"}'


class Calls:
    """All calls, each on its own thread."""

    def __init__(self, processes, api):
        self.processes, self.api = processes, api
        self.all, self.threads, self.errors = [], [], []

    def start(self):
        """Starts one more call of each generation."""
        number = len(self.all) // 3
        for kind in (Private, Public, Ga):
            call = kind(self.processes, self.api, CALLEES[number % len(CALLEES)], SPEED, number)
            # Created one after the other, because the seed decides by the number of the call.
            call.create()
            self.all.append(call)
            self.threads.append(threading.Thread(target=self.run, args=[call], daemon=True))
            self.threads[-1].start()

    def run(self, call):
        try:
            call.run()
        except Exception as error:
            self.errors.append(f"{call.generation}: {error!r}")

    def check(self):
        if self.errors:
            raise Failed("; ".join(self.errors))
        return True

    def join(self):
        for thread in self.threads:
            thread.join(120)
        self.check()


def until_more(processes, calls):
    """Waits until ten more events are accepted. New calls have more events than that."""
    wanted = processes.emulator("summary")["accepted"] + 10
    eventually("more events are accepted", 60, lambda: calls.check() and processes.emulator("summary")["accepted"] >= wanted)


def break_things(processes, calls):
    """Stops the broker and kills the receiver, both in the middle of calls. Returns the duplicates that the killed one counted."""
    calls.start()
    until_more(processes, calls)
    note("three calls are running; the broker is stopped: callbacks are still answered 202, they are on disk")
    processes.rabbitmq("stop")
    calls.start()
    until_more(processes, calls)
    note("three more; the receiver is killed with SIGKILL: the emulator repeats the callbacks without an answer")
    known = processes.metric(DUPLICATE)
    processes.kill("receiver")
    calls.start()
    time.sleep(1.5)
    processes.start_receiver()
    until_more(processes, calls)
    note("three more; the receiver is back, and the broker is started: pending events are delivered, older events of a call first")
    starting = threading.Thread(target=processes.rabbitmq, args=["start"])
    starting.start()
    calls.start()
    starting.join()
    calls.join()
    note("all calls have hung up")
    return known


def settle(processes):
    """Waits until no more events are created, posted or pending."""
    eventually("the emulator is quiet", 60, lambda: processes.emulator("summary")["quiet"])
    # Copies of events may still be on their way; they are posted after two seconds at the latest.
    time.sleep(3 / SPEED)
    eventually("the emulator is quiet", 60, lambda: processes.emulator("summary")["quiet"])
    eventually("nothing is pending", 60, lambda: processes.metric("hookswitch_deliveries_pending") == 0)


def by_hand(processes):
    """Requests that no calling service sends."""
    broken = {
        "id": "broken-1", "source": "calling/callConnections", "type": "Microsoft.Communication.CallConnected",
        "specversion": "1.0", "subject": "calling/callConnections", "time": "2026-01-02T03:04:05.0000000+00:00",
        "datacontenttype": "application/json", "data": {"serverCallId": "aHR0", "correlationId": "c"},
    }
    status, answer = processes.post("/callbacks/contoso", json.dumps(broken))
    note(f"an unsigned event -> {status}: {answer.get('detail')}")
    if status != 401:
        raise Failed("an unsigned event was not refused")
    trusted = f"/callbacks/resource?code={processes.secret}"
    status, answer = processes.post(trusted, json.dumps(broken))
    errors = [error["message"] for event in answer.get("quarantined", []) for error in event["errors"]]
    note(f"with the secret, an event without callConnectionId -> {status}, quarantined: {'; '.join(errors)}")
    if status != 202 or not errors:
        raise Failed("the broken event was not quarantined")
    status, answer = processes.post(trusted, '{"id": "1", "id": "2"}')
    note(f"a duplicate member name -> {status}: {answer.get('detail')}")
    if status != 400:
        raise Failed("a broken body was not refused")


def consumers(processes):
    """Two applications. Without the packages of an example, `hookswitch consume` reads its queues afterwards."""
    python, node = os.environ.get("DEMO_PYTHON"), os.environ.get("DEMO_NODE")
    live = []
    if python:
        live.append(Consumer(processes, "contoso", CONTOSO, python, "examples/python/consumer.py"))
    if node:
        live.append(Consumer(processes, "fabrikam", [FABRIKAM], node, "examples/node/consumer.mjs"))
    for consumer in live:
        note(f"consumer {consumer.name}: {consumer.command} takes {' '.join(consumer.queues)}")
    return live


def read(processes, live, posted):
    """All messages of all queues, and those in quarantine."""

    def complete(consumer):
        processes.up(consumer.name)
        return len(consumer.messages()) >= posted.accepted(consumer.name)

    messages = []
    for consumer in live:
        try:
            eventually(f"{consumer.name} has everything", 90, lambda: complete(consumer))
        except Failed as why:
            note(f"{why}")
        messages += consumer.messages()
    rest = [*CONTOSO, FABRIKAM, DIGITS, GRID, QUARANTINE]
    rest = [queue for queue in rest if not any(queue in consumer.queues for consumer in live)]
    taken = take(processes, rest)
    messages += [message for message in taken if message["queue"] != QUARANTINE]
    return messages, [message for message in taken if message["queue"] == QUARANTINE]


def closing_table(summary, posted, accounts, duplicates, live, calls, started):
    dropped = sum(consumer.dropped() for consumer in live) + accounts.repeated
    misbehaved = ", ".join(f"{count} {name}" for name, count in summary["misbehaved"].items()) or "none"
    rows = [
        ("calls", len(calls.all), f"in three generations, by {calls.api.asked} signed requests"),
        ("sent", summary["events"], f"events in {summary['posts']} posts; misbehaviour: {misbehaved}"),
        ("unanswered", posted.unanswered, "posts while the receiver was dead, posted again by the emulator"),
        ("accepted", summary["accepted"], f"events with a 2xx, {summary['givenUp']} given up"),
        ("delivered", accounts.delivered, f"events, each into the queue of its call; {accounts.twice} of them twice"),
        ("duplicates", int(duplicates), "events that the receiver knew: copies, and answers that the emulator did not read"),
        ("repeats", dropped, "messages repeated in a row after a fault, dropped by the consumers"),
        ("out of order", summary["outOfOrder"], "pairs of events that the emulator swapped before it posted them"),
        ("inversions", accounts.inversions, "against the order of acceptance, in any call of any queue"),
        ("lost", accounts.lost, "accepted, but in no queue"),
    ]
    for name, count, says in rows:
        print(f"  {name:13} {count:5}  {says}")
    print(f"  in {time.monotonic() - started:.0f} s, seed {summary['seed']}", flush=True)


def run(processes, keep):
    started = time.monotonic()
    seed = int(os.environ.get("DEMO_SEED") or random.randrange(1, 1_000_000))
    say("starting the receiver, the calling service and two consumers")
    processes.start_receiver()
    note(f"receiver: callbacks to http://127.0.0.1:{processes.port}/callbacks/{{contoso,fabrikam,resource}}, admin on http://127.0.0.1:{processes.admin}")
    key = processes.start_emulator(
        "--scenario", "config/scenarios/demo.toml", "--speed", str(SPEED), "--seed", str(seed),
        "--misbehave", MISBEHAVIOUR, "--retries", RETRIES,
        "--event-grid", f"http://127.0.0.1:{processes.port}/callbacks/resource?code={processes.secret}", "--event-grid-handshake", "ask")
    eventually("the receiver has the keys of the calling service", 60, processes.signs_are_known)
    note("auth is on: the calling service signs its callbacks, its Event Grid sends a shared secret")
    note(f"calling service: hookswitch emulate at http://127.0.0.1:{processes.api}, access key {key}")
    note(f"misbehaviour: {MISBEHAVIOUR}, seed {seed} (to repeat it: DEMO_SEED={seed} dev/demo)")
    live = consumers(processes)

    say("calls of three generations, while broker and receiver fail")
    calls = Calls(processes, Api(processes.api, key))
    duplicates = break_things(processes, calls)
    settle(processes)
    duplicates += processes.metric(DUPLICATE)

    say("three requests that no calling service sends")
    by_hand(processes)

    say("what the queues received")
    eventually("nothing is pending", 60, lambda: processes.metric("hookswitch_deliveries_pending") == 0)
    posted = Posted(processes.emulator("callbacks"))
    summary = processes.emulator("summary")
    messages, kept = read(processes, live, posted)
    accounts = Accounts(posted, messages, calls.all)
    accounts.show()
    for message in kept:
        print(f"\n{QUARANTINE}: {message['type']}, reason {message.get('headers', {}).get('hookswitch-reason')}")

    say("totals")
    closing_table(summary, posted, accounts, duplicates, live, calls, started)
    if [message.get("headers", {}).get("hookswitch-reason") for message in kept] != ["invalid"]:
        raise Failed("the quarantine does not hold the one broken event")
    if summary["accepted"] != summary["events"] or posted.accepted() != summary["accepted"]:
        raise Failed("not every event was accepted")
    if accounts.delivered != summary["accepted"] or not accounts.good():
        raise Failed("a promise was broken")
    if keep:
        say("everything keeps running; Ctrl-C ends it")
        note(f"calling service  http://127.0.0.1:{processes.api}   access key {key}")
        note(f"receiver         http://127.0.0.1:{processes.port}/callbacks/contoso   admin http://127.0.0.1:{processes.admin}/readyz")
        note(f"broker           {processes.amqp}")
        processes.running["receiver"].wait()


def interrupted(number, frame):
    # Once: a second signal must not interrupt the cleanup.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("\ninterrupted", flush=True)
    raise SystemExit(128 + number)


def main():
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    binary, work, amqp, *keep = sys.argv[1:]
    processes = Processes(binary, work, amqp)
    try:
        run(processes, keep)
    except (Failed, OSError) as why:
        print(f"\nDEMO FAILED: {why}", flush=True)
        processes.print_logs()
        sys.exit(1)
    finally:
        processes.stop()


main()
