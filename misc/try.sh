#!/bin/sh
# Shows smx at work on this machine, without touching anything outside of one directory:
#   sh misc/try.sh         installs missing packages, builds, sets up a private site on unprivileged loopback ports, starts it under mcp,
#                          sends a message through it and shows the way it took
#   sh misc/try.sh stop    ends it
# SMX_TRY (default ./try) is the directory, SMX_TRY_PORT (default 2525) the port.
set -eu

src=$(cd "$(dirname "$0")/.." && pwd)
try=${SMX_TRY-$src/try}
port=${SMX_TRY_PORT-2525}
site=$try/site

say() {
	printf '\n== %s\n' "$*"
}

if [ "${1-}" = stop ]; then
	[ -x "$site/mcp.sh" ] || { echo "nothing to stop in $try"; exit 0; }
	exec "$site/mcp.sh" stop
fi

say "packages"
sh "$src/misc/deps.sh" try
echo "all there"

say "build (log in $try/build.log)"
mkdir -p "$try/build"
(
	cd "$src"
	[ -x configure ] || ./bootstrap
	cd "$try/build"
	[ -f Makefile ] || "$src/configure"
	make -j"$(getconf _NPROCESSORS_ONLN)"
) >"$try/build.log" 2>&1 || { tail -30 "$try/build.log"; exit 1; }
echo "programs are in $try/build"

# Workers refuse to run as root: then the site belongs to somebody who may do nothing.
run=
if [ "$(id -u)" = 0 ]; then
	run="setpriv --reuid=nobody --regid=$(id -gn nobody) --clear-groups --"
	mkdir -p "$site"
	chown nobody "$site"
	# nobody must be able to get there.
	d=$site
	while [ "$d" != / ]; do
		case $(stat -c %A "$d") in
		*x | *t) ;;
		*)
			echo "try.sh: as root this needs a directory that user nobody can enter, but $d is closed; set SMX_TRY" >&2
			exit 1
			;;
		esac
		d=$(dirname "$d")
	done
fi

say "private site in $site"
if [ ! -e "$site/smx.conf" ]; then
	$run sh "$src/misc/site.sh" create "$site" --build "$try/build" --port "$port" --hostname try.example --route 'local.example lmtp:' --lmtp-agent "$site/mail"
fi
[ ! -e "$site/mcp.pid" ] || $run "$site/mcp.sh" stop >/dev/null 2>&1 || :
$run "$site/mcp.sh" start

say "a message from alice@remote.example to bob@local.example"
reply=$($run swaks --server "127.0.0.1:$port" --helo try.example --from alice@remote.example --to bob@local.example \
	--header 'Subject: hello' --body 'This mail crossed five processes.' --hide-informational 2>&1) || {
	echo "$reply"
	exit 1
}
echo "$reply"
id=$(echo "$reply" | grep -o 'S[0-9A-F]\{18\}' | head -1)

n=0
until [ -n "$(find "$site/mail/bob@local.example/new" -type f 2>/dev/null)" ] && grep -q "qm.end.*$id" "$site/log/qmgr.log"; do
	n=$((n + 1))
	[ $n -lt 300 ] || { echo "it did not arrive within 30 s; logs are in $site/log"; exit 1; }
	sleep 0.1
done

say "its way through the logs"
for p in smtps smar qmgr smtpc; do
	grep -h "$id" "$site/log/$p.log" 2>/dev/null | sed "s/^/$p: /" || :
done

say "delivered"
f=$(find "$site/mail/bob@local.example/new" -type f | sort | tail -1)
echo "$f"
cat "$f"
cat <<EOT

It goes on running:  SMTP on 127.0.0.1:$port, mail in $site/mail, logs in $site/log
Ask it:              $site/qmgrctl status
End it:              sh misc/try.sh stop
EOT
