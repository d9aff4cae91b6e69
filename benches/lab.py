"""Shared by the benchmark scripts: a private broker, receivers as processes, /proc, the load generator, tables.

Needs Python 3.11 and its standard library only. Everything stays on loopback and below one directory, which is removed
at the end; every process that is started here is stopped by its id.
"""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
EVENT_BYTES = 700


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A step failed; the text says which and why."""


def free_port():
    """A port below the range of outgoing connections, one of which could otherwise take it before it is used."""
    while True:
        with socket.socket() as candidate:
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", random.randrange(20_000, 30_000)))
                return candidate.getsockname()[1]


def until(what, seconds, ready, process=None):
    """Waits until `ready` returns a true value, and returns it with the seconds that it took."""
    began = time.monotonic()
    while True:
        found = ready()
        if found:
            return found, time.monotonic() - began
        if process is not None and process.child.poll() is not None:
            raise Failed(f"{what}: the process ended with {process.child.returncode}, see\n{process.tail()}")
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def get(port, path, timeout=5):
    """Status and text of a GET on loopback; status 0 if there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def cpu_seconds(pid):
    """User and system time of a process and of the children that it has or had."""
    children, times = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            # After the name, which may hold anything: state, parent, and as numbers 12 to 15 the times, its own and
            # those of children that have ended.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            times[int(entry.name)] = sum(int(ticks) for ticks in fields[11:15])
    total, family = 0, [pid]
    while family:
        member = family.pop()
        total += times.get(member, 0)
        family.extend(children.get(member, []))
    return total / TICKS


class Lab:
    """A directory for one run, and everything that runs in it."""

    def __init__(self, directory=None):
        # Below the repository by default: /tmp may be in memory, where an fsync costs nothing.
        base = Path(directory) if directory else ROOT / "target" / "benches"
        base.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        self.ends = contextlib.ExitStack()

    def __enter__(self):
        self.ends.callback(shutil.rmtree, self.directory, ignore_errors=True)
        # A kill that can be caught must not leave a broker behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *about):
        return self.ends.__exit__(*about)

    def broker(self, name="broker"):
        broker = Broker(self.directory / name)
        self.ends.callback(broker.stop)
        broker.start()
        return broker

    def process(self, name, command, **more):
        process = Process(name, command, self.directory / f"{name}.log", **more)
        self.ends.callback(process.kill)
        return process


