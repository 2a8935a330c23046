#!/bin/sh
# Tests of rcvrenv by itself, run in the build directory by `make check`: logs and contents that are made up.
. "${srcdir:-.}/misc/t_common.sh"
# id of mail number N: its content is in directory N
id() {
	echo "S00000000000000${1}${1}00"
}
for d in 0 1 2 3 4 5 6 7 8 9 A B C D E F; do
	mkdir "$dir/$d"
done
for n in 1 2 3 4 5 6 7 8; do
	printf 'gapSubject: %s\r\n\r\ntext\r\n' "$n" >"$dir/$n/$(id $n)"
done
run() {
	./rcvrenv -b "$dir/" "$@" 2>"$dir/err"
	echo "exit $?"
}
t='1795217632.123 INFO'

# 1 open, with a quoted sender; 2 settled by smtpc alone; 3 refused; 4 not answered; 5 no recipient line; 6 nothing; 7 failed, its report
# under way; 8 failed and reported
cat >"$dir/smtps.log" <<END
$t ss.mail ss_sess=$(id 9), ss_ta=$(id 1), where=mail, mail=<"a\\x2c\\x20b"@c>, size=20, body=2, ret=1, envid=e+2B1, stat=250
$t ss.rcpt ss_sess=$(id 9), ss_ta=$(id 1), where=rcpt, rcpt=<x@y>, rcpt_idx=0, orcpt=rfc822\\x3bx@y, notify=6, stat=250
$t ss.rcpt ss_sess=$(id 9), ss_ta=$(id 1), client=192.0.2.1:5, where=rcpt, rcpt=<no@y>, stat=550, text="5.7.1 no ss.rcpt"
$t ss.rcpt ss_sess=$(id 9), ss_ta=$(id 1), where=rcpt, rcpt=<z@y>, rcpt_idx=1, stat=250
$t ss.final ss_sess=$(id 9), ss_ta=$(id 1), where=final, nrcpts=2, offset=3, size=20, stat=250, text="2.0.0 ok"
$t ss.mail ss_ta=$(id 2), mail=<>, stat=250
$t ss.rcpt ss_ta=$(id 2), rcpt=<x@y>, rcpt_idx=0, stat=250
$t ss.final ss_ta=$(id 2), nrcpts=1, size=20, stat=250
$t ss.mail ss_ta=$(id 3), mail=<s@t>, stat=250
$t ss.rcpt ss_ta=$(id 3), rcpt=<x@y>, rcpt_idx=0, stat=250
$t ss.final ss_ta=$(id 3), nrcpts=1, size=20, stat=552, text="5.3.4 too big"
$t ss.mail ss_ta=$(id 4), mail=<s@t>, stat=250
$t ss.mail ss_ta=$(id 5), mail=<s@t>, stat=250
$t ss.final ss_ta=$(id 5), nrcpts=1, size=20, stat=250
END
for n in 7 8; do
	cat <<END
$t ss.mail ss_ta=$(id $n), mail=<s@t>, stat=250
$t ss.rcpt ss_ta=$(id $n), rcpt=<x@y>, rcpt_idx=0, stat=250
$t ss.final ss_ta=$(id $n), nrcpts=1, size=20, stat=250
END
done >>"$dir/smtps.log"
cat >"$dir/other.log" <<END
no line of ours
Nov 20 23:33:52 mx qmgr[7]: INFO qm.rcpt ss_ta=$(id 1), rcpt=<z@y>, rcpt_idx=1, stat=sent, tries=1
{"sev":"INFO","event":"qm.rcpt","ss_ta":"$(id 1)","rcpt":"<x@y>","rcpt_idx":0,"stat":"deferred"}
{"sev":"INFO","event":"sc.delivered","ss_ta":"$(id 2)","rcpt":"<x@y>","rcpt_idx":0,"stat":250}
$t qm.end ss_ta=S0000000000000000FF, dsn_of=$(id 8), delay=1
$t qm.bounce ss_ta=$(id 7), rcpt=<x@y>, rcpt_idx=0, act=1, uid=0
$t qm.report ss_ta=$(id 7), dsn_ta=S0000000000000001FF, kind=failed, rcpt=<x@y>, rcpt_idx=0
$t qm.end ss_ta=$(id 7), delay=1
$t qm.rcpt ss_ta=$(id 8), rcpt=<x@y>, rcpt_idx=0, stat=failed
$t qm.report ss_ta=$(id 8), dsn_ta=S0000000000000000FF, kind=failed, rcpt=<x@y>, rcpt_idx=0
$t qm.end ss_ta=$(id 8), delay=1
END
want="$(id 1) open        size=20 from=<\\x22a\\x2c\\x20b\\x22@c>
    open     <x@y>
