"""What a repair did, or would do, and what is still lost."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from dataver.results import Damage
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What one repair did; where `done` is False, what it would do.

    `damaged` are the objects that were found damaged or missing. `segments` of the index were replaced. Of
    chunks and metadata objects, `found` were in other packs and are named again, `salvaged` were copied out
    of damaged packs, `healed` were brought from elsewhere: `sources` says how many from where. `restored`
    are the keys of log entries and states that were put back from a copy of the repository; `renewed`
    entries were appended to write the newest state anew. `marked` are the keys of damaged objects, left
    where they are until they are collected. `lost` is what no place had, with all that it harms; `left` are
    damaged objects that cannot be mended from within.
    """

    done: bool
    damaged: list[Damage] = field(default_factory=list)
    segments: int = 0
    found: int = 0
    salvaged: int = 0
    salvaged_bytes: int = 0
    healed: int = 0
    healed_bytes: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    restored: list[str] = field(default_factory=list)
    renewed: int = 0
    marked: list[str] = field(default_factory=list)
    lost: list[Damage] = field(default_factory=list)
    left: list[Damage] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is whole now, or would be."""
        return not self.lost and not self.left

    @property
    def would_change(self) -> bool:
        """Whether there is anything to do, or was."""
        return bool(self.segments or self.found or self.healed or self.restored or self.renewed)

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver repair --json`."""
        return {
            "done": self.done,
            "ok": self.ok,
            "damaged": [damage.to_json() for damage in self.damaged],
            "segments": self.segments,
            "found": self.found,
            "salvaged": self.salvaged,
            "salvaged_bytes": self.salvaged_bytes,
            "healed": self.healed,
            "healed_bytes": self.healed_bytes,
            "sources": self.sources,
            "restored": self.restored,
            "renewed": self.renewed,
            "marked": self.marked,
            "lost": [damage.to_json() for damage in self.lost],
            "left": [damage.to_json() for damage in self.left],
        }
