"""The Kubernetes manifests: each against the API's schemas, and all of a kustomization against each other and its configuration."""

import re
import tomllib
from pathlib import PurePosixPath

import dockerfile
from image import RECEIVER
from kustomization import render
from repository import KUBERNETES, ROOT, TOOLS, complaint, documents, name, toml

# The oldest that we promise (preStop's sleep is on by default from there on) and the newest that the schemas know.
VERSIONS = ["1.30.0", "1.37.0"]
SECRET = KUBERNETES / "secret.example.yaml"
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def files():
    return sorted(path for path in KUBERNETES.rglob("*") if path.suffix in {".yaml", ".yml"})


def problems():
    manifests = [path for path in files() if path.name != "kustomization.yaml"]
    for version in VERSIONS:
        command = [TOOLS / "kubernetes-validate", "--strict", "--quiet", "--kubernetes-version", version]
        yield from complaint(f"kubernetes-validate {version}", [*command, *manifests])
    sent = {SECRET}
    for path in sorted(KUBERNETES.rglob("kustomization.yaml")):
        (written,) = documents(path)
        sent |= {path, *((path.parent / resource).resolve() for resource in written.get("resources", []))}
        rendered, refused = render(path.parent)
        yield from refused
        workloads = rendered.of_kind("StatefulSet", "Deployment")
        if workloads:
            yield from Agreement(rendered, workloads).problems()
    for path in files():
        if path not in sent:
            yield f"{name(path)}: no kustomization names it"


def seconds(text):
    """A time as the configuration writes it: "1m 30s"."""
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(r"([\d.]+)\s*(ms|s|m|h)", text))


def quantity(text):
    """Bytes of a Kubernetes quantity."""
    number, unit = re.fullmatch(r"(\d+)([KMG]i)?", str(text)).groups()
    return int(number) * UNITS.get(unit, 1)


def port(address):
    return int(address.rpartition(":")[2])


def matches(selector, labels):
    """Whether a selector of matchLabels takes something with these labels; an empty one must not occur here."""
    return bool(selector) and selector.items() <= labels.items()


