"""The hashing core against published vectors, and the domains of format v1 pinned for ever."""

from __future__ import annotations

from enum import Enum
from typing import cast

import pytest

from dataver.digest import Digest
from dataver.hashing import FileHasher, Kind, blake3_digest, digests, kind_digest, xxh3_64

# From test_vectors.json of the BLAKE3 project: input length, hash, derive_key (32 bytes of each).
# Inputs repeat the bytes 0, 1 ... 250.
VECTORS = [
    (
        0,
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d",
    ),
    (
        1,
        "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c",
    ),
    (
        1024,
        "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706",
    ),
    (
        1025,
        "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb",
    ),
    (
        8193,
        "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b",
        "af1e0346e389b17c23200270a64aa4e1ead98c61695d917de7d5b00491c9b0f1",
    ),
    (
        102400,
        "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
        "4652cff7a3f385a6103b5c260fc1593e13c778dbe608efb092fe7ee69df6e9c6",
    ),
]

# Digests of no bytes. Never to change: every id of every repository hangs on them.
EMPTY_OF_KIND = {
    Kind.MANIFEST_NODE: "455683d7d76ef57e77c46830dcf8d4a77ce6e19c23b6353a185b046df8ce42eb",
    Kind.IDENTITY_NODE: "6df9fb69622eecb0502692f5febd48419fbb3704867a71f274a951629dfa6aa0",
    Kind.STATE_NODE: "29d7c347211e7707f99f1ce218d9d6e2923ddd9b13eb836834c061465d957f62",
    Kind.STATE_IDENTITY: "df3d20742ea6a48cdbc11e847b51be6586439b8a4a6755ffc5a4f9c71a60e4ec",
    Kind.CHUNK_LIST: "44e4a96e009fdfb180e0422903b878fd5f656003c186c69dbb3c9e2285d21cc2",
    Kind.VERSION: "ccde7231f47abe5db1bc7c8ae2a7c8c56c9731270e2921da3fc6550ec1712b8b",
    Kind.RUN: "dfd10d2b93c5387ba4355106f0288e6170843e33ba59ab1e77e0b2e4557c2f7a",
    Kind.RUN_PART: "f8feb2daaa3a315a00e4dc42d9c8f72047a2597196cb9e9a16efce9d9bf998d9",
    Kind.LOG_ENTRY: "232c0ca91f2f5fa104a763e9bc48cdf4f77be0b863fe63ddb86be162c45ed97d",
    Kind.TABLE_STATISTICS: "50c567afb7b11f4d4ce33578bfca6d5a29195843699767734a1fb88c1b1e267a",
}


class Published(Enum):
    """The context of the published vectors, in the place of a kind."""

    CONTEXT = "BLAKE3 2019-12-27 16:29:52 test vectors context"


def vector_input(size_bytes: int) -> bytes:
    return bytes(i % 251 for i in range(size_bytes))


@pytest.mark.parametrize(("size_bytes", "plain", "derived"), VECTORS)
def test_published_vectors(size_bytes: int, plain: str, derived: str) -> None:
    data = vector_input(size_bytes)
    assert str(blake3_digest(data)) == plain
    assert str(kind_digest(cast("Kind", Published.CONTEXT), data)) == derived


@pytest.mark.parametrize(("size_bytes", "plain", "derived"), VECTORS)
@pytest.mark.parametrize("piece_bytes", [1, 63, 1024, 70_000])
def test_pieces_give_the_digest_of_the_whole(
    size_bytes: int, plain: str, derived: str, piece_bytes: int
) -> None:
    data = vector_input(size_bytes)
    hasher = FileHasher()
    for start in range(0, size_bytes, piece_bytes):
        hasher.update(data[start : start + piece_bytes])
    assert str(hasher.digest()) == plain


def test_a_hasher_goes_on_after_a_digest() -> None:
    hasher = FileHasher()
    hasher.update(b"one")
    assert hasher.digest() == blake3_digest(b"one")
    hasher.update(b"two")
    assert hasher.digest() == blake3_digest(b"onetwo")


def test_many_buffers_at_once() -> None:
    buffers: list[bytes | bytearray | memoryview] = [
        b"",
        b"a",
        bytearray(b"b" * 5000),
        memoryview(b"xcx")[1:2],
    ]
    assert digests(buffers) == b"".join(blake3_digest(buffer) for buffer in buffers)
    assert digests([]) == b""


def test_any_contiguous_buffer_is_taken_and_no_other() -> None:
    data = vector_input(4096)
    assert blake3_digest(bytearray(data)) == blake3_digest(memoryview(data)) == blake3_digest(data)
    assert xxh3_64(bytearray(data)) == xxh3_64(memoryview(data)) == xxh3_64(data)
    with pytest.raises(BufferError):
        blake3_digest(memoryview(data)[::2])


def test_results_are_digests() -> None:
    hasher = FileHasher()
    for digest in (blake3_digest(b"x"), kind_digest(Kind.RUN, b"x"), hasher.digest()):
        assert isinstance(digest, Digest)
        assert len(digest) == 32
        assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize("kind", Kind)
def test_kinds_are_pinned(kind: Kind) -> None:
    assert str(kind_digest(kind, b"")) == EMPTY_OF_KIND[kind]


def test_no_file_passes_for_a_record_and_no_record_for_another_kind() -> None:
    found = {kind_digest(kind, b"same bytes") for kind in Kind} | {blake3_digest(b"same bytes")}
    assert len(found) == len(Kind) + 1


def test_xxh3_published_values() -> None:
    # From the sanity test of xxHash: no bytes, without a seed and with its 64-bit prime.
    assert xxh3_64(b"") == 0x2D06800538D394C2
    assert xxh3_64(b"", 0x9E3779B185EBCA8D) == 0xA8A6B918B2F0364A
