#!/bin/sh
# Makes a complete private instance of smx in a directory: configuration, mailertable, queue, logs, its own mcp.sh. Any number side by side.
#
#   site.sh create DIR [options]
#     --build DIR          programs from a build tree (default: installed ones, see --prefix)
#     --prefix DIR         programs from DIR/sbin and DIR/libexec (default /usr/local)
#     --port N             SMTP listener on 127.0.0.1 (default 2525); --listen ADDR:PORT adds one, --listen6 'ADDR PORT' one for IPv6
#     --submit-port N      another listener, on 127.0.0.1 whose loopback clients may relay (sendmail 8 submission)
#     --hostname NAME      what the site calls itself (default: the host's)
#     --dns ADDR:PORT      name server (repeatable; default: the host's)
#     --route 'DOMAIN RHS' line of the mailertable (repeatable)
#     --relay-domain D     domain that anybody may send to (repeatable)
#     --filter 'DOMAIN ADDR PORT' mail for DOMAIN (or .) goes through an SMTP filter there
#     --lmtp-agent DIR     run the small LMTP agent, which delivers to Maildirs below DIR, as a section of mcp
#     --smtpc N, --smtps N processes of these kinds (default 1)
#     --set SECTION.OPTION=VALUE   any option of the configuration (repeatable), e.g. qmgr.retry_min_delay=1s
#     --users real|none    real: the five accounts, as root; none (default): all as who runs it
set -eu

die() {
	echo "site.sh: $*" >&2
	exit 64
}
[ "${1-}" = create ] && [ $# -ge 2 ] || die "usage: site.sh create DIR [options]; the head of this file lists them"
src=$(cd "$(dirname "$0")/.." && pwd)
dir=$2
shift 2

build='' prefix=/usr/local port=2525 submit='' hostname='' users=none lmtp='' smtpc=1 smtps=1
dns='' routes='' relay='' listeners='' sets=''
nl='
'
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || die "$1 needs a value"
	case $1 in
	--build) build=$(cd "$2" && pwd) ;;
	--prefix) prefix=$2 ;;
	--port) port=$2 ;;
	--submit-port) submit=$2 ;;
	--listen) listeners="$listeners    listen_socket { type = inet; address = \"${2%:*}\"; port = ${2##*:}; }$nl" ;;
	--listen6) listeners="$listeners    listen_socket { type = inet6; address = \"${2% *}\"; port = ${2##* }; }$nl" ;;
	--hostname) hostname=$2 ;;
	--dns) dns="$dns${dns:+, }\"$2\"" ;;
	--route) routes="$routes$2$nl" ;;
	--relay-domain) relay="$relay${relay:+, }$2" ;;
	--filter) routes="$routes$(echo "$2" | awk '{ printf "%s %s^esmtp:[%s]", $1, $3, $2 }')$nl" ;;
	--lmtp-agent) lmtp=$2 ;;
	--smtpc) smtpc=$2 ;;
	--smtps) smtps=$2 ;;
	--set) sets="$sets$2$nl" ;;
	--users) users=$2 ;;
	*) die "unknown option $1" ;;
	esac
	shift 2
done
case $users in real | none) ;; *) die "--users is real or none" ;; esac

# ---- where the programs are ----
if [ -n "$build" ]; then
	mcp=$build/mcp/mcp qmgr=$build/qmgr/qmgr smar=$build/smar/smar smtps_prog=$build/smtps/smtps smtpc_prog=$build/smtpc/smtpc
	agent=$build/contrib/lmtp2maildir
	setup=$build/misc/sm.setup.sh mcp_sh=$build/misc/mcp.sh ctl=$build/misc/qmgrctl smarctl=$build/misc/smarctl smconf=$build/smconf
	sendmail=$build/sendmail
else
	mcp=$prefix/sbin/mcp qmgr=$prefix/libexec/qmgr smar=$prefix/libexec/smar smtps_prog=$prefix/libexec/smtps smtpc_prog=$prefix/libexec/smtpc
	agent=$prefix/libexec/lmtp2maildir
	setup=$prefix/sbin/sm.setup.sh mcp_sh=$prefix/sbin/mcp.sh ctl=$prefix/bin/qmgrctl smarctl=$prefix/bin/smarctl smconf=$prefix/bin/smconf
	sendmail=$prefix/sbin/sendmail
fi
[ -x "$mcp" ] || die "$mcp is not there: build first, or give --build or --prefix"

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ ! -e "$dir/smx.conf" ] || die "$dir has a site already"
me=$(id -un)

# ---- directories: the same script that sets up a whole machine ----
SMXQDIR=$dir/spool SMXETC=$dir LOGDIR=$dir/log SMXUSERS=$users SMXSHARE=$dir/none sh "$setup" >/dev/null
printf '%s' "$routes" >"$dir/mt"

user() { # option lines for one account
	[ "$users" = real ] && echo "    user = $1;" || :
}
gid=$([ "$users" = real ] && getent group "${SMXC-smxc}" | cut -d: -f3 || id -g)

