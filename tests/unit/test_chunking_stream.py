"""Windows over a file: the same cuts whatever the windows, forced ones to the byte."""

from __future__ import annotations

from random import Random

import pytest

from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.chunking.stream import Cutter

DEFAULT = ChunkerParameters()
NOISE = Random(7).randbytes(3 << 20)


def cut_in_windows(data: bytes, forced: list[int], window_bytes: int) -> list[int]:
    """As ingest does it: what is not decided is carried over to the next window."""
    cutter = Cutter(DEFAULT, forced)
    found: list[int] = []
    while True:
        window = memoryview(data)[cutter.offset : cutter.offset + window_bytes]
        start = cutter.offset
        final = start + len(window) == len(data)
        ends = cutter.cut(window, final=final)
        found += [start + end for end in ends]
        assert cutter.offset == (found[-1] if found else 0)
        if final:
            return found
        assert ends, "a window of the largest chunk's size always gets on"


@pytest.mark.parametrize("window_bytes", [262_144, 262_145, 1 << 20, 8 << 20])
def test_without_forced_cuts_it_is_fastcdc(window_bytes: int) -> None:
    assert cut_in_windows(NOISE, [], window_bytes) == cuts(NOISE, DEFAULT, final=True)


@pytest.mark.parametrize("window_bytes", [262_144, 1 << 20, 8 << 20])
@pytest.mark.parametrize(
    "forced",
    [
        [1],
        [20_000],
        [500_000, 500_001, 500_100],
        [262_144],
        [1 << 20, 2 << 20],
        [len(NOISE) - 1],
        [len(NOISE)],
    ],
)
def test_between_forced_cuts_each_piece_is_a_file_of_its_own(forced: list[int], window_bytes: int) -> None:
    expected = []
    for start, stop in zip([0, *forced], [*forced, len(NOISE)], strict=True):
        expected += [start + end for end in cuts(NOISE[start:stop], DEFAULT, final=True)]
    found = cut_in_windows(NOISE, forced, window_bytes)
    assert found == expected
    assert set(forced) <= set(found)


def test_forced_cuts_beyond_the_file_have_no_effect() -> None:
    assert cut_in_windows(NOISE, [len(NOISE) + 1, 1 << 40], 1 << 20) == cuts(NOISE, DEFAULT, final=True)


def test_a_window_that_decides_nothing() -> None:
    cutter = Cutter(DEFAULT, [30_000])
    assert cutter.cut(NOISE[:20_000], final=False) == []
    assert cutter.offset == 0
    assert cutter.cut(NOISE[:30_000], final=False) == [30_000]
    assert cutter.offset == 30_000
    assert cutter.cut(b"", final=False) == []
    assert cutter.cut(b"tail", final=True) == [4]
    assert cutter.offset == 30_004


def test_an_empty_file() -> None:
    assert Cutter(DEFAULT).cut(b"", final=True) == []
    assert Cutter(DEFAULT, [100]).cut(b"", final=True) == []
