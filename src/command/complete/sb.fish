# Completions of sb for fish: what can follow is asked of sb itself.
function __sb_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete -- $words[2..] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path "$current"
    end
end
complete -c sb -f -a '(__sb_complete)'
