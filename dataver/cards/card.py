"""The card of a version: what people wrote, and what the repository knows."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from dataver.cards.fields import CARD_BYTES_MAX, CARD_FILES, FIELDS, NOTHING, Written, read_written
from dataver.errors import BadInputError, PathNotFoundError
from dataver.origins import Origins
from dataver.results import VersionInfo, rfc3339
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.splits.definition import Split
    from dataver.tables.footer import TableFooter
    from dataver.tables.view import TableStatistics
    from dataver.version import Version

TABLES_MAX = 100
HISTORY_MAX = 10


@dataclass(frozen=True, slots=True)
class CardTable:
    """A Parquet file: its footer, None if it cannot be read, and its statistics where they are at hand."""

    path: str
    footer: TableFooter | None
    statistics: TableStatistics | None = None

    def to_json(self) -> dict[str, Any]:
        """`{"path", "rows", "columns": [{"name", "type"}…], "statistics": [column…]}`; null if not known."""
        footer, statistics = self.footer, self.statistics
        columns = None if footer is None else [{"name": name, "type": kind} for name, kind in footer.columns]
        return {
            "path": self.path,
            "rows": None if footer is None else footer.rows,
            "columns": columns,
            "statistics": None if statistics is None else statistics.to_json()["columns"],
        }


@dataclass(frozen=True, slots=True)
class Card:
    """What is to be said of a version. `str` of it is the page, in Markdown.

    `tables` are the first hundred of `table_count`; `before` are the last versions that it descends from.
    `splits` are by name; `splits_problem` says why they could not be read.
    """

    info: VersionInfo
    written: Written
    origins: Origins
    tables: tuple[CardTable, ...] = ()
    table_count: int = 0
    splits: tuple[tuple[str, Split], ...] = ()
    splits_problem: str | None = None
    before: tuple[VersionInfo, ...] = ()

    def __str__(self) -> str:
        from dataver.cards.page import page

        return page(self)

    @property
    def name(self) -> str:
        """`DATASET@vN`, or `DATASET@<64 hex digits>` for a version that was never on `main`."""
        return f"{self.info.dataset}@{self.info.version or self.info.id}"

    @property
    def filled(self) -> int:
        """How many of the fields that a card should have say something."""
        return sum(value is not None for value in self.written.fields.values())

    @property
    def fields(self) -> int:
        """How many fields a card should have."""
        return len(FIELDS)

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver card --json`."""
        info, written = self.info.to_json(), self.written
        names = ("dataset", "version", "id", "tree", "author", "time", "message", "files", "bytes", "runs")
        return {
            **{name: info[name] for name in names},
            "card_file": written.file,
            "problem": written.problem,
            "fields": dict(written.fields),
            "filled": self.filled,
            "of": self.fields,
            "other": dict(written.other),
            "text": written.text,
            **self.origins.to_json(),
            "tables": [table.to_json() for table in self.tables],
            "table_count": self.table_count,
            "splits": [
                {"name": name, "digest": split.digest, "definition": split.to_document()}
                for name, split in self.splits
            ],
            "splits_problem": self.splits_problem,
            "before": [
                {
                    "version": version.version,
                    "id": version.id,
                    "time": rfc3339(version.time),
                    "author": version.author,
                    "message": version.message,
                }
                for version in self.before
            ],
        }


def card_of(version: Version, *, compute: bool = False) -> Card:
    """The card of a version. See `Version.card`."""
    info = version.info
    paths = version.tables()
    splits, problem = _splits(version)
    log = version.repository.log(f"{version.dataset_name}@{version.id}")
    return Card(
        info,
        written_of(version),
        version.origins,
        _tables(version, paths[:TABLES_MAX], compute) if paths else (),
        len(paths),
        splits,
        problem,
        tuple(islice(log, 1, 1 + HISTORY_MAX)),
    )


def written_of(version: Version) -> Written:
    """What people wrote: the first of the files that is there."""
    for name in CARD_FILES:
        try:
            with version.open(name) as file:
                data = file.read(CARD_BYTES_MAX + 1)
        except PathNotFoundError:
            continue
        except BadInputError:  # a folder, or a symlink out of the version
            return Written(name, NOTHING, {}, "", f"{name} is no file of the version")
        if len(data) > CARD_BYTES_MAX:
            problem = f"{name} has more than {CARD_BYTES_MAX >> 20} MiB"
            return Written(name, NOTHING, {}, "", problem)
        return read_written(name, data)
    return Written(None, NOTHING, {}, "")


def _tables(version: Version, paths: list[str], compute: bool) -> tuple[CardTable, ...]:
    from dataver.tables.view import view
    from dataver.tabular import all_footers, file_statistics

    found = [table for path in paths for table in all_footers(version, path)]
    readable = [path for path, footer in found if not isinstance(footer, str)]
    known = dict(zip(readable, file_statistics(version, readable, compute=compute), strict=True))
    tables = []
    for path, footer in found:
        statistics = known.get(path)
        is_known = statistics is not None and not statistics.reason
        known_footer = None if isinstance(footer, str) else footer
        tables.append(CardTable(path, known_footer, view(statistics) if statistics and is_known else None))
    return tuple(tables)


def _splits(version: Version) -> tuple[tuple[tuple[str, Split], ...], str | None]:
    from dataver.parts import stored

    try:
        return tuple(sorted(stored(version).items())), None
    except PathNotFoundError:
        return (), None
    except BadInputError as error:
        return (), str(error)
