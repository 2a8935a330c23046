#!/bin/sh
# Runs each fuzz target over its corpus: checks/fuzz/fuzz_NAME over checks/fuzz/corpus/NAME. From the build directory, with
# srcdir and FUZZ_TARGETS in the environment, as `make check` does; or with targets as arguments.
status=0
for target in ${*:-$FUZZ_TARGETS}; do
	corpus=${srcdir:-.}/checks/fuzz/corpus/${target##*/fuzz_}
	case $("./$target" -help=1 2>&1) in
	*libFuzzer*) set -- -runs=0 "$corpus" ;;
	*) set -- "$corpus" ;;
	esac
	if "./$target" "$@"; then
		echo "ok $target"
	else
		echo "FAILED $target"
		status=1
	fi
done
exit $status
