"""The story of `dev/demo`: posts interleaved calls while things break, then shows what each queue received."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import OrderedDict

binary, work, amqp_url = sys.argv[1:4]
LIVE = sys.stdout.isatty()


def styled(code, text):
    return f"\033[{code}m{text}\033[0m" if LIVE else text


def say(text):
    print("\n" + styled(1, f"== {text}"), flush=True)


def free_port():
    # Below the range of outgoing connections: the receiver is stopped for a while and needs its port again.
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(20000, 30000)))
            except OSError:
                continue
            return s.getsockname()[1]


port, admin_port = free_port(), free_port()
environment = dict(
    os.environ,
    HOOKSWITCH__SERVER__LISTEN=f"127.0.0.1:{port}",
    HOOKSWITCH__SERVER__ADMIN_LISTEN=f"127.0.0.1:{admin_port}",
    HOOKSWITCH__JOURNAL__PATH=f"{work}/journal",
    HOOKSWITCH__BROKER__URL=amqp_url,
)


# --- the receiver ----------------------------------------------------------------------------------------------

receiver = None


def start_receiver():
    global receiver
    log = open(f"{work}/receiver.log", "a")
    receiver = subprocess.Popen(
        [binary, "serve", "--config", "config/demo.toml"], env=environment, stderr=log, stdin=subprocess.DEVNULL
    )
    with open(f"{work}/receiver.pid", "w") as file:
        file.write(str(receiver.pid))
    deadline = time.time() + 30
    while time.time() < deadline:
        if receiver.poll() is not None:
            fail("the receiver ended by itself")
        try:
            if get("/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    fail("the receiver was not ready within 30 s")


def interrupted(signal_number, frame):
    # dev/demo cleans up; a traceback would help nobody.
    print("\ninterrupted", flush=True)
    os._exit(130)


signal.signal(signal.SIGINT, interrupted)


def fail(why):
    print(f"\nDEMO FAILED: {why}", flush=True)
    try:
        with open(f"{work}/receiver.log") as log:
            print("the end of the receiver's log:\n" + "".join(log.readlines()[-20:]))
    except OSError:
        pass
    sys.exit(1)


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def post(path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def metric(name):
    for line in get("/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return None


# --- the calls: what ACS would post in three generations of its API ---------------------------------------------


def cloud_event(call, kind, data, suffix=""):
    source = f"calling/callConnections/{call}{suffix}"
    return {
        "id": str(uuid.uuid4()),
        "source": source,
        "type": f"Microsoft.Communication.{kind}",
        "data": data,
        "time": "2026-01-02T03:04:05.0000000+00:00",
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "subject": source,
    }


def ga(call):
    ids = {
        "version": "2025-05-15",
        "callConnectionId": call,
        "serverCallId": f"server-{call}",
        "correlationId": f"correlation-{call}",
    }
    done = {"resultInformation": {"code": 200, "subCode": 0, "message": "Action completed successfully."}}
    person = {"rawId": "8:acs:demo", "kind": "communicationUser", "communicationUser": {"id": "8:acs:demo"}}
    for kind, data in [
        ("CallConnected", {}),
        ("ParticipantsUpdated", {"sequenceNumber": 1, "participants": [{"identifier": person, "isMuted": False}]}),
        ("PlayStarted", {"operationContext": "greeting", **done}),
        ("PlayCompleted", {"operationContext": "greeting", **done}),
        ("ContinuousDtmfRecognitionToneReceived", {"sequenceId": 1, "tone": "one"}),
        ("ContinuousDtmfRecognitionToneReceived", {"sequenceId": 2, "tone": "pound"}),
        ("AddParticipantSucceeded", {"operationContext": "agent", "participant": person, **done}),
        ("RecordingStateChanged", {"recordingId": f"rec-{call}", "state": "active", "startDateTime": "2026-01-02T03:04:05+00:00"}),
        ("CallDisconnected", done),
    ]:
        yield [cloud_event(call, kind, {**ids, **data})]


def public_2021(call):
    person = {"rawId": "8:acs:demo", "communicationUser": {"id": "8:acs:demo"}, "phoneNumber": None}
    result = {"status": "completed", "operationContext": "greeting", "resultInfo": {"code": 200, "subcode": 0, "message": "OK"}}
    yield cloud_event(call, "CallConnectionStateChanged", {"callConnectionId": call, "callConnectionState": "connecting"}, "/callState")
    yield cloud_event(call, "CallConnectionStateChanged", {"callConnectionId": call, "callConnectionState": "connected"}, "/callState")
    yield cloud_event(call, "ParticipantsUpdated", {"callConnectionId": call, "participants": [{"identifier": person, "participantId": "p1", "isMuted": False}]})
    yield cloud_event(call, "PlayAudioResult", result, "/playAudio")
    for n, tone in enumerate(["tone1", "tone9", "pound"], 1):
        yield cloud_event(call, "DtmfReceived", {"callConnectionId": call, "toneInfo": {"sequenceId": n, "tone": tone}})
    yield cloud_event(call, "AddParticipantResult", {**result, "operationContext": "agent"}, "/addParticipant")
    yield cloud_event(call, "CallConnectionStateChanged", {"callConnectionId": call, "callConnectionState": "disconnected"}, "/callState")


def private_2021(call):
    def event(part, kind, data):
        return {
            "id": None,
            "topic": None,
            "subject": f"callLeg/{call}/{part}",
            "data": {"CallLegId": call, **data},
            "eventType": f"Microsoft.Communication.{kind}",
            "eventTime": "2021-05-01T10:00:00.0000000Z",
            "metadataVersion": None,
            "dataVersion": None,
        }

    result = {"Status": "Completed", "OperationContext": "greeting", "ResultInfo": {"Code": 200, "Subcode": 0, "Message": "OK"}}
    for state in ["Establishing", "Established"]:
        yield event("callState", "CallLegStateChanged", {"ConversationId": None, "CallState": state})
    yield event("participantsUpdated", "ParticipantsUpdated", {"Participants": [{"Identifier": {"RawId": "8:acs:demo"}, "ParticipantId": "p1", "IsMuted": False}]})
    yield event("playAudio", "PlayAudioResult", result)
    for n, tone in enumerate(["Tone1", "Tone2", "Star"], 1):
        yield event("dtmf", "DtmfReceived", {"ToneInfo": {"SequenceId": n, "Tone": tone}})
    yield event("inviteParticipantResult", "InviteParticipantResult", {**result, "Participants": []})
    yield event("callState", "CallLegStateChanged", {"ConversationId": None, "CallState": "Terminated"})


def short(event):
    event = event[0] if isinstance(event, list) else event
    return (event.get("type") or event.get("eventType")).rsplit(".", 1)[1]


# --- sending while things break ---------------------------------------------------------------------------------

calls = OrderedDict()
for generation, app, make in [("ga", "contoso", ga), ("2021-public", "contoso", public_2021), ("2021-private", "fabrikam", private_2021)]:
    for _ in range(3):
        call = str(uuid.uuid4())
        calls[call] = (generation, app, list(make(call)))
longest = max(len(events) for _, _, events in calls.values())
total = sum(len(events) for _, _, events in calls.values())
state = {"broker": "up", "receiver": "up", "sent": 0, "resent": 0}
started = time.time()


def progress(last=False):
    line = (
        f"  {state['sent']:3}/{total} callbacks answered 202   broker {state['broker']:5}"
        f"   receiver {state['receiver']:7}   resent by the sender {state['resent']}"
    )
    # Where nobody watches, every ninth line will do.
    if LIVE or last or state["sent"] % 9 == 0:
        print(("\r" if LIVE else "") + line, end="" if LIVE and not last else "\n", flush=True)


def send(app, body):
    """As a careful sender: the same bytes again until the answer is 2xx."""
    deadline = time.time() + 60
    while time.time() < deadline:
        try:
            status, answer = post(f"/callbacks/{app}", body)
            if status == 202:
                state["sent"] += 1
                return
            if status != 503:
                fail(f"a good callback was answered {status}: {answer}")
        except OSError:
            pass
        state["resent"] += 1
        progress()
        time.sleep(0.3)
    fail("a callback was not accepted within a minute")


def rabbitmq(verb):
    subprocess.run(["dev/rabbitmq", verb, f"{work}/rabbitmq"], check=True, stdout=subprocess.DEVNULL)


def note(text):
    print(("\n" if LIVE else "") + f"  -> {text}", flush=True)


say("starting the receiver")
start_receiver()
print(f"  callbacks to http://127.0.0.1:{port}/callbacks/{{contoso,fabrikam}}, admin on http://127.0.0.1:{admin_port}")

say(f"posting {len(calls)} calls of three generations, interleaved, {total} callbacks, while things break")
steps = [(n, call) for n in range(longest) for call in calls if n < len(calls[call][2])]
background = None
for index, (n, call) in enumerate(steps):
    if index == total // 5:
        state["broker"] = "DOWN"
        note("the broker is stopped; callbacks are still answered 202: they are on disk")
        rabbitmq("stop")
    if index == total // 2:
        note("the receiver is killed with SIGKILL in mid-call; the sender repeats what was not answered")
        receiver.send_signal(signal.SIGKILL)
        receiver.wait()
        state["receiver"] = "KILLED"

        def again():
            time.sleep(1.5)
            start_receiver()
            state["receiver"] = "up"

        background = threading.Thread(target=again)
        background.start()
    if index == total * 3 // 4:
        background.join()
        note("the broker is started again; what is owed is delivered, in order, before newer events of the same call")
        rabbitmq("start")
        state["broker"] = "up"
    generation, app, events = calls[call]
    send(app, json.dumps(events[n]))
    progress()
    time.sleep(0.05)
progress(last=True)

say("a broken event, a repeated one, and something that is no JSON")
broken = next(ga("broken-call"))
del broken[0]["data"]["callConnectionId"]
status, answer = post("/callbacks/contoso", json.dumps(broken))
print(f"  an event without callConnectionId   -> {status} {answer}")
if status != 202 or '"quarantined":[{' not in answer.replace(" ", ""):
    fail("the broken event was not quarantined")
first = next(iter(calls))
status, answer = post("/callbacks/contoso", json.dumps(calls[first][2][0]))
print(f"  the first event of all once more    -> {status} {answer}")
if '"duplicates":1' not in answer.replace(" ", ""):
    fail("the repeated event was not recognised")
status, answer = post("/callbacks/contoso", '{"id": "1", "id": "2"}')
print(f"  a member name twice                 -> {status} {json.loads(answer).get('detail')}")
if status != 400:
    fail("a broken body was not refused")

say("waiting until nothing is owed")
deadline = time.time() + 60
while True:
    pending = metric("hookswitch_deliveries_pending")
    print(("\r" if LIVE else "") + f"  {int(pending or 0):4} deliveries pending ", end="" if LIVE else "\n", flush=True)
    if pending == 0:
        break
    if time.time() > deadline:
        fail("deliveries stay pending")
    time.sleep(0.5)
print()


# --- what the queues received -----------------------------------------------------------------------------------


def consume(queue):
    done = subprocess.run(
        [binary, "consume", "--config", "config/demo.toml", queue, "--idle", "1s"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    if done.returncode != 0:
        fail(f"hookswitch consume {queue}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


digits = {"DtmfReceived", "ContinuousDtmfRecognitionToneReceived"}
lost = inverted = repeats = 0
seen_calls = set()
queues = [f"contoso.calls.{n}" for n in range(4)] + ["fabrikam.calls", "contoso.digits"]
for queue in queues:
    messages = consume(queue)
    print(f"\n{styled(1, queue)}: {len(messages)} messages")
    by_call = OrderedDict()
    for message in messages:
        by_call.setdefault(message["call"], []).append(message)
    for call, got in by_call.items():
        generation, _, events = calls[call]
        want = [short(event) for event in events if queue != "contoso.digits" or short(event) in digits]
        once, here = [], 0
        for message in got:
            if once and once[-1]["sequence"] == message["sequence"]:
                here += 1
            else:
                once.append(message)
        names = [message["type"].rsplit(".", 1)[1] for message in once]
        good = names == want and [message["sequence"] for message in once] == list(range(1, len(want) + 1))
        lost += max(0, len(want) - len(names))
        inverted += 0 if good else 1
        repeats += here
        if queue != "contoso.digits":
            seen_calls.add(call)
        mark = styled(32, "in order") if good else styled(31, "WRONG")
        print(f"  call {call[:8]} {generation:12} {mark}{f' ({here} repeated in a row)' if here else ''}")
        print("     " + " ".join(f"{message['sequence']}:{name}" for message, name in zip(once, names)))

say("where the broken event lies")
kept = consume("hookswitch.quarantine")
for message in kept:
    headers = message.get("headers", {})
    print(f"  hookswitch.quarantine: {message['type']}  reason {headers.get('hookswitch-reason')}  errors {headers.get('hookswitch-errors')}")

lost += sum(len(calls[call][2]) for call in calls if call not in seen_calls)
with open(f"{work}/keep", "w") as file:
    file.write(
        f"  receiver  http://127.0.0.1:{port}/callbacks/contoso   admin http://127.0.0.1:{admin_port}/readyz\n"
        f"  broker    {amqp_url}\n"
    )
print(
    f"\n{len(calls)} calls, {total} events, broker stopped once, receiver killed once: "
    f"{lost} lost, {inverted} calls out of order, {repeats} repeated in a row, {len(kept)} in quarantine "
    f"({time.time() - started:.0f} s)"
)
if lost or inverted or [message.get("headers", {}).get("hookswitch-reason") for message in kept] != ["invalid"]:
    fail("a promise was broken")
