#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make-python.sh [NAME]: makes an image (`python`) with Python 3 and its standard library, of Debian
# packages, and imports it into your images. In it `python` is python3, and there is a normal user,
# `user`. As root or not: mmdebstrap finds a way.
#
#	--with LIST	more Debian packages, separated by commas
#	--tar FILE	only the root filesystem, as a tarball
#	--into DIR	make DIR/NAME/ instead of one of your images
#
# COVE_IMAGE names the program to import with; the default is the one of build/, or else `cove`.
# COVE_MIRROR is handed to mmdebstrap as the mirror; the default is its own.
set -eu
umask 022

suite=bookworm
name=python
packages=python3
tarball=
into=
here=$(dirname "$0")

while [ $# -gt 0 ]; do
	case $1 in
	--with) packages=$packages,${2:?--with needs a list}; shift ;;
	--tar) tarball=${2:?--tar needs a file}; shift ;;
	--into) into=${2:?--into needs a folder}; shift ;;
	-*) echo "make-python: unknown option $1" >&2; exit 2 ;;
	*) name=$1 ;;
	esac
	shift
done

command -v mmdebstrap >/dev/null || {
	echo "make-python: mmdebstrap is not installed (Debian: apt install mmdebstrap)" >&2
	exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# dpkg waits for the disk after every file: in memory the whole takes a third of the time.
if [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && [ -w /dev/shm ] &&
	[ "$(df -k --output=avail /dev/shm | tail -n 1)" -gt 1500000 ]; then
	export TMPDIR=/dev/shm
fi

# As text, not as a file: for a normal user it runs as another one, who may not be let into folders.
customize=$(cat <<'END'
set -eu
root=$1
ln -s python3 "$root/usr/bin/python"

echo 'user:x:1000:1000:user:/home/user:/bin/bash' >>"$root/etc/passwd"
echo 'user:x:1000:' >>"$root/etc/group"
echo 'user:*:19000:0:99999:7:::' >>"$root/etc/shadow"
echo 'user:*::' >>"$root/etc/gshadow"
mkdir -p "$root/home/user"
cp -a "$root/etc/skel/." "$root/home/user/"
chown -R 1000:1000 "$root/home/user"

# Nothing of the machine that it was made on.
echo python >"$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
rm -rf "$root"/usr/share/man/* "$root"/usr/share/info "$root"/usr/share/locale/* \
	"$root"/usr/share/lintian "$root"/usr/share/bug "$root"/var/cache/*/* "$root"/var/log/*
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root/usr/share/doc" -type d -empty -delete
END
)

out=${tarball:-$work/$name.tar}
mmdebstrap --quiet --variant=essential --include="$packages" --format=tar \
	--dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
	--customize-hook="$customize" \
	"$suite" "$out.part" ${COVE_MIRROR:+"$COVE_MIRROR"}
mv "$out.part" "$out"
[ -z "$tarball" ] || exit 0

program=${COVE_IMAGE:-}
if [ -z "$program" ] && [ -x "$here/../build/cove-image" ]; then
	program=$here/../build/cove-image
fi
if [ -n "$into" ]; then
	"$here/import-into.sh" "$program" "$out" "$into/$name" /dev/null --env LANG=C.UTF-8
elif [ -n "$program" ]; then
	"$program" import --replace --env LANG=C.UTF-8 "$name" "$out"
else
	cove image import --replace --env LANG=C.UTF-8 "$name" "$out"
fi
