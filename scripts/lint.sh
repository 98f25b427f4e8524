#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh BUILD: what takes too long to be a test, or needs clang. BUILD is a folder configured with
# clang. With file names after it, clang-tidy looks at those alone.
set -u

build=$1
shift
sources=$(find src include tests examples bench bindings -name '*.[ch]' 2>/dev/null | sort)
scripts=$(grep -rlE '^#!/bin/(ba)?sh' .ci scripts guest images tests examples bench 2>/dev/null)
failed=0

step()
{
	name=$1
	shift
	echo "lint: $name"
	"$@" || failed=1
}

# shellcheck disable=SC2086 # lists
{
	step clang-format clang-format --dry-run -Werror $sources
	step shellcheck shellcheck $scripts
	step cppcheck cppcheck --quiet --error-exitcode=1 --inline-suppr \
		--enable=warning,performance,portability -j "$(nproc)" \
		--suppress=memleak --suppress=resourceLeak --suppress=missingIncludeSystem \
		--suppress=unmatchedSuppression --suppress=internalAstError \
		-Isrc -Iinclude -Itests -D_GNU_SOURCE -D__linux__ -D__x86_64__ src
}

# What is compiled, one process per core. Generated code is not ours to mend.
echo "lint: clang-tidy"
if [ $# -eq 0 ]; then
	# shellcheck disable=SC2046 # a list
	set -- $(sed -n 's,^ *"file": "\(\.\./\)*\(.*\.c\)".*,\2,p' "$build/compile_commands.json" |
		grep -v 'pb-c\.c$' | sort -u)
fi
tidy()
{
	xargs -r -P "$(nproc)" -n 1 clang-tidy --quiet -p "$build" "$@" 2>>"$build/tidy-stderr.txt"
}
: >"$build/tidy-stderr.txt"
# error.c defines what analyzer.h has macros for.
printf '%s\n' "$@" | grep -v '^src/base/error\.c$' |
	tidy --extra-arg=-include --extra-arg="$PWD/tests/lint/analyzer.h" \
		--extra-arg=-I"$PWD/src" --extra-arg=-I"$PWD/include" || failed=1
printf '%s\n' "$@" | grep '^src/base/error\.c$' | tidy || failed=1
grep -v 'warnings\{0,1\} generated\|^Suppressed\|^Use -' "$build/tidy-stderr.txt" >&2
exit $failed
