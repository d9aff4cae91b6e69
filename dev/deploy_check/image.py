"""Builds the stages of the image by hand, without a Docker engine. A file that the COPY lines leave out breaks the build.

The build stage of deploy/Dockerfile is repeated in a folder below target/: each COPY copies what it says from what .dockerignore
lets through, with the files' times as Docker keeps them, and each RUN that calls cargo is run as it stands, only that
`cargo build --release` becomes `cargo check --offline`.
"""

import json
import os
import shutil
from pathlib import Path, PurePosixPath

import dockerfile
from repository import DEPLOY, ROOT, name, run, toml

RECEIVER = DEPLOY / "Dockerfile"
CONSUMER = DEPLOY / "consumer.Dockerfile"
IGNORE = ROOT / ".dockerignore"


def files():
    return [RECEIVER, CONSUMER]


def problems():
    return [*builds(), *runs_as_it_should(RECEIVER), *runs_as_it_should(CONSUMER), *consumer_is_there()]


def let_through():
    """The files that .dockerignore admits: ours excludes everything and then lists exceptions."""
    lines = [line.strip() for line in IGNORE.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*" and all(line.startswith("!") for line in lines[1:]), (
        ".dockerignore must refuse everything and then name what it takes"
    )
    return {line[1:] for line in lines[1:]}


def copied(sources, target, place, allowed):
    """Does one COPY from the repository into `place`, the stage's WORKDIR."""
    for source in sources:
        here = ROOT / source
        if PurePosixPath(source).parts[0] not in allowed:
            yield f"COPY {source}: .dockerignore does not let it through"
        elif here.is_dir():
            shutil.copytree(here, place / target, dirs_exist_ok=True)
        elif here.is_file():
            into = place / target / here.name if target.endswith("/") else place / target
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here, into)
        else:
            yield f"COPY {source}: does not exist"


def builds():
    stage = dockerfile.stages(RECEIVER)[0]
    # The same path each time, so that cargo reuses its earlier results.
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    place = target / "deploy-check"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    allowed = let_through()
    last = ""
    for instruction, argument in stage.steps:
        if instruction == "COPY":
            _, sources, into = dockerfile.copy(argument)
            found = list(copied(sources, into, place, allowed))
            if found:
                yield from found
                return
        elif instruction == "RUN" and "cargo" in argument:
            if "cargo build --locked --release" not in argument:
                yield f"RUN {argument}: does not build with --locked --release"
                return
            check = "cargo check --offline --message-format json-render-diagnostics"
            command = argument.replace("cargo build", check).replace(" --release", "")
            # The shell joins continued lines itself.
            command = command.replace("\n", "\\\n")
            code, last = run(["sh", "-euc", command], cwd=place, env=os.environ | {"CARGO_TARGET_DIR": str(target)})
            if code:
                plain = "\n".join(line for line in last.splitlines() if not line.startswith("{"))
                yield f"the build stage fails with what the Dockerfile copies, and only that:\n{plain}"
                return
    for source in ("src/lib.rs", "src/main.rs", "crates/load/src/lib.rs"):
        if not built_anew(last, place / source):
            yield f"the last RUN did not build {source} anew: the stand-in of the RUN before would be shipped"


def built_anew(said, source):
    """Whether cargo's JSON says that it compiled the target with this root, instead of reusing it."""
    for line in said.splitlines():
        if line.startswith("{"):
            message = json.loads(line)
            if message["reason"] == "compiler-artifact" and message["target"]["src_path"] == str(source):
                return not message["fresh"]
    return False


def runs_as_it_should(path):
    """The stage that becomes the image: a numeric user without rights, and no shell to start it."""
    found = dockerfile.stages(path)
    final = found[-1]
    user, _, group = (final.last("USER") or "").partition(":")
    if not (user.isdigit() and int(user) >= 10000 and group == user):
        yield f"{name(path)}: USER must be a number from 10000 on, twice: UID:GID"
    if not final.words("ENTRYPOINT"):
        yield f"{name(path)}: ENTRYPOINT is missing"
    for stage in found:
        base = stage.base.rpartition("/")[2]
        if base.endswith(":latest") or not ({":", "@"} & set(base)):
            yield f"{name(path)}: FROM {stage.base} is not pinned"
    version = toml(ROOT / "Cargo.toml")["workspace"]["package"]["version"]
    if path == RECEIVER:
        if f"VERSION={version}" not in [argument for word, argument in final.steps if word == "ARG"]:
            yield f"{name(path)}: ARG VERSION is not {version}, the version in Cargo.toml"
        yield from receiver_is_there(final, user)


def receiver_is_there(final, user):
    """The program is copied to where ENTRYPOINT looks, and the volume belongs to the user."""
    copies = [dockerfile.copy(argument) for word, argument in final.steps if word == "COPY"]
    program = final.words("ENTRYPOINT")[0]
    if (["/src/target/release/hookswitch"], program) not in [(sources, target) for _, sources, target in copies]:
        yield f"{name(RECEIVER)}: nothing copies the program to {program}"
    volumes = final.words("VOLUME") or []
    owned = {str(PurePosixPath(into)) for options, _, into in copies if options.get("chown") == f"{user}:{user}"}
    for volume in volumes:
        if str(PurePosixPath(volume).parent) not in owned:
            yield f"{name(RECEIVER)}: nothing gives {volume} to user {user}"
    if not volumes:
        yield f"{name(RECEIVER)}: VOLUME is missing"


def consumer_is_there():
    """The consumer's context is examples/python, as compose.yaml says."""
    folder = ROOT / "examples/python"
    for stage in dockerfile.stages(CONSUMER):
        for instruction, argument in stage.steps:
            if instruction == "COPY":
                _, sources, _ = dockerfile.copy(argument)
                for source in sources:
                    if not (folder / source).is_file():
                        yield f"{name(CONSUMER)}: COPY {source}: {name(folder / source)} does not exist"
