#!/bin/sh
# Tests of createmap, run in the build directory by `make check`.
. "${srcdir:-.}/misc/t_common.sh"

cm=$PWD/createmap
cd "$dir" || exit 1
tab=$(printf '\t')

# Each format, by its name and by that of the file: what goes in comes out.
printf '# users\nAnn: local:\nlist: <a@b>\n\t<c@d>\r\nto:@Dom.Example relay\n. esmtp:[127.0.0.1]\n' >users
cat >want <<END
.${tab}esmtp:[127.0.0.1]
ann${tab}local:
list${tab}<a@b> <c@d>
to:@dom.example${tab}relay
END
for type in hash btree lmdb cdb; do
	check "$type" 0 "$(status "$cm" -t $type users.$type users)"
	"$cm" -d users.$type | sort >got
	check "$type: dump" "" "$(LC_ALL=C sort got | diff want -)"
	check "$type: mode" "644" "$(stat -c %a users.$type)"
	check "$type: count" "createmap: users.$type: 4 entries" "$("$cm" -v -t $type users.$type users 2>&1)"
	check "$type: stdin" 0 "$("$cm" -t $type stdin.$type <users; echo $?)"
	check "$type: same" "" "$("$cm" -d stdin.$type | sort | diff got -)"
	: >none
	check "$type: empty" "0" "$("$cm" -t $type empty.$type none && "$cm" -d empty.$type | wc -l)"
	# Adding and replacing.
	printf 'ann: else\nbob: new\n' >more
	check "$type: -o" "createmap: more:1: \"ann\" is in the map already 65" \
		"$("$cm" -o -t $type users.$type more 2>&1) $(status "$cm" -o -t $type users.$type more)"
	check "$type: not changed" "" "$("$cm" -d users.$type | sort | diff got -)"
	check "$type: -or" "createmap: users.$type: 2 entries read, 4 were there" "$("$cm" -vor -t $type users.$type more 2>&1)"
	check "$type: replaced" "ann${tab}else" "$("$cm" -d users.$type | grep ann)"
	check "$type: added" "5" "$("$cm" -d users.$type | wc -l)"
	printf 'x 1\ny 2\nx 3\n' >twice
	check "$type: -r" "x${tab}3y${tab}2" "$("$cm" -r -t $type twice.$type twice && "$cm" -d twice.$type | sort | tr -d '\n')"
done
for type in db mdb lmdb cdb; do
	check "by name: $type" 0 "$(status "$cm" name.$type users)"
done
check "hash by name" "" "$("$cm" -d -t hash name.db | sort | diff got -)"
check "lmdb by name" 66 "$(status "$cm" -d -t hash name.lmdb)"
check "lmdb by name, said" "createmap: name.mdb: is of type lmdb" "$("$cm" -d -t cdb name.mdb 2>&1)"

# Keys that nobody writes, values that look like something else: there and back, in each format.
cat >hostile <<'END'
"# no comment" :colon
"tab\x09and blank" : : two
" blank " "quoted"
"a:" #
":" ::
"\"quoted\"@dom" a:
"back\\slash" \x41
"UPPER" lower
"new\x0aline\x0d\x00nul\x7f" x
back\slash2 y
"half@dom z
to:"john smith"@dom ok
END
sed -i '/^"half/d' hostile
for type in hash btree lmdb cdb; do
	check "$type: hostile" 0 "$(status "$cm" -f -t $type hostile.$type hostile)"
	"$cm" -d hostile.$type >back1
	check "$type: all" 11 "$(wc -l <back1)"
	check "$type: back" 0 "$("$cm" -f -t $type hostile2.$type <back1; echo $?)"
	check "$type: the same" "" "$("$cm" -d hostile2.$type | diff back1 -)"
	check "$type: a key" "\"new\\x0aline\\x0d\\x00nul\\x7f\"${tab}x" "$(grep '^"new' back1)"
	LC_ALL=C sort back1 >back.$type
	check "$type: as the others" "" "$(diff back.hash back.$type)"
done

# Errors: all of them, with lines; the old map stays, and nothing is left lying about.
printf 'a b\nnothing\nA c\nok fine\n"open\n' >bad
for type in hash btree lmdb cdb; do
	cp users.$type before
	check "$type: errors" 65 "$(status "$cm" -t $type users.$type bad)"
	check "$type: kept" "" "$(cmp before users.$type)"
