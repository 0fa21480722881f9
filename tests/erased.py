"""Looking for bytes that are to be nowhere: in each file as it lies on the disk, in each frame decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from dataver.compression import Codec, decompress
from dataver.digest import Digest
from dataver.errors import DamagedError
from dataver.keys import PACK_PREFIX, pack_key
from dataver.packs import read_footer
from dataver.store.base import Store

PIECE_BYTES = 24


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
