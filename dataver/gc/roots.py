"""Where a trace begins: the versions that something keeps, with what keeps each."""

from __future__ import annotations

from collections.abc import Container, Iterable

from dataver.digest import Digest
from dataver.format.operations import BRANCH
from dataver.log.run_state import models_of_run, runs_of_version
from dataver.log.state import KIND_NAMES, State, VersionState
from dataver.session import Session
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """A version that no branch leads to, and what keeps it: `tag paper`, `run 1f0c…`, `hold audit`."""

    dataset: str
    version: Digest
    by: str


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
    holds: dict[Digest, list[str]] = {}
    for name, target in state.holds():
        holds.setdefault(target, []).append(name)
    roots = Roots({}, {}, {**deleted, **names}, [])
    for dataset, name in roots.names.items():
        versions = {version.id: version for version in state.versions(dataset)}
        branches: list[Digest] = []
        others: dict[Digest, str] = {}
        if dataset in names:
            for ref in state.refs(dataset):
                if not ref.deleted and ref.kind == BRANCH:
                    branches.append(ref.target)
                elif not ref.deleted:
                    others.setdefault(ref.target, f"{KIND_NAMES[ref.kind]} {ref.name}")
            for number, id in state.numbers(dataset):
                others.setdefault(id, f"number v{number}")
        for id in versions:
            for hold in holds.get(id, []):
                others.setdefault(id, f"hold {hold}")
            by = _runs(state, id)
            if by is not None:
                others.setdefault(id, by)
        reached = _closure(session, state, branches, versions)
        for id, by in others.items():
            if id in versions and id not in reached:
                roots.kept_by.append(Kept(name, id, by))
        reached |= _closure(session, state, others, versions)
        for id, version in versions.items():
            if id in reached:
                roots.reached[dataset, id] = version
            else:
                roots.lost[dataset, id] = version
    return roots


def _runs(state: State, version: Digest) -> str | None:
    """A model or a run that read or made the version, if any did."""
    found = next(iter(runs_of_version(state, version)), None)
    if found is None:
        return None
    made = models_of_run(state, found[0])
    return f"model {made[0]}" if made else f"run {found[0].hex()}"


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
