"""Types of arguments that complete themselves in a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class DatasetType(click.ParamType[str]):
    """A dataset; completes to the datasets of the repository."""

    name = "dataset"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        """The datasets that start so; none where the repository cannot be read."""
        from dataver.cli import complete

        return complete.datasets(ctx, incomplete)


class RefType(click.ParamType[str]):
    """A ref; completes to datasets, and after the `@` to their branches, tags, aliases and versions."""

    name = "ref"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        """The refs that start so; none where the repository cannot be read."""
        from dataver.cli import complete

        return complete.refs(ctx, incomplete)


class PlaceType(click.Path):
    """A path on this machine, or a URL; the shell completes it as a file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse no text at all: an unset variable of a script must not mean the current folder."""
        if value == "":
            self.fail("it is empty; the current folder is '.'", param, ctx)
        return super().convert(value, param, ctx)


DATASET = DatasetType()
REF = RefType()
PLACE = PlaceType(path_type=str)
