#!/bin/sh
# Tests of milter-regex: its options, and what -n says of a file of rules. Run in the build directory by `make check`.
. "${srcdir:-.}/misc/t_common.sh"

mr=$PWD/contrib/milter-regex
cd "$dir" || exit 1

printf '# all events\nreject "550 5.7.1 no" connect /^evil/ !^192\\.! and helo /x/\nadd "X-A" "b" header /^to$/i\n\tand not body /x/\n' >good
check "good" "0" "$("$mr" -n -c good 2>&1; echo $?)"
check "good, from standard input" "0" "$("$mr" -n -c - <good 2>&1; echo $?)"
check "good, with a socket" "0" "$("$mr" -n -c good -p inet:1@127.0.0.1 2>&1; echo $?)"
printf '' >empty
check "empty" "0" "$("$mr" -n -c empty 2>&1; echo $?)"
printf 'reject mail /(/\n\ndrop mail /x/\nreject mail /x/\n' >bad
check "bad" "bad:1: pattern \"(\" at 1: missing closing parenthesis
bad:3: a rule begins with accept, reject, tempfail, discard, quarantine or add
1" "$("$mr" -n -c bad 2>&1; echo $?)"
check "bad is not served" "1" "$("$mr" -d -c bad -p unix:sock >out 2>&1; echo $?)"
check "missing" "none: No such file or directory
1" "$("$mr" -n -c none 2>&1; echo $?)"
printf 'a\0b' >binary
check "binary" "binary:1: cannot be read, is no text, or is larger than 4 MB
1" "$("$mr" -n -c binary 2>&1; echo $?)"
check "no socket" 64 "$("$mr" -c good >out 2>&1; echo $?)"
check "unknown option" 64 "$("$mr" -z >out 2>&1; echo $?)"
check "an operand" 64 "$("$mr" -n -c good more >out 2>&1; echo $?)"
check "no such place" 71 "$("$mr" -d -c good -p unix:none/sock >out 2>&1; echo $?)"

exit $failed
