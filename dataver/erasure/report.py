"""What an erasure did, or would do."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class ErasedFile:
    """A file whose bytes go. `paths` are some of those that have it, `erased` says that they went before."""

    digest: str
    size: int
    paths: list[str]
    erased: bool


@dataclass(frozen=True, slots=True)
class SharingFile:
    """A file that is kept and has some of the same bytes, in so many `chunks`. `at` is a version with it."""

    digest: str
    size: int
    at: str
    path: str
    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EraseReport:
    """What one erasure did; where `done` is False, what it would do.

    `files` go, the one that was named first; `shared` are others that have some of its bytes, which stay
    for them. `chunks` and `bytes` (plain) are gone, `packs` had them. `undeleted` are objects that the store
    did not let go, `unread` packs that nobody can search, `unknown` keys that are none of this format; what
    these hold is not known. `versions` still name the files, `runs` and `models` had seen them.
    `soft_delete_days`: for so many days the store keeps what is deleted; None where it does not say.
    """

    done: bool
    dataset: str
    digest: str
    path: str
    reason: str
    files: list[ErasedFile] = field(default_factory=list)
    shared: list[SharingFile] = field(default_factory=list)
    chunks: int = 0
    bytes: int = 0
    packs: int = 0
    undeleted: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    soft_delete_days: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver erase --json`."""
        return asdict(self)
