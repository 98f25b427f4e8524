#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# headers.sh FOLDER: every public header compiles alone, and twice, under stricter flags than ours,
# as C99 and as C++; and every _INIT macro can be used in both.
set -u

include=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0

# compile WHAT COMPILER FLAGS...: what is on stdin.
compile()
{
	what=$1
	shift
	number=$((number + 1))
	if "$@" -Wall -Wextra -Wconversion -Wundef -pedantic -Werror -I"$include" -fsyntax-only - \
		2>"$work/errors"; then
		echo "ok $number - $what"
	else
		sed 's/^/# /' "$work/errors" >&2
		echo "not ok $number - $what"
		failed=1
	fi
}

for header in "$include"/cove/*.h; do
	name=cove/$(basename "$header")
	printf '#include <%s>\n#include <%s>\nint unused;\n' "$name" "$name" >"$work/source"
	compile "$name as C99" gcc -std=c99 -x c -Wstrict-prototypes <"$work/source"
	compile "$name as C++11" g++ -std=c++11 -x c++ <"$work/source"
done

# struct x = X_INIT: the structure's name is the macro's.
{
	echo '#include <cove/cove.h>'
	sed -n 's/^#define \(COVE_[A-Z_]*\)_INIT\>.*/\1/p' "$include"/cove/*.h | sort -u |
		while read -r macro; do
			name=$(echo "$macro" | tr '[:upper:]' '[:lower:]')
			echo "extern struct $name use_$name; struct $name use_$name = ${macro}_INIT;"
		done
} >"$work/source"
compile "initialisers as C99" gcc -std=c99 -x c -Wno-missing-field-initializers <"$work/source"
compile "initialisers as C++20" g++ -std=c++20 -x c++ -Wno-missing-field-initializers <"$work/source"

echo "1..$number"
exit $failed
