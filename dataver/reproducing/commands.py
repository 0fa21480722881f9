"""The command of a run, as it is run again in another folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from dataver.errors import RefNotFoundError
from dataver.format.run_record import Code, RunRecord
from dataver.lineage.masking import MASK
from dataver.paths import safe_spelling

__all__ = ["again", "is_python"]

_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
GIVE_ONE = "say what to run behind two dashes: `dataver repro {run} -- python train.py`"


def is_python(program: str) -> bool:
    """Whether a program is an interpreter of Python, by its name."""
    return os.path.basename(program).startswith(("python", "pypy"))


def again(record: RunRecord, folder: str, top: str, there: str | None, python: str | None) -> list[str]:
    """The command of a run, for `folder` in the copy `top` of its code.

    `there` is the git repository that the copy was made from, `python` the interpreter that takes the place
    of the recorded one. `RefNotFoundError` where it cannot be known what ran.
    """
    command = list(record.command)
    advice = GIVE_ONE.format(run=record.run[:12])
    if not command:
        raise RefNotFoundError(f"run {record.run[:12]} has no command on record; {advice}")
    if any(MASK in argument for argument in command):
        raise RefNotFoundError(
            f"the command of run {record.run[:12]} was recorded with {MASK} in place of secrets; {advice}"
        )
    at = _script(command)
    if at is None:
        if _is_spoken(command):
            raise RefNotFoundError(
                f"run {record.run[:12]} was begun in a notebook, or by a script that Python read from its "
                f"input, and that is not recorded; {advice}"
            )
    else:
        command[at] = _found(command[at], record.code or Code(), folder, top, there)
    if is_python(command[0]):
        command[0] = python or (command[0] if shutil.which(command[0]) else sys.executable)
    return command


def _script(command: Sequence[str]) -> int | None:
    """Where in the command the file stands that is run; None where it is none."""
    if not is_python(command[0]):
        return 0 if os.sep in command[0] else None
    skip = False
    for at, argument in enumerate(command[1:], 1):
        if skip or argument in _WITH_VALUE:
            skip = not skip
        elif argument in ("-c", "-m", "-") or (
            argument[:1] == "-" and argument[-1:] in ("c", "m") and argument[1:2] != "-"
        ):
            return None
        elif not argument.startswith("-"):
            return at
    return None


def _is_spoken(command: Sequence[str]) -> bool:
    """Whether the code came from elsewhere than files: a terminal, a pipe, a notebook."""
    if not is_python(command[0]):
        return False
    if any("ipykernel" in argument or "colab_kernel" in argument for argument in command):
        return True
    return command[-1] == "-" or all(argument.startswith("-") for argument in command[1:])


def _found(script: str, code: Code, folder: str, top: str, there: str | None) -> str:
    """The script in the copy of the code; a whole path is taken as one below the top, wherever that was."""
    if not os.path.isabs(script):
        if os.path.exists(os.path.join(folder, script)):
            return script
        name = os.path.normpath(os.path.join(code.folder, script))
        if any(name == one or (one.endswith("/") and name.startswith(one)) for one in code.untracked):
            reason = "was not known to git when the run began, so its text is not recorded"
        else:
            reason = f"is not in commit {code.commit}"
        raise RefNotFoundError(
            f"{safe_spelling(script)} {reason}; commit it to git and record a run again, or bring it along "
            f"with --take {safe_spelling(script)}"
        )
    if there is not None and os.path.realpath(script).startswith(os.path.realpath(there) + os.sep):
        inside = os.path.relpath(os.path.realpath(script), os.path.realpath(there))
        if os.path.exists(os.path.join(top, inside)):
            return os.path.join(top, inside)
    parts = script.split(os.sep)
    for at in range(1, len(parts)):
        inside = os.path.join(top, *parts[at:])
        if os.path.isfile(inside):
            return inside
    if os.path.exists(script):
        return script  # A program outside of the project, as `/usr/bin/make`.
    raise RefNotFoundError(f"{safe_spelling(script)} is neither here nor in commit {code.commit}")
