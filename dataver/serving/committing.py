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
from dataclasses import field
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
DAY_S = 86_400


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


@dataclass(slots=True)
class _Told:
    """What the files say that are committed together. `facts` are those of the newest one with rows."""

    rows: int = 0
    files: int = 0
    times_us: list[int] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """When the first and the last row came."""
        first, last = (datetime.fromtimestamp(found(self.times_us) / 1e6, UTC) for found in (min, max))
        return first, last


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
        with _files(folder, now_s) as files:
            served = _commit(repository, dataset, files, author)
            for file in files:
                os.unlink(file.path)
    return served


@contextmanager
def _files(folder: str, now_s: float | None) -> Iterator[list[spool.Waiting]]:
    """The files that nobody writes, held while the body runs."""
    found = []
    with ExitStack() as stack:
        for file in spool.waiting(folder):
            if now_s is not None and file.end > now_s:
                continue
            if stack.enter_context(spool.held(file.path)):
                found.append(file)
        yield found


def _commit(
    repository: Repository, dataset: str, files: Sequence[spool.Waiting], author: str | None
) -> Served:
    told = _Told()
    with tempfile.TemporaryDirectory(prefix="dataver-served-") as made:
        schema = _schema(repository, dataset, files) if files else {}
        for file in files:
            _write(made, file, schema, told)
        if not told.rows:
            return Served(dataset, 0, 0, None, None, told.dropped, None)
        result = repository.commit(
            dataset, made, add=True, message=_message(told), author=author, meta=_meta(told)
        )
    return Served(dataset, told.rows, told.files, *told.span, told.dropped, result)


def _write(folder: str, file: spool.Waiting, schema: Schema, told: _Told) -> None:
    """Write the rows of a file as Parquet; one file's at a time are held."""
    from dataver.tables.writer import write_parquet

    lines = list(spool.read(file.path))
    for line in lines:
        told.dropped.update(line.get("dropped", {}))
    rows = list(timed(lines))
    if not rows:
        return
    day = datetime.fromtimestamp(file.start, UTC)
    place = os.path.join(folder, f"date={day:%Y-%m-%d}")
    if file.end - file.start < DAY_S:
        place = os.path.join(place, f"hour={day:%H}")
    os.makedirs(place, exist_ok=True)
    write_parquet(table_of(rows, schema), os.path.join(place, f"{day:%H%M%S}-{file.name}{SUFFIX}"))
    told.rows += len(rows)
    told.files += 1
    told.times_us += (rows[0][0], rows[-1][0])
    told.facts = lines[0]


def _schema(repository: Repository, dataset: str, files: Sequence[spool.Waiting]) -> Schema:
    """The columns that the dataset has already, else those of these rows."""
    with suppress(NotFoundError):
        version = repository.version(dataset)
        tables = version.tables()
        if tables:
            known = types_of(version.schema(tables[-1]))
            return {name: kind for name, kind in known.items() if name not in (TIME, OTHER)}
    model = next((str(line["model"]) for line in spool.read(files[-1].path) if line.get("model")), "")
    trained: Mapping[str, str] = {}
    if model:
        from dataver.trained_on import training_data

        with suppress(DataverError):  # What a column without a value would be is all that it tells.
            trained = types_of(training_data(repository, model).schema())
    return schema_of((row for file in files for row in timed(spool.read(file.path))), trained)


def _message(told: _Told) -> str:
    start, end = (f"{time:%Y-%m-%d %H:%M:%S}" for time in told.span)
    text = f"{told.rows:,} row{'s' * (told.rows != 1)} served {start} to {end} UTC"
    if told.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in told.dropped.items())
        text += f"; not captured: {reasons}"
    return text


def _meta(told: _Told) -> dict[str, str]:
    """What the version says of itself, for programs."""
    start, end = told.span
    found = {
        "served.rows": str(told.rows),
        "served.start": start.isoformat(),
        "served.end": end.isoformat(),
        "served.dropped": str(sum(told.dropped.values())),
        "served.fraction": str(told.facts.get("fraction", 1)),
    }
    if told.facts.get("model"):
        found["served.model"] = str(told.facts["model"])
    return found
