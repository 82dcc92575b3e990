# Completions of sb for bash: what can follow is asked of sb itself.
_sb() {
    local line=${COMP_LINE:0:COMP_POINT} words current known value
    # As bash splits at `=`, `:` and `@`, too, the words are taken from the line.
    read -ra words <<< "$line"
    current=
    if [[ $line != *[[:space:]] ]]; then
        current=${words[${#words[@]} - 1]}
    else
        words+=("")
    fi
    # Bash replaces only what follows the last of those characters.
    known=${current%"${current##*[=:@]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        COMPREPLY+=("${value#"$known"}")
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    # A name with `=` at its end goes on.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _sb sb
