# SPDX-License-Identifier: Apache-2.0
"""What the lint tests share: the files that are ours, and TAP."""

import os
import sys

ROOT = os.environ.get("COVE_SOURCE_DIR") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Build folders and what other tools leave behind.
NOT_OURS = (".git", "build", "node_modules", "__pycache__", ".cache")


def files(*suffixes, below=("",)):
    """Paths, from the root, of our files with one of these suffixes (any, if none)."""
    for start in below:
        for folder, folders, names in os.walk(os.path.join(ROOT, start)):
            folders[:] = sorted(f for f in folders if not f.startswith(NOT_OURS))
            for name in sorted(names):
                if not suffixes or name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def read(path):
    """The text of a file, by its path from the root. Bytes that are no UTF-8 are replaced."""
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def main(*checks):
    """Runs checks: functions with a docstring for a name that yield a line for each offence."""
    print(f"1..{len(checks)}")
    bad = False
    for number, check in enumerate(checks, 1):
        offences = list(check())
        for offence in offences:
            print(f"# {offence}", file=sys.stderr)
        print(f"{'not ok' if offences else 'ok'} {number} - {check.__doc__.strip()}")
        bad = bad or bool(offences)
    sys.exit(1 if bad else 0)
