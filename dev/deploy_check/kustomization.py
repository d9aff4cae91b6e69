"""What `kubectl apply --kustomize` sends."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from repository import TOOLS, name, run


@dataclass
class Rendered:
    """What one kustomization sends."""

    folder: Path
    objects: list[dict]

    def of_kind(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]


def render(folder):
    """What the kustomization of a folder sends, and a list with one problem where kubectl does not take it."""
    code, said = run([TOOLS / "kubectl", "kustomize", folder])
    if code:
        return Rendered(folder, []), [f"kubectl kustomize {name(folder)} ({code}):\n{said}"]
    return Rendered(folder, list(yaml.safe_load_all(said))), []
