#!/bin/sh
# Says how many lines of the parser that it is there for each fuzz target reaches. From the build directory of a tree configured with
# --enable-fuzz=coverage, as `make fuzz-coverage` does, with srcdir, LLVM_COV and LLVM_PROFDATA in the environment:
#     coverage.sh SECONDS TARGET ...
# Each runs over its corpus and, if SECONDS is not 0, goes on from there for so long. checks/fuzz/parsers says which files are a target's.
# Fails if less than LEAST percent of a file's lines are reached, or if a target has no file. Which lines are left is in
# fuzz-coverage/NAME.missed.
set -eu

LEAST=85
seconds=$1
shift
src=${srcdir:-.}
out=fuzz-coverage
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() { # NAME PROGRAM
	name=$1 program=$2
	words=$src/checks/fuzz/dict/$name
	[ -f "$words" ] || words=
	mkdir -p "$work/$name" "fuzz-findings/$name"
	if [ "$seconds" = 0 ]; then
		set -- -runs=0
	else
		set -- ${words:+-dict="$words"} -max_total_time="$seconds" "$work/$name"
	fi
	LLVM_PROFILE_FILE="$work/$name.raw" "./$program" -timeout=10 -rss_limit_mb=1024 -close_fd_mask=1 \
		-artifact_prefix="fuzz-findings/$name/" "$@" "$src/checks/fuzz/corpus/$name" 2>"$out/$name.said" || {
		tail -40 "$out/$name.said"
		echo "FOUND by $program: see $PWD/fuzz-findings/$name"
		exit 1
	}
	"$LLVM_PROFDATA" merge -o "$work/$name.prof" "$work/$name.raw"
	"$LLVM_COV" export -format=lcov -instr-profile="$work/$name.prof" "./$program" >"$out/$name.lcov"
}

# A function reaches from its first line to that of the next one: no line counts that is in none.
count() { # NAME: prints FILE COVERED LINES for each of its files; lines that were not reached go to NAME.missed
	awk -v name="$1" -v missed="$out/$1.missed" '
		function ours(path,  f) {
			for (f in left)
				if (substr(path, length(path) - length(f)) == "/" f)
					return f
			return ""
		}
		FNR == NR {
			sub(/#.*/, "")
			if ($1 != name)
				next
			for (i = 2; i <= NF; i++)
				if ($i ~ /^[+-]/) {
					word[file, substr($i, 2)] = 1
					if ($i ~ /^[+]/)
						only[file] = 1
				} else {
					file = $i
					left[file] = 1
				}
			next
		}
		/^SF:/ {
			at = ours(substr($0, 4))
			split("", begins)
		}
		at == "" { next }
		/^FN:/ {
			split(substr($0, 4), part, ",")
			fn = part[2]
			sub(/.*:/, "", fn) # what is static has its file in front
			begins[part[1]] = fn
			if ((at, fn) in word)
				used[at, fn] = 1
		}
		/^DA:/ {
			split(substr($0, 4), part, ",")
			if (part[1] in begins)
				fn = begins[part[1]]
			if (((at, fn) in word) != (at in only))
				next
			lines[at]++
			if (part[2] > 0)
				covered[at]++
			else
				print at ":" part[1] ": " fn >missed
		}
		END {
			for (f in left)
				print f, covered[f] + 0, lines[f] + 0
			for (w in word)
				if (!(w in used)) {
					split(w, part, SUBSEP)
					print part[1] "(no-function-" part[2] ")", 0, 0
				}
		}' "$src/checks/fuzz/parsers" "$out/$1.lcov" | sort
}

status=0
for program; do
	name=${program##*/fuzz_}
	run "$name" "$program"
	: >"$out/$name.missed"
	count "$name" >"$work/$name.count"
	[ -s "$work/$name.count" ] || {
		echo "$name: checks/fuzz/parsers has no file for it"
		status=1
	}
	awk -v name="$name" -v least="$LEAST" '
		{
			share = $3 > 0 ? 100 * $2 / $3 : 0
			bad = share < least
			failed += bad
			printf "%-14s %-28s %4d of %4d lines  %5.1f %%%s\n", name, $1, $2, $3, share, bad ? "  TOO FEW" : ""
		}
		END { exit failed > 0 }' "$work/$name.count" || status=1
done
[ $status = 0 ] || echo "less than $LEAST %: see $PWD/$out/NAME.missed"
exit $status
