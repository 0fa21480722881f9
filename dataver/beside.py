"""A source's files beside the rows of a version: what is certainly the same costs no object a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from dataver.source.columns import IDENTITY_BYTES, Listing
from dataver.tree.columns import Columns
from dataver.tree.manifest import Entry, to_entry

__all__ = ["Entries", "Standing", "stand_beside"]


class Entries(Mapping[bytes, Entry]):
    """The files among a tree's rows by path, each made when it is asked for."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.columns)

    def __contains__(self, path: object) -> bool:
        return path in self.columns

    def __getitem__(self, path: bytes) -> Entry:
        return to_entry(self.columns[path])


class Standing(NamedTuple):
    """Where a source and a version may differ.

    `open` are the positions of the files that are not certain to be the row of their path, in order;
    `gone` the paths of rows that have no file, in order.
    """

    open: list[int]
    gone: list[bytes]


def stand_beside(
    files: Listing, digests: Sequence[bytes | None], columns: Columns, into: bytes = b""
) -> Standing:
    """Compare files, as far as their digests are known, with the rows below `into`.

    Certain is a file of the same kind, executable bit, size and digest. An empty folder never is,
    nor a file that stayed where it is.
    """
    paths = [into + path for path in files.paths] if into else files.paths
    keys, records = columns.keys_in_order, columns.records
    known = zip(digests, files.stamps, strict=True)
    if paths == keys:
        rows = zip(known, records, strict=True)
        changed = [
            at
            for at, ((digest, stamp), record) in enumerate(rows)
            if digest is None or digest + stamp[:IDENTITY_BYTES] != record
        ]
        return Standing(changed, [])
    places = dict(zip(keys, records, strict=True))
    changed = [
        at
        for at, (path, (digest, stamp)) in enumerate(zip(paths, known, strict=True))
        if digest is None or digest + stamp[:IDENTITY_BYTES] != places.get(path)
    ]
    return Standing(changed, sorted(places.keys() - set(paths)))
