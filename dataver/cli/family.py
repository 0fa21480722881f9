"""A verb of several kinds, each a verb of its own: `dataver export croissant`, `dataver import dvc`."""

from __future__ import annotations

import importlib

import click

from dataver.cli.options import Verb

__all__ = ["Family", "family"]


class Family(click.Group):
    """The group of a verb's kinds: loads each when it is called.

    The module of a kind is `dataver.cli.<verb>_<kind>`, with `_` for `-`; its object is `command`, made by
    `verb("<kind>", …)`.
    """

    kinds: dict[str, str]
    examples: tuple[str, ...] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - what click passes
        """Every kind, in the order of the table."""
        return list(self.kinds)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Verb | None:  # noqa: ARG002
        """Import the module of a kind; None for what is none."""
        if cmd_name not in self.kinds:
            return None
        module = f"{self.name}_{cmd_name}".replace("-", "_")
        command = importlib.import_module(f"dataver.cli.{module}").command
        assert isinstance(command, Verb)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the kinds from the table, so that no kind's module is loaded for it."""
        with formatter.section("Kinds"):
            formatter.write_dl(list(self.kinds.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Print the examples as they stand."""
        with formatter.section("Example" if len(self.examples) == 1 else "Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def family(name: str, help: str, kinds: dict[str, str], *examples: str) -> Family:  # noqa: A002
    """The verb `name`, of these kinds and their lines of help."""
    group = Family(name, help=help, subcommand_metavar="KIND ...", no_args_is_help=True)
    group.kinds = kinds
    group.examples = examples
    return group
