# What sm_log calls in C sources say: "event NAME", "key NAME" and "directive D", one a line.
function call(text,    out, i, c, depth, lit, in_lit) { # the arguments, from behind the parenthesis
	depth = 1
	for (i = 1; i <= length(text) && depth > 0; i++) {
		c = substr(text, i, 1)
		if (in_lit) {
			if (c == "\\") {
				i++
			} else if (c == "\"") {
				literal(lit)
				in_lit = 0
			} else {
				lit = lit c
			}
		} else if (c == "\"") {
			in_lit = 1
			lit = ""
		} else if (c == "(") {
			depth++
		} else if (c == ")") {
			depth--
		}
	}
}
function literal(lit,    n, i, word) {
	if (lit ~ /^[a-z]+\.[a-z_0-9]+$/) {
		print "event " lit
		return
	}
	if (lit !~ /=/)
		return
	n = split(lit, word, /[ ,]+/)
	for (i = 1; i <= n; i++) {
		if (word[i] ~ /^[a-z_0-9]+=/)
			print "key " substr(word[i], 1, index(word[i], "=") - 1)
		while (match(word[i], /%\??[lz]*[^lz?]/)) {
			print "directive " substr(word[i], RSTART + RLENGTH - 1, 1)
			word[i] = substr(word[i], RSTART + RLENGTH)
		}
	}
}
FNR == 1 { done() }
{ text = text $0 "\n" }
END { done() }
function done(    rest) {
	gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", text)
	rest = text
	while (match(rest, /(sm_log|gather_event)\(/)) {
		rest = substr(rest, RSTART + RLENGTH)
		call(rest)
	}
	rest = text
	# names that are chosen from a table
	while (match(rest, /"(ss|qm|sc|ar|mc)\.[a-z_0-9]+"/)) {
		print "event " substr(rest, RSTART + 1, RLENGTH - 2)
		rest = substr(rest, RSTART + RLENGTH)
	}
	text = ""
}
