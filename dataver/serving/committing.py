"""Committing what waits on this machine: the files of all windows that are over, as one version.

Each file becomes one Parquet file with a name of its own, so that one which is committed twice, as its
process died in between, is there once.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dataver.errors import DataverError, NotFoundError
from dataver.serving import spool
from dataver.serving.tables import OTHER, TIME, Schema, schema_of, table_of, timed, types_of
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.repository import Repository
    from dataver.results import CommitResult

__all__ = ["Served", "commit_waiting"]

SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Served:
    """What was committed: how many rows of which time, and how many requests were not captured, by reason.

    `result` is None where there were no rows.
    """

    dataset: str
    rows: int
    files: int
    start: datetime | None
    end: datetime | None
    dropped: Mapping[str, int]
    result: CommitResult | None


@dataclass(frozen=True, slots=True)
class _Window:
    """A file that is ours now. `facts` hold for all of its rows."""

    file: spool.Waiting
    facts: Mapping[str, Any]
    rows: list[tuple[int, dict[str, Any]]]
    dropped: Mapping[str, int]


def commit_waiting(
    repository: Repository,
    dataset: str,
    folder: str,
    *,
    now_s: float | None = None,
    author: str | None = None,
    wait_s: float = 0,
) -> Served | None:
    """Commit the files of windows that are over by `now_s`, or, where it is None, all that nobody writes.

    None where another process is at it, and does not come to its end in `wait_s`.
    """
    if not os.path.isdir(folder):
        return Served(dataset, 0, 0, None, None, {}, None)
    with spool.held(os.path.join(folder, spool.LOCK), make=True, wait_s=wait_s) as ours:
        if not ours:
            return None
        with _windows(folder, now_s) as windows:
            served = _commit(repository, dataset, windows, author)
            for window in windows:
                os.unlink(window.file.path)
    return served


@contextmanager
def _windows(folder: str, now_s: float | None) -> Iterator[list[_Window]]:
    """The files that nobody writes, held while the body runs."""
    found = []
    with ExitStack() as stack:
        for file in spool.waiting(folder):
            if now_s is not None and file.end > now_s:
                continue
            if stack.enter_context(spool.held(file.path)):
                found.append(_window(file))
        yield found


def _window(file: spool.Waiting) -> _Window:
    lines = list(spool.read(file.path))
    dropped: Counter[str] = Counter()
    for line in lines:
        dropped.update(line.get("dropped", {}))
    return _Window(file, lines[0] if lines else {}, list(timed(lines)), dropped)


def _commit(repository: Repository, dataset: str, windows: Sequence[_Window], author: str | None) -> Served:
    dropped: Counter[str] = Counter()
    for window in windows:
        dropped.update(window.dropped)
    filled = [window for window in windows if window.rows]
    rows = sum(len(window.rows) for window in filled)
    if not rows:
        return Served(dataset, 0, 0, None, None, dropped, None)
    times = [time_us for window in filled for time_us, _ in window.rows]
    start, end = (datetime.fromtimestamp(time_us / 1e6, UTC) for time_us in (min(times), max(times)))
    facts = filled[-1].facts
    schema = _schema(repository, dataset, filled, str(facts.get("model") or ""))
    with tempfile.TemporaryDirectory(prefix="dataver-served-") as made:
        for window in filled:
            _write(made, window, schema)
        result = repository.commit(
            dataset, made, add=True, message=_message(rows, start, end, dropped), author=author,
            meta=_meta(rows, start, end, dropped, facts),
        )  # fmt: skip
    return Served(dataset, rows, len(filled), start, end, dropped, result)


def _write(folder: str, window: _Window, schema: Schema) -> None:
    from dataver.tables.writer import write_parquet

    day = datetime.fromtimestamp(window.file.start, UTC)
    place = os.path.join(folder, f"date={day:%Y-%m-%d}")
    if window.file.end - window.file.start < 86_400:
        place = os.path.join(place, f"hour={day:%H}")
    os.makedirs(place, exist_ok=True)
    name = f"{day:%H%M%S}-{window.file.name}{SUFFIX}"
    write_parquet(table_of(window.rows, schema), os.path.join(place, name))


def _schema(repository: Repository, dataset: str, windows: Sequence[_Window], model: str) -> Schema:
    """The columns that the dataset has already, else those of these rows."""
    with suppress(NotFoundError):
        version = repository.version(dataset)
        tables = version.tables()
        if tables:
            known = types_of(version.schema(tables[-1]))
            return {name: kind for name, kind in known.items() if name not in (TIME, OTHER)}
    trained: Mapping[str, str] = {}
    if model:
        from dataver.trained_on import training_data

        with suppress(DataverError):  # What a column without a value would be is all that it tells.
            trained = types_of(training_data(repository, model).schema())
    return schema_of([row for window in windows for row in window.rows], trained)


def _message(rows: int, start: datetime, end: datetime, dropped: Mapping[str, int]) -> str:
    text = f"{rows:,} row{'s' * (rows != 1)} served {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"
    if dropped:
        text += f"; not captured: {', '.join(f'{reason} {count:,}' for reason, count in dropped.items())}"
    return text


def _meta(
    rows: int, start: datetime, end: datetime, dropped: Mapping[str, int], facts: Mapping[str, Any]
) -> dict[str, str]:
    """What the version says of itself, for programs."""
    found = {
        "served.rows": str(rows),
        "served.start": start.isoformat(),
        "served.end": end.isoformat(),
        "served.dropped": str(sum(dropped.values())),
        "served.fraction": str(facts.get("fraction", 1)),
    }
    if facts.get("model"):
        found["served.model"] = str(facts["model"])
    return found
