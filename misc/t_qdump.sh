#!/bin/sh
# Tests qdump, run in the build directory by `make check`: what was written is printed, damage is found, a log in use is refused.
. "${srcdir:-.}/misc/t_common.sh"
count() { # pattern: how often it is in $dir/out
	grep -c -e "$1" "$dir/out"
}

q=$dir/ibdb
mkdir "$q"
misc/t_qdump_write "$q" 3 </dev/null >"$dir/ready" || failed=1
check "written" ready "$(cat "$dir/ready")"
./qdump "$q" >"$dir/out"
check "status" 0 $?
check "records" 3 "$(count '^[0-9]* 0000000[1-9]:[0-9]*+[0-9]* id_block first=')"
check "undecodable" 0 "$(count UNDECODABLE)"
check "who wrote it" 1 "$(count '^# 00000001 format=3 table=[0-9]* hash=[0-9a-f]\{16\} build="smx [^"]*" created=2')"
check "closed" 1 "$(count ' closed$')"
check "summary" 1 "$(count 'undecodable=0 damaged=0 lost=0 missing=0 torn=0$')"
id=$(sed -n 's/^[0-9]* [^ ]* end ta=\(S[0-9A-F]*\).*/\1/p' "$dir/out" | head -1)
all=$(count '^[0-9]')
./qdump -i "$id" "$q" >"$dir/out"
check "of one transaction" 0 "$(count id_block)"
check "of that" 0 "$(status test "$(count "ta=$id")" -gt 0)"
check "of no other" "$(count '^[0-9]')" "$(count "ta=$id")"
./qdump -r "$q" >"$dir/out"
check "raw" "$all" "$(count ' [0-9]* bytes ')"
./qdump -s "$q" >"$dir/out"
check "only segments" 0 "$(count '^[0-9]')"
check "verify" 0 "$(status ./qdump -v "$q")"
check "other name" 0 "$(status ./qdump -n defedb "$q")"
check "no directory" 65 "$(status ./qdump "$q/none")"
check "usage" 64 "$(status ./qdump)"
check "bad id" 64 "$(status ./qdump -i X "$q")"
check "nothing was made" 0 "$(find "$dir" -name 'defedb*' -o -name 'quarantine*' | wc -l)"

# The checksum of the first batch with records; the end behind it tells that it is no torn tail.
printf '\377\377\377\377' | dd of="$q/ibdb.00000001" bs=1 seek=552 conv=notrunc 2>/dev/null
check "damage" 1 "$(status ./qdump -v "$q")"
./qdump -v "$q" >"$dir/out"
check "damage named" 1 "$(count '^# 00000001 DAMAGED offset=512 ')"

# What a later release might have written.
rm -rf "$q" && mkdir "$q"
misc/t_qdump_write "$q" 1 bad </dev/null >/dev/null || failed=1
check "undecodable fails" 1 "$(status ./qdump -v "$q")"
./qdump "$q" >"$dir/out"
check "undecodable shown" 1 "$(count ' end 12 bytes .* UNDECODABLE$')"

# A later release: refused, and nothing is changed.
rm -rf "$q" && mkdir "$q" "$dir/defedb"
misc/t_qdump_write "$q" 1 later </dev/null >/dev/null || failed=1
sum=$(cat "$q"/* | cksum)
check "a later one" 78 "$(status ./qdump "$q")"
check "a later one, verified" 78 "$(status ./qdump -v "$q")"
./qdump "$q" 2>"$dir/out"
check "its file, table and release" 1 "$(count "$q/ibdb.00000001: written in log format 3 with record table [0-9]* (feedfacecafebeef) by smx 9.1.4; this")"
check "in metaqueue" 78 "$(status misc/metaqueue -f -i "$q" -D "$dir/defedb")"
check "untouched" "$sum" "$(cat "$q"/* | cksum)"
rm -rf "$q" && mkdir "$q"

# In use.
mkfifo "$dir/hold"
misc/t_qdump_write "$q" 0 <"$dir/hold" >"$dir/held" &
writer=$!
exec 3>"$dir/hold"
tries=0
until [ -s "$dir/held" ] || [ $tries -gt 300 ]; do
	sleep 0.1
	tries=$((tries + 1))
done
check "in use" 75 "$(status ./qdump "$q")"
exec 3>&-
wait $writer
check "free again" 0 "$(status ./qdump "$q")"
exit $failed
