#compdef sb
# Completions of sb for zsh: what can follow is asked of sb itself.
_sb() {
    local -a found
    local value meaning
    while IFS=$'\t' read -r value meaning; do
        found+=("${value//:/\\:}${meaning:+:$meaning}")
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe -V 'sb' found
    else
        _files
    fi
}
if [[ $funcstack[1] == _sb ]]; then
    _sb "$@"
else
    compdef _sb sb
fi
