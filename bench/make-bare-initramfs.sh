#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make-bare-initramfs.sh GUEST-INITRAMFS INIT BUSYBOX OUTPUT: the guest's initramfs with another
# /init, and /busybox for the commands that it starts.
set -eu

guest=$(realpath "$1")
init=$(realpath "$2")
busybox=$(realpath "$3")
output=$(realpath "$4")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
cpio --quiet --extract --make-directories <"$guest"
strip -o init "$init"
cp "$busybox" busybox
chmod 0755 init busybox
find . -mindepth 1 | cpio --quiet --owner=0:0 --create --format=newc >"$output"
