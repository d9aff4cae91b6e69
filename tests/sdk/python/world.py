"""The SDK under test, of either version, pointed at the emulator; and who is called."""

import dataclasses
from urllib.parse import urlsplit

from azure.communication.callautomation import (
    CallAutomationClient,
    CommunicationUserIdentifier,
    FileSource,
    PhoneNumberIdentifier,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import SansIOHTTPPolicy

from checks import Checks, same
from inbox import Inbox
from table import operation

# What they do is written in tests/sdk/scenario.toml.
CALLER = PhoneNumberIdentifier("+15550100")
FRIEND = PhoneNumberIdentifier("+15550101")
DECLINES = PhoneNumberIdentifier("+15550110")
BUSY = PhoneNumberIdentifier("+15550111")
NEVER_ANSWERS = PhoneNumberIdentifier("+15550112")
PRESSES = PhoneNumberIdentifier("+15550120")
SPEAKS = PhoneNumberIdentifier("+15550121")
STUBBORN = PhoneNumberIdentifier("+15550130")
NOBODY = PhoneNumberIdentifier("+15550199")
USER = CommunicationUserIdentifier("8:acs:5c2a5d4e-0f43-4a5c-9c5e-1f6a3f0b7a11_0000001a-0000-0000-0000-000000000001")
COLLEAGUE = CommunicationUserIdentifier("8:acs:5c2a5d4e-0f43-4a5c-9c5e-1f6a3f0b7a11_0000001a-0000-0000-0000-000000000002")

PROMPT = FileSource("https://contoso.example/welcome.wav")
BROKEN = FileSource("https://contoso.example/broken.wav")


class Requests(SansIOHTTPPolicy):
    """Notes which operation each request is."""

    def __init__(self):
        super().__init__()
        self.made: set[str] = set()

    def on_request(self, request):
        path = urlsplit(request.http_request.url).path
        self.made.add(operation(request.http_request.method, path))


@dataclasses.dataclass
class World:
    """What every story needs."""

    client: CallAutomationClient
    stranger: CallAutomationClient
    newest: bool
    callback: str
    inbox: Inbox
    check: Checks

    def invite(self, who):
        """How this version says whom to call, and as whom: positional and keyword arguments."""
        number = CALLER if isinstance(who, PhoneNumberIdentifier) else None
        if self.newest:
            return (who,), {"source_caller_id_number": number}
        from azure.communication.callautomation import CallInvite

        return (CallInvite(who, source_caller_id_number=number),), {}

    def create(self, who, context=None, **options):
        """Calls somebody; the properties that the SDK gives."""
        target, caller = self.invite(who)
        return self.client.create_call(*target, self.callback, operation_context=context, **caller, **options)

    def connected(self, who, context, **options):
        """A call with somebody who has joined, or the end of the story."""
        with self.check.must(f"{context}: a call to {who.raw_id}"):
            call = self.create(who, context, **options).call_connection_id
            connected = self.inbox.wait("CallConnected", call, context)
            same(connected.event.call_connection_id, call)
            self.inbox.wait("ParticipantsUpdated", call, where=lambda taken: who.raw_id in raw_ids(taken))
        return self.client.get_call_connection(call), call

    def ended(self, connection, call):
        """Ends a call for everyone, and waits until that is said."""
        connection.hang_up(True)
        self.inbox.wait("CallDisconnected", call)


def raw_ids(taken) -> list[str]:
    """Who takes part, as ParticipantsUpdated says it."""
    return [participant.identifier.raw_id for participant in taken.event.participants]


def entry(taken, who):
    """What ParticipantsUpdated says of one participant."""
    for participant in taken.event.participants:
        if participant.identifier.raw_id == who.raw_id:
            return participant
    return None


def client(url: str, ca: str, key: str, **options) -> CallAutomationClient:
    """Over http by endpoint and key; over https by connection string, trusting the emulator's own authority."""
    if url.startswith("http:"):
        return CallAutomationClient(url, AzureKeyCredential(key), **options)
    return CallAutomationClient.from_connection_string(
        f"endpoint={url}/;accesskey={key}", connection_verify=ca, **options
    )
