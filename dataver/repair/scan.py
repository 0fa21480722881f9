"""Packs that no segment names, or that are damaged: what of them is lost elsewhere.

Frames that neither index nor footer knows any more are found by their record headers. How long the chunks
in them are is not said there. So the lengths of what is lost are tried where a chunk may
begin, and records are known by how they begin; the digest decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.digest import DIGEST_BYTES
from dataver.format.chunk_list import LIST_MAGIC
from dataver.format.node import NODE_MAGIC
from dataver.format.pack import PackKind
from dataver.format.run_record import RUN_MAGIC
from dataver.format.version import VERSION_MAGIC
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.repair.lost import Lost
from dataver.repair.salvage import packed, salvage, unlisted
from dataver.repair.sources import Take
from dataver.verify.packs import Claim

MAGICS = (NODE_MAGIC, LIST_MAGIC, VERSION_MAGIC, RUN_MAGIC)

Claims = Callable[[bytes], Sequence[Claim]]
Read = Callable[[bytes], "bytes | None"]


class FromUnnamedPacks:
    """Packs by name: `read` gives their bytes, `claims` what the index says of them."""

    name = "packs that no segment names"

    def __init__(
        self, packs: Callable[[], Iterable[bytes]], read: Read, claims: Claims, parameters: ChunkerParameters
    ) -> None:
        self._packs = packs
        self._read = read
        self._claims = claims
        self._parameters = parameters

    def heal(self, lost: Lost, take: Take) -> None:
        lengths = sorted(set(lost.lengths.values()), reverse=True)
        for name in sorted(self._packs()):
            data = self._read(name) or b""
            for frame in salvage(name, data, self._claims(name), lambda digests: _are_lost(digests, lost)):
                take(frame)
            for plain in unlisted(data, self._claims(name)):
                for digest, part in _chunks(plain, lengths, lost, self._parameters):
                    take(packed(PackKind.DATA, [digest], [part]))
                for digest, part in _records(plain, lost):
                    take(packed(PackKind.META, [digest], [part]))


def _are_lost(digests: bytes, lost: Lost) -> list[bool]:
    each = (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
    return [digest in lost.missing for digest in each]


def _chunks(
    plain: memoryview, lengths: Sequence[int], lost: Lost, parameters: ChunkerParameters
) -> Iterator[tuple[bytes, memoryview]]:
    """The lost chunks in a frame, from its beginning on."""
    at = 0
    while at < len(plain):
        rest = plain[at:]
        for length in lengths:
            part = rest[:length]
            digest = blake3_digest(part)
            if lost.lengths.get(digest) == len(part):
                yield digest, part
                at += len(part)
                break
        else:
            # A chunk that is not lost, as long as its contents say, unless a file ends before.
            at += cuts(rest, parameters, final=True)[0]


def _records(plain: memoryview, lost: Lost) -> Iterator[tuple[bytes, memoryview]]:
    """The lost records in a frame: each ends where another one may begin."""
    data = bytes(plain)
    bounds = sorted({at for magic in MAGICS for at in _places(data, magic)} | {len(data)})
    for number, start in enumerate(bounds):
        for end in bounds[number + 1 :]:
            part = plain[start:end]
            found = next((d for kind in Kind if (d := kind_digest(kind, part)) in lost.missing), None)
            if found is not None:
                yield found, part
                break


def _places(data: bytes, magic: bytes) -> Iterator[int]:
    at = data.find(magic)
    while at >= 0:
        yield at
        at = data.find(magic, at + 1)
