"""The cuts of format v1, pinned; the sizes it allows; and that a slow or foreign kernel is refused."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
from blake3 import blake3
from pyfastcdc.py import FastCDC as PlainPythonFastCDC

from dataver.chunking import CHUNK_BYTES_MAX, ChunkerParameters, fastcdc
from dataver.chunking.fastcdc import cuts
from dataver.errors import BadInputError, EnvironmentFaultError, NewerFormatError
from dataver.native import native

DEFAULT = ChunkerParameters()
SMALL = ChunkerParameters(min_bytes=256, average_bytes=4096, max_bytes=8192)

NOISE = blake3(b"dataver golden cuts").digest(length=1 << 20)
LINES = b"".join(b"%d\n" % i for i in range(200_000))


def offsets(text: str) -> list[int]:
    return [int(word) for word in text.split()]


# Never to change: a repository that is cut elsewhere deduplicates against nothing it has.
GOLDEN = {
    "noise": (
        NOISE,
        DEFAULT,
        offsets(
            "50124 68482 208944 315463 376208 424098 537744 604400 672662 759624 790328 864480 930156 "
            "1042691 1048576"
        ),
    ),
    "noise, small chunks": (
        NOISE[: 1 << 16],
        SMALL,
        offsets(
            "795 3819 4202 8737 15101 19652 19937 26378 26921 28691 36883 40875 42819 "
            "44893 49903 53714 55161 59324 65397 65536"
        ),
    ),
    "lines": (
        LINES,
        DEFAULT,
        offsets(
            "81092 165839 196636 275991 396644 469113 499561 569702 712914 769539 906097 985076 1071147 "
            "1118851 1204541 1288890"
        ),
    ),
    "zeros": (bytes(600_001), DEFAULT, [262144, 524288, 600001]),
}


def pieces(data: bytes, ends: list[int]) -> set[bytes]:
    return {data[start:end] for start, end in zip([0, *ends], ends, strict=False)}


class TestParameters:
    def test_defaults(self) -> None:
        assert ChunkerParameters("fastcdc2020-nc1-seed0", 16_384, 65_536, 262_144) == DEFAULT

    @pytest.mark.parametrize(
        ("min_bytes", "average_bytes", "max_bytes"),
        [
            (62, 256, 1024),
            (64, 254, 1024),
            (64, 256, 1022),
            (1 << 21, 1 << 21, 1 << 22),
            (16_384, 65_536, CHUNK_BYTES_MAX + 2),
            (4096, 2048, 8192),
            (256, 16_384, 8192),
            (-16_384, 65_536, 262_144),
            (101, 256, 1024),
            (100, 257, 1024),
            (100, 256, 1025),
        ],
    )
    def test_sizes_refused(self, min_bytes: int, average_bytes: int, max_bytes: int) -> None:
        with pytest.raises(BadInputError):
            ChunkerParameters(min_bytes=min_bytes, average_bytes=average_bytes, max_bytes=max_bytes)

    @pytest.mark.parametrize(
        ("min_bytes", "average_bytes", "max_bytes"),
        [(64, 256, 1024), (1024, 1024, 1024), (1 << 20, 1 << 22, CHUNK_BYTES_MAX)],
    )
    def test_sizes_that_are_allowed_work(self, min_bytes: int, average_bytes: int, max_bytes: int) -> None:
        parameters = ChunkerParameters(min_bytes=min_bytes, average_bytes=average_bytes, max_bytes=max_bytes)
        ends = cuts(NOISE, parameters, final=True)
        lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        assert sum(lengths) == len(NOISE)
        assert all(min_bytes <= length <= max_bytes for length in lengths[:-1])
        assert lengths[-1] <= max_bytes

    def test_another_algorithm_is_of_a_newer_release(self) -> None:
        with pytest.raises(NewerFormatError, match="buzhash"):
            ChunkerParameters(algorithm="buzhash")


class TestCuts:
    @pytest.mark.parametrize("name", GOLDEN)
    def test_golden(self, name: str) -> None:
        data, parameters, expected = GOLDEN[name]
        assert cuts(data, parameters, final=True) == expected

    @pytest.mark.parametrize("name", GOLDEN)
    def test_golden_by_the_package(self, name: str) -> None:
        data, parameters, expected = GOLDEN[name]
        assert fastcdc._library()(memoryview(data), parameters) == expected

    @pytest.mark.parametrize("name", GOLDEN)
    def test_an_independent_kernel_agrees(self, name: str) -> None:
        data, parameters, _ = GOLDEN[name]
        data = data[:400_000]
        plain = PlainPythonFastCDC(
            parameters.average_bytes, min_size=parameters.min_bytes, max_size=parameters.max_bytes
        )
        assert cuts(data, parameters, final=True) == [c.offset + c.length for c in plain.cut_buf(data)]

    def test_no_bytes_no_chunk(self) -> None:
        assert cuts(b"", DEFAULT, final=True) == cuts(b"", DEFAULT, final=False) == []

    @pytest.mark.parametrize("size_bytes", [1, 16_383, 16_384])
    def test_up_to_the_minimum_is_one_chunk(self, size_bytes: int) -> None:
        assert cuts(NOISE[:size_bytes], DEFAULT, final=True) == [size_bytes]
        assert cuts(NOISE[:size_bytes], DEFAULT, final=False) == []

    def test_what_more_data_could_move_is_left_out(self) -> None:
        _, _, expected = GOLDEN["noise"]
        assert cuts(NOISE, DEFAULT, final=False) == expected[:-1]
        # The end of the buffer is the place of a cut, but only the next byte would show it.
        assert cuts(NOISE[: expected[0]], DEFAULT, final=False) == []
        assert cuts(NOISE[: expected[0] + 2], DEFAULT, final=False) == expected[:1]

    def test_a_chunk_of_the_largest_size_is_decided(self) -> None:
        assert cuts(bytes(262_143), DEFAULT, final=False) == []
        assert cuts(bytes(262_144), DEFAULT, final=False) == [262_144]
        assert cuts(bytes(524_288), DEFAULT, final=False) == [262_144, 524_288]
        only = ChunkerParameters(min_bytes=1024, average_bytes=1024, max_bytes=1024)
        assert cuts(bytes(1023), only, final=False) == []
        assert cuts(bytes(2049), only, final=False) == [1024, 2048]

    def test_any_contiguous_buffer(self) -> None:
        _, _, expected = GOLDEN["noise"]
        assert cuts(bytearray(NOISE), DEFAULT, final=True) == expected
        assert cuts(memoryview(b"x" + NOISE)[1:], DEFAULT, final=True) == expected

    def test_a_small_insertion_makes_little_new(self) -> None:
        before = Random(24).randbytes(24 << 20)
        middle = len(before) // 2
        after = before[:middle] + b"fourteen bytes" + before[middle:]
        old = pieces(before, cuts(before, DEFAULT, final=True))
        new = pieces(after, cuts(after, DEFAULT, final=True)) - old
        assert 0 < sum(len(piece) for piece in new) < 1 << 20


class TestKernel:
    @pytest.fixture(autouse=True)
    def fresh_kernel(self) -> None:
        fastcdc._kernel.cache_clear()

    def test_the_fallback_to_plain_python_is_refused(self) -> None:
        # As on a machine where the compiled part does not load.
        script = (
            "import sys, warnings; warnings.simplefilter('ignore')\n"
            "sys.modules['pyfastcdc.cy'] = sys.modules['dataver._native'] = None\n"
            "from dataver.chunking import ChunkerParameters\n"
            "from dataver.chunking.fastcdc import cuts\n"
            "from dataver.errors import EnvironmentFaultError\n"
            "try: cuts(bytes(100_000), ChunkerParameters(), final=True)\n"
            "except EnvironmentFaultError as error: print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "pyfastcdc runs without its compiled part" in done.stdout

    @pytest.mark.skipif(native is None, reason="there is no compiler, so nothing compiled to be refused")
    def test_a_compiled_part_that_cuts_elsewhere_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = fastcdc._gear()[::-1]
        monkeypatch.setattr(fastcdc, "_gear", lambda: other)
        with pytest.raises(EnvironmentFaultError, match="the compiled part of dataver cuts at other places"):
            cuts(NOISE, DEFAULT, final=True)

    @pytest.mark.skipif(native is None, reason="there is no compiler, so nothing compiled to be asked")
    def test_the_compiled_part_refuses_what_is_no_table_or_no_sizes(self) -> None:
        assert native is not None
        gear = fastcdc._gear()
        assert native.cut(b"", gear, 64, 256, 1024, 1, 1) == []
        for table, sizes in (
            (gear[1:], (64, 256, 1024)),
            (gear, (0, 1, 2)),
            (gear, (64, 32, 1024)),
            (gear, (64, 256, 128)),
        ):
            with pytest.raises(ValueError, match="256 numbers"):
                native.cut(NOISE, table, *sizes, 1, 1)

    def test_a_kernel_that_cuts_elsewhere_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyfastcdc

        monkeypatch.setattr(fastcdc, "native", None)

        compiled = pyfastcdc.FastCDC

        class OtherSeed(compiled):  # type: ignore[misc, valid-type]
            __module__ = compiled.__module__

            def __init__(self, average_bytes: int, *, min_size: int, max_size: int) -> None:
                super().__init__(average_bytes, min_size=min_size, max_size=max_size, seed=1)

        monkeypatch.setattr(pyfastcdc, "FastCDC", OtherSeed)
        with pytest.raises(EnvironmentFaultError, match="pyfastcdc cuts at other places"):
            cuts(NOISE, DEFAULT, final=True)
        monkeypatch.undo()
        fastcdc._kernel.cache_clear()
        assert cuts(NOISE, DEFAULT, final=True) == GOLDEN["noise"][2]
