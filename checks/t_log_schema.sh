#!/bin/sh
# The log's schema: what doc/formats.md says of events and keys is what the code says, and no event takes a name of the log itself.
set -u
: "${srcdir=.}"
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
LC_ALL=C
export LC_ALL
failed=0

complain() { # text file
	[ ! -s "$2" ] || {
		echo "$1:"
		sed 's/^/    /' "$2"
		failed=1
	}
}
cd "$srcdir" || exit 99
find libsm libcdb mcp qmgr smar smtpc smtps -name '*.c' ! -name 't_*' -exec awk -f checks/log_schema.awk {} + | sort -u >"$dir/code"
# Keys that are values of %s in a list
printf 'key client_ipv4\nkey client_ipv6\n' | cat - "$dir/code" | sort -u >"$dir/all"
awk '/^## / { on = /Log lines/ } on && /^### / { kind = /Events/ ? "event" : "key" }
	on && kind && /^\| `/ {
		n = split($0, cell, "|")
		while (match(cell[2], /`[^`]*`/)) {
			print kind " " substr(cell[2], RSTART + 1, RLENGTH - 2)
			cell[2] = substr(cell[2], RSTART + RLENGTH)
		}
	}' doc/formats.md | sort >"$dir/doc"
grep -E '^(event|key) ' "$dir/all" >"$dir/names"
uniq "$dir/doc" | comm -23 "$dir/names" - >"$dir/new"
uniq "$dir/doc" | comm -13 "$dir/names" - >"$dir/gone"
uniq -d "$dir/doc" >"$dir/twice"
grep -E '^key (time|sev|proc|pid|event|cut)$' "$dir/all" >"$dir/reserved"
grep '^directive' "$dir/all" | grep -vE '^directive [SsduxmICAE%]$' >"$dir/directives"
complain "in the code, but not in doc/formats.md, Log lines" "$dir/new"
complain "in doc/formats.md, Log lines, but not in the code" "$dir/gone"
complain "twice in doc/formats.md, Log lines" "$dir/twice"
complain "names that every JSON line has, as keys of an event" "$dir/reserved"
complain "directives that sm_log does not know" "$dir/directives"
[ "$(wc -l <"$dir/names")" -gt 200 ] || {
	echo "only $(wc -l <"$dir/names") names were found in the code: is checks/log_schema.awk broken?"
	failed=1
}
exit $failed