class Agreement:
    """One kustomization with one workload in it, looked at as a whole."""

    def __init__(self, rendered, workloads):
        self.rendered = rendered
        self.where = name(rendered.folder)
        (self.workload,) = workloads
        self.template = self.workload["spec"]["template"]
        self.pod = self.template["spec"]
        (self.container,) = self.pod["containers"]
        self.labels = self.template["metadata"]["labels"]
        self.ports = {one["name"]: one["containerPort"] for one in self.container["ports"]}
        self.claims = self.workload["spec"].get("volumeClaimTemplates", [])
        (self.secret,) = documents(SECRET)
        final = dockerfile.stages(RECEIVER)[-1]
        self.user = int(final.last("USER").partition(":")[0])
        self.version = toml(ROOT / "Cargo.toml")["workspace"]["package"]["version"]
        self.config = None

    def problems(self):
        for check in (
            self.configuration,
            self.names,
            self.labelled,
            self.reachable,
            self.probed,
            self.stopped_in_time,
            self.confined,
            self.bounded,
            self.kept,
        ):
            for problem in check():
                yield f"{self.where}: {problem}"
            if self.config is None:
                return

    def mount(self, path):
        """The mount with the longest path that contains this one, and what is mounted there."""
        mounts = [one for one in self.container["volumeMounts"] if PurePosixPath(path).is_relative_to(one["mountPath"])]
        if not mounts:
            return None, None
        best = max(mounts, key=lambda one: len(one["mountPath"]))
        volumes = [one for one in self.pod["volumes"] + self.claimed() if one["name"] == best["name"]]
        return best, volumes[0] if volumes else None

    def claimed(self):
        return [{"name": claim["metadata"]["name"], "claim": claim} for claim in self.claims]

    def configuration(self):
        """The arguments name a file that the mounted ConfigMap has."""
        arguments = self.container["args"]
        path = PurePosixPath(arguments[arguments.index("--config") + 1])
        _, volume = self.mount(path)
        source = (volume or {}).get("configMap", {}).get("name")
        maps = [one["data"] for one in self.rendered.of_kind("ConfigMap") if one["metadata"]["name"] == source]
        if not maps or path.name not in maps[0]:
            yield f"--config {path} is in no ConfigMap that is mounted there"
            return
        self.config = tomllib.loads(maps[0][path.name])
        broker = self.config["broker"]
        wanted = [broker["url_file"], *(text for key, text in broker.get("tls", {}).items() if key.endswith("_file"))]
        for path in map(PurePosixPath, wanted):
            mount, volume = self.mount(path)
            secret = (volume or {}).get("secret", {}).get("secretName")
            if secret != self.secret["metadata"]["name"] or path.name not in self.secret["stringData"]:
                yield f"{path} of the configuration is not in the Secret of {name(SECRET)}"
            elif not mount.get("readOnly") or "subPath" in mount:
                yield f"{mount['mountPath']} must be mounted readOnly, without subPath"

    def names(self):
        """Every object that is referred to by name exists, and the image has this version."""
        accounts = [one["metadata"]["name"] for one in self.rendered.of_kind("ServiceAccount")]
        if self.pod["serviceAccountName"] not in accounts:
            yield f"service account {self.pod['serviceAccountName']} does not exist"
        namespace = self.workload["metadata"].get("namespace")
        if self.secret["metadata"]["namespace"] != namespace:
            yield f"{name(SECRET)} is for another namespace than {namespace}"
        if [one["metadata"]["name"] for one in self.rendered.of_kind("Namespace")] != [namespace]:
            yield f"namespace {namespace} is not the one that is made"
        if self.container["image"].rpartition(":")[2] != self.version:
            yield f"the image {self.container['image']} has no tag {self.version}, the version in Cargo.toml"
        if self.labels.get("app.kubernetes.io/version") != self.version:
            yield f"label app.kubernetes.io/version is not {self.version}"
        mounted = {one["name"] for one in self.container["volumeMounts"]}
        volumes = {one["name"] for one in self.pod["volumes"] + self.claimed()}
        for one in sorted(mounted ^ volumes):
            yield f"volume {one} is mounted and not there, or there and not mounted"
        governing = self.workload["spec"].get("serviceName")
        if governing is not None:
            found = [one for one in self.rendered.of_kind("Service") if one["metadata"]["name"] == governing]
            if not found or found[0]["spec"].get("clusterIP") != "None":
                yield f"serviceName {governing} is no headless Service"

    def labelled(self):
        """Every selector matches these pods, by labels that a new version does not change."""
        selectors = {f"the {self.workload['kind']}": self.workload["spec"]["selector"]["matchLabels"]}
        for one in self.rendered.of_kind("Service"):
            selectors[f"Service {one['metadata']['name']}"] = one["spec"]["selector"]
        for one in self.rendered.of_kind("PodDisruptionBudget"):
            selectors["the PodDisruptionBudget"] = one["spec"]["selector"]["matchLabels"]
        for one in self.rendered.of_kind("NetworkPolicy"):
            selectors["the NetworkPolicy"] = one["spec"]["podSelector"]["matchLabels"]
        for one in self.pod.get("topologySpreadConstraints", []):
            selectors[f"the spread over {one['topologyKey']}"] = one["labelSelector"]["matchLabels"]
        for what, selector in selectors.items():
            if not matches(selector, self.labels):
                yield f"the selector of {what} does not take the pods"
            if not selector.keys() <= {"app.kubernetes.io/name", "app.kubernetes.io/instance"}:
                yield f"the selector of {what} has more than name and instance"

    def reachable(self):
        """Ports mean the same everywhere, and the public reaches only one of them."""
        server = self.config["server"]
        for key, port_name in (("listen", "public"), ("admin_listen", "admin")):
            if port(server[key]) != self.ports.get(port_name):
                yield f"server.{key} is {server[key]}, port {port_name} of the container {self.ports.get(port_name)}"
            if not server[key].startswith("0.0.0.0:"):
                yield f"server.{key} {server[key]} cannot be reached from outside the pod"
        exposed = {int(number) for number in dockerfile.stages(RECEIVER)[-1].last("EXPOSE").split()}
        if exposed != set(self.ports.values()):
            yield f"the image exposes {exposed}, the container {set(self.ports.values())}"
        for one in self.rendered.of_kind("Service"):
            targets = {entry["targetPort"] for entry in one["spec"]["ports"]}
            headless = one["spec"].get("clusterIP") == "None"
            if targets != ({"admin"} if headless else {"public"}):
                yield f"Service {one['metadata']['name']} leads to {targets}"
        (policy,) = self.rendered.of_kind("NetworkPolicy")
        incoming = {entry["port"] for rule in policy["spec"]["ingress"] for entry in rule["ports"]}
        if incoming != set(self.ports):
            yield f"the NetworkPolicy lets in {incoming}, the ports are {set(self.ports)}"
        if not all(rule.get("from") for rule in policy["spec"]["ingress"]):
            yield "the NetworkPolicy lets anybody in: as they stand the configurations have no auth"
        outgoing = {entry["port"] for rule in policy["spec"]["egress"] for entry in rule["ports"]}
        url = self.secret["stringData"]["amqp-url"].strip()
        broker = int(re.search(r":(\d+)/", url).group(1))
        if broker not in outgoing or 53 not in outgoing:
            yield f"the NetworkPolicy lets out {outgoing}: the broker's {broker} and DNS must be among it"
        if not url.startswith("amqps://") or "ca_file" not in self.config["broker"].get("tls", {}):
            yield "the way to the broker is not TLS with an authority of our own"

    def probed(self):
        for kind, path in (("startup", "/startupz"), ("liveness", "/livez"), ("readiness", "/readyz")):
            request = self.container.get(f"{kind}Probe", {}).get("httpGet")
            if request != {"path": path, "port": "admin"}:
                yield f"{kind}Probe must ask {path} on port admin"
        startup = self.container.get("startupProbe", {})
        patience = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
        # A damaged journal is salvaged record by record at the start.
        if patience < (300 if self.claims else 30):
            yield f"startupProbe gives up after {patience} s"

    def stopped_in_time(self):
        pause = self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        stop = seconds(self.config["server"]["shutdown_timeout"])
        grace = self.pod["terminationGracePeriodSeconds"]
        if grace < pause + stop + 5:
            yield f"terminationGracePeriodSeconds {grace} is not 5 s above preStop {pause} and shutdown_timeout {stop}"

    def confined(self):
        """The restricted Pod Security Standard, with the image's own user."""
        of_pod, of_container = self.pod["securityContext"], self.container["securityContext"]
        for key in ("runAsUser", "runAsGroup", "fsGroup"):
            if of_pod.get(key) != self.user:
                yield f"{key} is {of_pod.get(key)}, the image's USER is {self.user}"
        if of_pod.get("runAsNonRoot") is not True or of_pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield "the pod must have runAsNonRoot and seccompProfile RuntimeDefault"
        wanted = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if of_container != wanted:
            yield f"securityContext of the container must be {wanted}"
        accounts = self.rendered.of_kind("ServiceAccount")
        if any(one.get("automountServiceAccountToken") is not False for one in [self.pod, *accounts]):
            yield "a token of the API server is mounted"

    def bounded(self):
        resources = self.container["resources"]
        memory = quantity(resources["limits"]["memory"])
        if quantity(resources["requests"]["memory"]) != memory:
            yield "the memory's limit is not its request"
        if "cpu" in resources["limits"]:
            yield "there is a CPU limit"
        server = self.config["server"]
        callbacks = server.get("in_flight_limit", 512) * server.get("body_limit_bytes", 2**20)
        if callbacks > memory // 2:
            yield f"callbacks in progress may take {callbacks} bytes of {memory}"

    def kept(self):
        """A journal lies on a volume that outlives everything; in confirm mode there is none."""
        journal = self.config.get("delivery", {}).get("accept_after", "journal") == "journal"
        if not journal:
            if self.claims or "journal" in self.config:
                yield "confirm mode has no journal and no volume"
            if self.workload["kind"] != "Deployment" or self.workload["spec"]["replicas"] < 2:
                yield "confirm mode is for a Deployment of several replicas"
            if not self.rendered.of_kind("PodDisruptionBudget"):
                yield "several replicas need a PodDisruptionBudget"
            return
        _, volume = self.mount(self.config["journal"]["path"])
        if not (volume or {}).get("claim"):
            yield f"journal.path {self.config['journal']['path']} is on no claimed volume"
            return
        if self.workload["spec"]["replicas"] != 1:
            yield "journal mode has one replica, unless a balancer in front hashes on the path"
        policy = self.workload["spec"].get("persistentVolumeClaimRetentionPolicy")
        if policy != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
            yield "the volume must be retained: it may hold events that were answered 2xx"
        if self.workload["spec"].get("podManagementPolicy") != "Parallel":
            yield "a replica that does not start must not hold up the others: podManagementPolicy Parallel"
        size = quantity(volume["claim"]["spec"]["resources"]["requests"]["storage"])
        if size < 2 * self.config["journal"]["limit_bytes"]:
            yield f"a volume of {size} bytes is too small for journal.limit_bytes and a damaged one set aside"
        owned = dockerfile.stages(RECEIVER)[-1].words("VOLUME")
        if not any(PurePosixPath(self.config["journal"]["path"]).is_relative_to(one) for one in owned):
            yield f"journal.path is outside the image's VOLUME {owned}"
