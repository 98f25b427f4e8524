#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# fuzz.sh BUILD SECONDS: runs every fuzz target of a build folder for that long, from its corpus in
# tests/fuzz/corpus/NAME. What is found anew is kept in BUILD/fuzz/NAME, as is what makes it crash.
set -eu

build=$1
seconds=$2
corpora=$(dirname "$0")/../tests/fuzz/corpus

found=0
for target in "$build"/tests/fuzz/fuzz-*; do
	if [ -d "$target" ] || [ ! -x "$target" ]; then
		continue
	fi
	found=1
	name=${target##*/fuzz-}
	echo "fuzz: $name, $seconds s"
	mkdir -p "$build/fuzz/$name"
	"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$build/fuzz/$name-" "$build/fuzz/$name" "$corpora/$name" \
		2>"$build/fuzz/$name.log" || {
		tail -n 60 "$build/fuzz/$name.log" >&2
		echo "fuzz: $name failed; the input is in $build/fuzz" >&2
		exit 1
	}
	grep -E '^stat::number_of_executed|^#.*DONE' "$build/fuzz/$name.log"
done
if [ $found -eq 0 ]; then
	echo "fuzz: no targets in $build" >&2
	exit 1
fi
