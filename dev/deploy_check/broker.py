"""RabbitMQ's definitions: whether their names agree, and whether they fit the configurations that use them.

That RabbitMQ takes them and what its permissions and policies then do is shown by tests/it/deploy.rs.
"""

import base64
import hashlib
import json
import re
from urllib.parse import unquote, urlsplit

from configurations import files as configuration_files
from repository import DEPLOY, name, toml

FOLDER = DEPLOY / "rabbitmq"
TOPOLOGY = FOLDER / "definitions.json"
USERS = FOLDER / "development-users.json"
SETTINGS = FOLDER / "rabbitmq.conf"
# Queues that the receiver delivers to besides its routes.
OWN_QUEUES = {"hookswitch.unrouted", "hookswitch.quarantine"}


def files():
    return [TOPOLOGY, USERS, SETTINGS]


def load(path):
    """JSON without duplicate members."""

    def once(pairs):
        members = dict(pairs)
        assert len(members) == len(pairs), f"{name(path)}: a member is there twice: {[key for key, _ in pairs]}"
        return members

    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)


def problems():
    topology, people = load(TOPOLOGY), load(USERS)
    yield from names(topology, people)
    yield from settings()
    for path in configuration_files():
        for problem in fits(toml(path), topology, people):
            yield f"{name(path)}: {problem}"


def names(topology, people):
    if people.keys() != {"users", "permissions"} or "users" in topology:
        yield f"{name(TOPOLOGY)} is for production too: users and permissions belong to {name(USERS)}"
    vhosts = {one["name"] for one in topology["vhosts"]}
    for kind in ("exchanges", "queues", "bindings", "policies"):
        for one in topology[kind]:
            if one["vhost"] not in vhosts:
                yield f"{kind}: vhost {one['vhost']} does not exist"
    exchanges = {one["name"] for one in topology["exchanges"]}
    queues = {one["name"] for one in topology["queues"]}
    for one in topology["bindings"]:
        if one["source"] not in exchanges or one["destination"] not in queues:
            yield f"binding {one['source']} -> {one['destination']}: one of them does not exist"
    for queue in sorted(queues):
        applied = [one for one in topology["policies"] if re.search(one["pattern"], queue)]
        if len(applied) != 1:
            yield f"queue {queue}: {len(applied)} policies match; RabbitMQ applies one"
            continue
        definition = applied[0]["definition"]
        if definition.get("overflow") != "reject-publish" or "max-length-bytes" not in definition:
            yield f"queue {queue}: without a length limit and reject-publish the oldest messages are deleted"
        letters = definition.get("dead-letter-exchange")
        if "delivery-limit" not in definition or (queue != "hookswitch.dead-letter" and letters not in exchanges):
            yield f"queue {queue}: what is redelivered too often has no place to go"
    for one in topology["policies"]:
        if re.search(one["pattern"], "hookswitch.fence.0"):
            yield f"policy {one['name']} takes the fence queues"
    known = {one["name"] for one in people["users"]}
    for one in people["permissions"]:
        if one["user"] not in known or one["vhost"] not in vhosts:
            yield f"permission of {one['user']} on {one['vhost']}: one of them does not exist"
        for right in ("configure", "write", "read"):
            re.compile(one[right])


def settings():
    """`key = value` lines; the node that the tests start reads the same file."""
    loads = False
    for line in SETTINGS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition(" = ")
            loads |= (key, value) == ("load_definitions", "/etc/rabbitmq/definitions")
            if not re.fullmatch(r"[a-z0-9_.]+ = \S.*", line):
                yield f"{name(SETTINGS)}: cannot read {line!r}"
    if not loads:
        yield f"{name(SETTINGS)} does not load /etc/rabbitmq/definitions"


def queues_of(configuration):
    """The queues that a receiver with this configuration delivers to."""
    queues = set(OWN_QUEUES)
    for route in configuration["routes"]:
        if "queue" in route and "partitions" in route:
            queues |= {f"{route['queue']}.{n}" for n in range(route["partitions"])}
        elif "queue" in route:
            queues.add(route["queue"])
    return queues


def fits(configuration, topology, people):
    """Everything that the configuration needs is in the definitions, and the receiver's user has no more than that."""
    broker = configuration["broker"]
    exchange, declares = broker.get("exchange", ""), broker.get("declare", True)
    there = {one["name"]: one for one in topology["queues"]}
    bound = {
        one["destination"]
        for one in topology["bindings"]
        if one["source"] == exchange and one["routing_key"] == one["destination"]
    }
    needed = queues_of(configuration)
    for queue in sorted(needed):
        arguments = {"x-queue-type": "quorum", "x-single-active-consumer": True}
        if there.get(queue, {}).get("arguments") != arguments:
            yield f"queue {queue} is not in the definitions with exactly the arguments that hookswitch declares"
        if queue not in bound:
            yield f"queue {queue} is not bound to {exchange!r} by its name"
    if declares:
        yield "declare must be false: the permissions of the definitions do not let the receiver declare"
    rights = {one["user"]: one for one in people["permissions"]}
    mine = rights["hookswitch"]
    candidates = set(there) | {one["name"] for one in topology["exchanges"]} | {"amq.default", "", "contoso.calls.10"}
    writes = {one for one in candidates if re.search(mine["write"], one)}
    if writes != needed | {exchange}:
        yield f"user hookswitch may write {sorted(writes)}, it needs {sorted(needed | {exchange})}"
    if any(re.search(mine["read"], one) for one in candidates if one):
        yield "user hookswitch may read"
    configures = {one for one in candidates | {"hookswitch.fence.a.0"} if re.search(mine["configure"], one)}
    if configures != {"hookswitch.fence.a.0"}:
        yield f"user hookswitch may configure {sorted(configures)}, it needs its fences"
    if any(re.search(rights["consumer"][right], one) for right in ("configure", "write") for one in candidates if one):
        yield "user consumer may do more than read"


def address_problems(url):
    """Whether a URL of the development system logs in: its user, password and vhost against the definitions."""
    people = {one["name"]: one for one in load(USERS)["users"]}
    parts = urlsplit(url)
    user = people.get(unquote(parts.username or ""))
    if parts.scheme != "amqp" or user is None:
        return [f"{parts.scheme}://{parts.username}: is not an amqp URL of a user in {name(USERS)}"]
    stored = base64.b64decode(user["password_hash"])
    salt, digest = stored[:4], stored[4:]
    found = []
    if hashlib.sha256(salt + unquote(parts.password or "").encode()).digest() != digest:
        found.append(f"the password of {parts.username} is not the one in {name(USERS)}")
    if unquote(parts.path[1:]) not in {one["name"] for one in load(TOPOLOGY)["vhosts"]}:
        found.append(f"vhost {parts.path[1:]} does not exist")
    return found