$(id 4) unconfirmed size=0 from=<s@t>
$(id 5) incomplete  size=20 from=<s@t>
$(id 6) unknown     size=0 from=<?>
$(id 7) open        size=20 from=<s@t>
    open     <x@y>
exit 2"
check "states" "$want" "$(run "$dir/smtps.log" "$dir/other.log")"
# Torn lines: the last one of a file, one before another one, one before what was never written. None of them settles anybody.
{
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, sta' "$t" "$(id 1)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, stat=sent\n' "$t" "$(id 2)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, ' "$t" "$(id 1)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, stat=sent\n' "$t" "$(id 2)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, text="5.1.1' "$t" "$(id 1)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, stat=sent, text="ok"\n' "$t" "$(id 2)"
	printf '%s qm.rcpt ss_ta=%s, rcpt=<x@y>, rcpt_idx=0, stat=de\n' "$t" "$(id 1)"
	printf '%s qm.end ss_ta=%s\000\000\n' "$t" "$(id 1)"
	printf '%s qm.end ss_ta=%s' "$t" "$(id 1)"
} >"$dir/torn.log"
check "torn lines" "$want" "$(run "$dir/smtps.log" "$dir/other.log" "$dir/torn.log")"
# What stands behind what was never written is a line, and so is the one after it.
{
	printf '\000\000\000%s ss.mail ss_ta=%s, mail=<n@t>, stat=250\n' "$t" "$(id 6)"
	printf '%s ss.rcpt ss_ta=%s, rcpt=<n@y>, rcpt_idx=0, stat=250\n' "$t" "$(id 6)"
	printf '%s ss.final ss_ta=%s, nrcpts=1, size=20, stat=250\n' "$t" "$(id 6)"
} >"$dir/nul.log"
check "behind what was never written" "$(id 6) open        size=20 from=<n@t>" "$(run "$dir/nul.log" | grep "$(id 6)")"
rm "$dir/torn.log" "$dir/nul.log"
check "any order" "$want" "$(run "$dir/other.log" "$dir/smtps.log" "$dir/other.log")"
check "summary" "rcvrenv: 8 contents: 2 open, 2 settled, 1 refused, 1 unconfirmed, 1 incomplete, 1 unknown" "$(cat "$dir/err")"
check "standard input" "$want" "$(cat "$dir"/*.log | run -)"
check "JSON" '{"content":"'"$(id 1)"'","state":"open","sender":"\"a, b\"@c","offset":3,"size":20,"body":2,"ret":1,"utf8":0,"envid":"e+2B1","rcpts":[{"addr":"x@y","state":"open","notify":6,"orcpt":"rfc822;x@y"}]}' \
	"$(run -j "$dir/smtps.log" "$dir/other.log" | head -n 1)"
check "all" 8 "$(run -a "$dir/smtps.log" "$dir/other.log" | grep -c '^S')"
check "cut off" "exit 66" "$(run -m "$dir/smtps.log")"
check "missing log" "exit 66" "$(run "$dir/none.log")"
check "no store" "exit 66" "$(run -b "$dir/none/" "$dir/smtps.log")"
check "requeue without leave" "exit 64" "$(run -r 127.0.0.1:1 "$dir/smtps.log")"
# 9: a list in two children; the first has ended, of the second one member is open and one was refused, which was reported. A: its expansion
# is not complete. The children share the contents.
printf 'gapSubject: %s\r\n\r\ntext\r\n' 9 >"$dir/9/$(id 9)"
printf 'gapSubject: %s\r\n\r\ntext\r\n' 9 >"$dir/A/$(id A)"
for n in 9 A; do
	cat <<END
