"""``evoke completion``: the scripts that make a shell ask ``evoke __complete``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import Session, command_line, new_app

app = new_app()


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {
    Shell.bash: """\
_evoke() {
    local IFS=$'\\n'
    COMPREPLY=($(evoke __complete "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _evoke evoke""",
    Shell.zsh: """\
#compdef evoke
_evoke() {
    local -a found
    found=("${(@f)$(evoke __complete "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _evoke evoke""",
    Shell.fish: """\
function __evoke
    set -l words (commandline -opc) (commandline -ct)
    evoke __complete $words[2..-1] 2>/dev/null
end
complete -c evoke -a '(__evoke)'""",
}


@command_line(app, example="source <(evoke completion bash)")
def completion(session: Session, shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print the completion script of a shell; source it from the shell's start-up file."""
    session.out.show({"script": SCRIPTS[shell]}, SCRIPTS[shell])
