"""What later releases may add: refused where it must be understood, else carried byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from dataver.digest import Digest
from dataver.errors import DataverError, NewerFormatError
from dataver.format.entry import Entry as LogEntry
from dataver.format.entry import decode_entry
from dataver.format.node import IDENTITY, MUST_UNDERSTAND, Row
from dataver.format.operations import Genesis, Operation, Unknown
from dataver.format.pack import HEADER_BYTES, footer_length, parse_footer
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.keys import entry_key
from dataver.log.log import FORMAT
from dataver.log.state import State
from dataver.publish import Basis, Change, Label, Publisher, Written
from dataver.repository import Repository, open_repository
from dataver.store.memory import MemoryStore
from dataver.tree.manifest import Entry, to_row
from dataver.tree.schema import MANIFEST
from dataver.tree.walk import scan
from tests.golden.make_vectors import digest_of, id_of, make
from tests.repositories import memory_repository
from tests.unit.test_format_malformed import READERS, reseal

NOTE = (b"note", 0, b"what a later release says of this file")
LABEL = (b"labl", IDENTITY, b"cat")


def sample(name: str) -> bytes:
    return next(bytes.fromhex(v["bytes"]) for v in make() if v["name"] == name)


# Objects


@pytest.mark.parametrize("flags", [0, IDENTITY, 4, 128])
def test_a_column_that_may_be_ignored_is_kept(flags: int) -> None:
    rows = [Row(b"%d" % n, bytes(41), ((b"note", flags, b"%d" % n),) if n % 2 else ()) for n in range(5)]
    data, link = MANIFEST.encode(0, rows)
    assert MANIFEST.decode(data, "it").rows == rows
    assert MANIFEST.encode(0, MANIFEST.decode(data, "it").rows) == (data, link)
    bare = MANIFEST.encode(0, [row._replace(extras=()) for row in rows])[1]
    assert (bare.identity == link.identity) is not bool(flags & IDENTITY)


@pytest.mark.parametrize("flags", [MUST_UNDERSTAND, MUST_UNDERSTAND | IDENTITY])
def test_a_column_that_must_be_understood_refuses(flags: int) -> None:
    data, _ = MANIFEST.encode(0, [Row(b"a", bytes(41), ((b"note", flags, b"x"),))])
    with pytest.raises(NewerFormatError, match="note"):
        MANIFEST.decode(data, "it")


def test_a_column_of_another_shape_refuses() -> None:
    """Only sparse columns can be carried without knowing them."""
    data, _ = MANIFEST.encode(0, [Row(b"a", bytes(41), ((b"note", 0, b"x"),))])
    at = data.index(b"note")
    assert data[at + 5] == 2
    for shape in (0, 1, 3):
        with pytest.raises(NewerFormatError, match="note"):
            MANIFEST.decode(data[: at + 5] + bytes([shape]) + data[at + 6 :], "it")


def version_with(flags: int) -> bytes:
    return VersionRecord(digest_of("t"), (), 0, "a", "m", extensions=((b"note", flags, b"x"),)).encode()


def entry_with(flags: int) -> bytes:
    body = sample("genesis")[:-36] + struct.pack("<I4sII", 1, b"note", flags, 1) + b"x"
    return body + kind_digest(Kind.LOG_ENTRY, body)


def pack_with(flags: int) -> bytes:
    data = sample("data pack")
    length = footer_length(data[-56:], len(data), "it") - 56
    footer = data[-56 - length : -60] + struct.pack("<I4sII", 1, b"note", flags, 1) + b"x"
    body = data[: -56 - length] + footer
    digest = blake3_digest(data[:HEADER_BYTES] + footer)
    return body + struct.pack("<IIQ32s8s", len(footer), 0, len(body) + 56, digest, b"DVPKEND\n")


def read_pack(data: bytes) -> object:
    length = footer_length(data[-56:], len(data), "it")
    return parse_footer(data[:HEADER_BYTES], data[-length:], len(data), "it")


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (version_with, lambda data: decode_version(data, "it")),
        (entry_with, lambda data: decode_entry(data, "it")),
        (pack_with, read_pack),
    ],
)
def test_extensions(make: Callable[[int], bytes], read: Callable[[bytes], object]) -> None:
    for flags in (0, 1, 4):
        read(make(flags))
    for flags in (MUST_UNDERSTAND, MUST_UNDERSTAND | 1):
        with pytest.raises(NewerFormatError, match="note"):
            read(make(flags))


def test_extensions_of_a_version_are_part_of_it() -> None:
    record = decode_version(version_with(0), "it")
    assert record.extensions == ((b"note", 0, b"x"),)
    assert record.encode() == version_with(0)


def test_operations() -> None:
    def entry(operation: Operation) -> bytes:
        write_id, repository = id_of("w"), id_of("r")
        return LogEntry(0, Digest(bytes(32)), repository, write_id, 0, "a", (operation,), None, ()).encode()

    kept = Unknown(b"futr", 1, b"\0anything")
    assert decode_entry(entry(kept), "it").operations == (kept,)
    with pytest.raises(NewerFormatError, match="futr"):
        decode_entry(entry(Unknown(b"futr", MUST_UNDERSTAND, b"")), "it")


# What a signature says has a type for a version: see `test_signatures.py`.
@pytest.mark.parametrize("name", [v["name"] for v in make() if v["kind"] in READERS.keys() - {"signature"}])
def test_a_later_version_of_an_object_refuses(name: str) -> None:
    """The version number follows the magic: one byte, or two in packs and segments."""
    kind = next(v["kind"] for v in make() if v["name"] == name)
    data = sample(name)
    at = 8 if kind in ("pack", "segment") else 4
    with pytest.raises(NewerFormatError, match="version 2"):
        READERS[kind](reseal(kind, data[:at] + b"\2" + data[at + 1 :]))


# Repositories


@pytest.fixture
def repository() -> Repository:
    return memory_repository()


def genesis_with(**features: object) -> Repository:
    store = MemoryStore(uuid4().hex)
    made = Genesis(**{"format": FORMAT, "chunker": "fastcdc2020-nc1-seed0", "chunk_bytes_min": 16384,
                      "chunk_bytes_average": 65536, "chunk_bytes_max": 262144, **features})  # type: ignore[arg-type]  # fmt: skip
    entry = LogEntry(0, Digest(bytes(32)), id_of("r"), id_of("w"), 0, "a", (made,), None, ())
    assert store.put_new(entry_key(0), entry.encode())
    return open_repository(store.url)


def test_features_of_a_repository() -> None:
    assert genesis_with(optional=("later", "and more")).datasets() == []
    for features in ({"required": ("later",)}, {"format": 2}, {"format": 0}):
        with pytest.raises(NewerFormatError, match="newer release"):
            genesis_with(**features)
    with pytest.raises(NewerFormatError):
        genesis_with(chunker="better").session.parameters()
    for sizes in ({"chunk_bytes_min": 0}, {"chunk_bytes_max": 2**63}, {"chunk_bytes_average": 17}):
        with pytest.raises(DataverError):
            genesis_with(**sizes).session.parameters()


def test_operations_that_may_be_ignored_are_repeated_byte_for_byte(
    repository: Repository, tmp_path: Path
) -> None:
    session = repository.session
    (tmp_path / "file").write_bytes(b"1")
    unknown = Unknown(b"futr", 1, bytes(range(256)))
    session.log.append(lambda _: (unknown,), session.who(None))
    repository.commit("d", tmp_path)
    for number in range(70):
        repository.tag("d", f"t{number}")
    tail = session.log.tail().entry
    assert tail.number == 72
    assert session.log.entry(63).entry.since[1].operations == (unknown,)
    assert repository.show("d@t69").version == "v1"
    assert repository.verify(deep=True).ok


def publish(repository: Repository, rows: list[Row]) -> None:
    session = repository.session
    label = Label("by a later release", session.who(None))
    Publisher(
        session, "d", "main", Change({row.key: row for row in rows}, Basis(None)), label, Written()
    ).publish()


def extras_in(repository: Repository, ref: str) -> dict[bytes, tuple[tuple[bytes, int, bytes], ...]]:
    session = repository.session
    state: State = session.state()
    nodes = session.nodes(state)
    root = session.root(nodes, session.resolve(ref).version)
    return {row.key: row.extras for row in scan(nodes, root) if row.extras}


def test_columns_stay_with_their_files_as_long_as_the_bytes_do(
    repository: Repository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("same", "mode", "moved", "other"):
        (data / name).write_bytes(name.encode())
    repository.commit("chunks", data)
    publish(
        repository,
        [
            to_row(Entry(name, 0, False, len(name), blake3_digest(name), (LABEL, NOTE)))
            for name in (b"same", b"mode", b"moved", b"other")
        ],
    )
    repository.checkout("d", tmp_path / "out")
    out = tmp_path / "out"
    (out / "mode").chmod(0o755)
    (out / "moved").rename(out / "elsewhere")
    (out / "other").write_bytes(b"new bytes")
    repository.commit("d", out)
    assert extras_in(repository, "d@v2") == {b"same": (LABEL, NOTE), b"mode": (LABEL, NOTE)}
    # Again with nothing in the stat cache, so that every file is read.
    repository.commit("d", out, base="d@v1", add=True, branch="read")
    repository.revert("d@v1")
    assert set(extras_in(repository, "d@v3")) == {b"same", b"mode", b"moved", b"other"}
    repository.branch("d@v1", "line")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "added").write_bytes(b"a")
    repository.commit("d", tmp_path / "one", branch="line", add=True)
    repository.merge("d@line")
    assert extras_in(repository, "d") == extras_in(repository, "d@v1")
    assert repository.verify(deep=True).ok


def test_columns_stay_where_every_file_is_read_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"bytes")
    repository.commit("chunks", data)
    publish(repository, [to_row(Entry(b"file", 0, False, 5, blake3_digest(b"bytes"), (LABEL, NOTE)))])
    (data / "file").chmod(0o755)
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    assert repository.commit("d", data).changed.modified == 1
    assert extras_in(repository, "d") == {b"file": (LABEL, NOTE)}
