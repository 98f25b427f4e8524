#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What every source text has, and what none may have."""

import os
import re

import tap

CODE = (".c", ".h", ".proto", ".map", ".js", ".ts", ".py", ".sh", "meson.build", "Makefile")
LICENSE = "SPDX-License-Identifier: Apache-2.0"
GENERATED = re.compile(r"(^|/)(package-lock\.json|.*\.d\.ts)$")

# Calls that have no bounds, use a shell, or hide an error; and what to use.
BANNED = {
    "gets": "fgets", "strcpy": "memcpy with a length", "strcat": "snprintf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "strncat": "snprintf", "strtok": "strchr", "atoi": "strtol",
    "atol": "strtol", "atoll": "strtoll", "system": "posix_spawn", "popen": "posix_spawn",
    "alloca": "malloc", "tmpnam": "mkstemp", "mktemp": "mkstemp", "sleep": "a condition",
    "usleep": "a condition",
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")[ \t]*\(")
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def blank(match):
    """Only the line ends of what is cut out, so that line numbers stay."""
    return "\n" * match.group().count("\n") or " "


def code_files():
    return [p for p in tap.files(*CODE) if not GENERATED.search(p)]


def spdx():
    """every source says its licence at the top"""
    for path in code_files():
        if LICENSE not in "\n".join(tap.read(path).splitlines()[:2]):
            yield path


def unfinished():
    """nothing is marked as unfinished"""
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    for path in code_files() + list(tap.files(".md")):
        for number, line in enumerate(tap.read(path).splitlines(), 1):
            if marks.search(line):
                yield f"{path}:{number}: {line.strip()}"


def whitespace():
    """no blanks at the ends of lines, no blanks for tabs in C, a line end at the end"""
    for path in code_files() + list(tap.files(".md", ".txt")):
        text = tap.read(path)
        if text and not text.endswith("\n"):
            yield f"{path}: the last line has no end"
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end"
            elif path.endswith((".c", ".h")) and line.startswith("        "):
                yield f"{path}:{number}: blanks for a tab"


def banned():
    """no call without bounds, through a shell, or that waits for time to pass"""
    for path in tap.files(".c", ".h", below=["src"]):
        text = COMMENT_OR_STRING.sub(blank, tap.read(path))
        for number, line in enumerate(text.splitlines(), 1):
            for name in BANNED_CALL.findall(line):
                yield f"{path}:{number}: {name}() (use {BANNED[name]})"


def names():
    """files have kebab-case names"""
    for path in tap.files(".c", ".h", ".sh", ".py", below=["src", "include", "tests", "scripts", "guest"]):
        if not re.fullmatch(r"[a-z0-9-]+(\.pb-c)?\.[a-z]+", os.path.basename(path)):
            yield path


def guards():
    """header guards follow the path"""
    for path in tap.files(".h", below=["src", "include", "tests"]):
        name = path.split(os.sep, 1)[1]
        if name == "cove/cove.h":
            name = "cove.h"
        elif path.startswith("tests") and path.split(os.sep)[1] != "harness":
            continue
        guard = re.sub(r"[^A-Z0-9]", "_", name.upper())
        text = tap.read(path)
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            yield f"{path}: not {guard}"


tap.main(spdx, unfinished, whitespace, banned, names, guards)
