#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""symbols.py LIBRARY: libcove exports what its headers declare, and nothing else."""

import re
import subprocess
import sys

import tap

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def exported():
    out = subprocess.run(["nm", "-D", "--defined-only", sys.argv[1]], check=True,
                         capture_output=True, text=True).stdout
    names = {line.split()[-1].split("@")[0] for line in out.splitlines()}
    return {n for n in names if not n.startswith("COVE_")}  # the names of versions


def mapped():
    text = COMMENT.sub("", tap.read("src/lib/libcove.map"))
    return set(re.findall(r"^\s*(cove_\w+)\s*;", text, re.MULTILINE))


def declared():
    names = set()
    for path in tap.files(".h", below=["include"]):
        text = COMMENT.sub("", tap.read(path))
        text = re.sub(r"^[ \t]*#.*(?:\\\n.*)*", "", text, flags=re.MULTILINE)
        text = re.sub(r"\(\s*\*\s*\w+\s*\)", "", text)  # members that are functions
        names.update(re.findall(r"\b(cove_\w+)\s*\(", text))
    return names


def differences(a, a_name, b, b_name):
    for name in sorted(a - b):
        yield f"{name} is in {a_name}, but not in {b_name}"
    for name in sorted(b - a):
        yield f"{name} is in {b_name}, but not in {a_name}"


def map_and_headers():
    """the map file lists what the headers declare"""
    yield from differences(mapped(), "the map", declared(), "the headers")


def library_and_map():
    """the library exports what the map file lists"""
    yield from differences(exported(), "the library", mapped(), "the map")


def soname():
    """the library has its soname"""
    out = subprocess.run(["readelf", "-d", sys.argv[1]], check=True,
                         capture_output=True, text=True).stdout
    if "[libcove.so.0]" not in out:
        yield out


def needed():
    """the library needs libc and protobuf-c, and nothing else"""
    out = subprocess.run(["readelf", "-d", sys.argv[1]], check=True,
                         capture_output=True, text=True).stdout
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", out):
        if not re.match(r"(libc|libprotobuf-c|ld-linux.*|libasan|libubsan|libdl|libm)\.so", name):
            yield name


tap.main(map_and_headers, library_and_map, soname, needed)
