"""What differs between two runs: the ingredients in the order in which one looks for a cause."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from dataver.errors import DataverError
from dataver.format.run_record import Code, Environment, RunInput, RunRecord
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.repository import Repository

__all__ = [
    "CODE",
    "DATA",
    "ENVIRONMENT",
    "PARAMETERS",
    "RESULTS",
    "SEEDS",
    "Difference",
    "RunDifference",
    "compare",
]

DATA, CODE, PARAMETERS, ENVIRONMENT = "data", "code", "parameters", "environment"
SEEDS, RESULTS = "seeds", "results"
PACKAGES_SHOWN = 20
NONE = "-"

Parts = Callable[[str], bytes]
"""Gives a part of a run's record, by its digest."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `before` and `after` are those of the runs, `detail` tells more of it.

    `document` is what a program may want of the detail.
    """

    ingredient: str
    name: str
    before: Any
    after: Any
    detail: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`{"ingredient", "name", "before", "after", "detail", …}`."""
        return {
            "ingredient": self.ingredient,
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "detail": self.detail,
            **self.document,
        }


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Two runs and what differs. What is not known of one of them is in `unknown`."""

    a: RunRecord
    b: RunRecord
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.differences)

    @property
    def first(self) -> Difference | None:
        """The first ingredient that differs; None where none does."""
        return next((found for found in self.differences if found.ingredient != RESULTS), None)

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver runs diff --json`."""
        first = self.first
        return {
            "a": self.a.run,
            "b": self.b.run,
            "first": None if first is None else first.to_json(),
            "differences": [found.to_json() for found in self.differences],
            "unknown": list(self.unknown),
        }


def compare(repository: Repository, a: RunRecord, b: RunRecord, parts: Parts) -> RunDifference:
    """Compare two runs. Versions that the repository has are looked into; `parts` gives what records name."""
    unknown: list[str] = []
    found = [
        *_data(repository, a, b),
        *_code(a, b, unknown),
        *_values(PARAMETERS, "", a.params, b.params),
        *_environment(parts, a, b, unknown),
        *_values(SEEDS, "", a.seeds, b.seeds),
        *_results(a, b),
    ]
    return RunDifference(a, b, tuple(found), tuple(unknown))


def _values(ingredient: str, prefix: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*a, *b}):
        before, after = a.get(name, NONE), b.get(name, NONE)
        # 1 and True are equal to Python, and no one value of a parameter.
        if before != after or isinstance(before, bool) != isinstance(after, bool):
            yield Difference(ingredient, prefix + name, before, after)


# Data


def _data(repository: Repository, a: RunRecord, b: RunRecord) -> Iterator[Difference]:
    before, after = _inputs(a), _inputs(b)
    gone = [key for key in before if key not in after]
    new = [key for key in after if key not in before]
    for key in before:
        if key in after:
            yield from _input(repository, before[key], after[key])
    for key in gone:
        # The same data in another role, or of another dataset in the same one.
        other = _counterpart(before[key], [after[name] for name in new])
        if other is None:
            yield Difference(DATA, _name(before[key]), _node(before[key]), NONE)
            continue
        new = [name for name in new if after[name] is not other]
        yield from _input(repository, before[key], other)
        if before[key].role != other.role:
            yield Difference(DATA, _name(before[key]), before[key].role, other.role, "read in another role")
    for key in new:
        yield Difference(DATA, _name(after[key]), NONE, _node(after[key]))


_Key = tuple[str, str, str, int]


def _inputs(record: RunRecord) -> dict[_Key, RunInput]:
    """The inputs by role, dataset and part; several versions of one are told apart by their order."""
    found: dict[_Key, RunInput] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    for given in record.inputs:
        key = (given.role, given.dataset, _part(given))
        found[(*key, seen[key])] = given
        seen[key] += 1
    return found


def _counterpart(given: RunInput, others: list[RunInput]) -> RunInput | None:
    same = [o for o in others if o.dataset == given.dataset and _part(o) == _part(given)]
    return next(iter([*same, *(o for o in others if o.role == given.role)]), None)


def _part(given: RunInput) -> str:
    split = given.split or {}
    return "/".join(str(split[name]) for name in ("name", "part") if split.get(name))


def _name(given: RunInput) -> str:
    part = _part(given)
    return f"{given.dataset}{':' if part else ''}{part} as {given.role}"


def _version(given: RunInput) -> str:
    return f"{given.dataset}@{f'v{given.number}' if given.number else given.version}"


def _node(given: RunInput) -> str:
    part = _part(given)
    return f"{_version(given)}{':' if part else ''}{part}"


def _input(repository: Repository, a: RunInput, b: RunInput) -> Iterator[Difference]:
    # Versions with the same files are the same data, whoever made them when.
    if a.tree != b.tree or (not a.tree and a.version != b.version):
        detail, document = _changes(repository, a, b)
        document = {"ids": [a.version, b.version], "trees": [a.tree, b.tree], **document}
        yield Difference(DATA, _name(a), _node(a), _node(b), detail, document)
    before, after = ((given.split or {}).get("digest", NONE) for given in (a, b))
    if before != after:
        yield Difference(DATA, f"split of {_name(a)}", before, after, "the split is defined otherwise")


