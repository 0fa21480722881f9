"""What one run of the program was told before and beside its verb, and the way from there to a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from dataver.cli import output
from dataver.cli.types import PLACE
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.progress import Progress
    from dataver.repository import Repository

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """The options of one run that every verb shares. Filled while the command line is parsed."""

    repo: str | None = None
    storage_options: dict[str, str] = field(default_factory=dict)
    debug: bool = False
    accept_rollback: bool = False
    offline: bool = False
    require_signed: bool = False
    progress: bool | None = None
    json: bool = False
    at: str | None = None
    at_end: Callable[[int], None] | None = None
    """What is called with the exit code, after all else."""

    def open(self) -> Repository:
        """Open the repository that the options, the environment or the folder name."""
        import dataver

        return dataver.open(
            self.repo,
            storage_options=self.storage_options or None,
            at=self.at,
            accept_rollback=self.accept_rollback,
            offline=self.offline,
            require_signed=self.require_signed,
        )

    def answer(self, document: Callable[[], dict[str, Any]], lines: Callable[[], Iterable[str]]) -> None:
        """Print the one JSON document with `--json`, else the lines for people; only one is made."""
        if self.json:
            output.write_json(document())
        else:
            output.write_lines(lines())

    @contextmanager
    def watch(self) -> Iterator[Progress | None]:
        """A progress display on standard error while the body runs; None where none is wanted."""
        import sys

        on_terminal = sys.stderr.isatty()
        if not (on_terminal if self.progress is None else self.progress):
            yield None
            return
        from dataver.cli.progress import Bars, Lines

        display = Bars() if on_terminal else Lines(sys.stderr)
        try:
            yield display
        finally:
            display.end()


def key_values(values: Iterable[str], option: str) -> dict[str, str]:
    """Read `KEY=VALUE` arguments. Anything else is a usage error, which repeats no possible secret."""
    pairs = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            raise click.UsageError(f"{option} takes KEY=VALUE, with a key and an equals sign.")
        pairs[key] = text
    return pairs


def name_list(values: Iterable[str], option: str) -> list[str]:
    """The names in arguments `NAME[,NAME]…`. A usage error where one is empty, as an unset variable is."""
    found = [name for value in values for name in value.split(",")]
    if not all(found):
        raise click.UsageError(f"{option} takes NAME[,NAME]…, and one of the names is empty.")
    return found


def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Store an option in the session if it was given here; else what was given before the verb stays."""
    session = ctx.find_object(Session)
    assert param.name is not None
    if session is None or ctx.get_parameter_source(param.name) is not ParameterSource.COMMANDLINE:
        return
    if param.name == "storage_options":
        session.storage_options |= key_values(value, "--storage-option")
    else:
        setattr(session, param.name, value)


def global_options(*, hidden: bool) -> Callable[[Function], Function]:
    """The options that stand before the verb. A verb takes them too, without listing them in its help."""

    def decorate(function: Function) -> Function:
        for names, settings in reversed(GLOBAL_OPTIONS):
            option = click.option(*names, **settings, hidden=hidden, expose_value=False, callback=keep)
            function = option(function)
        return function

    return decorate


GLOBAL_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (
        ("--repo", "-R"),
        {"metavar": "URL", "type": PLACE, "help": "The repository: a folder or any fsspec URL."},
    ),
    (
        ("--storage-option", "storage_options"),
        {"metavar": "KEY=VALUE", "multiple": True, "help": "An option of its file system; repeatable."},
    ),
    (
        ("--progress/--no-progress",),
        {"default": None, "help": "Show progress or not; default: on a terminal."},
    ),
    (
        ("--offline",),
        {"is_flag": True, "help": "Ask no remote store; read what this machine's cache has."},
    ),
    (
        ("--require-signed",),
        {"is_flag": True, "help": "Read no version that no trusted key signed; DATAVER_REQUIRE_SIGNED."},
    ),
    (("--accept-rollback",), {"is_flag": True, "help": "Adopt a history that went back or was changed."}),
    (("--debug",), {"is_flag": True, "help": "Print the traceback of an error."}),
]
