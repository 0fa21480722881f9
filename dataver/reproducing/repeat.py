"""`dataver repro`: a run is done again from its code, its environment and its data, and compared."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Protocol

from dataver.errors import AlreadyExistsError, BadInputError, CheckFailedError, DamagedError, RefNotFoundError
from dataver.format.run_record import Environment, RunRecord
from dataver.paths import safe_spelling
from dataver.repository import Repository
from dataver.reproduced import PLAN_VARIABLE, Plan
from dataver.reproducing.code_copy import OF_ANOTHER, copy_code, top_of
from dataver.reproducing.commands import Moved, again, is_own, is_python, run_options, write
from dataver.reproducing.differences import Parts, RunDifference, compare, packages
from dataver.reproducing.inputs import Opener, Places, check_out, damage_of, entries, names
from dataver.reproducing.interpreters import Interpreter, lock_of, new_environment, variables_of
from dataver.reproducing.naming import Found, Runs
from dataver.reproducing.outcome import DIFFERENT, Result, results_of, verdict
from dataver.running import RUNS_REPO_VARIABLE
from dataver.values import dataclass

__all__ = ["AUTO", "KEEP", "VENV", "Repeated", "Wanted", "repeat"]

AUTO, KEEP, VENV = "auto", "keep", "venv"
REPO_VARIABLE = "DATAVER_REPO"


class Launched(Protocol):
    """How a command ended."""

    @property
    def code(self) -> int:
        """As a shell tells it."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C did it."""


