"""The application of `dev/demo`: calls of three generations, made through the REST API with plain requests."""

import base64
import hashlib
import hmac
import http.client
import json
import time
from email.utils import formatdate
from urllib.parse import quote

from demo_processes import Failed, eventually

US = "+15550100"
CALLEES = ["+15550101", "+15550102", "+15550103", "+15550104"]
AGENT, BUSY = "+15550120", "+15550121"
FILE = "https://contoso.example/prompts/welcome.wav"
SOURCE = {"communicationUser": {"id": "8:acs:demo_0001"}}


def phone(number):
    return {"phoneNumber": {"value": number}}


def raw_id(number):
    return quote(f"4:{number}", safe="")


class Api:
    """Requests to the calling service, each signed with the access key as the service requires."""

    def __init__(self, port, access_key):
        self.host = f"127.0.0.1:{port}"
        self.key = base64.b64decode(access_key)
        self.asked = 0

    def ask(self, method, path, body=None):
        content = b"" if body is None else json.dumps(body).encode()
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        date = formatdate(usegmt=True)
        text = f"{method}\n{path}\n{date};{self.host};{digest}"
        signature = base64.b64encode(hmac.new(self.key, text.encode(), hashlib.sha256).digest()).decode()
        headers = {
            "Content-Type": "application/json",
            "x-ms-date": date,
            "x-ms-content-sha256": digest,
            "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}",
        }
        connection = http.client.HTTPConnection(self.host, timeout=20)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        self.asked += 1
        if answer.status // 100 != 2:
            raise Failed(f"{method} {path} was answered {answer.status}: {text}")
        return json.loads(text) if text else {}


class Call:
    """One call from its creation to its end, as far as all three generations agree."""

    prefix, query = "/calling/callConnections", ""

    def __init__(self, processes, api, callee, speed, number):
        self.processes, self.api, self.callee, self.speed, self.number = processes, api, callee, speed, number
        self.callback = f"http://127.0.0.1:{processes.port}/callbacks/{self.app}"
        self.id = None

    def do(self, method, action, body=None):
        return self.api.ask(method, f"{self.prefix}/{self.id}{action}{self.query}", body)

    def wait(self, seconds):
        """Waits in call time, as long as a caller would take."""
        time.sleep(seconds / self.speed)

    def conversation(self):
        """The call as the emulator shows it."""
        for conversation in self.processes.emulator("calls")["calls"]:
            if any(leg["connectionId"] == self.id for leg in conversation["legs"]):
                return conversation
        raise Failed(f"the emulator does not know the call {self.id}")

    def run(self):
        """The call after its creation."""
        eventually(f"call {self.id} is taken", 20, lambda: self.conversation()["state"] == "connected")
        self.server_call = self.conversation()["serverCallId"]
        self.talk()


class Private(Call):
    """2021 private preview: calls with `callLegId`, paths with `/calling` and without it."""

    generation, app = "2021-private", "fabrikam"

    def create(self):
        # The same API under both of its paths; the first page that described it had no prefix.
        if self.number % 2:
            self.root, self.query = "/calling", "?api-version=2021-03-28-preview0"
        else:
            self.root, self.query = "", ""
        self.prefix = f"{self.root}/calls"
        request = {
            "targets": [phone(self.callee)], "source": SOURCE, "callbackUri": self.callback,
            "requestedModalities": ["audio"], "requestedCallEvents": ["participantsUpdated", "dtmfReceived"],
            "alternateCallerId": {"value": US},
        }
        self.id = self.api.ask("POST", f"{self.prefix}{self.query}", request)["callLegId"]

    def talk(self):
        recordings = f"{self.root}/conversations/{quote(self.server_call, safe='')}/recordings"
        state = {"recordingStateCallbackUri": f"{self.callback}/recordings"}
        recording = self.api.ask("POST", recordings + self.query, state)["recordingId"]
        self.wait(1)
        self.do("POST", "/PlayAudio", {"audioFileUri": FILE, "loop": False, "operationContext": "welcome"})
        self.wait(3)
        self.do("POST", "/PlayAudio", {"audioFileUri": FILE, "loop": True, "operationContext": "music"})
        self.do("POST", "/participants", {
            "participants": [phone(AGENT)], "alternateCallerId": {"value": US}, "operationContext": "agent"})
        self.wait(3)
        self.do("POST", "/CancelMediaProcessing", {"operationContext": "enough"})
        self.wait(2)
        self.do("DELETE", f"/participants/{raw_id(AGENT)}")
        self.wait(1)
        self.api.ask("DELETE", f"{recordings}/{recording}{self.query}")
        self.wait(1)
        self.do("POST", "/Hangup")


