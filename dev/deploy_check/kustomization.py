"""The manifests that `kubectl apply --kustomize` sends."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from repository import TOOLS, name, run


@dataclass
class Rendered:
    """The manifests of one kustomization."""

    folder: Path
    objects: list[dict]

    def of_kind(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]


def render(folder):
    """The manifests of a folder's kustomization, or a list with one problem if kubectl refuses it."""
    code, said = run([TOOLS / "kubectl", "kustomize", folder])
    if code:
        return Rendered(folder, []), [f"kubectl kustomize {name(folder)} ({code}):\n{said}"]
    return Rendered(folder, list(yaml.safe_load_all(said))), []
