"""The REST operations and the events of the service, as far as an SDK of one version knows them (`table.json`)."""

import json
import pathlib
import re

_TABLE = json.loads((pathlib.Path(__file__).parent.parent / "table.json").read_text())

GRID_EVENTS = set(_TABLE["event grid"])
ALL_EVENTS = {kind for part in _TABLE["events"].values() for kind in part}


def operations(newest: bool) -> set[str]:
    """The names of the operations that this version can ask for."""
    return set(_TABLE["operations"]["1.0.0"]) | (set(_TABLE["operations"]["later"]) if newest else set())


def events(newest: bool) -> set[str]:
    """The callback events that this version knows."""
    return set(_TABLE["events"]["1.0.0"]) | (set(_TABLE["events"]["later"]) if newest else set())


def operation(method: str, path: str) -> str:
    """The name of the operation that a request is; the request itself if it is none of them."""
    for part in _TABLE["operations"].values():
        for name, template in part.items():
            pattern = "[^/:]+".join(re.escape(piece) for piece in template.split("{id}"))
            if re.fullmatch(pattern, f"{method} {path}"):
                return name
    return f"{method} {path}"
