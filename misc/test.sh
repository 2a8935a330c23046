#!/bin/sh
# Runs every test on this machine: unit, end-to-end, sanitizers, crash, format. Each step's own summary is printed; the first failure ends it.
#   sh misc/test.sh            everything (small sizes of the long loops)
#   sh misc/test.sh STEP ...   only these: deps build unit e2e crash asan ucontext clang lint dist
# SMX_TEST_DIR (default ./build-test) takes the builds. SM_NO_SLOW_TEST=1 leaves the slow ones out, SM_DNS_TIMEOUT is seconds for DNS in tests.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
top=${SMX_TEST_DIR-$src/build-test}
jobs=$(getconf _NPROCESSORS_ONLN)
mkdir -p "$top"

say() {
	printf '\n==== %s (%ss)\n' "$*" "$(($(date +%s) - begin))"
}
begin=$(date +%s)

# build NAME [configure options]: a tree of its own below $top
build() {
	name=$1
	shift
	mkdir -p "$top/$name"
	(
		cd "$src"
		[ -x configure ] || ./bootstrap
		cd "$top/$name"
		[ -f Makefile ] || "$src/configure" "$@"
		make -j"$jobs"
	) >"$top/$name.log" 2>&1 || {
		tail -40 "$top/$name.log"
		exit 1
	}
}
unit() { # NAME: unit tests of that tree
	(cd "$top/$1" && make -j"$jobs" check) >"$top/$1.check.log" 2>&1 || {
		grep -E '^(FAIL|ERROR):' "$top/$1.check.log" || tail -40 "$top/$1.check.log"
		cat "$top/$1/test-suite.log" 2>/dev/null | tail -60
		exit 1
	}
	grep -E '^# (TOTAL|PASS|SKIP|FAIL|ERROR):' "$top/$1.check.log"
}
# pytest NAME PATH...: end-to-end tests against that tree
pytests() {
	name=$1
	shift
	SMX_BUILD="$top/$name" /usr/bin/python3 -m pytest -q -p no:cacheprovider "$@"
}

step_deps() {
	sh "$src/misc/deps.sh" test
}
step_build() {
	build main --enable-testing --enable-werror
}
step_unit() {
	step_build
	unit main
}
step_e2e() {
	step_build
	(cd "$src" && pytests main checks/e2e)
}
step_crash() {
	step_build
	(cd "$src" && pytests main checks/crash)
}
step_asan() {
	build asan --enable-testing --enable-werror --enable-asan --enable-ubsan CFLAGS="-O1 -g"
	unit asan
	(cd "$src" && pytests asan checks/e2e)
}
step_ucontext() {
	build ucontext --enable-testing --enable-ucontext CFLAGS="-O1 -g"
	unit ucontext
}
step_clang() {
	build clang CC=clang --enable-testing --enable-werror
	echo "no warning"
}
step_lint() {
	build main --enable-testing --enable-werror
	(cd "$top/main" && make -s lint)
	for f in "$src"/doc/man/*.[1-8]; do
		mandoc -T lint -W warning "$f" || exit 1
	done
	echo "format and manual pages are fine"
}
step_dist() {
	build main --enable-testing --enable-werror
	(cd "$top/main" && make -j"$jobs" distcheck) >"$top/dist.log" 2>&1 || {
		tail -40 "$top/dist.log"
		exit 1
	}
	tail -3 "$top/dist.log"
}

[ $# -gt 0 ] || set -- deps build lint unit ucontext clang dist asan crash e2e
for s; do
	say "$s"
	"step_$s"
done
say "all steps passed: $*"