done
check "what is said" "createmap: bad:2: nothing behind \"nothing\"
createmap: bad:3: \"a\" is in line 1 already
createmap: bad:5: a double quote is not closed" "$("$cm" users.hash bad 2>&1)"
check "-n says the same" "createmap: bad:2: nothing behind \"nothing\"" "$("$cm" -n users.hash bad 2>&1 | head -1)"
check "-n makes nothing" "no 0" "$(s=$(status "$cm" -n new.db users); test -e new.db && echo yes $s || echo no $s)"
check "-n, wrong" 65 "$(status "$cm" -n new.db bad)"
check "-e" 0 "$(printf 'a\nb:\n' | "$cm" -e e.db; echo $?)"
check "-e, back" "a${tab}b${tab}" "$("$cm" -d e.db | sort | tr -d '\n')"
i=0
while [ $i -lt 30 ]; do echo "alone$i"; i=$((i + 1)); done >many
check "many errors" "21 createmap: many: 10 more errors" "$("$cm" -n x.db many 2>&1 | wc -l) $("$cm" -n x.db many 2>&1 | tail -1)"
key=$(printf '%0512d' 0)
check "long key, lmdb" "createmap: stdin:1: the key is longer than 511 bytes, which lmdb cannot have" \
	"$(echo "$key v" | "$cm" long.mdb 2>&1)"
check "long key" 0 "$(echo "$key v" | "$cm" long.cdb; echo $?)"
check "no temporary files" "" "$(ls -A | grep '^\.')"

# Files.
check "no source" 66 "$(status "$cm" x.db /nowhere/x)"
check "no directory" 73 "$(status "$cm" /nowhere/x.db users)"
check "no map to dump" 66 "$(status "$cm" -d nothere.db)"
check "a text is no map" "createmap: users: is no map" "$("$cm" -d users 2>&1)"
cp users copy
check "not over the source" 73 "$("$cm" copy <copy 2>/dev/null; echo $?)"
check "source is there" "" "$(cmp users copy)"
check "a directory" 73 "$(status "$cm" . users)"
chmod 640 users.cdb
check "mode kept" "640" "$("$cm" users.cdb users; stat -c %a users.cdb)"
ln -s users.cdb link.cdb
check "a link stays" "users.cdb" "$("$cm" link.cdb users; readlink link.cdb)"
if [ "$(id -u)" = 0 ]; then
	chown daemon:mail users.cdb
	check "owner kept" "daemon:mail 640" "$("$cm" users.cdb users; stat -c '%U:%G %a' users.cdb)"
fi
head -c 3000 /dev/zero >zero.cdb
check "zeros are no map" 66 "$(status "$cm" -d zero.cdb)"
head -c 2100 users.cdb >cut.cdb
check "a piece is no map" 66 "$(status "$cm" -d cut.cdb)"

# As makemap has it: never over the text that has the same name.
check "makemap" 0 "$("$cm" hash users <users; echo $?)"
check "makemap: map" "" "$("$cm" -d users.db | sort | diff got -)"
check "makemap: text" "" "$(cmp users copy)"
check "makemap: dump" "" "$("$cm" -u hash users | sort | diff got -)"

# What smar would not understand.
printf 'to:a@b relay\nto:c@d rely\nfrom:@e error:550 5.7.1 go\n' >access
check "-k access" 65 "$(status "$cm" -k access access.db access)"
check "-k access, where" "createmap: access:2:" "$("$cm" -n -k access access.db access 2>&1 | cut -d' ' -f1,2)"
check "-k plain" 0 "$(status "$cm" -k plain access.db access)"
printf 'list: <a@b> <c@d>\nuser: local:\nbad: <a@b>, <c@d>\n' >aliases
check "-k aliases" "createmap: aliases:3:" "$("$cm" -n -k aliases aliases.db aliases 2>&1 | cut -d' ' -f1,2)"
printf 'a.example lmtp:\nb.example esmpt:[127.0.0.1]\n. 99999^esmtp:host\n' >mt
check "-k mailertable" "createmap: mt:2:
createmap: mt:3:" "$("$cm" -n -k mailertable mt.db mt 2>&1 | cut -d' ' -f1,2)"

check "usage" 64 "$(status "$cm")"
check "usage: kind" 64 "$(status "$cm" -k what x.db users)"
check "usage: type" 64 "$(status "$cm" -t what x.db users)"
check "usage: words" 64 "$(status "$cm" x.db users more)"
check "-l" "hash btree lmdb cdb" "$("$cm" -l | tr '\n' ' ' | sed 's/ $//')"

exit $failed
