"""Reads the parts of a Dockerfile that ours use."""

import json
import shlex
from dataclasses import dataclass, field


@dataclass
class Stage:
    base: str
    name: str | None
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction):
        """The argument of the last such instruction, or None."""
        return next((argument for word, argument in reversed(self.steps) if word == instruction), None)

    def words(self, instruction):
        """The last such instruction in JSON form, as a list."""
        argument = self.last(instruction)
        return json.loads(argument) if argument is not None else None


def stages(path):
    """The stages of a Dockerfile: instructions in order, continued lines joined, comments gone."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#"))
    found = []
    whole = ""
    for line in lines:
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1] + "\n"
            continue
        instruction, _, argument = whole.strip().partition(" ")
        whole = ""
        if instruction == "FROM":
            words = argument.split()
            found.append(Stage(words[0], words[2] if len(words) == 3 else None))
        elif instruction and found:
            found[-1].steps.append((instruction, argument.strip()))
    return found


def copy(argument):
    """The options, sources and target of a COPY."""
    words = shlex.split(argument)
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    places = [word for word in words if not word.startswith("--")]
    return options, places[:-1], places[-1]
