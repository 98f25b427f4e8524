#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check.sh BUILD [SUITE...]: runs the tests of a build folder in parallel, and says as the last line
# how many passed and failed (also in BUILD/test-summary.txt). All suites when none is named.
set -u

build=$1
shift
suites=
for suite in "$@"; do
	suites="$suites --suite $suite"
done

log=$build/meson-logs/testlog.json
rm -f "$log" "$build/test-summary.txt"
# shellcheck disable=SC2086 # a list
meson test -C "$build" --no-rebuild --print-errorlogs $suites
ran=$?
echo
python3 "$(dirname "$0")/test-summary.py" "$log" >"$build/test-summary.txt"
counted=$?
cat "$build/test-summary.txt"
# A runner that fails for another reason than a test is a failure as well.
[ $ran -eq 0 ] || [ $counted -ne 0 ] || echo "meson test ended with status $ran" >&2
[ $ran -eq 0 ] && [ $counted -eq 0 ]