$t ss.mail ss_ta=$(id $n), mail=<s@t>, body=2, stat=250
$t ss.rcpt ss_ta=$(id $n), rcpt=<list@y>, rcpt_idx=0, stat=250
$t ss.final ss_ta=$(id $n), nrcpts=1, offset=3, size=20, stat=250
END
done >"$dir/list.log"
c=S0000000000000C
cat >"$dir/children.log" <<END
$t qm.expand ss_ta=$(id 9), child_ta=${c}01FF, rcpt=<list@y>, rcpt_idx=0, members=1, more=1
$t qm.child ss_ta=${c}01FF, child_of=$(id 9), content=$(id 9), mail=<owner-list@y>, rcpts=1
$t qm.member ss_ta=${c}01FF, rcpt=<m1@z>, rcpt_idx=0
$t qm.end ss_ta=${c}01FF, delay=1
$t qm.expand ss_ta=$(id 9), child_ta=${c}02FF, rcpt=<list@y>, rcpt_idx=0, members=3, more=0
$t qm.end ss_ta=$(id 9), delay=1
$t qm.child ss_ta=${c}02FF, child_of=$(id 9), content=$(id 9), mail=<owner-list@y>, rcpts=3
$t qm.member ss_ta=${c}02FF, rcpt=<m2@z>, rcpt_idx=0
$t qm.member ss_ta=${c}02FF, rcpt=<m3@z>, rcpt_idx=1, notify=4
$t qm.member ss_ta=${c}02FF, rcpt=<m4@z>, rcpt_idx=2
$t sc.delivered ss_ta=${c}02FF, rcpt=<m2@z>, rcpt_idx=0, stat=250
$t qm.report ss_ta=${c}02FF, dsn_ta=${c}03FF, kind=failed, rcpt=<m4@z>, rcpt_idx=2
$t qm.end ss_ta=${c}03FF, dsn_of=${c}02FF, delay=1
$t qm.expand ss_ta=$(id A), child_ta=${c}04FF, rcpt=<list@y>, rcpt_idx=0, members=1, more=1
$t qm.child ss_ta=${c}04FF, child_of=$(id A), content=$(id A), mail=<owner-list@y>, rcpts=1
$t qm.member ss_ta=${c}04FF, rcpt=<m1@z>, rcpt_idx=0
$t qm.end ss_ta=${c}04FF, delay=1
$t qm.child ss_ta=${c}05FF, child_of=$(id B), content=$(id B), mail=<s@t>, rcpts=1
END
want="$(id A) open        size=20 from=<s@t>
    open     <list@y>
${c}02FF open        size=20 from=<owner-list@y>
    open     <m3@z>"
check "children" "$want" "$(run "$dir/list.log" "$dir/children.log" | grep -A1 "^$(id A)\|^$c")"
check "children, any order" "$want" "$(run "$dir/children.log" "$dir/list.log" | grep -A1 "^$(id A)\|^$c")"
check "JSON of a child" '{"content":"'"$(id 9)"'","child":"'"${c}02FF"'","state":"open","sender":"owner-list@y","offset":3,"size":20,"body":2,"ret":0,"utf8":0,"envid":"","rcpts":[{"addr":"m3@z","state":"open","notify":4,"orcpt":""}]}' \
	"$(run -j "$dir/list.log" "$dir/children.log" | grep '"child"')"
rm "$dir/9/$(id 9)" "$dir/A/$(id A)"
id 1 >"$dir/known"
# C: filters changed the envelope: another sender, the first recipient gone, another one added, which has got it.
printf 'gapSubject: %s\r\n\r\ntext\r\n' 9 >"$dir/C/$(id C)"
cat >"$dir/filtered.log" <<END
$t ss.mail ss_ta=$(id C), mail=<s@t>, envid=old, ret=1, stat=250
$t ss.rcpt ss_ta=$(id C), rcpt=<gone@y>, rcpt_idx=0, notify=4, stat=250
$t ss.rcpt ss_ta=$(id C), rcpt=<stays@y>, rcpt_idx=1, orcpt=rfc822\\x3bx@y, stat=250
$t ss.rcpt ss_ta=$(id C), rcpt=<also@y>, rcpt_idx=2, stat=250
$t ss.envelope ss_ta=$(id C), mail=<new@t>, ret=2, nrcpts=2, rcpt=<stays@y>, rcpt_idx=0, orcpt=rfc822\\x3bx@y
$t ss.envelope ss_ta=$(id C), mail=<new@t>, ret=2, nrcpts=2, rcpt=<more@y>, rcpt_idx=1, notify=1
$t ss.final ss_ta=$(id C), nrcpts=2, size=20, stat=250
$t qm.rcpt ss_ta=$(id C), rcpt=<more@y>, rcpt_idx=1, stat=sent, tries=1
END
want='{"content":"'"$(id C)"'","state":"open","sender":"new@t","offset":0,"size":20,"body":0,"ret":2,"utf8":0,"envid":"","rcpts":[{"addr":"stays@y","state":"open","notify":0,"orcpt":"rfc822;x@y"}]}'
check "changed by filters" "$want" "$(run -j "$dir/filtered.log" | grep "$(id C)")"
tac "$dir/filtered.log" >"$dir/detlif.log"
check "changed by filters, any order" "$want" "$(run -j "$dir/detlif.log" | grep "$(id C)")"
rm "$dir/C/$(id C)"

check "nobody listens" "exit 75" "$(run -k "$dir/known" -r 127.0.0.1:1 "$dir/smtps.log" "$dir/other.log" | tail -n 1)"
printf x >>"$dir/1/$(id 1)"
check "another content" "exit 1" "$(run -k "$dir/known" -r 127.0.0.1:1 "$dir/smtps.log" "$dir/other.log" | tail -n 1)"
check "still there" 8 "$(find "$dir" -name 'S0*' | wc -l | tr -d ' ')"
exit $failed
