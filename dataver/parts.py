"""Parts of a version's rows, as a definition splits them: `REF:PART`, and the view that reads one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from dataver.errors import BadInputError, PathNotFoundError
from dataver.hashing import blake3_digest
from dataver.paths import safe_spelling
from dataver.reading import read_file
from dataver.row_tables import dataset_at, readable, tables_at
from dataver.splits.definition import Split, canonical_json, from_document, load, with_path

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow
    import pyarrow.dataset

    from dataver.loading.options import RowOptions, StreamOptions
    from dataver.loading.rows import TorchRows
    from dataver.loading.stream import TorchStream
    from dataver.splits.rules import Rule
    from dataver.version import Version

SPLITS_FILE = ".dataver-splits.toml"
DEFINITION_BYTES_MAX = 8 << 20

Definition = Split | Mapping[str, Any] | str | os.PathLike[str]
"""What a definition can be given as: itself, its document, or the file that has it."""


class SplitView:
    """The rows of one part of a version. Nothing is read before it is asked for.

    A table is read batch by batch, in the order of its rows, and only the columns that are wanted and
    those that decide. Pickles carry the version's id and the definition.
    """

    def __init__(self, version: Version, part: str, definition: Split, split: str = "") -> None:
        """`split` is the name of the definition in the version, if it has one there."""
        self.version = version
        self.split = split
        self.part = part
        self.definition = definition

    def __repr__(self) -> str:
        return f"<SplitView {self.name} {self.digest[:16]}>"

    @property
    def name(self) -> str:
        """`DATASET@vN:PART`, or `DATASET@vN:NAME/PART` for a part of the split `NAME` of the version."""
        return f"{self.version.name}:{self.split}{'/' if self.split else ''}{self.part}"

    @property
    def digest(self) -> str:
        """64 hex digits that are of this definition, version and part, and of no others."""
        definition = self.definition.digest
        document = {"definition": definition, "part": self.part, "version": self.version.id}
        return str(blake3_digest(canonical_json(document)))

    @property
    def schema(self) -> pyarrow.Schema:
        """The columns of the tables."""
        return self._tables().schema

    @property
    def num_rows(self) -> int:
        """How many rows the part has. Reads the columns that decide."""
        return sum(batch.num_rows for batch in self.to_batches([]))

    def to_batches(self, columns: Sequence[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
        """The rows as record batches, with all columns or those named; batches without a row are left out."""
        import pyarrow

        tables = self._tables()
        rule = rule_of(self.version, self.definition, tables.schema)
        wanted = list(tables.schema.names if columns is None else columns)
        needed = list(dict.fromkeys([*wanted, *self.definition.columns]))
        unknown = [name for name in wanted if name not in tables.schema.names]
        if unknown:
            known = ", ".join(tables.schema.names[:20])
            raise BadInputError(f"the table has no column {unknown[0]!r}; its columns are {known}")
        for batch in batches_of(self.version, tables, needed):
            mask = rule.mask(batch, self.part)
            if mask.any():
                yield batch.filter(pyarrow.array(mask)).select(wanted)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """The rows as one table, in memory."""
        import pyarrow

        schema = self._tables().schema
        if columns is not None:
            schema = pyarrow.schema([schema.field(name) for name in columns if name in schema.names])
        return pyarrow.Table.from_batches(self.to_batches(columns), schema)

    def to_pandas(self, columns: Sequence[str] | None = None, **options: Any) -> pandas.DataFrame:
        """The rows as a data frame. `options` go to `pyarrow.Table.to_pandas`."""
        from dataver.readers import extras

        extras.need("pandas", "a data frame of pandas")
        return self.to_arrow(columns).to_pandas(**options)

    @overload
    def to_polars(
        self, columns: Sequence[str] | None = ..., *, lazy: Literal[False] = ...
    ) -> polars.DataFrame: ...

    @overload
    def to_polars(self, columns: Sequence[str] | None = ..., *, lazy: Literal[True]) -> polars.LazyFrame: ...

    def to_polars(
        self, columns: Sequence[str] | None = None, *, lazy: bool = False
    ) -> polars.DataFrame | polars.LazyFrame:
        """The rows as a data frame, or as a lazy one, which reads batch by batch what a query needs."""
        from dataver.readers.frames import part_to_polars

        return part_to_polars(self, columns, lazy)

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Make the rows, which are held in memory, a view called `name` of this connection, and give it."""
        from dataver.readers.frames import part_to_duckdb

        return part_to_duckdb(self, connection, name, columns)

    @overload
    def to_torch(self, *, iterable: Literal[False] = ..., **options: Unpack[RowOptions]) -> TorchRows: ...

    @overload
    def to_torch(self, *, iterable: Literal[True], **options: Unpack[StreamOptions]) -> TorchStream: ...

    def to_torch(self, *, iterable: bool = False, **options: Any) -> TorchRows | TorchStream:
        """The rows as a data set for PyTorch's `DataLoader`. See `Version.to_torch`.

        The columns that decide are read at once, to know which rows are in the part; a bit a row is kept.
        """
        from dataver.loading.make import of_split

        return of_split(self, iterable, options)

    def _tables(self) -> pyarrow.dataset.Dataset:
        return tables_of(self.version, self.definition)


def tables_of(version: Version, definition: Split) -> pyarrow.dataset.Dataset:
    """The tables that a definition is about: those at its path, save the lists of keys that it names.

    Of CSV files the columns that decide are texts, save times.
    """
    lists = {value for value in definition.parts.values() if isinstance(value, str)}
    tables = tables_at(version, definition.path, lists if definition.kind == "list" else ())
    return dataset_at(version, tables, () if definition.kind == "time" else definition.columns)


