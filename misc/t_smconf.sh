#!/bin/sh
# smconf from outside: what it says about good and bad files, and what it prints. Runs in the build directory; also checks the default file.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }
smconf() { ./smconf "$@"; }

expect() { # status, file, and on standard input what standard error must say
	smconf "$2" >"$dir/out" 2>"$dir/err"
	got=$?
	[ $got = "$1" ] || fail "$2: status $got, not $1"
	sed "s,^FILE,$2," >"$dir/want"
	cmp -s "$dir/err" "$dir/want" || { fail "$2:"; diff "$dir/want" "$dir/err"; }
	[ ! -s "$dir/out" ] || fail "$2: output without -d"
}

expect 0 misc/smx.conf </dev/null
[ "$(smconf misc/smx.conf qmgr.user)" = smxq ] || fail "query of qmgr.user"
[ "$(smconf misc/smx.conf hostname)" = "" ] || fail "query of hostname"
smconf misc/smx.conf qmgr.nothing 2>/dev/null
[ $? = 64 ] || fail "query of what is not there"
smconf -d misc/smx.conf >"$dir/d1" || fail "dump"
smconf -d "$dir/d1" >"$dir/d2" || fail "dump of the dump"
cmp -s "$dir/d1" "$dir/d2" || fail "the dump does not read back as the same"

cat >"$dir/bad" <<-'EOT'
	hostnam = mx.example.org;
	qmrg { }
	agent { start_action = wait; path = /bin/agent; arguments = agent;
	  usr = me;
	  restart_dependencies = { agent, nobody }; }
	agent two { start_action = pass; path = /bin/agent; arguments = agent;
	  listen_socket { port = 25; }
	  listen_socket { port = 25; address = 127.0.0.1; } }
	agent three { start_action = wait; path = /bin/agent; arguments = "agent 'x"; }
EOT
expect 78 "$dir/bad" <<-'EOT'
	FILE:1: unknown option hostnam (did you mean hostname?)
	FILE:2: unknown section qmrg (did you mean qmgr?)
	FILE:4: unknown option usr (did you mean user?)
	FILE:9: arguments: missing ' at the end
	FILE:3: restart_dependencies names nobody, which mcp does not start
	FILE:8: listen_socket is at the same place as the one on line 7
EOT
cat >"$dir/ids" <<-'EOT'
	smtps MTA { id = 1; start_action = wait; path = /s; arguments = s; pass_id = "-i"; min_processes = 3; max_processes = 3; }
	smtps MSA { id = 3; start_action = wait; path = /s; arguments = s; pass_id = "-i"; }
	smtps MSP { id = 4; start_action = wait; path = /s; arguments = s; pass_id = "-i"; }
	smtps OLD { start_action = wait; path = /s; arguments = s; }
EOT
expect 78 "$dir/ids" <<-'EOT'
	FILE:2: the processes of section smtps MSA need ids of their own: the section on line 1 has 1 to 3
EOT
cat >"$dir/route" <<-'EOT'
	smtps A { start_action = wait; path = /s; arguments = s; route = "lmtp:[unix:/run/x] { first } else mx:"; }
	smtps B { start_action = wait; path = /s; arguments = s; id = 1; route = "lmtp:[unix:/run/x] { first }"; }
EOT
expect 78 "$dir/route" <<-'EOT'
	FILE:2: section smtps: route: the last way can have no conditions: every mail needs one
EOT
cat >"$dir/lmtp" <<-'EOT'
	smtps L { protocol = lmtp; start_action = wait; path = /s; arguments = s; listen_socket { port = 24; }
	  listen_socket { port = 25; } }
	smtps M { start_action = wait; path = /s; arguments = s; id = 1; deliver = now; }
EOT
expect 78 "$dir/lmtp" <<-'EOT'
	FILE:3: section smtps: deliver = now needs protocol = lmtp
	FILE:2: port 25 is for SMTP, not LMTP
EOT
printf 'qmgr {\n user = x;\n' >"$dir/brace"
expect 78 "$dir/brace" <<-'EOT'
	FILE:3: missing "}": section qmgr began on line 1
EOT
expect 78 "$dir/none" <<-'EOT'
	FILE: No such file or directory
EOT
[ -z "$(smconf -q "$dir/bad" 2>&1)" ] || fail "-q says something"
smconf -d -j "$dir/bad" 2>/dev/null
[ $? = 64 ] || fail "-d with -j"

printf 'a { start_action = wait; path = "/p\\"q"; arguments = a; }\na b { start_action = wait; path = /b; arguments = a; }' >"$dir/json"
smconf -j "$dir/json" | grep -q '"keyword":"a","name":"b","line":2,"options":{"start_action":"wait",' || fail "JSON"
smconf -j "$dir/json" | grep -qF '"path":"/p\"q"' || fail "JSON escapes"
[ "$(smconf -N b "$dir/json" a.path)" = /b ] || fail "-N"

# Filters: what a section must have, and what it may not.
filter() { # sections, what is said of them
	printf 'smtps {\n%s }\n' "$1" >"$dir/filter"
	printf '%s\n' "${2:+FILE:2: $2}" | sed '/^$/d' | expect "${3:-78}" "$dir/filter"
}
filter 'policy_milter a { socket { type = unix; path = "/run/a"; } flags = { abort }; } policy_milter b { socket { port = 1; } }' '' 0
filter 'policy_milter a { socket { type = unix; } }' 'section a: socket: type unix needs a path'
filter 'policy_milter a { }' 'section a: socket: type inet needs a port'
filter 'policy_milter a { socket { port = 1; address = "localhost"; } }' 'section a: socket: address: "localhost" is no IP address'
filter 'policy_milter a { socket { port = 1; } flags = { abort, tempfail }; }' 'section a: flags: only one of them'
filter 'policy_milter { socket { port = 1; } } policy_milter { socket { port = 2; } }' 'section policy_milter: another filter has this name'
filter 'policy_milter a { socket { port = 1; } version = 7; }' 'version = 7 is out of range: 2 to 6'

# The page describes what may stand in texts of maps.
for it in 'Ss smtpc_session_conf:' 'It Ic tls.level ' 'It Ic ignore_extensions ' 'Ss smtpc_rcpt_conf:' 'Ss server_auth' 'It Ic token_file ' 'Ss smtps_session_conf:'; do
	smconf -M | sed -n '/^.Sh TEXTS OF MAPS/,$p' | grep -q "^.$it" || fail "the page says nothing of $it"
done

exit $failed
