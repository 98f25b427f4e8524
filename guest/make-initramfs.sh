#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make-initramfs.sh AGENT FOLDER: makes FOLDER/initramfs.cpio and FOLDER/manifest from the agent and
# what fetch-kernel.sh left in FOLDER. The archive holds
#
#	/init            the agent, stripped
#	/modules/*.ko    the drivers that are modules in this kernel, and what they depend on
#	/modules/order   their file names in the order of loading, one a line
#	/dev /proc /sys /newroot
#
# and is the same, byte for byte, for the same input. It is not compressed: unpacking is done by the
# guest, and costs more than reading where the guest is emulated.
set -eu

# The order that works, and the order of loading; dependencies are found and come first.
wanted='virtio virtio_mmio virtio_console virtio_blk virtio_rng'

agent=$(realpath "${1:?usage: make-initramfs.sh AGENT FOLDER}")
folder=$(realpath "${2:?usage: make-initramfs.sh AGENT FOLDER}")
release=$(sed -n 's/^release //p' "$folder/kernel.txt")
modules=$folder/kernel/lib/modules/$release

work=$(mktemp -d "$folder/initramfs.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

die()
{
	echo "make-initramfs: $*" >&2
	exit 1
}

# virtio-rng and virtio_rng are the same module: file names have the one, dependencies either.
normal()
{
	echo "$1" | tr - _
}

# "name path" of every module in the package.
find "$modules/kernel" -name '*.ko*' |
	sed 's,^.*/\([^/]*\)\.ko[^/]*$,\1 &,' |
	awk '{ gsub("-", "_", $1); print }' >"$work/index"

# The path of a module, empty when it is none.
module_path()
{
	sed -n "s,^$(normal "$1") ,,p" "$work/index"
}

is_builtin()
{
	sed 's,.*/,,; s,\.ko$,,' "$modules/modules.builtin" | tr - _ | grep -qx "$(normal "$1")"
}

# "a b c" from the field of that name in .modinfo: the kernel package comes without modules.dep,
# which is made on the machine that it is installed on.
module_depends()
{
	objcopy -O binary --only-section=.modinfo "$1" "$work/modinfo"
	tr '\0' '\n' <"$work/modinfo" | sed -n 's/^depends=//p' | tr , ' '
}

# Adds a module after those it depends on, once. Runs in a subshell per level, so that the
# variables of one level are not those of another.
add_module()
(
	name=$(normal "$1")
	if grep -qx "$name.ko" "$root/modules/order" || is_builtin "$name"; then
		exit 0
	fi
	path=$(module_path "$name")
	[ -n "$path" ] || die "kernel $release has no module $name, and it is not built in"

	ko=$root/modules/$name.ko
	case $path in
	*.ko) cp "$path" "$ko" ;;
	*.xz) xz -dc "$path" >"$ko" ;;
	*.gz) gzip -dc "$path" >"$ko" ;;
	*.zst) zstd -dqc "$path" >"$ko" ;;
	esac
	for dependency in $(module_depends "$ko"); do
		add_module "$dependency" || exit 1
	done
	echo "$name.ko" >>"$root/modules/order"
)

mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/newroot" "$root/modules"
: >"$root/modules/order"
for name in $wanted; do
	add_module "$name"
done
strip -o "$root/init" "$agent"

chmod 0755 "$root/init" "$root"/*/
chmod 0644 "$root"/modules/*
find "$root" -exec touch --no-dereference --date=@0 {} +
(cd "$root" && find . -mindepth 1 | sed 's,^\./,,' | LC_ALL=C sort |
	cpio --quiet --reproducible --owner=0:0 --create --format=newc) >"$work/initramfs.cpio"

{
	sed '/^sha256 /d' "$folder/kernel.txt"
	for file in vmlinuz initramfs.cpio; do
		path=$folder/$file
		[ "$file" != initramfs.cpio ] || path=$work/$file
		echo "$file-sha256 $(sha256sum "$path" | cut -d ' ' -f 1)"
	done
	sed 's/^/module /' "$root/modules/order"
} >"$work/manifest"

mv "$work/manifest" "$work/initramfs.cpio" "$folder"
