"""The compose file: against the schema of the Compose specification, and against the files that it names."""

import re
from pathlib import PurePosixPath

import dockerfile
from broker import TOPOLOGY, address_problems, load
from image import RECEIVER
from manifests import port, seconds
from repository import DEPLOY, TOOLS, complaint, documents, name, toml

FILE = DEPLOY / "compose.yaml"
URL = DEPLOY / "compose/receiver-amqp-url"
CONFIGURATION = DEPLOY / "compose/hookswitch.toml"


def files():
    return [FILE, URL, CONFIGURATION]


def problems():
    command = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    yield from complaint(f"{name(FILE)}: Compose specification", [*command, FILE])
    (project,) = documents(FILE)
    for service, settings in project["services"].items():
        for problem in [*careful(settings), *there(settings, project)]:
            yield f"{service}: {problem}"
    yield from receiver(project["services"]["receiver"])
    services = project["services"]
    for url in (URL.read_text(encoding="utf-8").strip(), services["consumer"]["environment"]["AMQP_URL"]):
        yield from address_problems(url)
        if not re.search(r"@rabbitmq:5672/", url):
            yield f"{url} does not lead to the service rabbitmq"
    queues = {one["name"] for one in load(TOPOLOGY)["queues"]}
    for queue in services["consumer"]["environment"]["QUEUES"].split():
        if queue not in queues:
            yield f"consumer: queue {queue} is not in {name(TOPOLOGY)}"


def careful(settings):
    """No more rights than needed, nothing open to the network, no floating versions."""
    if settings.get("cap_drop") != ["ALL"] or settings.get("security_opt") != ["no-new-privileges:true"]:
        yield "must have cap_drop ALL and no-new-privileges"
    if "build" in settings and settings.get("read_only") is not True:
        yield "must have a read-only root"
    for one in settings.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", one):
            yield f"port {one} is not on loopback only"
    if not re.fullmatch(r"[a-z-]+:\d+\.\d+\.\d+(-[a-z]+)?", settings["image"]):
        yield f"image {settings['image']} has no full version"


def there(settings, project):
    """All files, volumes, secrets and services that are named exist."""
    if "build" in settings:
        context = (DEPLOY / settings["build"]["context"]).resolve()
        for path in (context, context / settings["build"]["dockerfile"]):
            if not path.exists():
                yield f"build: {name(path.resolve())} does not exist"
    for one in settings.get("volumes", []):
        source, _, rest = one.partition(":")
        if source.startswith("."):
            if not (DEPLOY / source).is_file():
                yield f"volume {source} does not exist"
            if not rest.endswith(":ro"):
                yield f"volume {source} is not read-only"
        elif source not in project["volumes"]:
            yield f"volume {source} is not declared"
    for one in settings.get("secrets", []):
        if not (DEPLOY / project["secrets"].get(one["source"], {}).get("file", "-")).is_file():
            yield f"secret {one['source']} is not there"
    for one, how in settings.get("depends_on", {}).items():
        needs_check = how["condition"] == "service_healthy"
        if needs_check and "healthcheck" not in project["services"].get(one, {}):
            yield f"waits for the health of {one}, which has no health check"


def receiver(settings):
    """The receiver's mounts and ports against its configuration."""
    config = toml(CONFIGURATION)
    image = dockerfile.stages(RECEIVER)[-1]
    mounts = {parts[1]: parts[0] for parts in (one.split(":") for one in settings["volumes"])}
    wanted = image.words("CMD")[-1]
    if (DEPLOY / mounts.get(wanted, "-")).resolve() != CONFIGURATION:
        yield f"receiver: {name(CONFIGURATION)} is not mounted at {wanted}, where the image looks"
    journal = PurePosixPath(config["journal"]["path"])
    volumes = [target for target, source in mounts.items() if not source.startswith(".")]
    if not any(journal.is_relative_to(one) for one in volumes if one in image.words("VOLUME")):
        yield f"receiver: journal.path {journal} is on none of its volumes {volumes}"
    secrets = [f"/run/secrets/{one['target']}" for one in settings["secrets"]]
    if secrets != [config["broker"]["url_file"]]:
        yield f"receiver: broker.url_file {config['broker']['url_file']} is not its secret {secrets}"
    published = {int(one.rpartition(":")[2]) for one in settings["ports"]}
    server = config["server"]
    listens = {port(server["listen"]), port(server["admin_listen"])}
    if published != listens:
        yield f"receiver: publishes {published}, listens on {listens}"
    if seconds(settings["stop_grace_period"]) < seconds(server["shutdown_timeout"]) + 5:
        yield "receiver: stop_grace_period is not 5 s above server.shutdown_timeout"
