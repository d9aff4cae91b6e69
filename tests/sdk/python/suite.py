"""Drives `hookswitch emulate` with the official Python SDK, over http and over https, and takes the events that come of it
out of RabbitMQ, where `hookswitch serve` put them, with the SDK's own models.

    python suite.py --http URL --https URL --ca FILE --unrecorded URL --key BASE64 --callback URL --amqp URL
                    --calls QUEUE --grid QUEUE

`--unrecorded` is an emulator with another scenario, in which recordings do not start.

One line for each check, `ok NAME` or `FAILED NAME: why`; exit code 1 if one failed.
"""

import argparse
import base64
import sys
import time
from importlib.metadata import version

import calls
import media
import participants
import recording
from checks import Checks, same
from inbox import Inbox
from table import GRID_EVENTS, events, operations
from world import Requests, World, client


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("http", "https", "ca", "unrecorded", "key", "callback", "amqp", "calls", "grid"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def stories(newest: bool):
    """What this version of the SDK can tell."""
    told = [
        calls.outgoing, calls.group, calls.unanswered, calls.refusals, participants.adding, participants.stubborn,
        participants.transferring, media.playing, media.tones, media.silence, recording.recording,
    ]
    return told + [calls.connecting, participants.moving, media.speech, media.streams] if newest else told


def coverage(check: Checks, inbox: Inbox, requests: Requests, newest: bool):
    """Whether everything was asked, everything came, and everything was understood."""
    asked, caused = operations(newest), events(newest)
    with check(f"all {len(asked)} operations were called"):
        same(sorted(requests.made), sorted(asked), "what was called")
    with check(f"all {len(caused)} events came"):
        same(sorted(caused - inbox.kinds()), [], "what is missing")
    with check(f"all {len(GRID_EVENTS)} events of Event Grid came"):
        same(sorted(GRID_EVENTS - inbox.kinds()), [], "what is missing")
    with check(f"all {len(inbox.taken)} messages were parsed by the SDK"):
        same(inbox.broken[:3], [], "what it did not understand")
    with check("a server call id with a slash came"):
        slashes = ["/" in (taken.data.get("serverCallId") or "") for taken in inbox.taken]
        same(any(slashes), True, "whether one did")
    with check("the events of each call are in order, without a gap"):
        lines = inbox.sequences()
        for (queue, call), line in lines.items():
            same(line, list(range(1, len(line) + 1)), f"the sequence of {call} in {queue}")
        same(len(lines) > 0, True, "calls")


def main() -> int:
    args = arguments()
    sdk = version("azure-communication-callautomation")
    newest = sdk != "1.0.0"
    check, requests = Checks(), Requests()
    inbox = Inbox(args.amqp, args.calls, args.grid, newest)
    started, seen = time.monotonic(), set()
    wrong_key = base64.b64encode(b"of somebody else").decode()
    for url in (args.http, args.https):
        scheme = url.partition(":")[0]
        check.prefix = f"python {sdk} {scheme}: "
        world = World(
            client(url, args.ca, args.key, per_call_policies=[requests]),
            client(url, args.ca, wrong_key), newest, args.callback, inbox, check,
        )
        check.story(calls.incoming, world, seen)
        for story in stories(newest):
            check.story(story, world)
    check.prefix = f"python {sdk}: "
    if newest:
        other = client(args.unrecorded, args.ca, args.key)
        check.story(recording.unrecorded, World(other, other, newest, args.callback, inbox, check))
    coverage(check, inbox, requests, newest)
    print(f"{check.passed} passed, {check.failed} failed, {len(inbox.taken)} events, "
          f"{time.monotonic() - started:.1f} s: azure-communication-callautomation {sdk}")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
