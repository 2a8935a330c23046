# bash completion for smarctl(8): verbs, options, maps. Maps are asked of smar when it answers soon.

_smarctl_options() { # verb
	case $1 in
	route) echo '--from' ;;
	check) echo '--client --client-name --helo --auth --from --to --listener --flags --conf' ;;
	lookup) echo '--as --tag' ;;
	esac
	echo '--json --socket --help'
}

_smarctl_words() { # program verb
	case $2 in
	lookup) echo 'access_map aliases local_user_map mailertable'; timeout 1 "$1" status 2>/dev/null | sed -n 's/^map \([^ ]*\) .*/\1/p' ;;
	dns) echo 'MX A AAAA PTR' ;;
	esac
}

_smarctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' i words
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) ((i++)) ;;
		-*) ;;
		*) verb=${COMP_WORDS[i]}; break ;;
		esac
	done
	case $prev in
	--as) words='domain ip address word' ;;
	--tag) words='from: to: cltaddr: cltname: cltresolve: mxbadip: protectedrcpt: certissuer: certsubject:' ;;
	--flags) words='access delay_checks greylisting' ;;
	-s | --socket | --conf) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--client | --client-name | --helo | --auth | --from | --to | --listener) return ;;
	*)
		if [[ -z $verb ]]; then
			words='route check lookup cert dns status reload help --json --socket --help'
		elif [[ $cur == -* ]]; then
			words=$(_smarctl_options "$verb")
		else
			words=$(_smarctl_words "${COMP_WORDS[0]}" "$verb")
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _smarctl smarctl