# ---- configuration ----
{
	echo "# A private instance of smx, made by site.sh."
	[ -z "$hostname" ] || echo "hostname = \"$hostname\";"
	echo "CDB_base_directory = \"\";"
	cat <<EOT

qmgr {
    start_action = wait; path = "$qmgr"; arguments = "qmgr -f $dir/smx.conf";
$(user "${SMXQ-smxq}")
}
smar {
    start_action = wait; path = "$smar"; arguments = "smar -f $dir/smx.conf";
$(user "${SMXM-smxm}")
$([ -z "$dns" ] || echo "    nameserver = { $dns };")
    mailertable { file = "$dir/mt"; }
}
smtpc {
    start_action = wait; path = "$smtpc_prog"; arguments = "smtpc -f $dir/smx.conf";
    pass_id = "-i"; min_processes = $smtpc; max_processes = $smtpc;
$(user "${SMXC-smxc}")
}
smtps {
    start_action = pass; pass_fd_socket = "smtps/smtpsfd";
    path = "$smtps_prog"; arguments = "smtps -f $dir/smx.conf";
    relay_to = { $relay };
    pass_id = "-i"; min_processes = $smtps; max_processes = $smtps;
    CDB_gid = $gid;
$(user "${SMXS-smxs}")
    listen_socket { type = inet; address = "127.0.0.1"; port = $port; name = "mta"; }
    listen_socket { type = unix; path = "submit/smtp"; umask = 0111; name = "submit"; }
    relay_from_local = { submit };
EOT
	[ -z "$submit" ] || cat <<EOT
    listen_socket { type = inet; address = "127.0.0.1"; port = $submit; name = "submit"; }
EOT
	printf '%s}\n' "$listeners"
	echo "sendmail { socket = \"$dir/spool/submit/smtp\"; control_socket = \"$dir/spool/ctl/qmgr\"; }"
	[ -z "$lmtp" ] || cat <<EOT
lmtp {
    start_action = accept; path = "$agent"; arguments = "lmtp2maildir -d $lmtp";
    listen_socket { type = unix; path = "$dir/spool/lmtpsock"; umask = 007; $([ "$users" = real ] && echo "group = ${SMXC-smxc};") }
$(user "${SMX-smx}")
}
EOT
	# a.b.c=v becomes a { b { c = v; } }
	printf '%s' "$sets" | awk '{
		eq = index($0, "="); if (!eq) { print "bad --set " $0 > "/dev/stderr"; exit 64 }
		n = split(substr($0, 1, eq - 1), part, "."); v = substr($0, eq + 1)
		for (i = 1; i < n; i++) printf "%s { ", part[i]
		if (v ~ /^\{/) printf "%s = %s", part[n], v; else printf "%s = \"%s\";", part[n], v
		for (i = 1; i < n; i++) printf " }"; print "" }'
} >"$dir/smx.conf"

if [ -n "$lmtp" ]; then
	mkdir -p "$lmtp"
	[ "$users" != real ] || chown "${SMX-smx}" "$lmtp"
fi

# ---- its own mcp.sh and the addresses for scripts ----
cat >"$dir/mcp.sh" <<EOT
#!/bin/sh
# start, stop, restart, reload, status of this site
MCP_PROG='$mcp' MCP_CONF='$dir/smx.conf' MCP_DIR='$dir/spool' MCP_LOGDIR='$dir/log' MCP_PIDFILE='$dir/mcp.pid' MCP_SMCONF='$smconf'
export MCP_PROG MCP_CONF MCP_DIR MCP_LOGDIR MCP_PIDFILE MCP_SMCONF
exec sh '$mcp_sh' "\$@"
EOT
cat >"$dir/qmgrctl" <<EOT
#!/bin/sh
# asks this site's queue
exec '$ctl' -s '$dir/spool/ctl/qmgr' "\$@"
EOT
cat >"$dir/smarctl" <<EOT
#!/bin/sh
# asks this site's resolver
exec '$smarctl' -s '$dir/spool/smarctl/smar' --conf '$dir/smx.conf' "\$@"
EOT
cat >"$dir/sendmail" <<EOT
#!/bin/sh
# sends mail through this site
exec '$sendmail' -C '$dir/smx.conf' "\$@"
EOT
chmod 755 "$dir/mcp.sh" "$dir/qmgrctl" "$dir/smarctl" "$dir/sendmail"
cat >"$dir/site.env" <<EOT
SITE_DIR='$dir'
SITE_CONF='$dir/smx.conf'
SITE_SPOOL='$dir/spool'
SITE_LOG='$dir/log'
SITE_PORT='$port'
SITE_SUBMIT_PORT='$submit'
SITE_USERS='$users'
SITE_OWNER='$me'
SITE_MAILDIRS='$lmtp'
SITE_SRC='$src'
EOT
echo "site in $dir: sh $dir/mcp.sh start"
