"""Shell completion: which datasets and refs fit, and how each shell asks and is answered.

Completion never prints an error and never fails: where the repository cannot be read, there is
nothing to offer.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from dataver.cli.session import Session

if TYPE_CHECKING:
    from dataver.repository import Repository

# Bash breaks words at `@`, `=` and `:` where COMP_WORDBREAKS says so, and replaces only what stands
# after the last break (`@` itself, a mark of hostnames, is replaced too). So the line is split on
# our side, and the answer leaves out what stands before.
BASH_SCRIPT = """\
%(complete_func)s() {
    local IFS=$'\\n' kind value
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Bash, whose word breaks lie inside our refs."""

    source_template = BASH_SCRIPT

    @staticmethod
    def _check_version() -> None:
        """The script is printed for whatever bash will read it; that need not be one on this machine."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words of the line up to the cursor, the last of them unfinished."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def complete(self) -> str:
        """The answers, without the part of the word that bash leaves standing."""
        arguments, incomplete = self.get_completion_args()
        items = self.get_completions(arguments, incomplete)
        if incomplete.startswith("--"):
            # Of `--option=value` click offers the value alone.
            incomplete = incomplete.partition("=")[2]
        breaks = os.environ.get("COMP_BREAKS", "")
        standing = max([0, *(incomplete.rfind(mark) + (mark != "@") for mark in breaks)])
        return "\n".join(f"{item.type},{str(item.value)[standing:]}" for item in items)


SHELLS: dict[str, type[ShellComplete]] = {"bash": Bash, "zsh": ZshComplete, "fish": FishComplete}


def script(shell: str, program: str, variable: str) -> str:
    """The script that a shell reads to complete this program."""
    return SHELLS[shell](click.Command(program), {}, program, variable).source()


def answer(root: click.Command, program: str, variable: str, instruction: str) -> int:
    """Answer a shell's question (`bash_complete`) on standard output; 0, or 1 for what is no question."""
    shell, _, action = instruction.partition("_")
    if shell not in SHELLS or action not in {"complete", "source"}:
        return 1
    completer = SHELLS[shell](root, {}, program, variable)
    with contextlib.suppress(Exception):  # A traceback in the middle of a command line helps nobody.
        text = completer.source() if action == "source" else completer.complete()
        if text:
            click.echo(text.encode("utf-8", "surrogateescape"))
    return 0


def datasets(ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
    """The datasets whose names start with `incomplete`."""
    with contextlib.suppress(Exception):  # Nothing to offer, whatever the reason.
        return [
            CompletionItem(info.name) for info in opened(ctx).datasets() if info.name.startswith(incomplete)
        ]
    return []


def refs(ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
    """The refs that start with `incomplete`: names after the `@`, before it datasets."""
    dataset, separator, selector = incomplete.partition("@")
    if not separator:
        return datasets(ctx, incomplete)
    with contextlib.suppress(Exception):  # Nothing to offer, whatever the reason.
        repository = opened(ctx)
        names = [(name.name, name.kind) for name in repository.refs(dataset)]
        head = next((info.head for info in repository.datasets() if info.name == dataset), None)
        if head:
            names += [("latest", "the head of main"), (head, "the head of main")]
        return [
            CompletionItem(f"{dataset}@{name}", help=kind)
            for name, kind in sorted(names)
            if name.startswith(selector)
        ]
    return []


def opened(ctx: click.Context) -> Repository:
    """The repository that the unfinished command line means: of `pull` the one that is pulled from."""
    session = ctx.find_object(Session)
    source = ctx.params.get("source") if ctx.info_name == "pull" else None
    if source:
        return Session(repo=source).open()
    return (session or Session()).open()