Launch = Callable[[Sequence[str], str, Mapping[str, "str | None"]], Launched]
"""Runs a command in a folder with these variables set, or unset where they are None."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for: `command` in place of the recorded one, `code` where git has the commit.

    `checkouts` are folders by dataset, `options` those of the record, in place of what stands there.
    """

    environment: str = AUTO
    tolerances: Mapping[str, float] = field(default_factory=dict)
    keep: str | None = None
    code: str | None = None
    take: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    checkouts: tuple[tuple[str, str], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    without_patch: bool = False


@dataclass(frozen=True, slots=True)
class Repeated:
    """Both runs and how they compare. `reason` says why the new one made nothing to compare, if it did."""

    original: RunRecord
    run: RunRecord
    status: str
    results: tuple[Result, ...]
    difference: RunDifference
    code: str
    environment: str
    kept: str | None = None
    notes: tuple[str, ...] = ()
    reason: str = ""

    def __bool__(self) -> bool:
        return self.status != DIFFERENT

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver repro --json`."""
        compared = self.difference.to_json()
        return {
            "original": self.original.run,
            "run": self.run.run,
            "status": self.status,
            "reason": self.reason,
            "results": [result.to_json() for result in self.results],
            "first": compared["first"],
            "differences": compared["differences"],
            "code": {"commit": self.original.code.commit if self.original.code else "", "from": self.code},
            "environment": self.environment,
            "kept": self.kept,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Copy:
    """The code: the `top` of the copy, the folder `inner` where the command ran, and where it came from."""

    top: str
    inner: str
    origin: str


def repeat(
    repository: Repository,
    named: str,
    wanted: Wanted,
    *,
    launch: Launch,
    opener: Opener,
    tell: Callable[[str], None],
    options: Sequence[str] = (),
) -> Repeated:
    """Do the run that `named` means again, record that, and compare.

    `RefNotFoundError` where something that it takes is not there, `DamagedError` where data are damaged.
    `options` are those of the program before the verb, for the run that records.
    """
    runs = Runs(repository.session)
    found = runs.find(named)
    original = found.record
    _check(found, wanted)
    places = Places(repository, opener)
    patch, notes = _patch(runs.part, original, wanted)
    plan = _plan(found, repository, places)
    with _folder(wanted.keep) as folder:
        copy = _copy(original, patch, wanted, folder, tell)
        interpreter = _interpreter(original.environment, runs.part, wanted, copy.inner, folder, tell)
        tell(f"environment: {interpreter.how}")
        data = places.data(original)
        place = Moved(copy.top, top_of(wanted.code or os.getcwd()), (data.url, repository.url))
        command = _command(original, wanted, copy, place, interpreter)
        for dataset, target in wanted.checkouts:
            _require_below(target, "--checkout")
            check_out(original, places, dataset, os.path.join(copy.inner, target))
        recorder = opener(os.environ[RUNS_REPO_VARIABLE]) if os.environ.get(RUNS_REPO_VARIABLE) else None
        planned = write(folder, "plan.json", plan.encode())
        program = [sys.executable, "-P", "-m", "dataver.cli", "--repo", data.url, *options]
        ended = launch(
            [*program, *run_options(original, wanted.options, place, folder), "--", *command],
            copy.inner,
            _variables(original, interpreter, repository, data, copy.inner, planned),
        )
    if ended.interrupted:
        raise KeyboardInterrupt
    if ended.code:
        damage = damage_of(original, places)
        if damage is not None:
            raise DamagedError(f"the run cannot be repeated, as its data are damaged: {damage}")
    there = Runs((recorder or repository).session)
    run, reason = _new_run(there, plan, original)
    reason = f"the command ended with exit code {ended.code}" if ended.code else reason
    results = tuple(results_of(original, run, wanted.tolerances))
    status = DIFFERENT if reason else verdict(results)
    difference = compare(repository, original, run, _either(there, runs))
    return Repeated(
        original, run, status, results, difference, copy.origin, interpreter.how, wanted.keep,
        tuple(notes), reason,
    )  # fmt: skip


def _copy(
    record: RunRecord, patch: bytes | None, wanted: Wanted, folder: str, tell: Callable[[str], None]
) -> _Copy:
    """The code, and what is brought along."""
    code = record.code
    assert code is not None
    top = os.path.join(folder, "code")
    origin = copy_code(code, patch, wanted.code, top)
    if os.path.exists(os.path.join(top, ".gitmodules")):
        tell("the submodules of the code are left out")
    tell(f"code: commit {code.commit[:12]} from {origin}{' with its changes' if patch else ''}")
    inner = os.path.normpath(os.path.join(top, code.folder))
    _take(wanted.take, inner)
    if not os.path.isdir(inner) or os.path.relpath(inner, top).startswith(os.pardir):
        raise RefNotFoundError(f"commit {code.commit} has no folder {safe_spelling(code.folder)}")
    return _Copy(top, inner, origin)


def _command(
    record: RunRecord, wanted: Wanted, copy: _Copy, place: Moved, interpreter: Interpreter
) -> list[str]:
    if not wanted.command:
        return again(record, copy.inner, place, interpreter.python)
    program, *arguments = wanted.command
    return [interpreter.python if interpreter.python and is_python(program) else program, *arguments]


def _variables(
    record: RunRecord,
    interpreter: Interpreter,
    repository: Repository,
    data: Repository,
    folder: str,
    plan: str,
) -> dict[str, str | None]:
    found = variables_of(record.environment, interpreter.python)
    found |= {REPO_VARIABLE: data.url, PLAN_VARIABLE: plan, "PWD": folder, **dict.fromkeys(OF_ANOTHER)}
    if data.id != repository.id and not os.environ.get(RUNS_REPO_VARIABLE):
        found[RUNS_REPO_VARIABLE] = repository.url
    return found


def _check(found: Found, wanted: Wanted) -> None:
    """Refuse what cannot be repeated, or could not be compared."""
    record, short = found.record, found.record.run[:12]
    if found.info.status != "done":
        raise RefNotFoundError(
            f"run {short} is {found.info.status}, so what it would have made is not known; only runs that "
            "are done can be repeated and compared"
        )
    if not (record.models or record.outputs or record.metrics):
        raise RefNotFoundError(
            f"run {short} recorded no model, no version and no metric, so there is nothing to compare; if "
            "a run inside it did, name that one, as `dataver runs` lists it"
        )
    if record.code is None or not record.code.commit:
        reason = "" if record.code is None else f": {record.code.reason}"
        raise RefNotFoundError(
            f"the code of run {short} is not on record{reason}; record a run of code in git"
        )
    if is_own(record) and wanted.options:
        raise BadInputError(
            f"run {short} was begun by the command itself, which says what its models and metrics are; "
            "--model and --metrics-file are for runs of `dataver run`"
        )
    unknown = [name for name in wanted.tolerances if name not in record.metrics]
    if unknown:
        there = ", ".join(sorted(record.metrics)) or "none"
        raise BadInputError(f"run {short} has no metric {unknown[0]!a:.100}; it has {there}")
    if wanted.environment == VENV and record.environment is None:
        raise RefNotFoundError(f"the environment of run {short} is not on record; take --env keep")


def _patch(parts: Parts, record: RunRecord, wanted: Wanted) -> tuple[bytes | None, list[str]]:
    """The changes that were not committed, and what is to be said of them."""
    code = record.code
    assert code is not None
    notes = []
    if code.untracked:
        names = ", ".join(map(safe_spelling, code.untracked[:5]))
        more = ", …" if len(code.untracked) > 5 else ""
        notes.append(f"files that git did not know were there, and are not now: {names}{more}")
    if not code.dirty:
        return None, notes
    if wanted.without_patch:
        return None, [*notes, "the changes that were not committed were left out"]
    if code.masked:
        raise RefNotFoundError(
            f"the changes of run {record.run[:12]} that were not committed hold secrets, which were "
            "recorded as ***, so they cannot be applied; --without-patch leaves all of them out"
        )
    if code.patch is None:
        if not code.reason:
            return None, notes  # What differs is inside of submodules.
        raise RefNotFoundError(
            f"the changes of run {record.run[:12]} that were not committed are not on record: {code.reason}; "
            "--without-patch leaves them out"
        )
    return parts(code.patch), notes


def _plan(found: Found, repository: Repository, places: Places) -> Plan:
    record = found.record
    data = places.data(record)
    id = secrets.token_hex(16)
    logs: list[tuple[Repository, int | None]] = [(repository, found.entry)]
    if data.id != repository.id:
        logs.append((data, None))
    return Plan(
        record.run,
        id,
        f"repro-{id[:12]}",
        tuple(names(record, places)),
        entries(record, logs),
        {} if is_own(record) else dict(record.seeds),
    )


@contextmanager
def _folder(keep: str | None) -> Iterator[str]:
    """A folder to work in, that is kept only if it was asked for."""
    if keep is None:
        folder = tempfile.mkdtemp(prefix="dataver-repro-")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    if os.path.exists(keep) and (not os.path.isdir(keep) or os.listdir(keep)):
        raise AlreadyExistsError(
            f"{safe_spelling(keep)} is there already; --keep takes a new or empty folder"
        )
    os.makedirs(keep, exist_ok=True)
    yield os.path.abspath(keep)


def _require_below(path: str, option: str) -> None:
    if os.path.isabs(path) or os.path.normpath(path).split(os.sep)[0] == os.pardir:
        raise BadInputError(
            f"{option} takes paths in this folder and below, and {safe_spelling(path)} is none"
        )


def _take(paths: Sequence[str], inner: str) -> None:
    """Bring along what git does not have, as it is now."""
    for path in paths:
        _require_below(path, "--take")
        target = os.path.join(inner, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(path):
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        elif os.path.isfile(path):
            shutil.copy2(path, target)
        else:
            raise RefNotFoundError(f"there is no {safe_spelling(path)} here to take along")


def _interpreter(
    environment: Environment | None,
    parts: Parts,
    wanted: Wanted,
    inner: str,
    folder: str,
    tell: Callable[[str], None],
) -> Interpreter:
    how = wanted.environment
    if how == AUTO:
        how = KEEP if lock_of(environment, inner) is None else VENV
    if how == KEEP or environment is None:
        return Interpreter(None, "the Python that is here")
    target = os.path.join(folder, "venv")
    return new_environment(environment, packages(parts, environment), inner, target, tell)


def _either(runs: Runs, others: Runs) -> Parts:
    """Parts of records from the one repository or the other."""

    def part(digest: str) -> bytes:
        try:
            return runs.part(digest)
        except DamagedError:
            return others.part(digest)

    return part


def _new_run(runs: Runs, plan: Plan, original: RunRecord) -> tuple[RunRecord, str]:
    """The record to compare, of the new run or of one that the command began in it; and what is wrong."""
    outer = runs.ended(plan.id)
    if outer is None:
        raise CheckFailedError(
            f"run {plan.run[:12]} was begun again, and nothing was recorded of it; what it printed says why"
        )
    if not is_own(original):
        return outer, ""
    named = [record for record in runs.begun_within(plan.id) if record.name == original.name]
    # A script may begin several runs of one name, which differ in their parameters.
    same = [record for record in named if record.params == original.params]
    chosen = next(iter([*same, *named]), None)
    if chosen is None:
        return outer, f"the command began no run that is called {original.name!a:.100}"
    return chosen, ""
