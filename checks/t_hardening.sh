#!/bin/sh
# Whether compiler and linker did what configure asked for, in every program that is installed; and that none uses a function of libc
# that cannot be used safely. Run by `make check` in the build directory. Builds with a sanitizer have other protections.
set -u

case $SM_HARDEN in
*-fsanitize=*)
	echo "a build with a sanitizer is not hardened"
	exit 77
	;;
esac
command -v readelf >/dev/null && command -v nm >/dev/null && command -v objdump >/dev/null || {
	echo "binutils are missing"
	exit 77
}
forbidden='gets strcpy strcat stpcpy sprintf vsprintf scanf sscanf system popen tmpnam tempnam mktemp alloca strtok rand srand random
 srandom atoi gethostbyname inet_addr inet_aton inet_ntoa asctime ctime localtime gmtime'
failed=0
fail() {
	echo "$program: $*"
	failed=1
}

for program in $PROGRAMS; do
	headers=$(readelf -hW "$program") && segments=$(readelf -lW "$program") && dynamic=$(readelf -dW "$program") || exit 1
	echo "$headers" | grep -q 'Type: *DYN' || fail "not position-independent"
	echo "$dynamic" | grep -q 'FLAGS_1.*PIE' || fail "not linked with -pie"
	echo "$dynamic" | grep -q 'FLAGS_1.*NOW' || fail "symbols are not bound at start"
	echo "$dynamic" | grep -qE 'RPATH|RUNPATH' && fail "has a path of libraries of its own"
	echo "$dynamic" | grep -q 'TEXTREL' && fail "has relocations in its code"
	echo "$segments" | grep -q 'GNU_RELRO' || fail "relocations stay writable"
	echo "$segments" | grep -qE 'GNU_STACK .* RW ' || fail "stack is executable"
	echo "$segments" | grep -qE '^ *LOAD .* RWE ' && fail "a segment is writable and executable"

	imported=$(nm -D --undefined-only "$program" | sed 's/.* //; s/@.*//')
	for f in $forbidden; do
		echo "$imported" | grep -qxE "(__isoc99_)?$f(_chk)?" && fail "uses $f()"
	done
	case $SM_HARDEN:$program in
	*:misc/noroot) ;; # has no array that could overflow
	*-fstack-protector-strong*) echo "$imported" | grep -qx __stack_chk_fail || fail "no stack protector" ;;
	esac
	# Small programs may have nothing that needs a check at run time; the suite has.
	case $SM_HARDEN:$program in
	*_FORTIFY_SOURCE=*:mcp/* | *_FORTIFY_SOURCE=*:qmgr/* | *_FORTIFY_SOURCE=*:sm*/*)
		echo "$imported" | grep -qE '^__[a-z]*_chk$' || fail "_FORTIFY_SOURCE has no effect"
		;;
	esac
	case $SM_HARDEN:$(uname -m) in
	*-fcf-protection*:x86_64) objdump -d "$program" | grep -q endbr64 || fail "indirect branches are not protected" ;;
	esac
done
[ $failed != 0 ] || echo "all is as it should be: $PROGRAMS"
exit $failed