def _changes(repository: Repository, a: RunInput, b: RunInput) -> tuple[str, dict[str, Any]]:
    """How many files changed, and the rows of tables; nothing where the repository lacks one of both."""
    old, new = f"{a.dataset}@{a.version}", f"{b.dataset}@{b.version}"
    try:
        changes = repository.diff(old, new)
    except DataverError:
        return "a version is not in this repository, so its files are not known", {}
    counts = changes.counts
    named = (
        (counts.added, "added"),
        (counts.modified, "modified"),
        (counts.deleted, "deleted"),
        (counts.renamed, "renamed"),
    )
    texts = [f"{count:,} {what}" for count, what in named if count]
    document: dict[str, Any] = {"files": {what: count for count, what in named}}
    try:
        tables = repository.diff_tables(old, new) if changes.modified else []
    except (DataverError, OSError):
        tables = []
    if tables:
        before, after = (sum(table.rows[side] for table in tables) for side in (0, 1))
        same = f"{before:,} rows" if before == after else f"{before:,} -> {after:,} rows"
        texts.append(f"{same} in {len(tables):,} table{'' if len(tables) == 1 else 's'}")
        document["rows"] = [before, after]
    return ", ".join(texts), document


# Code


def _code(a: RunRecord, b: RunRecord, unknown: list[str]) -> Iterator[Difference]:
    before, after = a.code or Code(), b.code or Code()
    for record, code in ((a, before), (b, after)):
        if not code.commit:
            unknown.append(f"the code of run {record.run[:12]}: {code.reason or 'nothing is recorded'}")
    if before.commit and after.commit:
        if before.commit != after.commit:
            yield Difference(CODE, "commit", before.commit, after.commit)
        if (before.dirty, before.patch) != (after.dirty, after.patch):
            yield Difference(CODE, "uncommitted changes", _changed(before), _changed(after))
        if before.folder != after.folder:
            yield Difference(CODE, "folder", before.folder or ".", after.folder or ".")
    if _command(a) != _command(b):
        yield Difference(CODE, "command", list(a.command), list(b.command))


def _changed(code: Code) -> str:
    return (code.patch or "yes, not recorded") if code.dirty else "none"


def _command(record: RunRecord) -> list[str]:
    """The command, wherever its interpreter and its script lie."""
    command = list(record.command)
    if command and os.path.basename(command[0]).startswith(("python", "pypy")):
        command[0] = "python"
        for at, argument in enumerate(command[1:], 1):
            if not argument.startswith("-"):
                command[at] = (
                    os.path.basename(argument) if os.path.isabs(argument) else os.path.normpath(argument)
                )
                break
    return command


# Environment


def _environment(parts: Parts, a: RunRecord, b: RunRecord, unknown: list[str]) -> Iterator[Difference]:
    unknown += [f"the environment of run {one.run[:12]}" for one in (a, b) if one.environment is None]
    before, after = a.environment, b.environment
    if before is None or after is None:
        return
    pythons = [f"{found.implementation} {found.python}".strip() for found in (before, after)]
    if pythons[0] != pythons[1]:
        yield Difference(ENVIRONMENT, "python", pythons[0], pythons[1])
    if before.packages != after.packages:
        yield from packages_differ(packages(parts, before), packages(parts, after))
    locks = [{lock.path: lock.digest for lock in found.locks} for found in (before, after)]
    yield from _values(ENVIRONMENT, "lock file ", *locks)
    yield from _values(ENVIRONMENT, "variable ", before.variables, after.variables)
    if before.dataver != after.dataver:
        yield Difference(ENVIRONMENT, "dataver", before.dataver, after.dataver)
    if before.platform != after.platform:
        yield Difference(ENVIRONMENT, "platform", before.platform, after.platform)
    yield from _values(ENVIRONMENT, "hardware ", before.hardware, after.hardware)


def packages(parts: Parts, environment: Environment) -> dict[str, str]:
    """The packages of an environment with their versions; none where they are not recorded."""
    if environment.packages is None:
        return {}
    lines = parts(environment.packages).decode("utf-8", "replace").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def packages_differ(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """One difference for all packages together: what is another release, or on one side alone."""
    found = list(_values(ENVIRONMENT, "", before, after))
    if found:
        shown = [f"{one.name} {one.before} -> {one.after}" for one in found[:PACKAGES_SHOWN]]
        more = len(found) - len(shown)
        detail = ", ".join([*shown, *([f"and {more:,} more"] if more else [])])
        document = {"packages": {one.name: [one.before, one.after] for one in found}}
        yield Difference(ENVIRONMENT, "packages", len(before), len(after), detail, document)


# Results


def _results(a: RunRecord, b: RunRecord) -> Iterator[Difference]:
    if a.status != b.status:
        yield Difference(RESULTS, "status", a.status, b.status)
    yield from _values(RESULTS, "metric ", a.metrics, b.metrics)
    yield from _values(
        RESULTS, "model ", *({n: m.tree for n, m in models(record).items()} for record in (a, b))
    )
    yield from _values(RESULTS, "output ", outputs(a), outputs(b))


def models(record: RunRecord) -> dict[str, Any]:
    """The models by name; one that a run logged several times has its number in the record behind it."""
    found: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for model in record.models:
        seen[model.name] += 1
        found[model.name if seen[model.name] == 1 else f"{model.name}#{seen[model.name]}"] = model
    return found


def outputs(record: RunRecord) -> dict[str, str]:
    """The digests of the files of the versions that a run made, by dataset."""
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for made in record.outputs:
        seen[made.dataset] += 1
        found[made.dataset if seen[made.dataset] == 1 else f"{made.dataset}#{seen[made.dataset]}"] = made.tree
    return found
