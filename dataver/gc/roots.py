"""Where a trace begins: the versions that something keeps, with what keeps each."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import asdict, field
from typing import Any

from dataver.digest import Digest
from dataver.format.operations import BRANCH
from dataver.log.run_state import models, runs_of_version
from dataver.log.state import KIND_NAMES, State, VersionState
from dataver.session import Session
from dataver.values import dataclass

NAMED_MAX = 20
"""So many of what keeps a version are named; a version may be what 100,000 runs read."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that a hold, a model or a run pins, or that no branch leads to; and what keeps it.

    `by` is what counts most: `hold audit`, then `model churn@v1`, `run 1f0c…`, `tag paper`, and last `number
    v5`. `also` are others, and `more` counts those that are not named. `number` is 0 where it has none.
    `on_branch`: a branch leads there as well.
    """

    dataset: str
    version: Digest
    by: str
    number: int = 0
    also: list[str] = field(default_factory=list)
    more: int = 0
    on_branch: bool = False

    def to_json(self) -> dict[str, Any]:
        """One of `kept_by`."""
        return {**asdict(self), "version": str(self.version)}


@dataclass(slots=True)
class Roots:
    """The versions of a state by what is to become of them, each with its dataset's id.

    `reached` are kept, `lost` are not, and are to be condemned; those that are already are in neither.
    """

    reached: dict[tuple[bytes, Digest], VersionState]
    lost: dict[tuple[bytes, Digest], VersionState]
    names: dict[bytes, str]
    kept_by: list[Kept]


def find_roots(session: Session, state: State) -> Roots:
    """Sort all versions. What a name, a number, a run or a hold leads to is kept, with its parents."""
    names = {dataset: name for name, dataset in state.datasets()}
    deleted = dict(state.deleted_datasets())
    pins = _Pins(state)
    roots = Roots({}, {}, {**deleted, **names}, [])
    for dataset, name in roots.names.items():
        versions = {version.id: version for version in state.versions(dataset)}
        branches, named = _refs(state, dataset) if dataset in names else ([], {})
        numbers = {id: number for number, id in state.numbers(dataset)} if dataset in names else {}
        reached = _closure(session, state, branches, versions)
        kept: list[Kept] = []
        for id, version in versions.items():
            by, more = pins.of(id)
            on_branch = id in reached
            if by or not on_branch:
                by += named.get(id, [])
            if not by and id in numbers and not on_branch:
                by = [f"number v{numbers[id]}"]
            if by:
                more += len(by[NAMED_MAX:])
                kept.append(Kept(name, id, by[0], version.number, by[1:NAMED_MAX], more, on_branch))
        roots.kept_by += sorted(kept, key=lambda one: (not one.number, one.number))
        reached |= _closure(session, state, [*named, *numbers, *(one.version for one in kept)], versions)
        for id, version in versions.items():
            if id in reached:
                roots.reached[dataset, id] = version
            else:
                roots.lost[dataset, id] = version
    # Those first that would go if what keeps them did.
    roots.kept_by.sort(key=lambda one: one.on_branch)
    return roots


def _refs(state: State, dataset: bytes) -> tuple[list[Digest], dict[Digest, list[str]]]:
    """What branches end at, and what other names lead to."""
    branches: list[Digest] = []
    named: dict[Digest, list[str]] = {}
    for ref in state.refs(dataset):
        if not ref.deleted and ref.kind == BRANCH:
            branches.append(ref.target)
        elif not ref.deleted:
            named.setdefault(ref.target, []).append(f"{KIND_NAMES[ref.kind]} {ref.name}")
    return branches, named


class _Pins:
    """What keeps versions whatever names lead to them: holds, models and runs."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._holds: dict[Digest, list[str]] = {}
        for name, target in state.holds():
            self._holds.setdefault(target, []).append(f"hold {name}")
        self._models: dict[bytes, list[str]] = {}
        for model in models(state):
            self._models.setdefault(model.run, []).append(f"model {model}")

    def of(self, version: Digest) -> tuple[list[str], int]:
        """The holds, models and runs that pin a version, some by name; and how many more there are."""
        made: list[str] = []
        read: list[str] = []
        count = 0
        for run, _ in runs_of_version(self._state, version):
            of_run = self._models.get(run, [])
            count += 1 + len(of_run)
            if len(made) < NAMED_MAX:
                made += of_run
            if len(read) < NAMED_MAX:
                read.append(f"run {run.hex()}")
        named = [*self._holds.get(version, []), *made, *read]
        return named, count - len(made) - len(read)


def _closure(
    session: Session, state: State, starts: Iterable[Digest], here: Container[Digest]
) -> set[Digest]:
    """The versions and all that they descend from, as far as they are here."""
    waiting = [id for id in starts if id in here]
    seen = set(waiting)
    while waiting:
        for parent in session.record(waiting.pop(), state).parents:
            if parent in here and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return seen
