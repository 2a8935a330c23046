# bash completion for createmap(1)
_createmap() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	case $prev in
	-t) COMPREPLY=($(compgen -W "$(createmap -l 2>/dev/null)" -- "$cur")) ;;
	-k) COMPREPLY=($(compgen -W 'access aliases mailertable plain' -- "$cur")) ;;
	*)
		if [[ $cur == -* ]]; then
			COMPREPLY=($(compgen -W '-d -e -f -k -l -n -o -r -t -u -v' -- "$cur"))
		else
			COMPREPLY=($(compgen -f -- "$cur"))
		fi
		;;
	esac
}
complete -o filenames -F _createmap createmap
