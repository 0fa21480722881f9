"""What a comparison of a copy with a version found: plain values."""

from __future__ import annotations

from dataclasses import asdict, field

from dataver.results import Json
from dataver.values import dataclass

__all__ = ["ChangedFile", "CopyReport"]


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file of a copy that is not what the version has, and in what it differs."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What is at `path`, compared with version `ref`: how many `files` it should have, the `bytes` read.

    Paths are those below `path`, each list sorted. `ok`: nothing is missing or changed, and nothing is
    too much, or that is allowed. `erased` files are not there, for they were erased on purpose.
    """

    ok: bool
    ref: str
    id: str
    tree: str
    path: str
    files: int
    bytes: int
    missing: list[str] = field(default_factory=list)
    changed: list[ChangedFile] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    erased: int = 0

    def __bool__(self) -> bool:
        """`ok`."""
        return self.ok

    def to_json(self) -> Json:
        """The fields, with `{"path", "reason"}` for what is changed."""
        return asdict(self)
