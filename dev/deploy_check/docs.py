"""deploy/README.md: the files it names are there."""

import re

from repository import DEPLOY, ROOT, name

README = DEPLOY / "README.md"


def files():
    return [README]


def problems():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target and not (DEPLOY / target).exists():
            yield f"{name(README)}: link to {target}, which does not exist"
    for path in re.findall(r"(?<![\w/])(?:deploy|config|dev|examples)/[\w./-]*[\w-]", text):
        if not (ROOT / path).exists():
            yield f"{name(README)}: {path} does not exist"
