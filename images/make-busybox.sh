#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# make-busybox.sh TARBALL [BUSYBOX]: the root filesystem of the built-in image `busybox`: one static
# program, a link for each of its applets, and the few files that programs expect. Needs no root:
# owners are said to tar.
set -eu
umask 022

tarball=$1
busybox=${2:-/bin/busybox}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
home=$work/home

"$busybox" true || {
	echo "make-busybox: $busybox does not run (Debian: apt install busybox-static)" >&2
	exit 1
}

mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/home" "$root/lib" "$root/mnt" "$root/opt" \
	"$root/proc" "$root/root" "$root/run" "$root/srv" "$root/sys" "$root/tmp" \
	"$root/usr/lib" "$root/usr/local/bin" "$root/usr/share" \
	"$root/var/cache" "$root/var/lib" "$root/var/log" "$root/var/tmp" "$home/home/user"
chmod 700 "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
ln -s bin "$root/sbin"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s ../run "$root/var/run"

cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
	[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done

cat >"$root/etc/passwd" <<-'END'
	root:x:0:0:root:/root:/bin/sh
	daemon:x:1:1:daemon:/:/bin/false
	user:x:1000:1000:user:/home/user:/bin/sh
	nobody:x:65534:65534:nobody:/:/bin/false
END
cat >"$root/etc/group" <<-'END'
	root:x:0:
	daemon:x:1:
	tty:x:5:
	disk:x:6:
	audio:x:29:
	staff:x:50:user
	users:x:100:user
	user:x:1000:
	nogroup:x:65534:
END
cat >"$root/etc/shadow" <<-'END'
	root:*:19000:0:99999:7:::
	daemon:*:19000:0:99999:7:::
	user:*:19000:0:99999:7:::
	nobody:*:19000:0:99999:7:::
END
chmod 600 "$root/etc/shadow"
cat >"$root/etc/profile" <<-'END'
	export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
	[ -z "${PS1-}" ] || PS1='\u@\h:\w\$ '
END
cat >"$root/etc/hosts" <<-'END'
	127.0.0.1	localhost
	::1	localhost
END
cat >"$root/etc/os-release" <<-END
	ID=busybox
	NAME=BusyBox
	PRETTY_NAME="$("$busybox" | sed -n '1s/ (.*//p')"
END
echo /bin/sh >"$root/etc/shells"
echo busybox >"$root/etc/hostname"
: >"$root/etc/resolv.conf"

# As old as the program: the same program makes the same tarball.
common="--sort=name --numeric-owner --format=gnu --mtime=@$(stat -Lc %Y "$busybox")"
# shellcheck disable=SC2086 # options
tar $common --owner=0 --group=0 -cf "$work/tar" -C "$root" .
# shellcheck disable=SC2086
tar $common --owner=1000 --group=1000 -rf "$work/tar" -C "$home" ./home/user
mv "$work/tar" "$tarball"
