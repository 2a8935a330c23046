#!/bin/sh
# Builds smx in a tree of its own for each kind of build that is tested: the one place that says how each is configured.
#     sh checks/tree.sh NAME [make arguments]     configures the tree at first, then runs make with these arguments (default: all)
#     sh checks/tree.sh -s                        prints where the source for trees is
# Trees are $SMX_TEST_DIR/NAME, by default build-test/NAME in the source; what make says is in NAME.log beside them, shown if it fails.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
top=${SMX_TEST_DIR-$src/build-test}

options() {
	work="--enable-testing --enable-werror"
	case "$1" in
	main) echo "$work" ;;
	release) echo "--enable-werror" ;;
	asan) echo "$work --enable-asan --enable-ubsan CFLAGS=-O1\ -g1" ;;
	ubsan) echo "$work --enable-ubsan CFLAGS=-O1\ -g1" ;;
	tsan) echo "$work --enable-tsan CFLAGS=-O1\ -g1" ;;
	ucontext) echo "$work --enable-ucontext CFLAGS=-O1" ;;
	clang) echo "$work CC=clang CFLAGS=-O1" ;;
	fuzz) echo "$work CC=clang --enable-fuzz --enable-asan --enable-ubsan CFLAGS=-O1\ -g1" ;;
	fuzz-coverage) echo "$work CC=clang --enable-fuzz=coverage CFLAGS=-O1\ -g1" ;;
	plain) echo "$work --disable-TLS --disable-SASL CFLAGS=-O1" ;;
	full) echo "$work --enable-TLS --enable-SASL --enable-pmilter CFLAGS=-O1" ;;
	*)
		echo "tree.sh: no kind of build is called $1; there are: main release asan ubsan tsan ucontext clang fuzz fuzz-coverage plain full" >&2
		exit 64
		;;
	esac
}

# A source that is configured in place cannot be built elsewhere as well: then trees are made from a copy.
source_tree() {
	if [ -e "$src/config.status" ]; then
		make -s -C "$src" distdir distdir="$top/source" >"$top/source.log" 2>&1 || {
			tail -40 "$top/source.log" >&2
			exit 1
		}
		echo "$top/source"
	else
		echo "$src"
	fi
}

run() {
	from=$(source_tree)
	[ -x "$from/configure" ] || (cd "$from" && ./bootstrap)
	cd "$top/$name"
	[ -f Makefile ] || eval "\"$from/configure\" $with"
	make -j"$(getconf _NPROCESSORS_ONLN)" "$@"
}

[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0"; exit 64; }
mkdir -p "$top"
if [ "$1" = -s ]; then
	source_tree
	exit
fi
name=$1
shift
with=$(options "$name")
mkdir -p "$top/$name"
(run "$@") >"$top/$name.log" 2>&1 </dev/null || {
	status=$?
	{ grep -E '^(FAIL|ERROR):|[: ](error|warning):' "$top/$name.log" || tail -40 "$top/$name.log"; } | head -40
	! grep -q 'See ./test-suite.log' "$top/$name.log" || tail -60 "$top/$name/test-suite.log"
	echo "tree.sh: make ${*:-all} of $name failed; all it said is in $top/$name.log"
	exit $status
}
# What a run of tests counted.
if grep -q '^# TOTAL: *[1-9]' "$top/$name.log"; then
	sed -n 's/^# \([A-Z]*: *[0-9]*\)$/\1/p' "$top/$name.log" | tail -7 | tr -s '\n ' '  '
	echo
fi
