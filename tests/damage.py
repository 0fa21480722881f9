"""Damaging repositories for tests, and reading what a verification says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataver.compression import Codec
from dataver.format.operations import Operation
from dataver.keys import entry_key, pack_key
from dataver.log.log import Log
from dataver.repository import Repository
from dataver.results import Damage, Harm, VerifyReport
from dataver.store.base import Store

WHOLE = Harm(None, None, None)


def opened(repository: Repository, wrap: Callable[[Store], Store] = lambda store: store) -> Repository:
    """The same repository with nothing read of it yet, over a store that may do more."""
    other = Repository(repository.url)
    store = wrap(other.session.store)
    other.session.store, other.session.log = store, Log(store)
    return other


def change(store: Store, key: str, data: bytes | None) -> None:
    store.delete(key)
    if data is not None:
        assert store.put_new(key, data)


def flip(store: Store, key: str, offset: int) -> None:
    data = bytearray(store.get(key))
    data[offset] ^= 0x40
    change(store, key, bytes(data))


def place_of(repository: Repository, path: str, ref: str = "iris") -> tuple[str, int]:
    """The pack that holds a file of one chunk, and an offset of stored bytes that it needs."""
    entry = repository.version(ref).entry(path)
    place = repository.session.index().find(entry.digest)
    assert place is not None
    return pack_key(place.pack), place.frame_offset + (place.offset if place.codec == Codec.RAW else 9)


def harms(report: VerifyReport) -> dict[str, list[tuple[str | None, str | None, str | None]]]:
    return {d.object: [(h.dataset, h.version, h.path) for h in d.harms] for d in report.damaged}


def the_one(report: VerifyReport) -> Damage:
    assert not report.ok
    assert len(report.damaged) == 1, report.damaged
    return report.damaged[0]


def commit(repository: Repository, folder: Path, **files: bytes) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    repository.commit("iris", folder)


def append(repository: Repository, *operations: Operation) -> int:
    """Append operations that nobody checks; gives the entry's number."""
    log = repository.session.log
    entry = log._next(log.tail(), operations, repository.session.who(None))
    assert repository.session.store.put_new(entry_key(entry.number), entry.encode())
    return entry.number