class Public(Call):
    """2021 public preview, 2021-08-30-preview: actions begin with a colon behind a slash."""

    generation, app, query = "2021-public", "contoso", "?api-version=2021-08-30-preview"

    def create(self):
        request = {
            "targets": [phone(self.callee)], "source": SOURCE, "callbackUri": self.callback,
            "requestedMediaTypes": ["audio"], "requestedCallEvents": ["participantsUpdated", "dtmfReceived"],
            "alternateCallerId": {"value": US},
        }
        self.id = self.api.ask("POST", f"{self.prefix}{self.query}", request)["callConnectionId"]

    def talk(self):
        self.do("POST", "/:playAudio", {"audioFileUri": FILE, "loop": False, "operationContext": "welcome"})
        self.wait(3)
        recordings = f"/calling/serverCalls/{quote(self.server_call, safe='')}/recordings"
        state = {"recordingStateCallbackUri": f"{self.callback}/recordings"}
        recording = self.api.ask("POST", recordings + self.query, state)["recordingId"]
        participant = {"participant": phone(AGENT), "alternateCallerId": {"value": US}, "operationContext": "agent"}
        agent = self.do("POST", "/participants", participant)["participantId"]
        self.do("POST", "/participants", {**participant, "participant": phone(BUSY), "operationContext": "colleague"})
        self.wait(3)
        self.do("DELETE", f"/participants/{agent}")
        self.wait(1)
        self.api.ask("POST", f"{recordings}/{recording}/:pause{self.query}")
        self.api.ask("POST", f"{recordings}/{recording}/:resume{self.query}")
        self.api.ask("DELETE", f"{recordings}/{recording}{self.query}")
        self.wait(1)
        self.do("POST", "/:hangup")


class Ga(Call):
    """The current API: recognition, continuous tones, incoming calls."""

    generation, app, query = "ga", "contoso", "?api-version=2025-05-15"

    def create(self):
        if self.number % 2:
            # An incoming call, which the application answers.
            caller = {"from": self.callee, "to": US, "displayName": "A customer"}
            token = self.api.ask("POST", "/_emulator/incoming", caller)["incomingCallContext"]
            action, request = ":answer", {"incomingCallContext": token, "callbackUri": self.callback}
        else:
            action, request = "", {
                "targets": [phone(self.callee)], "sourceCallerIdNumber": {"value": US}, "callbackUri": self.callback}
        self.id = self.api.ask("POST", f"{self.prefix}{action}{self.query}", request)["callConnectionId"]

    def talk(self):
        prompt, callee = {"kind": "file", "file": {"uri": FILE}}, phone(self.callee)
        recording = self.api.ask("POST", f"/calling/recordings{self.query}", {
            "callLocator": {"kind": "serverCallLocator", "serverCallId": self.server_call},
            "recordingStateCallbackUri": f"{self.callback}/recordings"})["recordingId"]
        self.do("POST", ":play", {"playSources": [prompt], "operationContext": "welcome"})
        self.wait(3)
        self.do("POST", ":recognize", {
            "recognizeInputType": "dtmf", "playPrompt": prompt, "operationContext": "account number",
            "recognizeOptions": {
                "targetParticipant": callee, "initialSilenceTimeoutInSeconds": 5,
                "dtmfOptions": {"maxTonesToCollect": 4, "stopTones": ["pound"]}}})
        self.wait(5)
        self.do("POST", ":startContinuousDtmfRecognition", {"targetParticipant": callee})
        self.wait(3)
        self.do("POST", ":stopContinuousDtmfRecognition", {"targetParticipant": callee})
        for context, number in [("agent", AGENT), ("colleague", BUSY)]:
            self.do("POST", "/participants:add", {
                "participantToAdd": phone(number), "sourceCallerIdNumber": {"value": US}, "operationContext": context})
        self.wait(3)
        self.do("POST", "/participants:remove", {"participantToRemove": phone(AGENT)})
        self.wait(1)
        self.api.ask("DELETE", f"/calling/recordings/{recording}{self.query}")
        self.wait(1)
        self.do("POST", ":terminate")
