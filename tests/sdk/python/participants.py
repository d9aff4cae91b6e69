"""Who takes part: add, cancel add, mute, hold, remove, move here, transfer."""

from azure.core.exceptions import HttpResponseError

from checks import refused, same
from world import DECLINES, FRIEND, NEVER_ANSWERS, NOBODY, STUBBORN, USER, World, entry, raw_ids


def adding(world: World):
    """Somebody comes and goes, somebody else does not come."""
    check, inbox = world.check, world.inbox
    connection, call = world.connected(FRIEND, "adding")
    with check.must("add"):
        target, caller = world.invite(USER)
        added = connection.add_participant(*target, operation_context="add", **caller)
        same((added.operation_context, added.participant.identifier.raw_id), ("add", USER.raw_id), "the answer")
        event = inbox.wait("AddParticipantSucceeded", call, "add").event
        same(event.participant.raw_id, USER.raw_id, "the participant")
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: USER.raw_id in raw_ids(taken))
    with check("AddParticipantFailed, where the callee declines"):
        target, caller = world.invite(DECLINES)
        connection.add_participant(*target, operation_context="add-declined", **caller)
        event = inbox.wait("AddParticipantFailed", call, "add-declined").event
        same(event.participant.raw_id, DECLINES.raw_id, "the participant")
        same(event.result_information.code, 603, "the code")
    if world.newest:
        canceling(world, connection, call, added.invitation_id)
        muting(world, connection, call)
    with check("remove"):
        removed = connection.remove_participant(USER, operation_context="remove")
        same(removed.operation_context, "remove", "the answer")
        event = inbox.wait("RemoveParticipantSucceeded", call, "remove").event
        same(event.participant.raw_id, USER.raw_id, "the participant")
        there = inbox.wait("ParticipantsUpdated", call, where=lambda taken: USER.raw_id in raw_ids(taken))
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: USER.raw_id not in raw_ids(taken)
                   and taken.event.sequence_number > there.event.sequence_number)
    with check("a participant who is not there is refused with 404"):
        with refused(HttpResponseError, 404):
            connection.get_participant(NOBODY)
        with refused(HttpResponseError, 404):
            connection.remove_participant(NOBODY)
    with check("the call ends"):
        world.ended(connection, call)


def canceling(world: World, connection, call: str, accepted: str):
    """Invitations that are taken back, in time and too late."""
    check, inbox = world.check, world.inbox
    with check("cancel add while it rings"):
        target, caller = world.invite(NEVER_ANSWERS)
        added = connection.add_participant(*target, invitation_timeout=180, operation_context="ringing", **caller)
        canceled = connection.cancel_add_participant_operation(added.invitation_id, operation_context="cancel")
        same(canceled.invitation_id, added.invitation_id, "the invitation")
        event = inbox.wait("CancelAddParticipantSucceeded", call, "cancel").event
        same(event.invitation_id, added.invitation_id, "the invitation")
    with check("CancelAddParticipantFailed, when it was accepted"):
        connection.cancel_add_participant_operation(accepted, operation_context="cancel-late")
        event = inbox.wait("CancelAddParticipantFailed", call, "cancel-late").event
        same(event.invitation_id, accepted, "the invitation")


def muting(world: World, connection, call: str):
    """Mute, hold and unhold, as the list of participants shows them."""
    check, inbox = world.check, world.inbox
    with check("mute"):
        same(connection.mute_participant(USER, operation_context="mute").operation_context, "mute", "the answer")
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: (it := entry(taken, USER)) and it.is_muted)
        same(connection.get_participant(USER).is_muted, True, "muted")
    with check("hold"):
        connection.hold(USER, operation_context="hold")
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: (it := entry(taken, USER)) and it.is_on_hold)
        same(connection.get_participant(USER).is_on_hold, True, "on hold")
    with check("unhold"):
        connection.unhold(USER, operation_context="unhold")
        held = inbox.wait("ParticipantsUpdated", call, where=lambda taken: (it := entry(taken, USER)) and it.is_on_hold)
        inbox.wait("ParticipantsUpdated", call, where=lambda taken: (it := entry(taken, USER))
                   and not it.is_on_hold and taken.event.sequence_number > held.event.sequence_number)
        same(connection.get_participant(USER).is_on_hold, False, "on hold")


