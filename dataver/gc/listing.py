"""What is in the store, by what this format calls it."""

from __future__ import annotations

import re
from dataclasses import field

from dataver.digest import Digest
from dataver.keys import LOG_PREFIX, PACK_PREFIX, SEGMENT_PREFIX, entry_key
from dataver.store.base import ObjectInfo, Store
from dataver.values import dataclass

_PACK = re.compile(rf"{PACK_PREFIX}([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
_SEGMENT = re.compile(rf"{SEGMENT_PREFIX}([0-9a-f]{{64}})")
_LOG = re.compile(rf"{LOG_PREFIX}(?:[0-9]{{20}}|HINT)")


@dataclass(slots=True)
class Contents:
    """The packs and segments of a store with their sizes, the times of log entries, and what is neither."""

    packs: dict[Digest, int] = field(default_factory=dict)
    segments: dict[Digest, int] = field(default_factory=dict)
    entry_times: dict[str, float] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def marked_at(self, number: int) -> float | None:
        """The store's time of a log entry; None where the listing has none."""
        return self.entry_times.get(entry_key(number))

    def size_of(self, name: Digest) -> int:
        """The bytes of a pack or segment; 0 where it is not there."""
        return self.packs.get(name, self.segments.get(name, 0))


def list_contents(store: Store) -> Contents:
    """Everything in the store. What the listing raises goes to the caller: half a listing is none."""
    contents = Contents()
    for info in store.list(""):
        _take(contents, info)
    return contents


def _take(contents: Contents, info: ObjectInfo) -> None:
    pack = _PACK.fullmatch(info.key)
    segment = _SEGMENT.fullmatch(info.key)
    if pack is not None:
        contents.packs[Digest.parse(pack[2])] = info.size_bytes
    elif segment is not None:
        contents.segments[Digest.parse(segment[1])] = info.size_bytes
    elif _LOG.fullmatch(info.key):
        contents.entry_times[info.key] = info.stored_at
    else:
        contents.unknown.append(info.key)
