#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fetch-kernel.sh FOLDER: puts Debian's cloud kernel, as it is, into FOLDER:
#
#	vmlinuz        the kernel
#	kernel/        the package, unpacked: the modules are in kernel/lib/modules/RELEASE
#	kernel.txt     "package", "release" and SHA-256 lines
#
# The package is fetched with `apt-get download`, which checks it against the signed package lists,
# and unpacked with `dpkg -x`; nothing is installed on this machine. What is there already, whole
# and as recorded, is kept.
set -eu

meta_package=linux-image-cloud-amd64

folder=$(realpath "${1:?usage: fetch-kernel.sh FOLDER}")
cd "$folder"

die()
{
	echo "fetch-kernel: $*" >&2
	exit 1
}

# Whether what an earlier run left is whole.
is_whole()
{
	[ -f kernel.txt ] && [ -d kernel/lib/modules ] &&
		sed -n 's/^sha256 //p' kernel.txt | sha256sum --check --status 2>/dev/null
}

# The package that the meta package stands for now; empty when apt knows of none.
current_package()
{
	apt-cache depends "$meta_package" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*-cloud-amd64\)$/\1/p' | head -n 1
}

# Needs root; says so where that is not to be had.
update_lists()
{
	if [ "$(id -u)" -eq 0 ]; then
		apt-get -qq update
	elif command -v sudo >/dev/null; then
		echo "fetch-kernel: the package lists are empty or old: sudo apt-get update" >&2
		sudo apt-get -qq update
	else
		die "the package lists are empty or old: run 'apt-get update' as root, then again"
	fi
}

download()
{
	# The sandbox user cannot write here, and the lists' signatures are checked all the same.
	apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$1"
}

package=$(current_package)
if is_whole && { [ -z "$package" ] || grep -qx "package $package" kernel.txt; }; then
	touch vmlinuz kernel.txt # for ninja: they are up to date
	exit 0
fi

if [ -z "$package" ]; then
	update_lists
	package=$(current_package)
	[ -n "$package" ] || die "apt knows no $meta_package; is this Debian on amd64?"
fi

work=$(mktemp -d ./fetch.XXXXXX)
trap 'rm -rf "$folder/$work"' EXIT
cd "$work"
echo "fetch-kernel: downloading $package"
if ! download "$package"; then
	# Lists that are too old name a package that is gone from the mirror.
	update_lists
	package=$(current_package)
	download "$package" || die "$package cannot be downloaded"
fi
set -- *.deb
if [ $# -ne 1 ] || [ ! -f "$1" ]; then
	die "apt-get download left not one package but: $*"
fi
dpkg -x "$1" kernel

release=$(basename kernel/lib/modules/*)
[ -f "kernel/boot/vmlinuz-$release" ] || die "$package has no kernel $release in it"
cp "kernel/boot/vmlinuz-$release" vmlinuz
{
	echo "package $package"
	echo "package-sha256 $(sha256sum "$1" | cut -d ' ' -f 1)"
	echo "release $release"
	# In the form that sha256sum --check reads, after the keyword.
	find vmlinuz kernel/lib/modules -type f | LC_ALL=C sort | xargs sha256sum | sed 's/^/sha256 /'
} >kernel.txt

cd "$folder"
rm -rf kernel kernel.txt
mv "$work/kernel" "$work/vmlinuz" .
mv "$work/kernel.txt" . # last: it says that the rest is whole
