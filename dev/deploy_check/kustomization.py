"""Puts together what `kubectl apply --kustomize` would send, as far as our kustomizations go."""

from dataclasses import dataclass, field
from pathlib import Path

from repository import documents, name

KNOWN_KEYS = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "images"}


@dataclass
class Rendered:
    """What one kustomization sends."""

    folder: Path
    objects: list[dict] = field(default_factory=list)
    # Name of a generated ConfigMap -> name of a key -> file.
    config_maps: dict[str, dict[str, Path]] = field(default_factory=dict)
    images: list[dict] = field(default_factory=list)
    namespace: str | None = None
    files: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def of_kind(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]


def render(folder):
    """Reads folder/kustomization.yaml and all that it names."""
    path = folder / "kustomization.yaml"
    out = Rendered(folder, files={path})
    (written,) = documents(path)
    for key in written.keys() - KNOWN_KEYS:
        out.problems.append(f"{name(path)}: {key} is not a key that this check knows")
    out.namespace = written.get("namespace")
    out.images = written.get("images", [])
    for resource in written.get("resources", []):
        there = (folder / resource).resolve()
        if there.is_dir():
            inner = render(there)
            out.objects += inner.objects
            out.files |= inner.files
            out.problems += inner.problems
        elif there.is_file():
            out.objects += documents(there)
            out.files.add(there)
        else:
            out.problems.append(f"{name(path)}: resource {resource} does not exist")
    for generator in written.get("configMapGenerator", []):
        sources = {Path(file).name: folder / file for file in generator["files"]}
        for file in sources.values():
            if not file.is_file():
                out.problems.append(f"{name(path)}: {name(file)} does not exist")
        out.config_maps[generator["name"]] = sources
        out.files |= set(sources.values())
    seen = set()
    for thing in out.objects:
        identity = (thing["kind"], thing["metadata"]["name"])
        if identity in seen:
            out.problems.append(f"{name(path)}: there are two of {identity}")
        seen.add(identity)
    return out
