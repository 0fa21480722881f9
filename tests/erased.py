"""A repository to erase from, and a look for bytes that are to be nowhere: in files, in frames decoded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import dataver
from dataver.compression import Codec, decompress
from dataver.digest import Digest
from dataver.erasure import EraseReport, erase
from dataver.errors import DamagedError, ErasedError
from dataver.keys import PACK_PREFIX, pack_key
from dataver.packs import read_footer
from dataver.repository import Repository
from dataver.store.base import Store

PIECE_BYTES = 24
REASON = "request 4711"
WORDS = [b"alpha", b"beta", b"gamma", b"delta", b"epsilon", b"zeta", b"eta", b"theta", b"iota", b"kappa"]


def noise(seed: object, size_bytes: int) -> bytes:
    return random.Random(str(seed)).randbytes(size_bytes)


def words(seed: object, size_bytes: int) -> bytes:
    """Text that compresses, with a few rare bytes that do not."""
    source = random.Random(str(seed))
    text = b" ".join(source.choices(WORDS, k=size_bytes // 4))[: size_bytes - 64]
    return text[: len(text) // 2] + source.randbytes(64).hex().encode()[:64] + text[len(text) // 2 :]


class World:
    """A repository and a folder beside it, with files to keep and one to erase."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / "source"
        self.folder.mkdir()
        self.url = str(place / "repository")
        self.repository = dataver.init(self.url)
        self.contents: dict[str, bytes] = {}

    @property
    def store(self) -> Store:
        return self.repository.session.store

    def write(self, path: str, data: bytes) -> None:
        self.contents[path] = data
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    def commit(self, dataset: str = "d", **options: object) -> str:
        return self.repository.commit(dataset, self.folder, **options).id  # type: ignore[arg-type]

    def another(self) -> Repository:
        """As another process would open it."""
        return dataver.open(self.url)

    def erase(self, what: str, ref: str = "d", **options: object) -> EraseReport:
        return erase(self.repository.session, ref, what, reason=REASON, yes=True, **options)  # type: ignore[arg-type]

    def is_whole(self, erased: int = 0) -> bool:
        report = self.another().verify(deep=True)
        assert report.ok, report.damaged
        assert report.erased == erased
        return True

    def reads(self, ref: str, *gone: str) -> bool:
        """All files are as they were, save those that are gone, which say so."""
        version = self.another().version(ref)
        for path, data in self.contents.items():
            if path in gone:
                with pytest.raises(ErasedError, match=REASON):
                    version.read(path)
            else:
                assert version.read(path) == data
        return True

    def rare(self, path: str) -> bytes:
        """The bytes of a file that no other has."""
        data = self.contents[path]
        return data[len(data) // 2 - 32 : len(data) // 2 + 32] if path.endswith(".txt") else data

    def packs(self) -> set[str]:
        return {info.key for info in self.store.list(PACK_PREFIX)}


def pieces(canary: bytes) -> list[bytes]:
    """Parts of the bytes that are looked for, so that no cut of a chunk hides all of them."""
    step = max(len(canary) // 16, PIECE_BYTES)
    return [canary[at : at + PIECE_BYTES] for at in range(0, len(canary) - PIECE_BYTES + 1, step)]


def traces(store: Store, canary: bytes, *folders: Path) -> list[str]:
    """Where any piece of the bytes is: in objects raw, in frames decoded, in files of folders."""
    wanted = pieces(canary)
    found: list[str] = []
    for info in store.list(""):
        if _has(store.get(info.key), wanted):
            found.append(info.key)
        if info.key.startswith(PACK_PREFIX):
            name = Digest.parse(info.key.rpartition("/")[2])
            with suppress(DamagedError):  # Of an upload that was cut there is nothing but what is raw.
                found += [f"{info.key} at {at}" for at, plain in frames(store, name) if _has(plain, wanted)]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and _has(path.read_bytes(), wanted):
                found.append(str(path))
    return found


def frames(store: Store, name: Digest) -> Iterator[tuple[int, bytes]]:
    """Every frame of a pack, decoded, with its offset."""
    footer, _ = read_footer(store, name)
    for frame in footer.frames:
        stored = bytes(store.get_ranges(pack_key(name), [(frame.offset, frame.stored_bytes)])[0])
        yield frame.offset, stored if frame.codec == Codec.RAW else decompress(stored, frame.raw_bytes)


def _has(data: bytes, wanted: Sequence[bytes]) -> bool:
    return any(piece in data for piece in wanted)
