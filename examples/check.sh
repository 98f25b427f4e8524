#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check.sh PROGRAM LINE...: runs an example, in a state of its own. It has to succeed, and each LINE,
# a regular expression, has to match a whole line of its output, in this order.
set -u

program=$1
shift
COVE_HOME=$(mktemp -d) || exit 1
export COVE_HOME
trap 'rm -rf "$COVE_HOME"' EXIT

output=$("$program")
status=$?
printf '%s\n' "$output"
if [ $status -ne 0 ]; then
	echo "$program ended with status $status" >&2
	exit 1
fi

rest=$output
for line; do
	# What comes after the first line that matches; nothing when none does.
	found=$(printf '%s\n' "$rest" | grep -nx -m 1 -- "$line" | cut -d: -f1)
	if [ -z "$found" ]; then
		echo "no line is like this, in this place: $line" >&2
		exit 1
	fi
	rest=$(printf '%s\n' "$rest" | tail -n "+$((found + 1))")
done
