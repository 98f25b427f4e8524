#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# install-image.sh NAME DIR: run by `meson install`, copies the image NAME of the build folder to
# DIR/NAME below the prefix. meson itself would write out the holes of the file.
set -eu

from=$MESON_BUILD_ROOT/images/$1
to=$MESON_INSTALL_DESTDIR_PREFIX/$2/$1
mkdir -p "$to"
chmod 755 "$to"
cp --sparse=always "$from/disk.ext4" "$to/disk.ext4.new"
cp "$from/image.json" "$to/image.json.new"
chmod 444 "$to/disk.ext4.new"
chmod 644 "$to/image.json.new"
mv -f "$to/disk.ext4.new" "$to/disk.ext4"
mv -f "$to/image.json.new" "$to/image.json"
