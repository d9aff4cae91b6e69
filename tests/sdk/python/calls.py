"""Calls begin and end: create, answer, redirect, reject, connect, get, hang up, terminate."""

import time
import uuid

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from checks import refused, same
from world import BUSY, COLLEAGUE, DECLINES, FRIEND, USER, World, raw_ids

# Numbers of ours that calls of the scenario come in on.
ANSWERED, REDIRECTED, REJECTED, GIVEN_UP = "+15550200", "+15550201", "+15550202", "+15550203"


def outgoing(world: World):
    """A call from its first request to its last event."""
    check, inbox = world.check, world.inbox
    with check.must("create"):
        made = world.create(FRIEND, "outgoing")
        call = made.call_connection_id
        same(made.callback_url, world.callback, "the callback URL")
        same([target.raw_id for target in made.targets], [FRIEND.raw_id], "the targets")
        if not (call and made.server_call_id and made.correlation_id and made.source.raw_id):
            raise AssertionError(f"something is missing in {vars(made)}")
    connection = world.client.get_call_connection(call)
    with check("CallConnected says the ids of the call"):
        event = inbox.wait("CallConnected", call, "outgoing").event
        same(event.server_call_id, made.server_call_id, "the server call id")
        same(event.correlation_id, made.correlation_id, "the correlation id")
        if world.newest:
            same(event.result_information.code, 200, "the code")
    with check("ParticipantsUpdated lists who answered"):
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: FRIEND.raw_id in raw_ids(taken))
    with check("get call"):
        same(str(connection.get_call_properties().call_connection_state), "connected", "the state")
    with check("list participants, get one"):
        listed = list(connection.list_participants())
        if FRIEND.raw_id not in [participant.identifier.raw_id for participant in listed]:
            raise AssertionError(f"nobody of that name in {listed}")
        one = connection.get_participant(FRIEND)
        same((one.identifier.raw_id, one.is_muted), (FRIEND.raw_id, False), "the participant")
    with check("hang up"):
        connection.hang_up(False)
        inbox.wait("CallDisconnected", call)
    with check("a call that is gone is refused with 404"):
        with refused(HttpResponseError, 404):
            connection.get_call_properties()
        with refused(HttpResponseError, 404):
            connection.hang_up(True)


def group(world: World):
    """A call to several, ended for all."""
    with world.check("create a group call, terminate it"):
        made = world.client.create_group_call([USER, COLLEAGUE], world.callback, operation_context="group")
        call = made.call_connection_id
        everybody = {USER.raw_id, COLLEAGUE.raw_id}
        world.inbox.wait("ParticipantsUpdated", call, where=lambda taken: everybody <= set(raw_ids(taken)))
        world.ended(world.client.get_call_connection(call), call)
    with world.check("Event Grid tells of the call of users"):
        def of_this_call(taken):
            return taken.data["serverCallId"] == made.server_call_id

        for kind in ("CallStarted", "CallParticipantAdded", "CallParticipantRemoved", "CallEnded"):
            world.inbox.wait(kind, where=of_this_call)


def unanswered(world: World):
    """Nobody answers."""
    for who, code in ((DECLINES, 603), (BUSY, 486)):
        with world.check(f"CreateCallFailed, {code}"):
            call = world.create(who, f"unanswered-{code}").call_connection_id
            if world.newest:
                event = world.inbox.wait("CreateCallFailed", call, f"unanswered-{code}").event
                same(event.result_information.code, code, "the code")
            else:
                world.inbox.wait("CallDisconnected", call)


def incoming_call(world: World, number: str, seen: set[str]) -> str:
    """The context of a call to this number that has not been taken yet."""
    def fits(taken):
        return taken.data["to"]["rawId"] == f"4:{number}" and taken.data["incomingCallContext"] not in seen

    taken = world.inbox.wait("IncomingCall", where=fits)
    seen.add(taken.data["incomingCallContext"])
    return taken.data["incomingCallContext"]


def incoming(world: World, seen: set[str]):
    """Calls that the scenario makes by itself."""
    check, inbox, client = world.check, world.inbox, world.client
    with check.must("IncomingCall is routed and parsed"):
        token = incoming_call(world, ANSWERED, seen)
    with check.must("answer"):
        made = client.answer_call(token, world.callback, operation_context="answered")
        call = made.call_connection_id
        inbox.wait("CallConnected", call, "answered")
        inbox.wait("ParticipantsUpdated", call)
    with check("an answered call can be hung up"):
        world.ended(client.get_call_connection(call), call)
    with check("a call is answered once"), refused(HttpResponseError, 404):
        client.answer_call(token, world.callback)
    with check("redirect"):
        target, _ = world.invite(USER)
        client.redirect_call(incoming_call(world, REDIRECTED, seen), *target)
    with check("reject"):
        client.reject_call(incoming_call(world, REJECTED, seen), call_reject_reason="busy")
    if world.newest:
        with check("AnswerFailed, where the caller has hung up"):
            token = incoming_call(world, GIVEN_UP, seen)
            call = client.answer_call(token, world.callback, operation_context="too-late").call_connection_id
            inbox.wait("AnswerFailed", call, "too-late")


def connecting(world: World):
    """A second leg of ours in a call that is there."""
    check, inbox, client = world.check, world.inbox, world.client
    first, call = world.connected(FRIEND, "connect-first")
    with check.must("connect to a server call"):
        server_call = first.get_call_properties().server_call_id
        made = client.connect_call(world.callback, server_call_id=server_call, operation_context="connect-second")
        same(made.server_call_id, server_call, "the server call id")
        if made.call_connection_id == call:
            raise AssertionError("the second leg has the id of the first")
        inbox.wait("CallConnected", made.call_connection_id, "connect-second")
    with check("terminating ends both legs"):
        world.ended(first, call)
        inbox.wait("CallDisconnected", made.call_connection_id)
    with check("ConnectFailed, where there is no such call"):
        made = client.connect_call(world.callback, server_call_id=server_call, operation_context="connect-late")
        inbox.wait("ConnectFailed", made.call_connection_id, "connect-late")


def refusals(world: World):
    """What the service does not do, and whether the SDK understands why."""
    with world.check("a wrong key is refused with 401"), refused(ClientAuthenticationError, 401):
        world.stranger.create_group_call([USER], world.callback)
    with world.check("a call to nobody is refused with 400"), refused(HttpResponseError, 400):
        world.client.create_group_call([], world.callback)
    with world.check("a call that never was is refused with 404"), refused(HttpResponseError, 404):
        world.client.get_call_connection(str(uuid.uuid4())).get_call_properties()
    if world.newest:
        repeated(world)


def repeated(world: World):
    """A request that is sent again, as the SDK does after a timeout. (1.0.0 lets nobody choose the id.)"""
    with world.check("a request repeated with its id makes one call"):
        options = {"headers": {
            "Repeatability-Request-ID": str(uuid.uuid4()),
            "Repeatability-First-Sent": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
        }}
        ids = {
            world.client.create_group_call([USER], world.callback, **options).call_connection_id for _ in range(2)
        }
        same(len(ids), 1, "the number of calls")
        call = ids.pop()
        world.inbox.wait("CallConnected", call)
        world.ended(world.client.get_call_connection(call), call)