class Broker:
    """A private RabbitMQ node of this run."""

    def __init__(self, directory):
        self.directory = directory
        self.url = None

    def start(self):
        self.url = self._script("start")

    def stop(self):
        self._script("stop")

    def ctl(self, *arguments):
        return self._script("ctl", *arguments)

    def evaluate(self, erlang):
        return self.ctl("eval", erlang)

    def version(self):
        return self.ctl("version")

    def cpu_seconds(self):
        return cpu_seconds(int((self.directory / "beam.pid").read_text()))

    def queues(self):
        return self.ctl("list_queues", "name").split()

    def cut_connections(self, seconds):
        """Closes every connection each second, for this number of seconds. Returns at once: the node does it by itself."""
        self.evaluate(
            "spawn(fun() -> F = fun F(0) -> ok; F(N) -> timer:sleep(1000), "
            '[catch rabbit_networking:close_connection(P, "closed by the benchmark") '
            f"|| P <- rabbit_networking:connections()], F(N - 1) end, F({seconds}) end)."
        )

    def declare(self, *queues):
        """Declares durable quorum queues."""
        for queue in queues:
            self.evaluate(
                f'{{new, _}} = rabbit_amqqueue:declare({resource(queue)}, true, false, '
                '[{<<"x-queue-type">>, longstr, <<"quorum">>}], none, <<"benchmark">>), ok.'
            )

    def delete_later(self, queue, seconds):
        """Deletes a queue after this number of seconds. The node does it by itself: a program that is started under load
        would use more of a small machine than the measured one."""
        self.evaluate(
            f"spawn(fun() -> timer:sleep({seconds * 1000}), {{ok, Q}} = rabbit_amqqueue:lookup({resource(queue)}), "
            'rabbit_amqqueue:delete(Q, false, false, <<"benchmark">>) end).'
        )

    def _script(self, verb, *arguments):
        command = [ROOT / "dev/rabbitmq", verb, self.directory, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"dev/rabbitmq {verb} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()


def resource(queue):
    return f'rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)'


class Process:
    """A process that runs until it is stopped, with its output in a file."""

    def __init__(self, name, command, log, environment=None, directory=None):
        self.name, self.log = name, log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory or ROOT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self):
        return self.child.pid

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])

    def stop(self, seconds=40):
        """SIGTERM, and SIGKILL if the process does not end."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def cpu_seconds(self):
        """User and system time of the process and of the children that it has or had."""
        return cpu_seconds(self.pid)

    def memory(self):
        """Resident memory now and its peak, in MiB."""
        values = {}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                values[name] = int(rest.split()[0]) / 1024
        return values["VmRSS"], values["VmHWM"]


class Receiver:
    """Hookswitch with its own configuration."""

    def __init__(self, lab, binary, name, broker_url, queue="bench.calls", mode="journal", more="", routes=None, broker=""):
        self.lab, self.binary, self.name = lab, binary, name
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.port, self.admin_port = free_port(), free_port()
        self.queues = list(routes) if routes else [queue]
        self.config = self.directory / "hookswitch.toml"
        parts = [
            f'[server]\nlisten = "127.0.0.1:{self.port}"\nadmin_listen = "127.0.0.1:{self.admin_port}"\n'
            f'instance = "{name}"',
            f'[journal]\npath = "{self.directory / "journal"}"\n{more}',
            f'[delivery]\naccept_after = "{mode}"\nconfirm_timeout = "30s"',
            f'[broker]\nurl = "{broker_url}"\n{broker}',
            '[[apps]]\nname = "bench"\nauth = "none"',
        ]
        parts += [f'[[routes]]\nname = "{queue}"\nqueue = "{queue}"' for queue in self.queues]
        self.config.write_text("\n\n".join(parts) + "\n")
        self.process = None

    @property
    def target(self):
        return f"http://127.0.0.1:{self.port}/callbacks/bench"

    def start(self, seconds=120):
        """Starts it and returns the seconds until it was ready."""
        command = [self.binary, "serve", "--config", self.config]
        self.process = self.lab.process(self.name, command, environment={"RUST_LOG": "warn"})
        _, took = until(f"{self.name} is ready", seconds, self.is_ready, self.process)
        return took

    def is_ready(self):
        return get(self.admin_port, "/readyz")[0] == 200

    def metric(self, name):
        for line in get(self.admin_port, "/metrics", 30)[1].splitlines():
            series, _, value = line.rpartition(" ")
            if series == name:
                return float(value)
        raise Failed(f"{self.name} has no metric {name}")

    def until_delivered(self, seconds=120):
        """Waits until nothing is pending, and returns the seconds that it took."""
        _, took = until(
            f"{self.name} has delivered everything",
            seconds,
            lambda: self.metric("hookswitch_deliveries_pending") == 0,
            self.process,
        )
        return took


def load(binary, *arguments, seconds=900):
    """Runs `hookswitch load` and returns the members of its JSON line; a breach is not a failure of the run."""
    command = [str(part) for part in (binary, "load", "--json", *arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: not done within {seconds} s") from None
    lines = done.stdout.strip().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        raise Failed(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.strip()}") from None


def binary(given):
    """The program to measure: the one given, else the release build of this repository, built if need be."""
    if given:
        return Path(given).resolve()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    return target_directory() / "release" / "hookswitch"


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def fsync_milliseconds(directory, seconds, rate=None):
    """p50 and p99 of appending 4 KiB durably to a file of `directory`: one after another, or `rate` per second."""
    path = Path(directory) / "fsync-probe"
    block = b"\0" * 4096
    took = []
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        began = due = time.monotonic()
        while time.monotonic() - began < seconds:
            if rate:
                due += 1 / rate
                # Behind its schedule it goes on without a pause: the disk is the limit.
                time.sleep(max(0.0, due - time.monotonic()))
            start = time.perf_counter()
            os.write(file, block)
            os.fdatasync(file)
            took.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(file)
        path.unlink()
    return {"p50": percentile(took, 50), "p99": percentile(took, 99), "count": len(took)}


def percentile(values, percent):
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def number(value, digits=0):
    """A formatted figure; a dash if there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine(broker=None):
    """The facts that a reader needs to judge the figures."""
    words = [f"{os.cpu_count()} cores, shared by broker, generator and receiver"]
    if broker:
        words.append(f"RabbitMQ {broker.version()}")
    return ", ".join(words)


def write_json(path, found):
    if path:
        Path(path).write_text(json.dumps(found, indent=2) + "\n")