def batches_of(
    version: Version, tables: pyarrow.dataset.Dataset, columns: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    """The rows of tables of a version, in order, with these columns."""
    with readable(version):
        yield from tables.to_batches(columns=list(columns))


def rule_of(version: Version, definition: Split, schema: pyarrow.Schema) -> Rule:
    """The definition made ready for tables of a version."""
    from dataver.splits.rules import make_rule

    def read_table(path: str, types: Mapping[str, pyarrow.DataType]) -> pyarrow.Table:
        return _read_list(version, path, types)

    return make_rule(definition, schema, read_table)


def count_parts(version: Version, definition: Split) -> dict[str, int]:
    """How many rows of a version each part has, by name, and under `""` those of no part."""
    tables = tables_of(version, definition)
    rule = rule_of(version, definition, tables.schema)
    found: dict[str, int] = {}
    rows = 0
    for batch in batches_of(version, tables, definition.columns):
        rows += batch.num_rows
        for part, count in rule.counts(batch).items():
            found[part] = found.get(part, 0) + count
    rest = rows - sum(found.values())
    return {**dict(sorted(found.items())), **({"": rest} if rest else {})}


def parse_node(text: str) -> tuple[str, str | None]:
    """`REF[:SPLIT]` as the ref and the split, `PART` or `NAME/PART`; None where it names none."""
    ref, colon, split = text.partition(":")
    if colon and not split:
        raise BadInputError(f"{text[:300]!a} names no part after the colon: REF:PART is expected")
    return ref, split if colon else None


def split_view(
    version: Version, text: str, by: Definition | None = None, path: str | None = None
) -> SplitView:
    """The part that `text`, `PART` or `NAME/PART`, is of a version. See `Version.split`."""
    name, slash, part = text.rpartition("/")
    definition = choose(version, name if slash else None, by)
    if path is not None:
        definition = with_path(definition, path)
    document = {
        "definition": definition.to_document(),
        "digest": definition.digest,
        "name": name if by is None else "",
        "part": part,
    }
    view = SplitView(version.asked_as(split=document), part, definition, name if by is None else "")
    rest = getattr(definition, "rest", None)
    if definition.parts and part not in definition.parts and (part != rest or not rest):
        known = ", ".join([*definition.parts, *([rest] if rest else [])])
        raise BadInputError(f"{version.name} has no part {part!r}; the split has {known}")
    return view


def choose(version: Version, name: str | None, by: Definition | None = None) -> Split:
    """The definition called `name`; without a name the only one, or the one called `default`."""
    if isinstance(by, Split):
        found = {"": by}
    elif isinstance(by, Mapping):
        found = {"": from_document(by)}
    elif by is not None:
        found = load(_read_local(os.fspath(by)), os.fspath(by))
    else:
        found = stored(version)
    if name is None:
        name = next(iter(found)) if len(found) == 1 else "default"
    if name not in found:
        origin = f"the file {SPLITS_FILE} of {version.name}" if by is None else "what was given"
        names = ", ".join(filter(None, found)) or "none by name"
        raise BadInputError(f"there is no split {name!r} in {origin}; it has {names}")
    return found[name]


def definition_of(path: str, name: str) -> Split:
    """The definition in a file on this machine: the only one, or the one called `name`."""
    found = load(_read_local(path), path)
    chosen = next(iter(found)) if len(found) == 1 else name
    if chosen not in found:
        raise BadInputError(f"{path} has no definition {name!r}; it has {', '.join(found)}")
    return found[chosen]


def stored(version: Version) -> dict[str, Split]:
    """The definitions by name that a version has itself, in its file `.dataver-splits.toml`."""
    try:
        # Not by `read`: a run reads the part, not the definition.
        data = read_file(version.entry(SPLITS_FILE), version.objects())
    except PathNotFoundError:
        raise PathNotFoundError(
            f"{version.name} has no file {SPLITS_FILE}, which defines its splits; commit one, or give a "
            "definition"
        ) from None
    return load(data, f"{version.name} {SPLITS_FILE}")


def _read_local(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(DEFINITION_BYTES_MAX + 1)
    except OSError as error:
        raise PathNotFoundError(
            f"the definition {safe_spelling(path)!r} cannot be read: {error.strerror}"
        ) from error
    if len(data) > DEFINITION_BYTES_MAX:
        raise BadInputError(
            f"the definition {safe_spelling(path)!r} has more than {DEFINITION_BYTES_MAX >> 20} MiB"
        )
    return data


def _read_list(version: Version, path: str, types: Mapping[str, pyarrow.DataType]) -> pyarrow.Table:
    """The columns of a list of keys in a version. A CSV file is read with the types of the table."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    names = list(types)
    try:
        with version.open(path) as file:
            if path.endswith((".parquet", ".pq", ".parq")):
                return pyarrow.parquet.read_table(file, columns=names)
            plain = {
                name: kind.value_type if pyarrow.types.is_dictionary(kind) else kind
                for name, kind in types.items()
            }
            options = pyarrow.csv.ConvertOptions(column_types=plain, include_columns=names)
            return pyarrow.csv.read_csv(file, convert_options=options)
    except (pyarrow.ArrowException, KeyError) as error:
        raise BadInputError(f"the list of keys {safe_spelling(path)!r} cannot be read: {error}") from error
