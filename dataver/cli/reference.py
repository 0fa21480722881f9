"""The page `docs/reference/cli.md`, made from the code: `python -m dataver.cli.reference` prints it.

A test compares the file with what this prints.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import click

from dataver import errors
from dataver.cli import PROGRAM, VERBS, faults, main
from dataver.cli.family import Family

# The help is as wide as the page, whatever the terminal.
WIDTH = 98

INTRODUCTION = """\
# The command line

<!-- Made from the code by `python -m dataver.cli.reference > docs/reference/cli.md`: change it there. -->

`dataver [OPTIONS] VERB …`; the options of the program stand before the verb, and are understood after
it too. What is made for people goes to standard output, progress and warnings to standard error; progress
shows on a terminal only, unless `--progress` says otherwise. Colour goes to terminals only, and nowhere where
`NO_COLOR` is set or `TERM` is `dumb`.

With `--json` a verb prints one JSON document on standard output and nothing else there. Digests and ids are
64 lower-case hex digits. More fields may come, none goes.

An error is one paragraph on standard error; with `--json` it is
`{"error": {"code": exit code, "message": text}}`. A traceback shows only with `--debug`.
"""


def reference() -> str:
    """The whole page."""
    context = click.Context(main, info_name=PROGRAM, terminal_width=WIDTH, **main.context_settings)
    parts = [INTRODUCTION, exit_codes(), "## The program\n", fenced(main.get_help(context)), "## Verbs\n"]
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        verb_context = click.Context(command, context, verb, terminal_width=WIDTH)
        parts += [f"### {verb}\n", fenced(command.get_help(verb_context))]
        if isinstance(command, Family):
            parts += kinds(command, verb_context)
    return "\n".join(parts).rstrip("\n") + "\n"


def kinds(family: Family, context: click.Context) -> list[str]:
    """The kinds of a verb."""
    parts = []
    for kind in family.list_commands(context):
        command = family.get_command(context, kind)
        assert command is not None
        kind_context = click.Context(command, context, kind, terminal_width=WIDTH)
        parts += [f"#### {family.name} {kind}\n", fenced(command.get_help(kind_context))]
    return parts


def exit_codes() -> str:
    """The table of exit codes, each with the errors of Python that end with it."""
    classes = defaultdict(list)
    for name in errors.__all__:
        classes[getattr(errors, name).exit_code].append(f"`{name}`")
    rows = [
        f"| {code} | {meaning} | {', '.join(classes[code])} |" for code, meaning in faults.EXIT_CODES.items()
    ]
    table = ["| code | means | errors of `dataver.errors` |", "|---|---|---|", *rows]
    return "## Exit codes\n\n" + "\n".join(table) + "\n"


def fenced(text: str) -> str:
    """A block of text as it stands."""
    return f"```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(reference())
