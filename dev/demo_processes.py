"""The processes that `dev/demo` starts and ends, and its output."""

import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time

LIVE = sys.stdout.isatty()


def styled(code, text):
    return f"\033[{code}m{text}\033[0m" if LIVE else text


def say(text):
    print("\n" + styled(1, f"== {text}"), flush=True)


def note(text):
    print(f"  {text}", flush=True)


class Failed(Exception):
    """A promise was broken, or a process did not start."""


def free_port():
    # Below the range of outgoing connections: the receiver is stopped for a while and needs its port again.
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(20000, 30000)))
            except OSError:
                continue
            return s.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def eventually(what, within, condition):
    """Waits until `condition` gives something true, and gives that."""
    deadline = time.monotonic() + within
    while True:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {within} s")
        time.sleep(0.05)


class Processes:
    """The processes of the demo. Broker and working directory are those of the script that started this one."""

    def __init__(self, binary, work, amqp):
        self.binary, self.work, self.amqp = binary, work, amqp
        self.port, self.admin, self.api = free_port(), free_port(), free_port()
        # Used by Event Grid and for the requests that are posted by hand; the calling service signs instead.
        self.secret = secrets.token_urlsafe(24)
        self.config = self.configure()
        self.environment = dict(
            os.environ,
            HOOKSWITCH__SERVER__LISTEN=f"127.0.0.1:{self.port}",
            HOOKSWITCH__SERVER__ADMIN_LISTEN=f"127.0.0.1:{self.admin}",
            HOOKSWITCH__JOURNAL__PATH=f"{work}/journal",
            HOOKSWITCH__BROKER__URL=amqp,
        )
        self.running = {}

    def configure(self):
        """`config/signed.toml` with the keys of this demo's emulator and with a new secret."""
        with open(f"{self.work}/secret", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"{self.secret}\n")
        with open("config/signed.toml") as file:
            text = file.read()
        for example, ours in [("127.0.0.1:9100", f"127.0.0.1:{self.api}"), ("data/demo-secret", f"{self.work}/secret")]:
            if example not in text:
                raise Failed(f"config/signed.toml no longer names {example}")
            text = text.replace(example, ours)
        path = f"{self.work}/signed.toml"
        with open(path, "w") as file:
            file.write(text)
        return path

    # --- processes ---------------------------------------------------------------------------------------------

    def start(self, name, *command):
        """Its standard output and its log are files, `NAME.out` and `NAME.log`."""
        with open(f"{self.work}/{name}.out", "a") as out, open(f"{self.work}/{name}.log", "a") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log
            )
        self.running[name] = process
        # For dev/demo, in case this process is killed.
        with open(f"{self.work}/pids", "a") as file:
            file.write(f"{process.pid}\n")
        return process

    def kill(self, name):
        """Kills it as a power cut would."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self):
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + 10
        for process in self.running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def alive(self, name):
        return self.running[name].poll() is None

    def print_logs(self):
        for name in ["receiver", "emulator", "contoso", "fabrikam"]:
            try:
                with open(f"{self.work}/{name}.log") as log:
                    lines = log.readlines()[-8:]
            except OSError:
                continue
            if lines:
                print(f"the end of the log of the {name}:\n" + "".join(lines), flush=True)

    def rabbitmq(self, verb):
        subprocess.run(["dev/rabbitmq", verb, f"{self.work}/rabbitmq"], check=True, stdout=subprocess.DEVNULL)

    # --- the receiver ------------------------------------------------------------------------------------------

    def start_receiver(self):
        self.start("receiver", self.binary, "serve", "--config", self.config)
        eventually("the receiver is ready", 60, lambda: self.up("receiver") and get(self.admin, "/readyz")[0] == 200)

    def metric(self, name):
        for line in get(self.admin, "/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise Failed(f"the receiver has no metric {name}")

    def signs_are_known(self):
        """Whether the receiver has the keys of the emulator. Until then it answers callbacks with 503."""
        return self.metric('hookswitch_auth_key_fetches_total{outcome="ok"}') > 0

    def post(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    # --- the emulator ------------------------------------------------------------------------------------------

    def start_emulator(self, *options):
        """Returns the access key that the emulator prints."""
        self.start("emulator", self.binary, "emulate", "--listen", f"127.0.0.1:{self.api}", "--json", *options)
        first = eventually("the emulator is ready", 30, lambda: self.up("emulator") and self.first_line("emulator"))
        return json.loads(first)["accessKey"]

    def emulator(self, what):
        return json.loads(get(self.api, f"/_emulator/{what}")[1])

    def first_line(self, name):
        with open(f"{self.work}/{name}.out") as out:
            line = out.readline()
        return line if line.endswith("\n") else None

    def up(self, name):
        if not self.alive(name):
            raise Failed(f"the {name} ended by itself")
        return True
