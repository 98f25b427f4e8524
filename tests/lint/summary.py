#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What scripts/test-summary.py makes of a log: it says whether the whole is right."""

import json
import os
import subprocess
import sys
import tempfile

import tap


def run(*tests):
    """(exit status, last line) for a log of (result, stdout) pairs; no log for none."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log.json")
        if tests:
            with open(log, "w", encoding="utf-8") as f:
                for result, stdout in tests:
                    f.write(json.dumps({"name": "cove:unit / t", "result": result,
                                        "stdout": stdout}) + "\n")
        script = os.path.join(tap.ROOT, "scripts/test-summary.py")
        r = subprocess.run([sys.executable, script, log], capture_output=True, text=True, check=False)
        return r.returncode, r.stdout.splitlines()[-1]


CASES = {
    "parts are counted": ([("OK", "1..2\nok 1 - a\nok 2 - b\n"), ("OK", None)],
                          (0, "3 passed, 0 failed")),
    "failed parts": ([("FAIL", "1..2\nok 1 - a\nnot ok 2 - b\n")], (1, "1 passed, 1 failed")),
    "a skip": ([("OK", "1..2\nok 1 - a # SKIP no\nok 2\n")], (1, "1 passed, 1 failed")),
    "a skip of all": ([("SKIP", "1..0 # SKIP no\n")], (1, "0 passed, 1 failed")),
    "a crash in the middle": ([("ERROR", "1..2\nok 1 - a\n")], (1, "1 passed, 1 failed")),
    "too few parts": ([("ERROR", "1..2\nok 1 - a\n"), ("OK", "1..1\nok 1\n")],
                      (1, "2 passed, 1 failed")),
    "out of time": ([("TIMEOUT", "")], (1, "0 passed, 1 failed")),
    "nothing ran": ([], (1, "0 passed, 0 failed")),
    "ok in a word is none": ([("OK", "okay\nnotok\n1..1\nok 1 - x\n")], (0, "1 passed, 0 failed")),
}


def summary():
    """every outcome is counted as what it is"""
    for name, (tests, expected) in CASES.items():
        got = run(*tests)
        if got != expected:
            yield f"{name}: {got}, not {expected}"


tap.main(summary)
