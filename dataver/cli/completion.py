"""`dataver completion`: the script that makes a shell complete verbs, datasets and refs."""

from __future__ import annotations

import os

import click

from dataver.cli.options import verb
from dataver.cli.session import Session

SHELL_NAMES = ("bash", "zsh", "fish")

DOCUMENT = '{"shell", "script"}'


@verb(
    "completion",
    'eval "$(dataver completion bash)"                     # in ~/.bashrc',
    'eval "$(dataver completion zsh)"                      # in ~/.zshrc, after compinit',
    "dataver completion fish > ~/.config/fish/completions/dataver.fish",
    document=DOCUMENT,
)
@click.argument("shell", required=False, metavar="[SHELL]", type=click.Choice(SHELL_NAMES))
def command(session: Session, shell: str | None) -> None:
    """Print the completion script of a shell.

    SHELL is bash, zsh or fish; left out, it is the one that $SHELL names. Verbs, options, datasets
    and refs are completed then.
    """
    from dataver.cli import complete
    from dataver.cli.root import COMPLETE_VARIABLE, PROGRAM

    if shell is None:
        shell = os.path.basename(os.environ.get("SHELL", ""))
        if shell not in SHELL_NAMES:
            raise click.UsageError("Missing argument 'SHELL', and $SHELL names none of bash, zsh and fish.")
    text = complete.script(shell, PROGRAM, COMPLETE_VARIABLE)
    session.answer(lambda: {"shell": shell, "script": text}, lambda: [text.rstrip("\n")])
