"""The other end: takes what Hookswitch put into the queues, and has the SDKs parse it."""

import base64
import dataclasses
import functools
import json
import re
import threading
import time

import pika
from azure.communication.callautomation._generated import models
from azure.core.messaging import CloudEvent
from azure.eventgrid import SystemEventNames

from table import ALL_EVENTS, events

PREFIX = "Microsoft.Communication."
# Members of `data` that say of the event what its envelope says too; no SDK models them.
OF_THE_ENVELOPE = {"version", "publicEventType"}
OF_RECORDINGS = {"RecordingStateChanged", "StartRecordingFailed"}


def endpoint(recording_id: str) -> str:
    """The endpoint inside a recording id, which is unpadded base64url of an object."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", recording_id):
        raise ValueError(f"{recording_id} is not base64url without padding")
    return json.loads(base64.urlsafe_b64decode(recording_id + "=" * (-len(recording_id) % 4)))["PlatformEndpointId"]


@dataclasses.dataclass
class Taken:
    """One message. `event` is what the SDK made of it; `None` where this version has no class for it."""

    queue: str
    kind: str
    data: dict
    event: object
    headers: dict


class Inbox:
    """Everything that arrived so far, in order."""

    def __init__(self, amqp: str, calls: str, grid: str, newest: bool):
        self.newest = newest
        self.taken: list[Taken] = []
        self.broken: list[str] = []
        self._changed = threading.Condition()
        self._queues = {calls: self._callback, grid: self._grid}
        channel = pika.BlockingConnection(pika.URLParameters(amqp)).channel()
        for queue in self._queues:
            channel.basic_consume(queue, functools.partial(self._take, queue))
        # The connection is this thread's alone from here on, and ends with the process.
        threading.Thread(target=channel.start_consuming, daemon=True).start()

    def _take(self, queue, channel, method, properties, body):
        channel.basic_ack(method.delivery_tag)
        with self._changed:
            try:
                kind, data, event = self._queues[queue](body)
                self.taken.append(Taken(queue, kind, data, event, properties.headers))
            except Exception as error:  # noqa: BLE001: told at the end, with the body
                self.broken.append(f"{type(error).__name__} {error}: {body.decode(errors='replace')[:600]}")
            self._changed.notify_all()

    def _callback(self, body):
        envelope = CloudEvent.from_dict(json.loads(body))
        kind = envelope.type.removeprefix(PREFIX)
        if kind not in ALL_EVENTS:
            raise ValueError(f"{envelope.type} is no event of Call Automation")
        model = getattr(models, kind, None)
        if model is None:
            if kind in events(self.newest):
                raise ValueError(f"the SDK has no model {kind}")
            return kind, envelope.data, None
        event = model.deserialize(envelope.data)
        for attribute in ("call_connection_id", "server_call_id", "correlation_id"):
            if not getattr(event, attribute):
                raise ValueError(f"the SDK finds no {attribute}")
        if kind in OF_RECORDINGS:
            path = f"calling/recordings/{event.server_call_id}/{event.recording_id}/RecordingStateChanged"
            if (envelope.source, envelope.subject) != (path, path):
                raise ValueError(f"source {envelope.source} or subject {envelope.subject} is not {path}")
            if endpoint(event.recording_id) != event.call_connection_id:
                raise ValueError(f"{event.call_connection_id} is not the endpoint of the recording")
        elif envelope.source != f"calling/callConnections/{event.call_connection_id}":
            raise ValueError(f"source {envelope.source} names another call")
        if self.newest:
            names = {field["key"]: name for name, field in model._attribute_map.items()}
            for member in envelope.data:
                if member not in OF_THE_ENVELOPE and getattr(event, names.get(member, "?"), None) is None:
                    raise ValueError(f"the SDK does not understand {member}")
        return kind, envelope.data, event

    def _grid(self, body):
        # Hookswitch has made a CloudEvent of it, whatever the schema of the subscription.
        event = CloudEvent.from_dict(json.loads(body))
        name = SystemEventNames(event.type).name
        return name.removeprefix("Acs").removesuffix("EventName"), event.data, event

    def wait(self, kind: str, call=None, context=None, where=None, limit=10.0) -> Taken:
        """The first message of this kind, of this call, with this operation context, for which `where` is true."""
        def fits(taken: Taken) -> bool:
            return (
                taken.kind == kind
                and (call is None or taken.data.get("callConnectionId") == call)
                and (context is None or taken.data.get("operationContext") == context)
                and (where is None or bool(where(taken)))
            )

        deadline = time.monotonic() + limit
        with self._changed:
            while True:
                for taken in self.taken:
                    if fits(taken):
                        return taken
                left = deadline - time.monotonic()
                if left <= 0:
                    came = [taken.kind for taken in self.taken if call and taken.data.get("callConnectionId") == call]
                    raise TimeoutError(f"no {kind} of {context} within {limit} s; of this call came {came}")
                self._changed.wait(left)

    def kinds(self) -> set[str]:
        with self._changed:
            return {taken.kind for taken in self.taken}

    def sequences(self) -> dict[tuple[str, str], list[int]]:
        """Of each queue and call the sequences in the order of arrival."""
        found = {}
        with self._changed:
            for taken in self.taken:
                if "hookswitch-call" in taken.headers:
                    line = found.setdefault((taken.queue, taken.headers["hookswitch-call"]), [])
                    line.append(taken.headers["hookswitch-sequence"])
        return found
