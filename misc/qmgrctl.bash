# bash completion for qmgrctl(8) and mailq(1): verbs, options, conditions. Ids and destinations are asked of qmgr when it answers soon.

_qmgrctl_conditions='sender= rcpt= domain= host= dest= reason= state= age> age< size> size< tries>= tries= next< id='

_qmgrctl_options() { # verb
	case $1 in
	list) echo '--limit --after' ;;
	users) echo '--limit' ;;
	summary) echo '--by --limit' ;;
	flush) echo '--dry-run' ;;
	hold | release | remove | bounce | requeue) echo '--reason --dry-run' ;;
	suspend | stop) echo '--for --reason' ;;
	transcript) echo '--for' ;;
	esac
	echo '--json --socket --help'
}

_qmgrctl_domains() {
	timeout 1 "$1" summary --by domain --limit 50 2>/dev/null | awk 'NR > 1 && $NF != "all" && NF == 7 { print $NF }'
}

_qmgrctl_words() { # program verb
	case $2 in
	list | summary) echo "$_qmgrctl_conditions" ;;
	hold | release | remove | bounce | requeue) echo "$_qmgrctl_conditions all" ;;
	flush) echo "$_qmgrctl_conditions"; _qmgrctl_domains "$1" ;;
	run) echo all; _qmgrctl_domains "$1" ;;
	why | dest | suspend) _qmgrctl_domains "$1" ;;
	resume) timeout 1 "$1" status 2>/dev/null | sed -n 's/^suspended: \([^,]*\),.*/\1/p' ;;
	stop | start) echo 'accepting delivering' ;;
	forget) echo all ;;
	orphans) echo release ;;
	transcript) echo "on off list all $_qmgrctl_conditions" ;;
	users) echo forget ;;
	help) echo "$_qmgrctl_verbs" ;;
	esac
}

_qmgrctl_verbs='status list summary show why dest flush run hold release remove bounce requeue suspend resume stop start reload loglevel forget orphans transcript users'

_qmgrctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' i words
	# "=", "<" and ">" are words of their own to readline
	if [[ $cur == '=' ]]; then cur=''; fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) ((i++)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $prev in
	--by | -b) words='domain host reason sender age state' ;;
	-s | --socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--limit | --after | --for | --reason) return ;;
	*)
		if [[ -z $verb ]]; then
			words="$_qmgrctl_verbs help --json --socket --help"
		elif [[ $cur == -* ]]; then
			words=$(_qmgrctl_options "$verb")
		else
			words=$(_qmgrctl_words "${COMP_WORDS[0]}" "$verb")
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	# a condition goes on behind its operator
	[[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[=\<\>] ]] || compopt -o nospace 2>/dev/null
}
complete -F _qmgrctl qmgrctl qmgrctl.sh
