#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# import-into.sh COVE-IMAGE TARBALL DIR/NAME STAMP [OPTION...]: makes DIR/NAME/ (disk.ext4 and
# image.json) of a tarball, as images of the installation are kept, and then touches STAMP.
set -eu

program=$1
tarball=$2
dir=$(dirname "$3")
name=$(basename "$3")
stamp=$4
shift 4

mkdir -p "$dir"
home=$(mktemp -d "$dir/.$name.XXXXXX")
trap 'rm -rf "$home"' EXIT
COVE_HOME=$(cd "$home" && pwd)
export COVE_HOME

"${program:-cove-image}" import "$@" "$name" "$tarball" >/dev/null
rm -rf "${dir:?}/$name"
mv "$home/data/images/$name" "$dir/$name"
[ "$stamp" = /dev/null ] || : >"$stamp"
