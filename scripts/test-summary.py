#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test-summary.py TESTLOG.JSON: prints what failed, and "N passed, N failed" as the last line.

Tests that speak TAP count by their parts. A skip is a failure: a test that does not run here would
hide that what it tests is broken. Nothing at all run is a failure, too.
"""

import json
import re
import sys

TAP_LINE = re.compile(r"^(not )?ok\b[ \t]*\d*[ \t]*(?:- )?([^#\n]*)(?:#[ \t]*(skip|todo)\b(.*))?",
                      re.IGNORECASE | re.MULTILINE)


def parts(test):
    """(passed, failures) of one line of the log."""
    passed, failures = 0, []
    where = test["name"].rsplit(" / ", 1)[-1]  # without the suite
    for bad, name, directive, reason in TAP_LINE.findall(test.get("stdout") or ""):
        if bad:
            failures.append(f"{where}: {name.strip()}")
        elif directive:
            failures.append(f"{where}: {name.strip()} ({directive}:{reason})")
        else:
            passed += 1
    if test["result"] == "OK":
        passed = passed if passed or failures else 1
    elif not failures:
        failures.append(f"{where}: {test['result']}")
    return passed, failures


def main():
    passed, failures = 0, []
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            for line in log:
                more, bad = parts(json.loads(line))
                passed += more
                failures += bad
    except FileNotFoundError:
        print("no test was run")
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
