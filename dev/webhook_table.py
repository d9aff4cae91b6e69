"""The results of the tests in the table of the CloudEvents webhook specification.

    webhook_table.py docs/src/sender/webhook-specification.md JUNIT...

Each JUNIT is the report of a run of cargo-nextest. Prints one line with counts; exits 1 if a test that the table names did not pass.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

page, *reports = sys.argv[1:]
outcomes = {}
for report in reports:
    for case in ElementTree.parse(report).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        outcomes[case.get("name").rsplit("::")[-1]] = "failed" if failed else "ok"

rows, named, bare = 0, {}, 0
with open(page) as lines:
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if len(cells) != 4 or cells[0] in ("section", "---") or not line.startswith("|"):
            continue
        rows += 1
        tests = re.findall(r"`(\w+)`", cells[3])
        bare += not tests
        for test in tests:
            named[test] = outcomes.get(test, "not run")

bad = {test: outcome for test, outcome in named.items() if outcome != "ok"}
for test, outcome in sorted(bad.items()):
    print(f"{test}: {outcome}")
print(
    f"CloudEvents webhook table: {rows} requirements, {rows - bare} held by {len(named)} tests, {len(named) - len(bad)} passed, "
    f"{len(bad)} failed; {bare} bind the sender, do not arise, or are not met and say so"
)
sys.exit(bool(bad or not named))
