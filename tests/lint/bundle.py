#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bundle.py FOLDER: the guest bundle that was built is what guest/ says it is."""

import hashlib
import os
import sys

import tap

FOLDER = sys.argv[1]
MODES = {"init": 0o100755, "modules/order": 0o100644}


def content(name):
    with open(os.path.join(FOLDER, name), "rb") as f:
        return f.read()


def entries():
    """[(name, mode, uid, gid, mtime, data)] of a cpio archive in the newc format."""
    archive, at, found = content("initramfs.cpio"), 0, []
    while True:
        magic, fields = archive[at:at + 6], archive[at + 6:at + 110]
        if magic != b"070701":
            raise ValueError(f"no entry at {at}")
        number = [int(fields[i:i + 8], 16) for i in range(0, 104, 8)]
        mode, uid, gid, mtime, size, name_size = (number[i] for i in (1, 2, 3, 5, 6, 11))
        name = archive[at + 110:at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found.append((name, mode, uid, gid, mtime, archive[start:start + size]))
        at = (start + size + 3) & ~3


def archive():
    """the archive holds what it should, and no trace of who made it when"""
    names = {e[0] for e in entries()}
    for name in {"init", "dev", "proc", "sys", "newroot", "modules", "modules/order"} - names:
        yield f"no {name}"
    for name, mode, uid, gid, mtime, _ in entries():
        if (uid, gid, mtime) != (0, 0, 0):
            yield f"{name}: uid {uid} gid {gid} mtime {mtime}"
        expected = MODES.get(name, 0o100644 if name.endswith(".ko") else 0o040755)
        if mode != expected:
            yield f"{name}: mode {mode:o}"


def init():
    """init is a static program without debug information"""
    data = {e[0]: e[5] for e in entries()}["init"]
    if data[:4] != b"\x7fELF":
        yield "no ELF"
    if b".debug_info\0" in data:
        yield "not stripped"
    if b"/lib64/ld-linux" in data:
        yield "has an interpreter"
    if len(data) > 3 << 19:
        yield f"{len(data)} bytes are more than 1.5 MiB"


def modules():
    """every module is in the order of loading, after those it needs"""
    data = {e[0]: e[5] for e in entries()}
    order = data["modules/order"].decode().splitlines()
    if sorted(f"modules/{m}" for m in order) != sorted(n for n in data if n.endswith(".ko")):
        yield f"order: {order}"
    for number, module in enumerate(order):
        text = data[f"modules/{module}"]
        start = text.index(b"\0depends=") + len(b"\0depends=")
        for needed in text[start:text.index(b"\0", start)].decode().split(","):
            if needed and needed.replace("-", "_") + ".ko" not in order[:number]:
                yield f"{module} needs {needed}"


def manifest():
    """the manifest is about these files"""
    lines = dict(l.split(" ", 1) for l in content("manifest").decode().splitlines())
    for name in ("vmlinuz", "initramfs.cpio"):
        if lines.get(f"{name}-sha256") != hashlib.sha256(content(name)).hexdigest():
            yield f"{name}: another hash"
    if not lines.get("release", "").endswith("-cloud-amd64"):
        yield f"release {lines.get('release')}"


tap.main(archive, init, modules, manifest)
