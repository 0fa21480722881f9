"""The command of a run, as it is run again in another folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dataver.errors import RefNotFoundError
from dataver.format.run_record import Code, RunRecord
from dataver.lineage.masking import MASK
from dataver.paths import safe_spelling
from dataver.reproducing.inputs import declared
from dataver.values import dataclass

__all__ = ["Moved", "again", "is_own", "is_python", "run_options", "write"]

_SPOKEN = ("ipykernel", "colab_kernel", "multiprocessing.spawn", "multiprocessing.forkserver")
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
GIVE_ONE = "say what to run behind two dashes: `dataver repro {run} -- python train.py`"


def is_python(program: str) -> bool:
    """Whether a program is an interpreter of Python, by its name."""
    return os.path.basename(program).startswith(("python", "pypy"))


def again(record: RunRecord, folder: str, place: Moved, python: str | None) -> list[str]:
    """The command of a run, for `folder` in the copy of its code.

    `python` takes the place of the recorded interpreter. `RefNotFoundError` where nobody knows what ran.
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
                f"run {record.run[:12]} was begun in a notebook, by a worker process, or by a script that "
                f"Python read from its input, and that is not recorded; {advice}"
            )
    else:
        command[at] = _found(command[at], record.code or Code(), folder, place)
    if is_python(command[0]):
        command[0] = python or (command[0] if shutil.which(command[0]) else sys.executable)
    return [command[0], *map(place.argument, command[1:])]


@dataclass(frozen=True, slots=True)
class Moved:
    """Paths below the git repository `there` become paths below its copy `top`, save those in `stay`."""

    top: str
    there: str | None
    stay: tuple[str, ...] = ()

    def path(self, path: str) -> str:
        """Where a path is for the command; what is elsewhere, or not whole, stays."""
        if self.there is None or not os.path.isabs(path):
            return path
        real, there = os.path.realpath(path), os.path.realpath(self.there)
        if any(_is_below(real, os.path.realpath(one)) for one in [*self.stay, self.top]):
            return path
        return os.path.join(self.top, os.path.relpath(real, there)) if _is_below(real, there) else path

    def argument(self, argument: str) -> str:
        """An argument, `PATH` or `--option=PATH`: the command writes nothing to the user's own folder."""
        name, equals, value = argument.partition("=")
        return f"{name}={self.path(value)}" if equals and os.path.isabs(value) else self.path(argument)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


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
    """Whether the code came from elsewhere than files: a terminal, a pipe, a notebook, another process."""
    if not is_python(command[0]):
        return False
    if any(mark in argument for argument in command for mark in _SPOKEN):
        return True
    return command[-1] == "-" or all(argument.startswith("-") for argument in command[1:])


def _found(script: str, code: Code, folder: str, place: Moved) -> str:
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
    moved = place.path(script)
    if moved != script and os.path.exists(moved):
        return moved
    parts = script.split(os.sep)
    for at in range(1, len(parts)):
        inside = os.path.join(place.top, *parts[at:])
        if os.path.isfile(inside):
            return inside
    if os.path.exists(script):
        return script  # A program outside of the project, as `/usr/bin/make`.
    raise RefNotFoundError(f"{safe_spelling(script)} is neither here nor in commit {code.commit}")


def is_own(record: RunRecord) -> bool:
    """Whether the command began the run itself: `dataver run` records the exit code."""
    return record.exit_code is None and not record.options


def run_options(record: RunRecord, instead: Mapping[str, Any], place: Moved, folder: str) -> list[str]:
    """What `dataver run` is given to do the same; for a run that the command began, nothing but a name.

    `instead` are options of the record, in place of what stands there; `folder` is for files of ours.
    """
    if is_own(record):
        return ["run", "--name", f"repro {record.name}"]
    found = ["run", "--name", record.name]
    for text in declared(record):
        found += ["--input", text]
    for option, pairs in (("--output", "outputs"), ("--model", "models")):
        named = {**dict(record.options.get(pairs, ())), **instead.get(pairs, {})}
        for name, path in named.items():
            found += [option, f"{name}={_own(path, place, option)}"]
    metrics = instead.get("metrics_file") or record.options.get("metrics_file")
    if metrics:
        found += ["--metrics-file", _own(str(metrics), place, "--metrics-file")]
    if record.params:
        found += ["--params-file", write(folder, "params.json", json.dumps(dict(record.params)))]
    return found


def _own(path: str, place: Moved, option: str) -> str:
    """A path of something that the command makes. What lies elsewhere may be that of the first run, still."""
    moved = place.path(path)
    if moved == path and os.path.isabs(path):
        raise RefNotFoundError(
            f"{option} was {safe_spelling(path)}, which is not below the code, so what lies there may be "
            f"what the first run made; give {option} with another path, and behind two dashes a command that "
            "writes there"
        )
    return moved


def write(folder: str, name: str, text: str) -> str:
    """Write a file; gives its path."""
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
