#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents are about what is there."""

import os
import re

import tap

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
MAKE = re.compile(r"`(?:\$ )?make ([a-z][a-z-]*)`")
# A path in backquotes whose first folder is one of ours.
PATH = re.compile(r"`((?:src|include|tests|guest|scripts|docs|examples|bench|images|bindings)/[\w./*-]+)`")

# A test program and one of its cases, as failures.md names them.
CASE = re.compile(r'`(tests/[\w./-]+\.c)`\s+"([^"]+)"')


def links():
    """links between documents lead somewhere"""
    for path in tap.files(".md"):
        for target in LINK.findall(tap.read(path)):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not os.path.exists(os.path.join(tap.ROOT, os.path.dirname(path), target)):
                yield f"{path}: {target}"


def paths():
    """files that documents name exist"""
    for path in tap.files(".md"):
        for target in PATH.findall(tap.read(path)):
            if "*" not in target and not os.path.exists(os.path.join(tap.ROOT, target)):
                yield f"{path}: {target}"


def targets():
    """make targets that documents name exist"""
    makefile = tap.read("Makefile")
    for path in tap.files(".md"):
        for target in MAKE.findall(tap.read(path)):
            if not re.search(rf"^{target}:", makefile, re.MULTILINE):
                yield f"{path}: make {target}"


def cases():
    """cases of tests that documents name exist"""
    for path in tap.files(".md"):
        for program, words in CASE.findall(tap.read(path)):
            name = " ".join(words.split())
            if f'"{name}"' not in tap.read(program):
                yield f'{path}: {program} "{name}"'


tap.main(links, paths, targets, cases)
