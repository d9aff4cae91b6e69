"""Runs the snippets of README.md and the book.

    docs_snippets.py PROGRAM

The word behind the language of a fence says what is done with it:

    ```sh                       run by bash, in the repository, beside a development receiver; it must exit 0
    ```toml check-config        checked by `hookswitch check-config`
    ```toml app                 keys of an app, checked likewise within a whole configuration
    ```toml scenario            loaded by `hookswitch emulate`
    ```python sdk, ```js sdk    run by tests/it/emulator/snippets.rs, which holds the same text
    ```sh ignore="why"          not run, and why not; for every language

A fence of one of these languages with none of the words is an error. `text`, `http` and others are not run. `hookswitch` and
`cargo run --release --` are PROGRAM. Prints what was run and skipped; exits 1 if anything failed.
"""

import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs/src").rglob("*.md"))]
FENCE = re.compile(r"^( *)```([^\n`]+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
RUNNABLE = {"sh", "toml", "python", "js"}
PORT = 8080


def run(command, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}{done.stderr}"


def check_config(program, text):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        return run([program, "check-config", file.name])


def app(program, text):
    around = '[broker]\nurl = "stdout:"\n[[routes]]\nname = "all"\nqueue = "all"\n[[apps]]\nname = "contoso"\nauth = "none"\n'
    return check_config(program, around + text)


def scenario(program, text):
    """Good if the emulator still runs after a moment."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        emulator = subprocess.Popen(
            [program, "emulate", "--listen", "127.0.0.1:0", "--scenario", file.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = emulator.communicate(timeout=2)
            return f"exit {emulator.returncode}: {said}"
        except subprocess.TimeoutExpired:
            emulator.kill()
            emulator.communicate()
            return ""


def shell(program, text):
    functions = f'hookswitch() {{ "{program}" "$@"; }}\ncargo() {{ shift 3; hookswitch "$@"; }}\n'
    return run(["bash", "-euo", "pipefail", "-c", functions + text])


def listening():
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


def main(program):
    receiver = None
    if listening():
        print(f"port {PORT} is in use: snippets that post callbacks are not run")
    else:
        receiver = subprocess.Popen([program, "serve"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not listening() and time.monotonic() < deadline:
            time.sleep(0.1)
    ran = failed = 0
    skipped = {}
    try:
        for page in PAGES:
            for _, info, text in FENCE.findall(page.read_text(encoding="utf-8")):
                language, _, how = info.strip().partition(" ")
                if language not in RUNNABLE:
                    continue
                where = f"{page.relative_to(ROOT)}: {text.strip().splitlines()[0]}"
                if reason := re.fullmatch(r'ignore="(.+)"', how):
                    skipped.setdefault(reason[1], []).append(where)
                    continue
                if how == "sdk":
                    skipped.setdefault("run by tests/it/emulator/snippets.rs", []).append(where)
                    continue
                if language == "sh" and str(PORT) in text and receiver is None:
                    skipped.setdefault(f"port {PORT} is in use", []).append(where)
                    continue
                actions = {("toml", "check-config"): check_config, ("toml", "app"): app, ("toml", "scenario"): scenario, ("sh", ""): shell}
                action = actions.get((language, how))
                wrong = action(program, text) if action else f"say how to run it, or ignore it with a reason: {info}"
                ran += 1
                if wrong:
                    failed += 1
                    print(f"{where}\n    {wrong}")
    finally:
        if receiver:
            receiver.terminate()
            receiver.wait()
    for reason, places in sorted(skipped.items()):
        print(f"not run, {reason}: {len(places)}")
    print(f"snippets: {ran - failed} passed, {failed} failed, {sum(map(len, skipped.values()))} not run")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(str(pathlib.Path(sys.argv[1]).resolve())))
