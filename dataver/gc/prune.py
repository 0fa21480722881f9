"""Retention: old versions of `main` that nobody named are let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from datetime import datetime
from typing import Any

from dataver.digest import Digest
from dataver.errors import BadInputError
from dataver.format.operations import BRANCH, CONDEMN, Operation, Shallow, VersionMark
from dataver.history import to_time
from dataver.log.run_state import runs_of_version
from dataver.log.state import State, VersionState
from dataver.refs import require_dataset
from dataver.session import Session
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """Which versions of `main` stay: the newest `last`, and the newest of each of so many days, weeks
    (ISO 8601), months and years, UTC, that have any. `tagged`: no others but what is named.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    tagged: bool = False

    def __post_init__(self) -> None:
        counts = (self.last, self.daily, self.weekly, self.monthly, self.yearly)
        if any(count < 0 for count in counts):
            raise BadInputError("versions to keep are counted from 0")
        if not any(counts) and not self.tagged:
            raise BadInputError(
                "say what to keep: the last N versions, one a day, week, month or year, or what is tagged"
            )


@dataclass(frozen=True, slots=True)
class PruneReport:
    """The versions that went, or would go, and those that stay with the reasons. Oldest first."""

    dataset: str
    done: bool
    pruned: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver prune --json`."""
        return {"dataset": self.dataset, "done": self.done, "pruned": self.pruned, "kept": self.kept}


def prune(session: Session, dataset: str, keep: Retention, *, yes: bool = False) -> PruneReport:
    """Let versions of `main` go; without `yes` only say which.

    What a branch ends at, a tag, an alias or a hold names, and what a run read or made, stays. The
    bytes are there until they are collected, and until then `gc --restore` brings the versions back.
    """
    report = PruneReport(dataset, yes)

    def plan(state: State) -> tuple[Operation, ...] | None:
        nonlocal report
        id = require_dataset(state, dataset)
        versions = _numbered(state, id)
        kept = _kept(session, state, id, versions, keep)
        gone = [version for version in versions if version.id not in kept]
        named = {f"v{version.number}": kept[version.id] for version in versions if version.id in kept}
        report = PruneReport(dataset, yes, [f"v{version.number}" for version in gone], named)
        if not gone or not yes:
            return None
        ids = tuple(sorted(version.id for version in gone))
        return (VersionMark(id, CONDEMN, ids), Shallow(id, ids))

    if yes:
        session.newest()
        session.log.append(plan, session.who(None))
    else:
        plan(session.state())
    return report


def _numbered(state: State, dataset: bytes) -> list[VersionState]:
    """The versions of `main` that are here, by number."""
    found = [state.version(dataset, version) for _, version in state.numbers(dataset)]
    return sorted((version for version in found if version is not None), key=lambda one: one.number)


def _kept(
    session: Session, state: State, dataset: bytes, versions: list[VersionState], keep: Retention
) -> dict[Digest, str]:
    """The versions that stay, each with one reason."""
    kept: dict[Digest, str] = {}
    for ref in state.refs(dataset):
        if not ref.deleted:
            kept.setdefault(ref.target, f"{'head of ' if ref.kind == BRANCH else ''}{ref.name}")
    for hold, target in state.holds():
        kept.setdefault(target, f"held: {hold}")
    for version in versions:
        run = next(iter(runs_of_version(state, version.id)), None)
        if run is not None:
            kept.setdefault(version.id, f"run {run[0].hex()}")
    newest = versions[::-1]
    for version in newest[: keep.last]:
        kept.setdefault(version.id, "one of the last")
    if not any((keep.daily, keep.weekly, keep.monthly, keep.yearly)):
        return kept
    times = {version.id: to_time(session.record(version.id, state).time_us) for version in newest}
    for count, name, period in (
        (keep.daily, "day", _day),
        (keep.weekly, "week", _week),
        (keep.monthly, "month", _month),
        (keep.yearly, "year", _year),
    ):
        for id in _newest_of_each(newest, times, period, count):
            kept.setdefault(id, f"the newest of its {name}")
    return kept


def _newest_of_each(
    newest: Iterable[VersionState],
    times: dict[Digest, datetime],
    period: Callable[[datetime], tuple[int, ...]],
    count: int,
) -> list[Digest]:
    found: dict[tuple[int, ...], Digest] = {}
    for version in newest:
        found.setdefault(period(times[version.id]), version.id)
    return [found[key] for key in sorted(found, reverse=True)[:count]]


def _day(time: datetime) -> tuple[int, ...]:
    return time.year, time.month, time.day


def _week(time: datetime) -> tuple[int, ...]:
    return tuple(time.isocalendar())[:2]


def _month(time: datetime) -> tuple[int, ...]:
    return time.year, time.month


def _year(time: datetime) -> tuple[int, ...]:
    return (time.year,)
