# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of idc in bash. `idc complete` knows what a word may become, and says nothing if it
# does not know. It ends within a second.

_idc() {
    local words cword cur kind line
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n ":=" words cword cur
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
    fi
    COMPREPLY=()
    {
        IFS= read -r kind || return 0
        case $kind in
        files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        programs) mapfile -t COMPREPLY < <(compgen -c -- "$cur") ;;
        parts) compopt -o nospace ;;
        esac
        while IFS= read -r line; do
            printf -v line %q "${line%%$'\t'*}"
            COMPREPLY+=("$line")
        done
    } < <("${words[0]}" complete -- "${words[@]:1:cword}" 2>/dev/null)
    # Bash replaces only what stands behind the last colon.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    fi
} && complete -F _idc idc
