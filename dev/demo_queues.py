"""The consumers of `dev/demo`, and the messages of each queue."""

import json
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

from demo_processes import Failed


class Consumer:
    """A program of examples/ that consumes its queues during the whole demo."""

    def __init__(self, processes, name, queues, *command):
        self.processes, self.name, self.queues = processes, name, queues
        self.command = command[-1]
        self.store = f"{processes.work}/{name}.sqlite"
        processes.start(name, *command, "--amqp", processes.amqp, "--store", self.store, *queues)

    def messages(self):
        """In the order in which they were handled."""
        try:
            store = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
            rows = store.execute("SELECT queue, call, sequence, message_id, body FROM events ORDER BY position").fetchall()
            store.close()
        except sqlite3.Error:
            # The database does not exist yet.
            return []
        return [
            {"queue": queue, "call": call, "sequence": sequence, "id": id, "type": json.loads(body)["type"]}
            for queue, call, sequence, id, body in rows
        ]

    def dropped(self):
        with open(f"{self.processes.work}/{self.name}.out") as out:
            return sum(line.startswith("dropped ") for line in out)


def consume(processes, queue):
    """`hookswitch consume`, until no more messages come."""
    done = subprocess.run(
        [processes.binary, "consume", "--config", processes.config, queue, "--idle", "1s"],
        env=processes.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    if done.returncode != 0:
        raise Failed(f"hookswitch consume {queue}: {done.stderr}")
    return [{**json.loads(line), "queue": queue} for line in done.stdout.splitlines()]


def take(processes, queues):
    with ThreadPoolExecutor(len(queues)) as pool:
        return [message for messages in pool.map(lambda queue: consume(processes, queue), queues) for message in messages]
