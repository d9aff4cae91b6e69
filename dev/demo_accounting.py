"""The accounting of `dev/demo`: compares what the emulator posted with what the queues held.

It checks the order in two independent ways. In a queue, the sequence of a call is 1, 2, 3 …, the receiver's
own order of acceptance. And events that the emulator posted one after the other are in the queue in the order of their first 2xx.

A recording that was started by its server call, as all are here, names no connection of a call. If its first event comes
before any event that names connection and server call together, it is kept under its server call id, as a separate call.
"""

import textwrap
from collections import Counter, OrderedDict

from demo_processes import styled

CONTOSO = [f"contoso.calls.{n}" for n in range(4)]
DIGITS, FABRIKAM, GRID, QUARANTINE = "contoso.digits", "fabrikam.calls", "resource.events", "hookswitch.quarantine"
HANDSHAKE = "Microsoft.EventGrid.SubscriptionValidationEvent"
# The queues of each app; the second one gets only some of the events.
QUEUES = {"contoso": [CONTOSO, [DIGITS]], "fabrikam": [[FABRIKAM]], "resource": [[GRID]]}


def short(kind):
    return kind.rsplit(".", 1)[1]


def is_digits(kind):
    return short(kind).startswith(("DtmfReceived", "ContinuousDtmfRecognition", "Recognize"))


class Posted:
    """The events that got a 2xx according to the emulator, in order, lane by lane."""

    def __init__(self, attempts):
        # A lane is a series that is posted one after the other: the events of one call to one URL.
        self.lanes = OrderedDict()
        self.types = {}
        self.unanswered = 0
        for attempt in attempts:
            if attempt["types"] == [HANDSHAKE]:
                # A handshake, not an event.
                continue
            if "status" not in attempt:
                # On the first attempt the emulator may have dropped the connection itself.
                self.unanswered += attempt["attempt"] > 1 or "drop" not in attempt["misbehaviour"]
            app = attempt["url"].split("/callbacks/")[1].split("/")[0]
            lane = self.lanes.setdefault((app, attempt["connection"], attempt["url"]), OrderedDict())
            if attempt["outcome"] == "accepted":
                for id, kind in zip(attempt["ids"], attempt["types"]):
                    # The first 2xx counts: later ones are duplicates.
                    lane.setdefault(id)
                    self.types[id] = kind

    def accepted(self, app=None):
        return sum(len(lane) for (of, _, _), lane in self.lanes.items() if app in (None, of))


class Accounts:
    """Everything counted."""

    def __init__(self, posted, messages, calls):
        self.generations = {call.id: call.generation for call in calls}
        # An event that names only the server call is shown under the same name.
        self.names = {url_safe(call.server_call): call.id for call in calls}
        self.lost = self.inversions = self.repeated = self.twice = self.delivered = 0
        # Queue by queue, call by call.
        self.queues = OrderedDict((queue, OrderedDict()) for queue in [*CONTOSO, DIGITS, FABRIKAM, GRID])
        for message in messages:
            self.queues[message["queue"]].setdefault(message["call"], []).append(message)
        self.wrong = Counter()
        for queue, calls in self.queues.items():
            for call in calls:
                calls[call] = self.once(queue, call, calls[call])
            if queue != DIGITS:
                self.delivered += sum(len(call) for call in calls.values())
        for (app, connection, _), lane in posted.lanes.items():
            for queues in QUEUES[app]:
                wanted = [id for id in lane if queues != [DIGITS] or is_digits(posted.types[id])]
                self.compare(queues, connection, wanted, posted.types)

    def once(self, queue, call, messages):
        """The messages without repeats in a row, which a fault may make; their sequence must be 1, 2, 3 …"""
        once = []
        for message in messages:
            if once and once[-1]["sequence"] == message["sequence"]:
                self.repeated += 1
            else:
                once.append(message)
        self.wrong[queue, call] += sum(message["sequence"] != n for n, message in enumerate(once, 1))
        self.twice += len(once) - len({message["id"] for message in once})
        self.inversions += sum(a["sequence"] > b["sequence"] for a, b in zip(once, once[1:]))
        return once

    def compare(self, queues, connection, wanted, types):
        """A lane, and the queues of its events."""
        # Events of the first generation have no ids: they are distinguished by their types.
        by_type = self.generations.get(connection) == "2021-private"
        wanted = numbered(types[id] if by_type else id for id in wanted)
        place = {event: n for n, event in enumerate(wanted)}
        missing = set(wanted)
        for queue in queues:
            for call, messages in self.queues[queue].items():
                if by_type and call != connection:
                    continue
                got = numbered(message["type" if by_type else "id"] for message in messages)
                places = [place[event] for event in got if event in place]
                missing.difference_update(got)
                bad = sum(a > b for a, b in zip(places, places[1:]))
                self.inversions += bad
                self.wrong[queue, call] += bad
        self.lost += len(missing)

    def good(self):
        return not (self.lost or self.inversions or self.twice or self.wrong.total())

    def show(self):
        for queue, calls in self.queues.items():
            total = sum(len(messages) for messages in calls.values())
            print(f"\n{styled(1, queue)}: {total} messages of {len(calls)} calls")
            for call, messages in calls.items():
                mark = styled(31, "WRONG") if self.wrong[queue, call] else styled(32, "in order")
                name = self.names.get(url_safe(call), call)[:8]
                print(f"  call {name} {self.generations.get(call, 'server call'):12} {mark}  {in_short(messages)}")


def url_safe(server_call):
    """A server call id in the spelling of 2021: base64url without padding."""
    return server_call.rstrip("=").replace("+", "-").replace("/", "_")


def numbered(names):
    """Each with the number of times that it occurred before."""
    seen = Counter()
    result = []
    for name in names:
        result.append((name, seen[name]))
        seen[name] += 1
    return result


def in_short(messages):
    """Sequences and types; events of one type in a row are joined."""
    groups = []
    for message in messages:
        kind = short(message["type"])
        if groups and groups[-1][2] == kind:
            groups[-1][1] = message["sequence"]
        else:
            groups.append([message["sequence"], message["sequence"], kind])
    words = " ".join(f"{a}:{kind}" if a == b else f"{a}-{b}:{kind}" for a, b, kind in groups)
    lines = textwrap.wrap(words, 140, break_on_hyphens=False, initial_indent=" " * 38, subsequent_indent=" " * 5)
    return "\n".join(lines).lstrip()
