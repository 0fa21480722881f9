"""Columns that go on in a file, wherever they do: the bytes that a `bytearray` would have."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import column as column_module
from dataver.claims import SLOT_BYTES, Claims
from dataver.column import Column, File, Records
from dataver.hashing import blake3_digest

pieces = st.text("ab\0", max_size=12).map(str.encode)
spans = st.tuples(st.integers(-3, 40), st.integers(-3, 40))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), pieces),
        st.tuples(st.just("put"), st.tuples(st.integers(0, 40), pieces)),
        st.tuples(st.just("read"), spans),
        st.tuples(st.just("find"), st.integers(0, 40)),
        st.tuples(st.just("part"), spans),
    ),
    max_size=20,
)


@contextmanager
def small(held: int, block: int, pieces_max: int = 2) -> Iterator[None]:
    """Columns that leave the memory after so many bytes."""
    with (
        mock.patch.object(column_module, "HELD_BYTES_MAX", held),
        mock.patch.object(column_module, "BLOCK_BYTES", block),
        mock.patch.object(column_module, "_PIECES_MAX", pieces_max),
    ):
        yield


def take(column: Column, model: bytearray, step: str, value: Any) -> None:
    """One step with both, which must show the same."""
    if step == "append":
        column += value
        model += value
    elif step == "put":
        at, data = min(value[0], len(model)), value[1]
        data = data[: len(model) - at]
        column.put(at, data)
        model[at : at + len(data)] = data
    elif step == "read":
        assert column[slice(*value)] == bytes(model[slice(*value)])
    elif step == "find":
        assert column.find(b"\0", value) == model.find(b"\0", value)
    else:
        start, stop, _ = slice(*value).indices(len(model))
        some, wanted = column.part(start, max(start, stop)), model[start : max(start, stop)]
        assert some == bytes(wanted)
        if wanted:
            some.put(0, b"z")
        some += b"more"
        expected = bytes(b"z" + wanted[1:] if wanted else b"") + b"more"
        assert some[:] == expected, "a part is a column of its own"
    assert len(column) == len(model)


@given(start=pieces, steps=steps, held=st.sampled_from([0, 1, 7, 30, 1_000]), block=st.integers(1, 9))
def test_a_column_has_what_was_put_into_it(
    start: bytes, steps: list[tuple[str, Any]], held: int, block: int
) -> None:
    with small(held, block):
        column, model = Column(start), bytearray(start)
        for step, value in steps:
            take(column, model, step, value)
        assert column == bytes(model)
        assert column == Column(bytes(model))
        assert column != bytes(model) + b"x"
        assert b"".join(column.blocks(block)) == bytes(model)
        assert [column[at] for at in range(len(model))] == list(model)


@given(before=pieces, steps=steps, block=st.integers(1, 9))
def test_a_file_that_is_read_stays_as_it_is(
    before: bytes, steps: list[tuple[str, Any]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "column"
    path.write_bytes(b"head" + before + b"tail")
    with small(5, block):
        file = File(os.open(path, os.O_RDONLY))
        column, model = Column.in_file(file, 4, 4 + len(before)), bytearray(before)
        for step, value in steps:
            take(column, model, step, value)
        assert column == bytes(model)
    assert path.read_bytes() == b"head" + before + b"tail"


def test_a_long_column_takes_no_memory_and_leaves_nothing(tmp_path: Path) -> None:
    gc.collect()  # What other tests left would be closed in between.
    open_before = len(os.listdir("/proc/self/fd"))
    with mock.patch.dict(os.environ, {"DATAVER_CACHE_DIR": os.fspath(tmp_path / "cache")}), small(100, 10):
        column = Column()
        for number in range(1_000):
            column += b"%08d" % number
        assert len(os.listdir("/proc/self/fd")) == open_before + 1
        assert len(column._held) + column._new_bytes <= 18
        assert column[8 * 500 : 8 * 501] == b"00000500"
        assert list((tmp_path / "cache").iterdir()) == [], "its file has no name"
        del column
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_file_system_without_nameless_files_has_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setenv("DATAVER_CACHE_DIR", os.fspath(tmp_path / "cache"))
    with small(10, 4):
        column = Column()
        for number in range(10):
            column += b"%04d" % number
        assert column._file is not None
        assert column == b"".join(b"%04d" % number for number in range(10))
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_there_is_no_room_it_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused = {"DATAVER_CACHE_DIR": os.fspath(tmp_path / "file" / "cache")}
    with mock.patch.dict(os.environ, refused), small(10, 4):
        column = Column()
        for number in range(100):
            column += b"%04d" % number
        assert column == b"".join(b"%04d" % number for number in range(100))
        assert column._file is None


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = File.write

    def full(self: File, data: Any, at: int) -> None:
        real(self, data[: max(0, 60 - at)], at)
        if at + len(data) > 60:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(File, "write", full)
    monkeypatch.setenv("DATAVER_CACHE_DIR", os.fspath(tmp_path))
    with small(10, 4):
        column, model = Column(), bytearray()
        for number in range(100):
            column += b"%04d" % number
            model += b"%04d" % number
            column.put(len(model) // 2, b"x")
            model[len(model) // 2] = ord("x")
        assert 0 < column._stored <= 60
        assert column == bytes(model)
        column.put(column._stored - 1, b"!!")
        model[column._stored - 1 : column._stored + 1] = b"!!"
        assert column == bytes(model)


def test_a_file_that_was_cut_is_an_error_and_no_other_bytes(tmp_path: Path) -> None:
    path = tmp_path / "column"
    path.write_bytes(b"0123456789")
    column = Column.in_file(File(os.open(path, os.O_RDONLY)), 0, 10)
    assert column[8:] == b"89"
    os.truncate(path, 9)
    with pytest.raises(OSError, match="ends at byte 9"):
        column[8:]


@given(st.lists(st.tuples(st.integers(0, 9), pieces), max_size=20), st.sampled_from([0, 20, 1_000]))
def test_records_are_read_back(objects: list[tuple[int, bytes]], held: int) -> None:
    with small(held, 3):
        records, model = Records(), dict[bytes, bytes]()
        for number, data in objects:
            key = bytes([number]) * 32
            records.add(key, data)
            model.setdefault(key, data)
            assert records[key] == model[key]
        assert (dict(records), list(records), len(records)) == (model, list(model), len(model))
        assert b"x" * 32 not in records


# Digests of few kinds, so that some come again; with the same four bytes that a table has of them, so that
# it takes them for each other; and that begin alike, so that they are searched for at the same place.
marks = st.sampled_from([b"\0\0\0\0", b"mark", b"\xff\xff\xff\xff"])
starts = st.sampled_from([bytes(8), b"\1" + bytes(7), b"\xff" * 8])
ends = st.integers(0, 5).map(lambda number: bytes([number]) * 20)
digests = st.builds(lambda start, mark, end: start + mark + end, starts, marks, ends)


@given(st.lists(st.lists(digests, max_size=12), max_size=12), st.booleans())
def test_a_digest_is_claimed_once(batches: list[list[bytes]], is_compiled: bool) -> None:
    with small(40, 32), mock.patch("dataver.claims.SLOTS_MIN", 64):
        claims, model = Claims(), set[bytes]()
        if not is_compiled:
            claims._compiled = None
        for batch in batches:
            expected = []
            for digest in batch:
                expected.append(digest not in model)
                model.add(digest)
            assert claims.claim(b"".join(batch)) == expected


def test_claims_grow_and_take_little_memory() -> None:
    many = [blake3_digest(b"%d" % number) for number in range(20_000)]
    claims = Claims()
    for start in range(0, len(many), 100):
        assert all(claims.claim(b"".join(many[start : start + 100])))
        assert not any(claims.claim(b"".join(many[start // 2 : start // 2 + 100])))
    if claims._compiled is not None:
        assert len(claims._slots) // SLOT_BYTES == 32_768
        assert not claims._others
