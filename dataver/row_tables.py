"""The tables at a path of a version whose rows are told apart: Parquet, and other formats that hold rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError
from dataver.values import NamedTuple
from dataver.version_readers import TABLE_SUFFIXES

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.dataset

    from dataver.version import Version

FORMATS = ("parquet", "feather", "orc", "csv", "json")
"""Of the files in a folder those of the first format that is there are its tables."""


class TablesAt(NamedTuple):
    """The files of one format at a path. Empty where there are none; they are said to be Parquet then."""

    path: str
    format: str
    files: list[str]

    @property
    def is_text(self) -> bool:
        """Whether the files say nothing of types, so that these may be told by what is appended."""
        return self.format == "csv"


def tables_at(version: Version, path: str, without: Collection[str] = ()) -> TablesAt:
    """The tables at a path, which is a file or a folder, save those named."""
    for kind in FORMATS:
        found = version.tables(path, TABLE_SUFFIXES[kind])
        if path and found == [path]:  # a file, which is what its name says
            kind = next((one for one in FORMATS if path.lower().endswith(TABLE_SUFFIXES[one])), "parquet")
            return TablesAt(path, kind, found)
        found = [name for name in found if name not in without]
        if found:
            return TablesAt(path, kind, found)
    return TablesAt(path, "parquet", [])


def dataset_at(
    version: Version,
    tables: TablesAt,
    texts: Collection[str] = (),
    types: Mapping[str, pyarrow.DataType] | None = None,
) -> pyarrow.dataset.Dataset:
    """Tables as one lazy dataset. `PathNotFoundError` where there are none.

    CSV has no types, and those that are guessed from the first rows may be others when rows are added;
    so the columns `texts` are read as what is written, and others may be given types.
    """
    if not tables.files:
        return version.dataset(tables.path)
    options: dict[str, Any] = {"format": tables.format}
    with readable(version):
        if tables.is_text:
            import pyarrow
            import pyarrow.csv
            import pyarrow.dataset

            known = {**dict.fromkeys(texts, pyarrow.string()), **(types or {})}
            convert = pyarrow.csv.ConvertOptions(column_types=known)
            options["format"] = pyarrow.dataset.CsvFileFormat(convert_options=convert)
        return version.dataset_of(tables.files, tables.path, **options)


def columns_of(columns: Sequence[str] | str | None, names: Sequence[str]) -> list[str] | None:
    """The columns that were asked for, which a table with these `names` has; None stands for all."""
    if columns is None:
        return None
    wanted = [columns] if isinstance(columns, str) else list(columns)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise BadInputError(
            f"the table has no column {unknown[0]!r}; its columns are {', '.join(names[:20])}"
        )
    return wanted


@contextmanager
def readable(version: Version) -> Iterator[None]:
    """What pyarrow cannot read was committed so: a file of the user's that is malformed."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        reason = str(error).replace(f"{version.dataset_name}@{version.id}/", "")
        raise BadInputError(f"the tables of {version.name} cannot be read: {reason}") from error
