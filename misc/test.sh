#!/bin/sh
# Runs every test on this machine. Each step prints its own summary; the first failure ends it.
#   sh misc/test.sh            everything once (small sizes of the long loops)
#   sh misc/test.sh STEP ...   only these: deps build lint unit dist ucontext clang asan ubsan tsan fuzz fuzz-coverage crash release e2e plain
# SMX_TEST_DIR (default ./build-test) takes the builds. SM_NO_SLOW_TEST=1 leaves the slow ones out, SM_DNS_TIMEOUT is seconds for DNS in
# tests, FUZZ_SECONDS how long each fuzz target runs (5; for fuzz-coverage beyond its corpus: 0).
set -eu

umask 022
src=$(cd "$(dirname "$0")/.." && pwd)

# As root the sites of tests run as nobody, who has to get at scripts and programs: out of a closed directory all goes to an open one first.
if [ "$(id -u)" = 0 ] && [ -z "${SMX_TEST_COPY-}" ] &&
	! setpriv --reuid=nobody --regid="$(id -gn nobody)" --clear-groups test -r "$src/misc/site.sh"; then
	SMX_TEST_COPY=$(mktemp -d /tmp/smx-test.XXXXXX)
	export SMX_TEST_COPY
	trap 'rm -rf "$SMX_TEST_COPY"' EXIT
	cp -a "$src/." "$SMX_TEST_COPY/src"
	chmod -R a+rX "$SMX_TEST_COPY"
	unset SMX_TEST_DIR
	sh "$SMX_TEST_COPY/src/misc/test.sh" "$@"
	exit
fi

export SMX_TEST_DIR="${SMX_TEST_DIR-$src/build-test}"
jobs=$(getconf _NPROCESSORS_ONLN)
mkdir -p "$SMX_TEST_DIR"
src=$(sh "$src/checks/tree.sh" -s) # another one if this is configured in place

tree() { # NAME [make arguments]
	sh "$src/checks/tree.sh" "$@"
}
pytests() { # TREE PATH ...: tests that run programs of that tree; they wait more than they work
	name=$1
	shift
	(cd "$src" && SMX_BUILD="$SMX_TEST_DIR/$name" PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -p no:cacheprovider -n $((2 * jobs)) "$@")
}

step_deps() {
	sh "$src/misc/deps.sh" test
}
step_build() {
	tree main
	tree release
	echo "no warning"
}
step_lint() {
	tree main lint
	echo "format and manual pages are fine"
}
step_unit() {
	tree main check
}
step_dist() {
	tree main distcheck
	# Nothing that is in the repository may be missing in the tarball.
	(cd "$src" && git ls-files 2>/dev/null) | sort >"$SMX_TEST_DIR/dist.want"
	tar -tzf "$SMX_TEST_DIR"/main/smx-*.tar.gz | sed 's|^[^/]*/||' | sort >"$SMX_TEST_DIR/dist.has"
	comm -23 "$SMX_TEST_DIR/dist.want" "$SMX_TEST_DIR/dist.has" >"$SMX_TEST_DIR/dist.missing"
	[ ! -s "$SMX_TEST_DIR/dist.missing" ] || { sed 's/^/not in the tarball: /' "$SMX_TEST_DIR/dist.missing"; exit 1; }
	echo "the tarball builds, passes its tests and installs"
}
# The other way to switch coroutines: what it stands under, and one of each process.
step_ucontext() {
	tree ucontext check-TESTS TESTS='$(LIBSM_TESTS) qmgr/t_qmgr smar/t_route smtps/t_verdicts smtpc/t_dialog'
}
step_clang() {
	tree clang check TESTS=
	tree plain
	tree full
	echo "no warning"
}
step_asan() {
	tree asan check
	pytests asan checks/e2e --dist loadfile -m 'not slow'
}
step_ubsan() {
	tree ubsan check
}
step_tsan() {
	tree tsan check
}
step_fuzz() {
	tree fuzz fuzz-targets
	make -s -C "$SMX_TEST_DIR/fuzz" fuzz FUZZ_SECONDS="${FUZZ_SECONDS-5}"
}
# Not one of everything: says what the corpora of the fuzz targets reach.
step_fuzz_coverage() {
	tree fuzz-coverage fuzz-targets
	make -s -C "$SMX_TEST_DIR/fuzz-coverage" fuzz-coverage
}
# As it is installed: a forbidden system call, which a testing build only reports, ends the process here.
step_release() {
	tree release check
	pytests release checks/e2e/test_smuggling.py checks/e2e/test_states.py checks/e2e/test_starttls.py checks/e2e/test_root.py checks/e2e/test_auth.py checks/e2e/test_real_lmtp.py checks/e2e/test_routes.py checks/e2e/test_msp.py
}
step_crash() {
	tree main
	pytests main checks/crash checks/powercut --dist load
}
step_e2e() {
	tree main
	pytests main checks/e2e --dist loadfile
}
# What asan leaves out: all of e2e has then run once.
step_plain() {
	tree main
	pytests main checks/e2e --dist loadfile -m 'slow or plain'
}

# The unit tests of the main build are those of the tarball: dist has them. e2e as a whole needs the sanitizer's build only.
[ $# -gt 0 ] || set -- deps build lint dist ucontext clang asan fuzz crash release plain
# The last line is the summary of the last step: what the others took stands before it.
took=
for s; do
	printf '\n==== %s%s\n' "$s" "${took:+ (so far, in seconds:$took)}"
	began=$(date +%s)
	"step_$(echo "$s" | tr - _)"
	took="$took $s $(($(date +%s) - began))"
done