def stubborn(world: World):
    """A callee with whom nothing works."""
    check, inbox = world.check, world.inbox
    connection, call = world.connected(STUBBORN, "stubborn")
    if world.newest:
        with check("HoldFailed"):
            connection.hold(STUBBORN, operation_context="hold-stubborn")
            inbox.wait("HoldFailed", call, "hold-stubborn")
        with check("SendDtmfTonesFailed"):
            connection.send_dtmf_tones(["one"], STUBBORN, operation_context="tones-stubborn")
            inbox.wait("SendDtmfTonesFailed", call, "tones-stubborn")
        with check("ContinuousDtmfRecognitionToneFailed"):
            connection.start_continuous_dtmf_recognition(STUBBORN, operation_context="listen-stubborn")
            inbox.wait("ContinuousDtmfRecognitionToneFailed", call, "listen-stubborn")
        with check("media without its options: MediaStreamingFailed, TranscriptionFailed"):
            connection.start_media_streaming(operation_context="media-nowhere")
            event = inbox.wait("MediaStreamingFailed", call, "media-nowhere").event
            same(event.media_streaming_update.media_streaming_status, "mediaStreamingFailed", "the status")
            connection.start_transcription(locale="en-US", operation_context="text-nowhere")
            event = inbox.wait("TranscriptionFailed", call, "text-nowhere").event
            same(event.transcription_update.transcription_status, "transcriptionFailed", "the status")
    with check("RemoveParticipantFailed"):
        connection.remove_participant(STUBBORN, operation_context="remove-stubborn")
        event = inbox.wait("RemoveParticipantFailed", call, "remove-stubborn").event
        same(event.participant.raw_id, STUBBORN.raw_id, "the participant")
    with check("CallTransferFailed, where the target declines"):
        connection.transfer_call_to_participant(DECLINES, operation_context="transfer-declined")
        event = inbox.wait("CallTransferFailed", call, "transfer-declined").event
        same(event.result_information.code, 603, "the code")
    with check("the call is still there, and ends"):
        connection.get_call_properties()
        world.ended(connection, call)


def transferring(world: World):
    """The callee is handed on, and we are out of it."""
    connection, call = world.connected(USER, "transferring")
    with world.check("transfer"):
        answer = connection.transfer_call_to_participant(FRIEND, operation_context="transfer")
        same(answer.operation_context, "transfer", "the answer")
        event = world.inbox.wait("CallTransferAccepted", call, "transfer").event
        if world.newest:
            same(event.transfer_target.raw_id, FRIEND.raw_id, "the target")
            same(event.transferee.raw_id, USER.raw_id, "the transferee")
        world.inbox.wait("CallDisconnected", call)


def moving(world: World):
    """From one call to another."""
    check, inbox = world.check, world.inbox
    first, here = world.connected(FRIEND, "moving-here")
    second, there = world.connected(USER, "moving-there")
    with check("move here"):
        moved = first.move_participants([USER], there, operation_context="move")
        same((moved.operation_context, moved.from_call), ("move", there), "the answer")
        event = inbox.wait("MoveParticipantSucceeded", here, "move").event
        same((event.participant.raw_id, event.from_call), (USER.raw_id, there), "the participant")
        inbox.wait("ParticipantsUpdated", here, where=lambda taken: USER.raw_id in raw_ids(taken))
    third, elsewhere = world.connected(STUBBORN, "moving-stubborn")
    with check("MoveParticipantFailed"):
        first.move_participants([STUBBORN], elsewhere, operation_context="move-stubborn")
        event = inbox.wait("MoveParticipantFailed", here, "move-stubborn").event
        same((event.participant.raw_id, event.from_call), (STUBBORN.raw_id, elsewhere), "the participant")
    with check("the calls end"):
        world.ended(first, here)
        world.ended(third, elsewhere)
        # The call that was left may have ended by itself.
        try:
            second.hang_up(True)
        except HttpResponseError as error:
            same(error.status_code, 404, "the status")
        inbox.wait("CallDisconnected", there)
