"""The results of a run of `dev/test`: one line for each check and test in a file of tab-separated values.

    test_results.py add RESULTS STEP JUNIT LIST OUTPUT STATUS   the tests of a run of cargo-nextest
    test_results.py report RESULTS                              the slow ones, the skipped ones, and `N passed, N failed, N skipped`

A line has outcome, count, seconds, step, name, reason. JUNIT is the report of `cargo nextest run`, LIST what `cargo nextest list
--run-ignored all --message-format json` printed for the same tests. In the folder OUTPUT, a test that could not run leaves a
file `skipped-*` with its name and the reason, and one that ran another program's tests leaves a file `counted-*` with its name
and their numbers. STATUS is the exit code of the run: where it is not 0, something failed, even if no test did. `add` also
prints what tests of the whole program measured.
"""

import csv
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

SLOW_SECONDS = 15
SLOWEST = 15


def measured(case):
    """The output of a test of the whole program, without the lines of the test runner."""
    for line in (case.findtext("system-out") or "").splitlines():
        if line.strip() and not re.match(r"running 1 test$|test .* (\.\.\. |has been running)|test result: ", line):
            print(f"    {line}")


def left(output, kind):
    """The files of this kind that tests left, by the name of the test."""
    lines = [path.read_text().strip().split("\t") for path in pathlib.Path(output).glob(f"{kind}-*")]
    return {name: rest for name, *rest in lines}


def reasons():
    """The reasons why tests are ignored, by the name of the function: `#[ignore = "…"]` in the sources."""
    found = {}
    for folder in ("src", "crates", "tests"):
        for path in pathlib.Path(folder).rglob("*.rs"):
            for reason, function in re.findall(r'ignore = "([^"]*)"\s*\)?\]\s*(?:async )?fn (\w+)', path.read_text()):
                found[function] = reason
    return found


def add(results, step, junit, listed, output, status):
    skipped, counted, ignored = left(output, "skipped"), left(output, "counted"), reasons()
    rows = []
    for case in ElementTree.parse(junit).iter("testcase"):
        name, seconds = case.get("name"), float(case.get("time", 0))
        if case.get("classname").endswith("::it"):
            measured(case)
        if case.find("failure") is not None or case.find("error") is not None:
            rows.append(("failed", 1, seconds, step, name, ""))
        elif name in skipped:
            rows.append(("skipped", 1, seconds, step, name, skipped[name][0]))
        else:
            rows.append(("passed", 1, seconds, step, name, ""))
        if name in counted:
            for outcome, count in zip(("passed", "failed"), counted[name]):
                rows.append((outcome, int(count), 0, step, f"{name}: the tests of another program", ""))
    for suite in json.loads(pathlib.Path(listed).read_text())["rust-suites"].values():
        for name, case in suite["testcases"].items():
            if case["ignored"] and case["filter-match"]["status"] == "matches":
                rows.append(("skipped", 1, 0, step, name, ignored.get(name.rsplit("::")[-1], "ignored")))
    if status != "0" and not any(row[0] == "failed" for row in rows):
        rows.append(("failed", 1, 0, step, f"cargo nextest run ended with {status}", ""))
    with open(results, "a", newline="") as file:
        csv.writer(file, "excel-tab", lineterminator="\n").writerows(rows)


def report(results):
    with open(results, newline="") as file:
        rows = [(outcome, int(count), float(seconds), *rest) for outcome, count, seconds, *rest in csv.reader(file, "excel-tab")]
    steps = [row for row in rows if row[0] == "step"]
    if steps:
        print("\n== how long each step took")
    for _, _, seconds, step, *_ in steps:
        print(f"{seconds:6.0f} s  {step}")
    tests = [row for row in rows if row[0] != "step"]
    slow = sorted((row for row in tests if row[2] >= SLOW_SECONDS), key=lambda row: -row[2])
    if slow:
        print(f"\n== the slowest of {len(slow)} that took {SLOW_SECONDS} s or longer")
    for _, _, seconds, step, name, _ in slow[:SLOWEST]:
        print(f"{seconds:6.1f} s  {name} ({step})")
    for outcome in ("skipped", "failed"):
        of_it = [row for row in tests if row[0] == outcome and row[1]]
        if of_it:
            print(f"\n== {outcome}")
        for _, _, _, step, name, reason in of_it:
            print(f"{name} ({step})" + (f": {reason}" if reason else ""))
    counts = Counter()
    for outcome, count, *_ in tests:
        counts[outcome] += count
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["add", *rest] if len(rest) == 6:
            add(*rest)
        case ["report", results]:
            sys.exit(report(results))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(64)
