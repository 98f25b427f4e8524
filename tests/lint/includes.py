#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sources include what tests/lint/include-table.txt allows them to."""

import os
import re

import tap

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def table():
    """({folder: what it may include}, {folder: which headers it must not})"""
    allowed, denied = {}, {}
    for line in tap.read("tests/lint/include-table.txt").splitlines():
        words = line.split("#")[0].split()
        if words and words[0] == "not":
            denied[words[1]] = set(words[2:])
        elif words:
            allowed[words[0]] = set(words[1:])
    return allowed, denied


ALLOWED, DENIED = table()


def every_include():
    for path in tap.files(".c", ".h", below=["src"]):
        for quote, header in INCLUDE.findall(tap.read(path)):
            yield path, path.split(os.sep)[1], quote, header


def folders():
    """every folder of src/ is in the table, and nothing else is"""
    real = {path.split(os.sep)[1] for path in tap.files(".c", ".h", below=["src"])}
    for folder in sorted(real - set(ALLOWED)):
        yield f"src/{folder} is not in the table"
    for folder in sorted(set(ALLOWED) | set(DENIED)):
        if not os.path.isdir(os.path.join(tap.ROOT, "src", folder)):
            yield f"{folder} is in the table, but not in src/"


def allowed():
    """no source includes what the table does not allow"""
    ours = set(ALLOWED) | {"cove"}
    for path, folder, _, header in every_include():
        first = header.split("/")[0]
        if first in ours and first != folder and not {first, header} & ALLOWED.get(folder, set()):
            yield f"{path} includes {header}"


def denied():
    """no source includes a header that its folder is to do without"""
    for path, folder, _, header in every_include():
        if header in DENIED.get(folder, ()):
            yield f"{path} includes <{header}>"


def by_folder():
    """our own headers are named by folder, in quotes"""
    for path, _, quote, header in every_include():
        first = header.split("/")[0]
        if quote == '"' and first not in set(ALLOWED) | {"cove"}:
            yield f'{path}: "{header}" has no folder of ours'
        if quote == "<" and first in ALLOWED:
            yield f"{path}: <{header}> is one of ours"


def cycles():
    """the table has no cycles"""
    done = set()
    left = dict(ALLOWED)
    while left:
        free = [f for f, uses in left.items() if not (uses & set(ALLOWED)) - done]
        if not free:
            yield "cycle among " + ", ".join(sorted(left))
            return
        done.update(free)
        for folder in free:
            del left[folder]


tap.main(folders, allowed, denied, by_folder, cycles)
