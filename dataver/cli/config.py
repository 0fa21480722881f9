"""`dataver config`: what is set for a whole repository."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dataver.settings import Setting, SettingResult

DOCUMENT = (
    '{"key", "value", "default", "set": bool}; listed: {"settings": [{"key", …}]};\n'
    'changed: {"key", "value", "previous": value or null, "default", "set": bool}'
)


class KeyType(click.ParamType[str]):
    """The name of a setting; completes to those that are known."""

    name = "key"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - what click passes
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        """The keys that start so, with what they are for."""
        from click.shell_completion import CompletionItem

        from dataver.settings import KNOWN

        return [
            CompletionItem(key, help=known.meaning)
            for key, known in sorted(KNOWN.items())
            if key.startswith(incomplete)
        ]


class ValueType(click.ParamType[str]):
    """The value of a setting; completes to those that the key may have."""

    name = "value"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - what click passes
        incomplete: str,
    ) -> list[CompletionItem[Any]]:
        """The values of the key that start so."""
        from click.shell_completion import CompletionItem

        from dataver.settings import KNOWN

        known = KNOWN.get(ctx.params.get("key") or "")
        values = () if known is None else known.values
        return [CompletionItem(value) for value in values if value.startswith(incomplete)]


@verb(
    "config",
    "dataver config",
    "dataver config commit.stats on",
    "dataver config commit.stats --unset",
    reads=True,
    document=DOCUMENT,
)
@click.argument("key", required=False, type=KeyType())
@click.argument("value", required=False, type=ValueType())
@click.option("--unset", is_flag=True, help="Go back to the default.")
def command(session: Session, key: str | None, value: str | None, unset: bool) -> None:
    """Show or change what is set for everybody who uses the repository.

    Without KEY all settings are listed, with KEY alone its value. commit.stats (on or off): whether
    commits record what the columns of Parquet files hold, where neither --stats nor --no-stats is
    given. Settings stay in their repository: push and pull do not take them along.
    """
    if unset and (key is None or value is not None):
        raise click.UsageError("--unset takes a KEY and no VALUE.")
    settings = session.open().settings
    if key is None:
        found = settings.all()
        session.answer(
            lambda: {"settings": [setting.to_json() for setting in found]},
            lambda: output.columns([setting_row(setting) for setting in found]),
        )
    elif unset or value is not None:
        result = settings.unset(key) if value is None else settings.set(key, value)
        session.answer(result.to_json, lambda: result_lines(result))
    else:
        one = settings.get(key)
        session.answer(one.to_json, lambda: [output.safe(one.value)])


def setting_row(setting: Setting) -> tuple[str, str, str, str]:
    """Key, value, where the value is from, and what the setting is for."""
    origin = "" if setting.is_set else "(default)"
    return (
        output.name(setting.key),
        output.safe(setting.value),
        output.dim(origin),
        output.dim(setting.meaning),
    )


def result_lines(result: SettingResult) -> Iterator[str]:
    """The value that holds now, and the one before."""
    name = output.name(result.key)
    if result.previous == result.value:
        was = "(as before)"
    else:
        was = f"(was {'not set' if result.previous is None else output.safe(result.previous)})"
    if result.value is None:
        yield f"{name} is not set, the default is {result.default}  {output.dim(was)}"
    else:
        yield f"{name} = {result.value}  {output.dim(was)}"
