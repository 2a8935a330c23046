#!/bin/sh
# Tests of the small tools in misc, run in the build directory by `make check`.
. "${srcdir:-.}/misc/t_common.sh"

# statit
(umask 022 && printf hello >"$dir/file" && mkdir "$dir/sub" && ln -s file "$dir/link" && mkfifo "$dir/fifo")
chmod 2751 "$dir/sub"
me=$(id -u) group=$(stat -c %g "$dir/file")
check "statit file" "$me $group 0644 5 file $dir/file" "$(misc/statit -n "$dir/file")"
check "statit dir" "$me $group 2751 0 dir $dir/sub" "$(misc/statit -n "$dir/sub")"
check "statit link" "link" "$(misc/statit -n "$dir/link" | cut -d' ' -f5)"
check "statit -L" "$me $group 0644 5 file $dir/link" "$(misc/statit -nL "$dir/link")"
check "statit fifo" "fifo" "$(misc/statit "$dir/fifo" | cut -d' ' -f5)"
check "statit names" "$(id -un)" "$(misc/statit "$dir/file" | cut -d' ' -f1)"
check "statit missing" 1 "$(status misc/statit "$dir/none" "$dir/file")"
check "statit usage" 64 "$(status misc/statit)"

# noroot
if [ "$me" = 0 ]; then
	check "noroot as root" 1 "$(status misc/noroot)"
	check "noroot text" "running as root" "$(misc/noroot)"
else
	check "noroot" 0 "$(status misc/noroot)"
fi
check "noroot -q" "" "$(misc/noroot -q)"
check "noroot usage" 64 "$(status misc/noroot -x)"

# t-getgroup
check "own group" 0 "$(status misc/t-getgroup "$(id -un)" "$(id -gn)")"
check "other group" 1 "$(status misc/t-getgroup nobody daemon)"
check "no such group" 67 "$(status misc/t-getgroup nobody no_such_group_here)"
check "no such user" 67 "$(status misc/t-getgroup no_such_user_here daemon)"

# t-hostname: the verdict depends on the host, that there is one does not
case $(status misc/t-hostname) in
0 | 1) ;;
*) check "t-hostname" "0 or 1" "$(status misc/t-hostname)" ;;
esac
check "t-hostname prints" 1 "$(misc/t-hostname 2>/dev/null | wc -l)"

# runas
check "runas usage" 64 "$(status misc/runas nobody)"
if [ "$me" = 0 ]; then
	check "runas uid" "$(id -u nobody)" "$(misc/runas nobody id -u)"
	check "runas groups" "$(id -G nobody)" "$(misc/runas nobody id -G)"
	check "runas -g" "$(getent group daemon | cut -d: -f3)" "$(misc/runas -g daemon nobody id -g)"
	check "runas keeps umask" 0031 "$(umask 031 && misc/runas nobody sh -c umask)"
	check "runas capabilities" 0 "$(misc/runas nobody grep -c '^Cap...:.*[1-9a-f]' /proc/self/status)"
	check "runas root" 126 "$(status misc/runas root true)"
	check "runas nobody there" 67 "$(status misc/runas no_such_user_here true)"
	check "runas status" 3 "$(status misc/runas nobody sh -c 'exit 3')"
	check "runas not found" 127 "$(status misc/runas nobody /no/such/program)"
	check "runas options of the command" "-x" "$(misc/runas nobody echo -x)"
else
	check "runas refuses" 126 "$(status misc/runas nobody true)"
fi

# The systemd unit: not weaker than it was. What is left of the exposure is what mcp is for: root, users, the network.
if systemd-analyze security --offline=true --threshold=100 misc/smx.service >/dev/null 2>&1; then
	check "exposure of the unit" 0 "$(status systemd-analyze security --offline=true --threshold=27 --no-pager misc/smx.service)"
fi
# log2time
line='1795217632.123 INFO ss.mail mail=<1795217632.123@b>'
check "log2time" '2026-11-20 23:33:52.123 INFO ss.mail mail=<1795217632.123@b>' "$(echo "$line" | sh "${srcdir:-.}/misc/log2time" -u)"
for same in '{"time":"2026-11-20T23:33:52.123Z","sev":"INFO"}' 'Nov 20 23:33:52 mx smtps[7]: INFO a.b' '1795217632 no' ''; do
	check "log2time leaves" "$same" "$(echo "$same" | sh "${srcdir:-.}/misc/log2time" -u)"
done
check "log2time usage" 64 "$(status sh "${srcdir:-.}/misc/log2time" -x)"

exit $failed
