"""What makes a function a verb: its options, and its help with examples."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from dataver.cli.session import Function, Session, global_options, keep


class Verb(click.Command):
    """A command whose help ends with the shape of its JSON document and with examples."""

    examples: tuple[str, ...] = ()
    document: str | None = None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, observed where the environment asks for it."""
        session = ctx.find_object(Session)
        if session is not None and os.environ.get("DATAVER_TELEMETRY"):
            from dataver.cli.observing import begin

            session.at_end = begin(ctx.command_path.partition(" ")[2])
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Print the document and the examples as they stand, unwrapped."""
        if self.document:
            with formatter.section("With --json"):
                for line in self.document.split("\n"):
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


CHANGES_DOCUMENT = '{"added": [path…], "modified": [path…], "deleted": [path…], "renamed": [[old, new]…]}'


def verb(
    name: str, *examples: str, reads: bool = False, document: str | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function the verb `name`; it gets the `Session` first, then its own parameters.

    `reads` adds `--at`. `document`, the shape of its JSON document, adds `--json`. Both options end
    in the session.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        function = global_options(hidden=True)(function)
        if document:
            function = json_option(function)
        if reads:
            function = at_option(function)
        command = click.command(name, cls=Verb)(click.pass_obj(function))
        command.examples = examples
        command.document = document
        # The verb's own options first, then those that all verbs share.
        command.params.sort(key=lambda parameter: parameter.callback is keep)
        return command

    return decorate


def json_option(function: Function) -> Function:
    """`--json`, kept in the session."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=keep,
        help="Print one JSON document and nothing else.",
    )(function)


def at_option(function: Function) -> Function:
    """`--at`, kept in the session."""
    return click.option(
        "--at",
        metavar="TIME|ENTRY",
        expose_value=False,
        callback=keep,
        help="Resolve names as the log had them at this time (RFC 3339) or entry (a number).",
    )(function)


jobs_option = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many threads work at once; default: one a processor, 16 at most.",
)
include_option = click.option(
    "--include",
    metavar="GLOB",
    multiple=True,
    help="Only files that match; repeatable. `**` crosses folders, a GLOB without `/` fits at any depth.",
)
exclude_option = click.option(
    "--exclude", metavar="GLOB", multiple=True, help="No files that match; repeatable."
)
message_option = click.option(
    "--message", "-m", metavar="MSG", default="", help="Why, for those who come later."
)
author_option = click.option(
    "--author", metavar="NAME", help="Who; default: DATAVER_AUTHOR, git's user, user@host."
)
