"""The page `docs/reference/errors.md`, made from the code.

`python -m dataver.cli.errors_reference` prints it. A test compares the file with what this prints.
"""

from __future__ import annotations

import inspect
import sys

from dataver import errors
from dataver.cli import faults

INTRODUCTION = """\
# Errors

<!-- Made by `python -m dataver.cli.errors_reference > docs/reference/errors.md`: change it there. -->

The classes of `dataver.errors`. Every error that dataver raises on purpose is a `DataverError`. Its message
says what failed, on what, and what to do next. Some are also builtins, so that `except FileNotFoundError`
works as elsewhere. The command line ends with the exit code of the class; the codes are listed in
[the command line](cli.md#exit-codes).
"""


def reference() -> str:
    """The whole page."""
    classes = [getattr(errors, name) for name in errors.__all__]
    rows = [
        f"| `{cls.__name__}` | {bases(cls)} | {cls.exit_code} | {meaning(cls)} |"
        for cls in sorted(classes, key=lambda cls: cls.exit_code)
    ]
    table = ["| error | is also | exit code | means |", "|---|---|---|---|", *rows]
    unmade = sorted(set(faults.EXIT_CODES) - {cls.exit_code for cls in classes} - {0})
    notes = [f"- {code}: {faults.EXIT_CODES[code]}" for code in unmade]
    ending = ["Exit codes that no class has:", "", *notes]
    return "\n".join([INTRODUCTION, *table, "", *ending]) + "\n"


def bases(cls: type[errors.DataverError]) -> str:
    """What else an `except` clause can catch it as; the nearest first."""
    return ", ".join(f"`{base.__name__}`" for base in cls.__bases__ if base is not Exception)


def meaning(cls: type[errors.DataverError]) -> str:
    """The docstring on one line."""
    return " ".join((inspect.getdoc(cls) or "").split())


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(reference())
