/** The scripts that shells load. They only pass on what is typed; `rbdferry __complete` does the work. */

const bash = `# bash completion for rbdferry: source <(rbdferry completion bash)
_rbdferry() {
    local reply
    COMPREPLY=()
    while IFS= read -r reply; do
        if [[ $reply == :files ]]; then
            compopt -o default
            return
        fi
        COMPREPLY+=("$reply")
    done < <("$1" __complete --shell bash --line "\${COMP_LINE:0:COMP_POINT}" --breaks "$COMP_WORDBREAKS" 2>/dev/null)
}
complete -F _rbdferry rbdferry
`;

const zsh = `#compdef rbdferry
# zsh completion for rbdferry: source <(rbdferry completion zsh), or put this into a file _rbdferry in $fpath
_rbdferry() {
    local line
    local -a values shown
    for line in "\${(@f)$("\${(Q)words[1]}" __complete --shell zsh -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null)}"; do
        [[ $line == :files ]] && { _files; return }
        [[ -n $line ]] || continue
        values+=("\${line%%$'\\t'*}")
        shown+=("\${line/$'\\t'/  -- }")
    done
    (( $#values )) && compadd -l -d shown -a values
}
if [[ $funcstack[1] == _rbdferry ]]; then
    _rbdferry "$@"
else
    compdef _rbdferry rbdferry
fi
`;

const fish = `# fish completion for rbdferry: rbdferry completion fish | source
function __rbdferry_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l command $words[1]
    set -e words[1]
    set -l replies ($command __complete --shell fish -- $words "$current" 2>/dev/null)
    if test "$replies[1]" = :files
        __fish_complete_path "$current"
    else
        printf '%s\\n' $replies
    end
end
complete -c rbdferry -f -a '(__rbdferry_complete)'
`;

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

const scripts: Record<Shell, string> = { bash, zsh, fish };

export const completionScript = (shell: Shell): string => scripts[shell];
