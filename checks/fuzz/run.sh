#!/bin/sh
# Looks for new inputs that break a fuzz target: each runs for so many seconds, as many at once as there are processors. From the build
# directory of a tree configured with --enable-fuzz, as `make fuzz` does, with srcdir in the environment:
#     run.sh SECONDS TARGET ...
# Starts from checks/fuzz/corpus and adds to a copy of it, so that the source stays as it is. The first finding ends it; what found it
# is kept below fuzz-findings.
set -u

one() {
	name=${2##*/fuzz_}
	work=$(mktemp -d) || exit 255
	trap 'rm -rf "$work"' EXIT
	words=${srcdir:-.}/checks/fuzz/dict/$name
	[ -f "$words" ] || words=
	mkdir -p "fuzz-findings/$name" "$work/corpus"
	if "./$2" ${words:+-dict="$words"} -max_total_time="$1" -timeout=10 -rss_limit_mb=1024 -close_fd_mask=1 -print_final_stats=1 \
		-artifact_prefix="fuzz-findings/$name/" "$work/corpus" "${srcdir:-.}/checks/fuzz/corpus/$name" 2>"$work/said"; then
		runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/said")
		cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/said" | tail -1)
		found=$(find "$work/corpus" -type f | wc -l)
		printf '%-28s %10s runs  cov %6s  %5s new inputs\n' "$name" "$runs" "$cov" "$found"
	else
		tail -60 "$work/said"
		echo "FOUND by $2: see $PWD/fuzz-findings/$name"
		exit 255 # ends xargs
	fi
}

if [ "$1" = -1 ]; then
	shift
	one "$@"
	exit 0
fi
seconds=$1
shift
printf '%s\n' "$@" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 sh "$0" -1 "$seconds"
