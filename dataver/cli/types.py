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


class DurationType(click.ParamType[float]):
    """A span of time in seconds: a number with `s`, `m`, `h`, `d` or `w`; 0 needs no unit."""

    name = "duration"
    _SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}  # noqa: RUF012 - a constant

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
        if not number.isascii() or not number.isdigit() or len(number) > 9 or (not unit and int(number)):
            self.fail(f"{text!r} is no duration: write 90m, 12h, 7d or 2w.", param, ctx)
        if unit and unit not in self._SECONDS:
            self.fail(f"{text!r} has no unit among s, m, h, d and w.", param, ctx)
        return int(number) * self._SECONDS.get(unit, 0.0)


DATASET = DatasetType()
DURATION = DurationType()
REF = RefType()
PLACE = PlaceType(path_type=str)
