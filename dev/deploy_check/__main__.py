"""Checks every file under deploy/. Called by dev/deploy-check; each part gives a list of problems."""

import sys

import broker
import compose
import configurations
import docs
import image
import lint
import manifests
from repository import DEPLOY, name

# A part has `files()`, the files that it checks, and `problems()`, its findings.
PARTS = {
    "yaml": lint.Yaml(),
    "docker": lint.Docker(),
    "image": image,
    "configurations": configurations,
    "compose": compose,
    "kubernetes": manifests,
    "rabbitmq": broker,
    "docs": docs,
}
# Settings and pins of the tools: each tool reads its own and fails on errors in it.
SETTINGS = {DEPLOY / "yamllint.yaml", DEPLOY / "requirements.txt"}


def uncovered():
    """Files under deploy/ that no part checks; for YAML the linter alone is not enough."""
    seen = set(SETTINGS)
    for part, checks in PARTS.items():
        if part != "yaml":
            seen |= set(checks.files())
    present = {path for path in DEPLOY.rglob("*") if path.is_file()}
    for path in sorted(present - seen):
        yield f"{name(path)}: no check looks at this file; add one to dev/deploy_check"
    for path in sorted(seen - present):
        if path.is_relative_to(DEPLOY):
            yield f"{name(path)}: is checked, but does not exist"


def main(wanted):
    known = ["files", *PARTS]
    for part in wanted:
        if part not in known:
            print(f"no part {part}; there are: {' '.join(known)}", file=sys.stderr)
            return 64
    count = 0
    for part in wanted or known:
        found = list(uncovered() if part == "files" else PARTS[part].problems())
        count += len(found)
        for problem in found:
            print(f"{part}: {problem}")
        if not found:
            print(f"{part}: good")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
