"""Runs schemathesis against a receiver: it makes requests from docs/openapi.json, good ones and bad ones, and holds every
answer against the document.

Prints one line for each run, the checks with their counts below it, and at the end `schemathesis: N passed, N failed`: how
many (operation, check) pairs held in all requests, and how many did not. Exits 1 if one did not or if a check that
is expected was never made.
"""

import argparse
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"

# Every check of the version that is pinned, with what keeps it out where it does not apply. One that is in neither
# list, because a newer version brought it, is made.
NOT_APPLICABLE = {
    "use_after_free": "nothing is deleted by a request",
    "ensure_resource_availability": "nothing is made that a later request could ask for",
    "object_level_authorization": "nothing belongs to one sender and can be read by another",
}
EXPECTED = {
    "public": {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "positive_data_acceptance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "ignored_auth",
    },
    "admin": {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "positive_data_acceptance",
        "unsupported_method",
    },
}

BINARY = ["ce-specversion", "ce-id", "ce-source", "ce-type"]


def operations(document):
    for item in document["paths"].values():
        for method in ("get", "post", "options"):
            if method in item:
                yield item[method]


def ce_name(document, reference):
    """The header's name if the parameter is one of CloudEvents' binary mode, else None."""
    parameter = document["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
    return parameter["name"] if parameter["name"].startswith("ce-") else None


def without_binary_mode(document):
    """OpenAPI cannot say that headers are required together or not at all, so each mode is run by itself."""
    document = copy.deepcopy(document)
    for operation in operations(document):
        if "requestBody" in operation:
            operation["parameters"] = [one for one in operation["parameters"] if ce_name(document, one) is None]
    return document


def only_binary_mode(document):
    """The attributes in headers, any JSON as `data`."""
    document = copy.deepcopy(document)
    for parameter in document["components"]["parameters"].values():
        if parameter["name"] in BINARY:
            parameter["required"] = True
    for operation in operations(document):
        if "requestBody" in operation:
            operation["requestBody"]["content"] = {"application/json": {"schema": {}}}
    return document


def runs(arguments):
    """Name, listener, base URL, document, app, further options."""
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    whole, binary = without_binary_mode(document), only_binary_mode(document)
    # A request that the document allows is never refused: known types with other data are kept in quarantine.
    yield "good callbacks", "public", arguments.public, whole, "lenient", ["--mode", "positive", "--include-tag", "public"]
    # One that it does not allow is always refused: this app does not quarantine. Its good callbacks are those above.
    yield "bad callbacks", "public", arguments.public, whole, "strict", ["--mode", "negative", "--include-tag", "public"]
    # Good ones only: what a header may hold (percent-encoding, quoted strings) is more than a pattern can say.
    yield "binary mode", "public", arguments.public, binary, "lenient", ["--mode", "positive", "--include-operation-id-regex", "^postCallback"]
    # /live never ends; src/admin/mod.rs and src/admin/follow.rs have its tests.
    yield "admin pages", "admin", arguments.admin, document, "lenient", ["--mode", "all", "--include-tag", "admin", "--exclude-path", "/live"]


def run(folder, number, arguments, spec):
    name, listener, url, document, app, options = spec
    place = folder / str(number)
    place.mkdir()
    (place / "openapi.json").write_text(json.dumps(document), encoding="utf-8")
    (place / "schemathesis.toml").write_text(f'[parameters]\n"path.app" = "{app}"\n', encoding="utf-8")
    report = place / "report.ndjson"
    command = [
        pathlib.Path(sys.executable).parent / "schemathesis",
        "--config-file", place / "schemathesis.toml",
        "run", place / "openapi.json", "--url", url,
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(arguments.examples), "--seed", str(arguments.seed), "--generation-database", "none",
        "--exclude-checks", ",".join(NOT_APPLICABLE), "--continue-on-failure",
        "--request-timeout", "20", "--no-color", "--report", "ndjson", "--report-ndjson-path", report,
        *options,
    ]  # fmt: skip
    if listener == "public":
        command += ["--header", f"Authorization: Bearer {os.environ['HOOKSWITCH_TOKEN']}"]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout, results(report)


def results(report):
    """Requests made, and by (operation, check) how often it held and how often not."""
    requests, held = 0, defaultdict(Counter)
    if not report.exists():
        return requests, held
    for line in report.read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario is None:
            continue
        recorder = scenario["recorder"]
        requests += len(recorder.get("interactions", ()))
        for checks in recorder.get("checks", {}).values():
            for check in checks:
                held[recorder["label"], check["name"]][check["status"]] += 1
    return requests, held


def main():
    parser = argparse.ArgumentParser(description="Needs a bearer token of the apps in HOOKSWITCH_TOKEN.")
    parser.add_argument("--public", required=True, help="URL of the public listener, with apps lenient and strict")
    parser.add_argument("--admin", required=True, help="URL of the admin listener")
    parser.add_argument("--examples", type=int, default=60, help="generated requests of one operation in one run")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    passed, failed = 0, 0
    made = defaultdict(set)
    with tempfile.TemporaryDirectory() as folder:
        for number, spec in enumerate(runs(arguments)):
            code, said, (requests, held) = run(pathlib.Path(folder), number, arguments, spec)
            name, listener = spec[:2]
            good = sum(set(counts) == {"success"} for counts in held.values())
            bad = len(held) - good
            # Errors of the run itself, an unreachable address for example, are no checks.
            if code != 0 and bad == 0:
                bad = 1
            passed, failed = passed + good, failed + bad
            print(f"schemathesis {name}: {requests} requests, {good} checks of an operation passed, {bad} failed")
            by_check = defaultdict(Counter)
            for (_, check), counts in held.items():
                by_check[check] += counts
            for check, counts in sorted(by_check.items()):
                made[listener].add(check)
                print(f"  {check}: {counts['success']} answers held, {sum(counts.values()) - counts['success']} did not")
            if bad:
                print(said)
    for check, reason in NOT_APPLICABLE.items():
        print(f"schemathesis leaves out {check}: {reason}")
    for listener, expected in EXPECTED.items():
        for check in sorted(expected - made[listener]):
            failed += 1
            print(f"schemathesis never made {check} on the {listener} listener")
    print(f"schemathesis: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
