"""`hookswitch check-config` over every configuration under deploy/, those inside ConfigMaps too."""

import os
import tempfile
from pathlib import Path

from repository import DEPLOY, KUBERNETES, ROOT, documents, name, run, toml

# Secrets that the configuration names by path do not exist on the machine that checks; this takes their place.
PLACEHOLDER = "amqps://user:password@broker.example:5671/vhost\n"


def files():
    return sorted(DEPLOY.rglob("*.toml"))


def inside_config_maps():
    """Configurations written into ConfigMap manifests: file and text."""
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in documents(path):
            if document.get("kind") == "ConfigMap":
                for key, text in document.get("data", {}).items():
                    if key.endswith(".toml"):
                        yield path, text


def problems():
    code, said = run(
        # The build that the integration tests use.
        ["cargo", "test", "--locked", "--features", "broker-tests", "--test", "cli", "--no-run", "--quiet"]
    )
    if code:
        yield f"hookswitch does not build:\n{said}"
        return
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/hookswitch"
    with tempfile.TemporaryDirectory() as folder:
        texts = [(path, path.read_text(encoding="utf-8")) for path in files()] + list(inside_config_maps())
        for path, text in texts:
            copy = Path(folder) / "hookswitch.toml"
            copy.write_text(text, encoding="utf-8")
            code, said = run([program.resolve(), "check-config", copy], env=os.environ | stand_ins(copy, Path(folder)))
            if code:
                yield f"{name(path)} ({code}):\n{said}"


def stand_ins(path, folder):
    """Variables that replace each file in the configuration with one of this machine."""
    try:
        settings = toml(path)
    except ValueError:
        # check-config reports it in more detail.
        return {}
    secret = folder / "secret"
    secret.write_text(PLACEHOLDER, encoding="utf-8")
    found = {}
    broker = settings.get("broker", {})
    if "url_file" in broker:
        found["HOOKSWITCH__BROKER__URL_FILE"] = str(secret)
    for key in broker.get("tls", {}):
        if key.endswith("_file"):
            found[f"HOOKSWITCH__BROKER__TLS__{key.upper()}"] = str(secret)
    if "path" in settings.get("journal", {}):
        found["HOOKSWITCH__JOURNAL__PATH"] = str(folder / "journal")
    return found
