"""What two versions or parts have in common."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from dataver.values import dataclass

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowOverlap:
    """The rows of two tables that have a key in common. Rows of files that both have are not among them.

    `a_rows` and `b_rows` were compared; `a_shared` and `b_shared` of them have a key that the other side
    has, and `keys` is how many such keys there are. `examples` are the values of some.
    """

    key: tuple[str, ...]
    a_rows: int
    b_rows: int
    keys: int
    a_shared: int
    b_shared: int
    examples: list[list[Any]]

    def to_json(self) -> Json:
        """`{"key", "a_rows", "b_rows", "keys", "a_shared", "b_shared", "examples"}`."""
        examples = [[_plain(value) for value in key] for key in self.examples]
        return {**asdict(self), "key": list(self.key), "examples": examples}


def _plain(value: Any) -> Any:
    """A value as JSON has it; as text where JSON has no such values."""
    if isinstance(value, str | int) or value is None:
        return value
    return value if isinstance(value, float) and isfinite(value) else str(value)


@dataclass(frozen=True, slots=True)
class OverlapResult:
    """What two versions, or parts of them, both have.

    `files` are the paths of equal files, (path in `a`, path in `b`), each file once. `chunks` are the
    bytes of `a`, those of `b`, and how many of either are in chunks that the other has too. Both are None
    where a side is a part of a version. `rows` is None where no key was given. `tables` is how many of
    `files` are Parquet.
    """

    a: str
    b: str
    files: list[tuple[str, str]] | None
    chunks: tuple[int, int, int, int] | None
    rows: RowOverlap | None
    tables: int = 0

    def __bool__(self) -> bool:
        """True where both have data in common: by the key where one was given, else files or chunks."""
        if self.rows is not None:
            return bool(self.rows.keys or self.tables)
        return bool(self.files or (self.chunks and self.chunks[2]))

    def to_json(self) -> Json:
        """`{"a", "b", "overlap": bool, "files": [[path, path]…], "chunks": {…}, "rows": {…}}`."""
        names = ("a_bytes", "b_bytes", "a_shared_bytes", "b_shared_bytes")
        return {
            "a": self.a,
            "b": self.b,
            "overlap": bool(self),
            "files": None if self.files is None else [list(pair) for pair in self.files],
            "chunks": None if self.chunks is None else dict(zip(names, self.chunks, strict=True)),
            "rows": None if self.rows is None else self.rows.to_json(),
        }
