"""Where things are in this repository, and how they are read."""

import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
# Next to the interpreter that runs this: the environment of deploy/requirements.txt.
TOOLS = Path(sys.executable).parent


def name(path):
    """A path as people write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def documents(path):
    """The YAML documents of a file."""
    with path.open(encoding="utf-8") as file:
        return [document for document in yaml.safe_load_all(file) if document is not None]


def toml(path):
    with path.open("rb") as file:
        return tomllib.load(file)


def run(command, **options):
    """Runs a program; gives its exit code and all that it printed."""
    options = {"cwd": ROOT, "text": True, "stdin": subprocess.DEVNULL} | options
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    return done.returncode, done.stdout.strip()


def complaint(what, command, **options):
    """A list with one problem where the program fails, or an empty one."""
    code, said = run(command, **options)
    return [f"{what} ({code}):\n{said}"] if code else []
