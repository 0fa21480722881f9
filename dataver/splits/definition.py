"""What a split is: a small document, with a digest, that says which rows belong to which part.

A definition never looks at how many rows there are or in what order they come, so that a row stays in
its part when others are appended. Its canonical form is JSON with sorted keys and no blanks, in UTF-8;
the digest is the plain BLAKE3-256 of that.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

from dataver.errors import BadInputError
from dataver.hashing import blake3_digest

FORMAT = 1
DIGITS_MAX = 18
_SUM_ERROR_MAX = Fraction(1, 10**9)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", re.ASCII)

Document = dict[str, Any]
Scalar = str | int | bool | float


class Split(ABC):
    """A definition; immutable. Equal ones have equal documents, and equal digests.

    `path` is where in a version the tables are that it is about; empty for all of them.
    """

    kind: ClassVar[str]
    __slots__ = ("columns", "parts", "path")

    def __init__(self, columns: Sequence[str], parts: Mapping[str, Any], path: str) -> None:
        """`columns` are those that decide, `parts` what the definition says of each part, by its name."""
        self.columns = tuple(columns)
        self.parts = {name: parts[name] for name in sorted(map(check_name, parts))}
        self.path = path
        if not isinstance(path, str):
            raise BadInputError(f"the path of a split is {path!r}, which is no text")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Split) and self.to_document() == other.to_document()

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.canonical.decode()}>"

    def to_document(self) -> Document:
        """The definition as JSON has it."""
        return {"format": FORMAT, "kind": self.kind, "path": self.path, **self._fields()}

    @abstractmethod
    def _fields(self) -> Document:
        """What this kind has in its document."""

    @property
    def canonical(self) -> bytes:
        """The one spelling of the document."""
        return canonical_json(self.to_document())

    @property
    def digest(self) -> str:
        """64 hex digits that no other definition has."""
        return str(blake3_digest(self.canonical))


class HashSplit(Split):
    """Rows by a hash of their key: `HashSplit(keys=["id"], train=0.8, valid=0.1, test=0.1)`.

    The XXH3-64 of the key's canonical bytes, with a seed made of `salt`, is a point from 0 to 1. The
    parts, by name, divide that range as their fractions say; together they are 1. Rows with equal keys
    are in the same part, also in other tables and versions.
    """

    kind = "hash"
    __slots__ = ("bounds", "salt")

    def __init__(
        self,
        keys: Sequence[str] | str,
        *,
        salt: str = "",
        path: str = "",
        parts: Mapping[str, float | str] | None = None,
        **more: float | str,
    ) -> None:
        super().__init__(check_columns(keys), {**(parts or {}), **more}, path)
        self.salt = _text(salt, "salt")
        if not self.parts:
            raise BadInputError("a hash split has no parts; name some, as train=0.8, test=0.2")
        self.parts = {name: _fraction(value, name) for name, value in self.parts.items()}
        total = sum(map(Fraction, self.parts.values()), Fraction(0))
        if abs(total - 1) > _SUM_ERROR_MAX:
            raise BadInputError(f"the fractions of a split are 1 together, but these are {float(total):.10g}")
        so_far = Fraction(0)
        bounds = []
        for value in list(self.parts.values())[:-1]:
            so_far += Fraction(value)
            bounds.append(min(-(-so_far * 2**64 // 1), 2**64 - 1))
        self.bounds: tuple[int, ...] = tuple(int(bound) for bound in bounds)
        """Where each part but the last ends, exclusive, among the 2^64 hashes."""

    @property
    def seed(self) -> int:
        """0 without a salt, else the first 8 bytes of its BLAKE3-256, little-endian."""
        return int.from_bytes(blake3_digest(self.salt.encode())[:8], "little") if self.salt else 0

    def _fields(self) -> Document:
        return {"keys": list(self.columns), "parts": self.parts, "salt": self.salt}


class TimeSplit(Split):
    """Rows by a time: `TimeSplit("when", train="..2026-01-01", test="2026-01-01..2026-07-01")`.

    Each part is `FROM..TO`, of which one may be left out; `TO` is not in it. Times are RFC 3339, and UTC
    without a zone. Parts do not overlap. Rows outside of all, or without a time, belong to none.
    """

    kind = "time"
    __slots__ = ("ranges",)

    def __init__(
        self, column: str, *, path: str = "", parts: Mapping[str, str] | None = None, **more: str
    ) -> None:
        super().__init__(check_columns(column), {**(parts or {}), **more}, path)
        if not self.parts:
            raise BadInputError("a time split has no parts; name some, as train='..2026-01-01'")
        self.ranges = {name: _time_range(value, name) for name, value in self.parts.items()}
        """The (first, end) of each part, in microseconds since 1970; None where it is open."""
        in_order = sorted(self.ranges.items(), key=lambda item: _lowest(item[1]))
        for (name, (_, end)), (next_name, (start, _)) in pairwise(in_order):
            if end is None or start is None or start < end:
                raise BadInputError(f"the times of {name!r} and {next_name!r} overlap")

    def _fields(self) -> Document:
        parts = {name: [_rfc3339(edge) for edge in edges] for name, edges in self.ranges.items()}
        return {"column": self.columns[0], "parts": {name: f"{a}..{b}" for name, (a, b) in parts.items()}}


class ColumnSplit(Split):
    """Rows by a column that names their part: `ColumnSplit("split")`, `ColumnSplit("fold", test=["0", "1"])`.

    Without parts each value, as text, is the name of one. With them, each part has the values listed, and
    rows with others belong to none, as do rows without a value.
    """

    kind = "column"
    __slots__ = ()

    def __init__(
        self,
        column: str,
        *,
        path: str = "",
        parts: Mapping[str, Iterable[str] | str] | None = None,
        **more: Iterable[str] | str,
    ) -> None:
        super().__init__(check_columns(column), {**(parts or {}), **more}, path)
        self.parts = {name: _values(values, name) for name, values in self.parts.items()}
        every = [value for values in self.parts.values() for value in values]
        twice = sorted({value for value in every if every.count(value) > 1})
        if twice:
            raise BadInputError(f"the value {twice[0]!r} is in two parts of a split")

    def _fields(self) -> Document:
        return {"column": self.columns[0], "parts": self.parts}


class ListSplit(Split):
    """Rows by lists of keys: `ListSplit(keys=["id"], test="lists/test.csv", gold=[1, 2], rest="train")`.

    A part is a list of keys, or the path of a CSV or Parquet file of the version that has the key's
    columns. A key of several columns is a list of values. Rows in no list belong to `rest`, if there is
    one. A key in two lists is an error when the rows are read.
    """

    kind = "list"
    __slots__ = ("rest",)

    def __init__(
        self,
        keys: Sequence[str] | str,
        *,
        rest: str | None = None,
        path: str = "",
        parts: Mapping[str, str | Iterable[Any]] | None = None,
        **more: str | Iterable[Any],
    ) -> None:
        super().__init__(check_columns(keys), {**(parts or {}), **more}, path)
        if not self.parts:
            raise BadInputError("a list split has no parts; name some, as test='lists/test.csv'")
        self.rest = None if rest is None else check_name(rest)
        if rest in self.parts:
            raise BadInputError(f"{rest!r} is a part with a list, and cannot be the rest too")
        width = len(self.columns)
        self.parts = {
            name: value if isinstance(value, str) else _keys(value, width, name)
            for name, value in self.parts.items()
        }

    def _fields(self) -> Document:
        return {"keys": list(self.columns), "parts": self.parts, "rest": self.rest}


KINDS: dict[str, type[Split]] = {cls.kind: cls for cls in (HashSplit, TimeSplit, ColumnSplit, ListSplit)}


def from_document(document: object) -> Split:
    """The definition that a document of TOML or JSON has. `BadInputError` says what is wrong with it."""
    if not isinstance(document, Mapping):
        raise BadInputError(f"a split is a table with a kind, not {document!r:.100}")
    fields = dict(document)
    found = fields.pop("format", FORMAT)
    if found != FORMAT:
        raise BadInputError(f"a split has the format {found!r:.20}; this release knows {FORMAT}")
    kind = fields.pop("kind", None)
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise BadInputError(f"a split has the kind {kind!r:.100}; there are {', '.join(KINDS)}")
    first = "keys" if cls in (HashSplit, ListSplit) else "column"
    known = {first, "path", "parts", *({"salt"} if cls is HashSplit else ())} | (
        {"rest"} if cls is ListSplit else set()
    )
    unknown = sorted(set(fields) - known)
    if unknown:
        raise BadInputError(f"a {kind} split has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
    if first not in fields:
        raise BadInputError(f"a {kind} split needs {first!r}")
    parts = fields.get("parts")
    if parts is not None and not isinstance(parts, Mapping):
        raise BadInputError("the parts of a split are a table, from a name to what is in the part")
    return cls(fields.pop(first), **fields)


def with_path(definition: Split, path: str) -> Split:
    """The same definition, about other tables."""
    return from_document({**definition.to_document(), "path": path})


def load(data: bytes, origin: str) -> dict[str, Split]:
    """The definitions of a file of TOML, or JSON where its name ends so: by name, or one under `""`."""
    try:
        text = data.decode()
        if origin.endswith(".json"):
            document = json.loads(text)
        else:
            import tomllib

            document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{origin} is malformed: {error}") from error
    if not isinstance(document, dict):
        raise BadInputError(f"{origin} is malformed: a table of splits is expected")
    single = isinstance(document.get("kind"), str)
    found = {}
    for name, value in {"": document}.items() if single else document.items():
        try:
            found[name if single else check_name(name)] = from_document(value)
        except BadInputError as error:
            raise BadInputError(f"{origin}{f', {name}' if name else ''}: {error}") from error
    return found


def canonical_json(document: Document) -> bytes:
    """A document in its one spelling."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def check_name(name: object) -> str:
    """The name of a part or of a split. `BadInputError` for what cannot be one."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r:.100} is not a name for a split or a part of one: ASCII letters, digits, '_', '.' and "
            "'-', not starting with '.' or '-'"
        )
    return name


def check_columns(columns: object) -> list[str]:
    """The names of columns; one alone may be a text. `BadInputError` for none, or the same one twice."""
    found = [columns] if isinstance(columns, str) else columns
    if not isinstance(found, Sequence) or not found:
        raise BadInputError(f"the columns of a key are a list of names, not {columns!r:.100}")
    if len({_text(name, "name of a column") for name in found}) != len(found):
        raise BadInputError(f"a column is twice in the key {columns!r:.100}")
    return list(found)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadInputError(f"the {what} is {value!r:.100}, which is no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInputError(f"the {what} is {value!a:.100}, which UTF-8 cannot hold") from None
    return value


def _fraction(value: object, name: str) -> str:
    """A fraction as its shortest decimal; a float means the decimal that it prints as."""
    problem = BadInputError(f"the fraction of {name!r} is {value!r:.100}; it is a number from 0 to 1")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise problem
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise problem from None
    if not number.is_finite() or not 0 < number <= 1:
        raise problem
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DIGITS_MAX:
        raise BadInputError(f"the fraction of {name!r} has more than {DIGITS_MAX} digits")
    return format(number.normalize(), "f")


def _time_range(value: object, name: str) -> tuple[int | None, int | None]:
    start, dots, end = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not dots:
        raise BadInputError(f"the times of {name!r} are {value!r:.100}; FROM..TO is expected")
    first, last = _time_us(start, name), _time_us(end, name)
    if first is not None and last is not None and first >= last:
        raise BadInputError(f"the times of {name!r}, {value}, end before they begin")
    return first, last


def _time_us(text: str, name: str) -> int | None:
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(
            f"{text!r} of {name!r} is not a time: RFC 3339 is expected, as 2026-01-31T09:30:00Z"
        ) from error
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    whole = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


def _rfc3339(time_us: int | None) -> str:
    if time_us is None:
        return ""
    seconds, rest = divmod(time_us, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    day = date.fromordinal(date(1970, 1, 1).toordinal() + days)
    hours, minutes = divmod(seconds // 60, 60)
    return f"{day.isoformat()}T{hours:02}:{minutes:02}:{seconds % 60:02}.{rest:06}Z"


def _lowest(edges: tuple[int | None, int | None]) -> tuple[bool, int]:
    return edges[0] is not None, edges[0] or 0


def _values(values: object, name: str) -> list[str]:
    found = [values] if isinstance(values, str) else values
    if not isinstance(found, Iterable) or isinstance(found, Mapping | bytes):
        raise BadInputError(f"the values of {name!r} are {values!r:.100}; a list of texts is expected")
    return sorted({_text(value, f"value of {name!r}") for value in found})


def _keys(keys: object, width: int, name: str) -> list[list[Scalar]]:
    if not isinstance(keys, Iterable) or isinstance(keys, Mapping | bytes):
        raise BadInputError(f"the keys of {name!r} are {keys!r:.100}; a list or a path is expected")
    found: dict[bytes, list[Scalar]] = {}
    for key in keys:
        row = list(key) if isinstance(key, list | tuple) else [key]
        if len(row) != width or not all(isinstance(value, str | int | float) for value in row):
            raise BadInputError(
                f"the key {key!r:.100} of {name!r} is not {width} text{'s' * (width > 1)} or "
                f"number{'s' * (width > 1)}"
            )
        if any(value != value for value in row):
            raise BadInputError(f"a key of {name!r} is not a number; JSON cannot hold it")
        found[canonical_json({"": row})] = row
    return [row for _, row in sorted(found.items())]
