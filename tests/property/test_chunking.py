"""Cuts are a function of the bytes: windows, buffers and kernels make no difference."""

from __future__ import annotations

from itertools import cycle
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from pyfastcdc.py import FastCDC as PlainPythonFastCDC

from dataver.chunking import ChunkerParameters, fastcdc
from dataver.chunking.fastcdc import cuts
from dataver.chunking.stream import Cutter

# Small chunks, so that a few KiB have many cuts of each sort.
parameters = st.sampled_from(
    [
        ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024),
        ChunkerParameters(min_bytes=64, average_bytes=300, max_bytes=1030),
        ChunkerParameters(min_bytes=512, average_bytes=512, max_bytes=1024),
        ChunkerParameters(min_bytes=1024, average_bytes=1024, max_bytes=1024),
    ]
)
noise = st.tuples(st.integers(0, 1000), st.integers(0, 4000)).map(
    lambda drawn: Random(drawn[0]).randbytes(drawn[1])
)
runs = st.tuples(st.binary(min_size=1, max_size=20), st.integers(0, 300)).map(
    lambda drawn: drawn[0] * drawn[1]
)
contents = st.lists(noise | runs, max_size=4).map(b"".join)
windows = st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(any)


def cut_in_windows(
    data: bytes, parameters: ChunkerParameters, forced: list[int], window_sizes: list[int]
) -> list[int]:
    """Fresh bytes come in blocks of these sizes, each behind what was carried over."""
    cutter = Cutter(parameters, forced)
    found: list[int] = []
    filled = 0
    for block_bytes in cycle(window_sizes):
        filled = min(filled + block_bytes, len(data))
        start = cutter.offset
        ends = cutter.cut(memoryview(data)[start:filled], final=filled == len(data))
        assert ends or filled == len(data) or filled - start < parameters.max_bytes
        found += [start + end for end in ends]
        if filled == len(data):
            return found
    raise AssertionError("cycle() does not end")


@given(contents, parameters)
def test_cuts_cover_the_data_in_allowed_sizes(data: bytes, parameters: ChunkerParameters) -> None:
    ends = cuts(data, parameters, final=True)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert sum(lengths) == len(data)
    assert all(parameters.min_bytes <= length <= parameters.max_bytes for length in lengths[:-1])
    assert all(0 < length <= parameters.max_bytes for length in lengths[-1:])


@given(contents, parameters)
def test_an_independent_kernel_agrees(data: bytes, parameters: ChunkerParameters) -> None:
    plain = PlainPythonFastCDC(
        parameters.average_bytes, min_size=parameters.min_bytes, max_size=parameters.max_bytes
    )
    assert cuts(data, parameters, final=True) == [c.offset + c.length for c in plain.cut_buf(data)]


@given(contents, contents, parameters)
def test_what_is_decided_stays_whatever_follows(
    data: bytes, more: bytes, parameters: ChunkerParameters
) -> None:
    decided = cuts(data, parameters, final=False)
    assert cuts(data + more, parameters, final=True)[: len(decided)] == decided
    assert len(data) - (decided[-1] if decided else 0) < max(parameters.max_bytes, 1)


@given(contents, parameters, windows)
def test_any_windows_give_the_cuts_of_one_buffer(
    data: bytes, parameters: ChunkerParameters, window_sizes: list[int]
) -> None:
    assert cut_in_windows(data, parameters, [], window_sizes) == cuts(data, parameters, final=True)


@given(contents, parameters, windows, st.sets(st.integers(1, 9000), max_size=6).map(sorted))
def test_any_windows_give_the_same_forced_cuts(
    data: bytes, parameters: ChunkerParameters, window_sizes: list[int], forced: list[int]
) -> None:
    inside = [cut for cut in forced if cut < len(data)]
    expected = []
    for start, stop in zip([0, *inside], [*inside, len(data)], strict=True):
        expected += [start + end for end in cuts(data[start:stop], parameters, final=True)]
    assert cut_in_windows(data, parameters, forced, window_sizes) == expected


@given(contents, parameters)
def test_both_kernels_cut_alike(data: bytes, parameters: ChunkerParameters) -> None:
    """The one in use is the compiled part, where it was built."""
    assert fastcdc._kernel()(memoryview(data), parameters) == fastcdc._library()(memoryview(data), parameters)


even = st.integers(32, 1 << 12).map(lambda half: 2 * half)


@given(st.integers(0, 1000), st.integers(0, 1 << 18), st.lists(even, min_size=3, max_size=3).map(sorted))
def test_both_kernels_cut_alike_at_any_sizes(seed: int, size_bytes: int, sizes: list[int]) -> None:
    parameters = ChunkerParameters(
        min_bytes=sizes[0], average_bytes=max(256, sizes[1]), max_bytes=max(1024, sizes[2])
    )
    data = memoryview(Random(seed).randbytes(size_bytes))
    assert fastcdc._kernel()(data, parameters) == fastcdc._library()(data, parameters)
