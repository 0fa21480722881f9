"""The Parquet files of a version as record sets of Croissant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from dataver.results import Json
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.version import Version

__all__ = ["Table", "data_type", "grouped", "record_set", "tables_of"]

Columns = tuple[tuple[str, str], ...]

_LIST = re.compile(
    r"(?:large_|fixed_size_)?list(?:_view)?<[^:<>]*: (?P<inner>[^<>]+?)(?: not null)?>(?:\[\d+\])?"
)
_DICTIONARY = re.compile(r"dictionary<values=(?P<inner>[^<>,]+), .*>")
_TYPES = {
    "bool": "sc:Boolean", "double": "cr:Float64", "float": "cr:Float32", "halffloat": "cr:Float16",
    "string": "sc:Text", "large_string": "sc:Text", "string_view": "sc:Text",
    **{f"int{bits}": f"cr:Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"cr:UInt{bits}" for bits in (8, 16, 32, 64)},
}  # fmt: skip
_FAMILIES = {"date": "sc:Date", "timestamp": "sc:DateTime", "time": "sc:Time", "decimal": "sc:Float"}


@dataclass(frozen=True, slots=True)
class Table:
    """Files with the same columns in one folder. `name` is that of the folder or of the one file."""

    name: str
    paths: tuple[str, ...]
    columns: Columns

    def file_set(self) -> Json:
        """The files as one: by their paths, as a pattern might fit another one."""
        return {
            "@type": "cr:FileSet",
            "@id": f"files/{quote(self.name)}",
            "name": self.name,
            "encodingFormat": "application/x-parquet",
            "includes": [re.sub(r"([*?\[])", r"[\1]", path) for path in self.paths],
        }


def tables_of(version: Version, files: Container[str], *, each: bool) -> Iterator[Table]:
    """The tables among `files`, by path; those that cannot be read as Parquet are in none.

    `files` are those that the document has: a table of another one would lead nowhere.
    `each` as for `grouped`.
    """
    from dataver.tabular import all_footers

    footers = [(path, footer) for path, footer in all_footers(version) if path in files]
    return grouped(
        [(path, footer.columns) for path, footer in footers if not isinstance(footer, str)], each=each
    )


def grouped(files: Iterable[tuple[str, Columns]], *, each: bool = False) -> Iterator[Table]:
    """Those files of one folder that have the same columns are one table, or with `each` every file is."""
    groups: dict[tuple[str, Columns], list[str]] = {}
    for path, columns in files:
        folder = path if each else path.rpartition("/")[0]
        groups.setdefault((folder, columns), []).append(path)
    folders = [folder for folder, _ in groups]
    for (folder, columns), paths in groups.items():
        one = len(paths) == 1 or not folder or folders.count(folder) > 1
        yield Table(paths[0] if one else folder, tuple(paths), columns)


def record_set(table: Table) -> Json | None:
    """The record set of a table; None where Croissant can have none of its columns.

    That is one whose type it has, and whose name is one and no other column's.
    """
    id = f"table/{quote(table.name)}"
    source = (
        {"fileSet": {"@id": f"files/{quote(table.name)}"}}
        if len(table.paths) > 1
        else {"fileObject": {"@id": f"file/{quote(table.paths[0])}"}}
    )
    fields, without = [], []
    named = Counter(name for name, _ in table.columns)
    for name, kind in table.columns:
        found = data_type(kind)
        if found is None or not name or named[name] > 1:
            without.append(f"{name} ({kind})")
            continue
        type_, repeated = found
        fields.append(
            {"@type": "cr:Field", "@id": f"{id}/{quote(name, safe='')}", "name": name, "dataType": type_}
            | ({"repeated": True} if repeated else {})
            | {"source": {**source, "extract": {"column": name}}}
        )
    if not fields:
        return None
    described = f"Without the columns that Croissant cannot have: {', '.join(without)}"
    return (
        {"@type": "cr:RecordSet", "@id": id, "name": table.name}
        | ({"description": described} if without else {})
        | {"field": fields}
    )


def data_type(kind: str) -> tuple[str, bool] | None:
    """Croissant's type for one of Arrow's, and whether it is repeated; None where there is none."""
    inner = _LIST.fullmatch(kind)
    if inner is not None:
        found = data_type(inner["inner"])
        return None if found is None or found[1] else (found[0], True)
    values = _DICTIONARY.fullmatch(kind)
    if values is not None:
        return data_type(values["inner"])
    if kind in _TYPES:
        return _TYPES[kind], False
    family = re.match("[a-z]+", kind)
    found_type = _FAMILIES.get(family[0]) if family is not None else None
    return None if found_type is None else (found_type, False)
