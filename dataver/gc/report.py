"""What a collection did, or would do."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from dataver.gc.roots import Kept
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class LostVersion:
    """A version that nothing keeps. `number` is 0 where it has none."""

    dataset: str
    version: str
    number: int


@dataclass(frozen=True, slots=True)
class GcReport:
    """What one collection did; where `done` is False, what it would do.

    `marked` and `swept` count packs and index segments; `marked_bytes` are theirs, and `bytes` what
    deleting freed, or would. `waiting` are marked and still within the grace; `spared` were marked and
    are needed. `versions` are those that nothing keeps; `kept_by` those that are pinned, or that no branch
    leads to. `partly_dead_bytes` lie in packs of which something is needed. `undeleted` are swept objects
    that the store did not let go. `leftovers` are files of a local store that killed writers left
    unfinished. `unknown` are keys that are none of this format.
    """

    done: bool
    marked: int = 0
    marked_bytes: int = 0
    swept: int = 0
    bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    spared: int = 0
    versions: list[LostVersion] = field(default_factory=list)
    kept_by: list[Kept] = field(default_factory=list)
    rewritten: int = 0
    partly_dead_bytes: int = 0
    undeleted: list[str] = field(default_factory=list)
    leftovers: int = 0
    leftover_bytes: int = 0
    unknown: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver gc --json`."""
        document = asdict(self)
        document["kept_by"] = [kept.to_json() for kept in self.kept_by]
        return document
