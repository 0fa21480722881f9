"""What `to_torch` makes. This module can be imported without torch, and says what is missing."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

from dataver.errors import BadInputError
from dataver.loading.options import CACHE_BYTES_MAX, WINDOW_ROWS, RowOptions, StreamOptions
from dataver.readers.extras import need

if TYPE_CHECKING:
    from dataver.loading.rows import TorchRows
    from dataver.loading.sources import Source
    from dataver.loading.stream import TorchStream
    from dataver.parts import SplitView
    from dataver.version import Version

FILES = "files"
_FILE_OPTIONS = ("include", "exclude")


def of_version(
    version: Version, path: str, table_format: str, iterable: bool, options: Mapping[str, Any]
) -> TorchRows | TorchStream:
    """See `Version.to_torch`. What is no option of a data set goes to `Version.dataset`."""
    need("torch", "to_torch")
    from dataver.loading.sources import FileSource

    own = set(get_type_hints(StreamOptions))
    mine = {name: value for name, value in options.items() if name in own}
    others = {name: value for name, value in options.items() if name not in own}
    source: Source
    if table_format == FILES:
        _refuse(others.keys() - {*_FILE_OPTIONS}, "files have no")
        _refuse([name for name in ("columns", "fill") if mine.get(name)], "files have no")
        source = FileSource(version, path, others.get("include", ()), others.get("exclude", ()))
    else:
        from dataver.row_tables import readable

        _refuse(others.keys() - dataset_options(), "there is no option")
        with readable(version):
            tables = version.dataset(path, format=table_format, **others)
        identity = {"version": version.id, "path": path, "format": table_format, "files": len(tables.files)}
        source = _tables(version, tables, mine, identity)
    return _make(source, iterable, mine)


def dataset_options() -> set[str]:
    """What `Version.dataset` takes besides the path and the format."""
    import pyarrow.dataset

    return set(inspect.signature(pyarrow.dataset.dataset).parameters) - {"source", "filesystem", "format"}


def of_split(view: SplitView, iterable: bool, options: Mapping[str, Any]) -> TorchRows | TorchStream:
    """See `SplitView.to_torch`."""
    need("torch", "to_torch")
    _refuse(options.keys() - get_type_hints(StreamOptions).keys(), "the rows of a split have no")
    from dataver.parts import rule_of, tables_of

    tables = tables_of(view.version, view.definition)
    rule = rule_of(view.version, view.definition, tables.schema)
    source = _tables(view.version, tables, options, {"part": view.digest})
    source.choose(rule, view.definition.columns, view.part)
    return _make(source, iterable, options)


def _tables(version: Version, tables: Any, options: Mapping[str, Any], identity: Mapping[str, Any]) -> Any:
    from dataver.loading.sources import TableSource

    return TableSource(
        version, tables, columns=options.get("columns"), fill=options.get("fill"), identity=identity
    )


def _make(source: Source, iterable: bool, options: Mapping[str, Any]) -> TorchRows | TorchStream:
    transform = options.get("transform")
    if not iterable:
        _refuse(
            sorted(options.keys() - get_type_hints(RowOptions).keys()),
            "random access has no order of its own: a DataLoader has one, or iterable=True; it has no",
        )
        from dataver.loading.rows import TorchRows

        return TorchRows(source, transform, options.get("cache_bytes_max", CACHE_BYTES_MAX))
    from dataver.loading.processes import check_part
    from dataver.loading.stream import How, TorchStream

    numbers = {"batch_size": None, "lanes": None, "window_rows": WINDOW_ROWS, **options}
    for name in ("batch_size", "lanes", "window_rows"):
        if numbers[name] is not None and numbers[name] < 1:
            raise BadInputError(f"{name}={numbers[name]} is less than 1")
    even = options.get("even")
    if even not in (None, "drop", "pad"):
        raise BadInputError(f"even={even!r:.50} is neither 'drop' nor 'pad'")
    if options.get("drop_last") and not numbers["batch_size"]:
        raise BadInputError("drop_last=True is about the last batch of batch_size=…, which is not given")
    try:
        seed = int(options.get("seed", 0))
    except (TypeError, ValueError):
        raise BadInputError(f"seed={options['seed']!r:.50} is no whole number") from None
    how = How(
        bool(options.get("shuffle")),
        seed,
        numbers["batch_size"],
        bool(options.get("drop_last")),
        even,
        int(numbers["window_rows"]),
        int(numbers["lanes"] or 0),
    )
    return TorchStream(source, how, transform, check_part(options.get("rank"), options.get("world_size")))


def _refuse(names: Sequence[str] | set[str], why: str) -> None:
    for name in sorted(names):
        raise BadInputError(f"{why} {name!r}")
