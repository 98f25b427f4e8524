#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh [GROUP...]: installs, through apt, what is missing of those groups (default: build) of
# scripts/packages.txt. Does nothing, and needs no privileges, when all of it is there.
set -eu

list=$(dirname "$0")/packages.txt
[ $# -gt 0 ] || set -- build

missing=
for group in "$@"; do
	packages=$(awk -v group="$group" '$1 == group { print $2 }' "$list")
	if [ -z "$packages" ]; then
		echo "setup: no such group: $group" >&2
		exit 2
	fi
	for package in $packages; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :)
		case " $missing " in
		*" $package "*) continue ;;
		esac
		[ "$status" = installed ] || missing="$missing $package"
	done
done
[ -n "$missing" ] || exit 0

echo "setup: installing$missing"
run=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "setup: this needs root; as root: apt-get install --no-install-recommends$missing" >&2
		exit 1
	fi
	run=sudo
fi

# Several runs at once wait for each other.
apt_get()
{
	$run env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

install_missing()
{
	# shellcheck disable=SC2086 # a list
	apt_get install -y --no-install-recommends $missing
}

# The lists are updated only where they are no good: empty, or naming what the mirror has no more.
# shellcheck disable=SC2086
if ! apt-get -qq -s install --no-install-recommends $missing >/dev/null 2>&1; then
	apt_get update
	install_missing
elif ! install_missing; then
	apt_get update
	install_missing
fi
