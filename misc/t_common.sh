# For the tests of tools, read by them: a directory of their own, $dir, and what they compare with. They end with `exit $failed`.
set -u
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
failed=0

check() { # what expected got
	[ "$2" = "$3" ] || {
		printf '%s: expected\n%s\ngot\n%s\n' "$1" "$2" "$3"
		failed=1
	}
}
status() {
	"$@" >/dev/null 2>&1
	echo $?
}
