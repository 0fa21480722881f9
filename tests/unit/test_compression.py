"""Frames: what is compressed, what is left raw, and what no damaged or hostile frame may do."""

from __future__ import annotations

import struct
import tracemalloc
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from unittest import mock

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dataver import compression
from dataver.compression import (
    FRAME_BYTES_MAX,
    FRAMES_TOGETHER,
    Codec,
    FrameCompressor,
    Stored,
    compress_frame,
    decompress,
    is_noise,
    looks_incompressible,
)
from dataver.errors import DamagedError

XML = b"".join(b"<object><name>%d</name><x>%d</x></object>\n" % (i, i * 7919 % 640) for i in range(3000))


def noise(size_bytes: int, seed: int = 0) -> bytes:
    return Random(seed).randbytes(size_bytes)


def frame_of(plain: bytes) -> bytes:
    codec, stored = compress_frame([plain])
    assert codec is Codec.ZSTD
    assert stored is not None
    return stored


def handmade_frame(plain: bytes, window_log: int) -> bytes:
    """A frame by the letter of RFC 8878: 4 bytes of content size, a window descriptor, one raw block."""
    block = (len(plain) << 3 | 1).to_bytes(3, "little") + plain
    return b"\x28\xb5\x2f\xfd\x80" + bytes([window_log - 10 << 3]) + len(plain).to_bytes(4, "little") + block


class TestCompress:
    def test_codec_values_are_of_the_format(self) -> None:
        assert dict(Codec.__members__) == {"RAW": 0, "ZSTD": 1}

    def test_parts_become_one_frame(self) -> None:
        codec, stored = compress_frame([XML[:100], memoryview(XML)[100:5000], bytearray(XML[5000:])])
        assert codec is Codec.ZSTD
        assert stored is not None
        assert len(stored) < len(XML) // 4
        assert decompress(stored, len(XML)) == XML

    def test_any_buffer_type(self) -> None:
        numbers = array("I", range(10_000))
        codec, stored = compress_frame([numbers])
        assert codec is Codec.ZSTD
        assert stored is not None
        assert decompress(stored, 40_000) == numbers.tobytes()

    @pytest.mark.parametrize(
        "parts", [[], [b""], [b"", b""], [b"x"], [noise(100_000)], [noise(50_000), noise(50_000, 1)]]
    )
    def test_no_gain_is_raw(self, parts: list[bytes]) -> None:
        assert compress_frame(parts) == (Codec.RAW, None)

    def test_a_gain_under_three_percent_is_raw(self) -> None:
        assert compress_frame([noise(98_000), bytes(2_000)]) == (Codec.RAW, None)
        assert compress_frame([noise(96_000), bytes(4_000)])[0] is Codec.ZSTD

    def test_the_header_declares_the_size_and_nothing_else(self) -> None:
        header = zstandard.get_frame_parameters(frame_of(XML))
        assert header.content_size == len(XML)
        assert header.dict_id == 0
        assert not header.has_checksum

    def test_level_is_obeyed(self) -> None:
        _, fast = compress_frame([XML], level=1)
        _, thorough = compress_frame([XML], level=19)
        assert fast is not None
        assert thorough is not None
        assert len(thorough) < len(fast)
        assert decompress(thorough, len(XML)) == decompress(fast, len(XML)) == XML

    def test_an_encoder_that_lies_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Lying:
            def compress(self, view: memoryview) -> bytes:
                wrong = bytearray(view)
                wrong[1234] ^= 1
                return zstandard.ZstdCompressor().compress(bytes(wrong))

        monkeypatch.setattr(compression, "_compressor", lambda level: Lying())
        with pytest.raises(DamagedError, match="memory"):
            compress_frame([XML])

    def test_threads_do_not_share_contexts(self) -> None:
        plains = [XML[i * 50 :] for i in range(64)]

        def there_and_back(plain: bytes) -> bytes:
            return decompress(frame_of(plain), len(plain))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(there_and_back, plains)) == plains


class TestDecompress:
    def test_the_largest_frame(self) -> None:
        plain = bytes(FRAME_BYTES_MAX)
        assert decompress(frame_of(plain), FRAME_BYTES_MAX) == plain

    @pytest.mark.parametrize(
        "raw_bytes", [-1, 0, 1, len(XML) - 1, len(XML) + 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 1 << 63]
    )
    def test_another_size_than_declared(self, raw_bytes: int) -> None:
        with pytest.raises(DamagedError):
            decompress(frame_of(XML), raw_bytes)

    @pytest.mark.parametrize("size_bytes", [0, FRAME_BYTES_MAX + 1])
    def test_honest_frames_outside_the_format(self, size_bytes: int) -> None:
        stored = handmade_frame(b"", 20) if size_bytes == 0 else zstandard.compress(bytes(size_bytes))
        assert zstandard.get_frame_parameters(stored).content_size == size_bytes
        with pytest.raises(DamagedError, match="pack states"):
            decompress(stored, size_bytes)

    def test_every_truncation(self) -> None:
        stored = frame_of(XML[:2000])
        for length in range(len(stored)):
            with pytest.raises(DamagedError):
                decompress(stored[:length], 2000)

    def test_every_flipped_bit(self) -> None:
        # zstd itself has no checksum here: wrong bytes of the right length are for the digests to find.
        stored = frame_of(XML[:2000])
        damaged = 0
        for position in range(len(stored) * 8):
            flipped = bytearray(stored)
            flipped[position // 8] ^= 1 << position % 8
            try:
                assert len(decompress(flipped, 2000)) == 2000
            except DamagedError:
                damaged += 1
        assert damaged > 0

    @pytest.mark.parametrize("extra", [b"\0", b"x" * 1000, None, b"\x50\x2a\x4d\x18\x04\0\0\0abcd"])
    def test_anything_after_the_frame(self, extra: bytes | None) -> None:
        stored = frame_of(XML)
        with pytest.raises(DamagedError):
            decompress(stored + (stored if extra is None else extra), len(XML))

    @pytest.mark.parametrize(
        "stored",
        [b"", b"\x28", b"\x28\xb5\x2f\xfd", b"PK\3\4" * 20, noise(100), b"\x50\x2a\x4d\x18\x04\0\0\0abcd"],
    )
    def test_what_is_no_frame(self, stored: bytes) -> None:
        with pytest.raises(DamagedError):
            decompress(stored, 4)

    def test_a_frame_of_unknown_size(self) -> None:
        stored = zstandard.ZstdCompressor(write_content_size=False).compress(XML)
        with pytest.raises(DamagedError):
            decompress(stored, len(XML))

    def test_a_frame_with_a_dictionary(self) -> None:
        dictionary = zstandard.train_dictionary(4096, [XML[i : i + 500] for i in range(0, 60_000, 50)])
        stored = zstandard.ZstdCompressor(dict_data=dictionary).compress(XML)
        with pytest.raises(DamagedError, match="dictionary"):
            decompress(stored, len(XML))

    def test_a_window_beyond_the_format(self) -> None:
        assert decompress(handmade_frame(b"abc", window_log=23), 3) == b"abc"
        with pytest.raises(DamagedError, match="window"):
            decompress(handmade_frame(b"abc", window_log=24), 3)

    @pytest.mark.parametrize("patched", [False, True], ids=["honest header", "lying header"])
    def test_a_bomb_allocates_no_more_than_the_pack_states(self, patched: bool) -> None:
        stored = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(256 << 20)))
        raw_bytes = 1 << 20
        if patched:
            at = stored.index((256 << 20).to_bytes(4, "little"))
            stored[at : at + 4] = raw_bytes.to_bytes(4, "little")
            assert zstandard.get_frame_parameters(stored).content_size == raw_bytes
        tracemalloc.start()
        try:
            with pytest.raises(DamagedError):
                decompress(stored, raw_bytes)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 2 * raw_bytes

    def test_any_buffer_type(self) -> None:
        stored = frame_of(XML)
        assert decompress(bytearray(stored), len(XML)) == XML
        assert decompress(memoryview(b"xx" + stored)[2:], len(XML)) == XML


class Encoded:
    """Watches what is encoded: at which level, and of how many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[int, list[int]]] = []
        real = compression._encode

        def encode(plain: Sequence[bytes], level: int) -> list[Stored]:
            self.seen.append((level, [memoryview(one).nbytes for one in plain]))
            return real(plain, level)

        monkeypatch.setattr(compression, "_encode", encode)

    def whole(self) -> int:
        """How many frames, of 128 KiB each, were encoded since the last call."""
        seen, self.seen = self.seen, []
        return sum(size == 131_072 for _, sizes in seen for size in sizes)


def after_noise(frames: int = 4) -> FrameCompressor:
    compressor = FrameCompressor()
    for seed in range(frames):
        assert compressor.compress([[noise(131_072, seed)]]) == [None]
    return compressor


class TestFrameCompressor:
    def test_frames_are_encoded_as_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the library can only do one at a time."""
        frames = [[XML], [noise(131_072)], [XML[:9_000], XML[20_000:]], [b"x" * 131_072]]
        together = FrameCompressor().compress(frames)
        alone = [compress_frame(parts)[1] for parts in frames]
        monkeypatch.setattr(zstandard, "backend_features", frozenset())
        assert together == alone == FrameCompressor().compress(frames)
        assert together[1] is None
        assert FrameCompressor().compress([]) == []

    def test_an_encoder_that_lies_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Lying:
            def multi_compress_to_buffer(self, plain: list[memoryview]) -> object:
                wrong = [bytearray(one) for one in plain]
                wrong[-1][1234] ^= 1
                return zstandard.ZstdCompressor().multi_compress_to_buffer([bytes(one) for one in wrong])

        monkeypatch.setattr(compression, "_compressor", lambda level: Lying())
        with pytest.raises(DamagedError, match="memory"):
            FrameCompressor().compress([[XML]] * FRAMES_TOGETHER)

    @pytest.mark.parametrize("together", [1, 2, 4])
    def test_a_run_of_noise_is_only_sampled(self, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
        compressor, encoded = FrameCompressor(), Encoded(monkeypatch)
        tried = []
        for first in range(0, 40, together):
            frames = [[noise(131_072, first + number)] for number in range(together)]
            assert compressor.compress(frames) == [None] * together
            tried.append(encoded.whole())
        # The first four; and of those that were sampled the fifth, the tenth, the twentieth and so on, for
        # what a sample cannot see.
        expected = [number in {0, 1, 2, 3, 8, 13, 23} for number in range(40)]
        assert tried == [sum(expected[first : first + together]) for first in range(0, 40, together)]

    def test_a_run_of_small_gains_is_only_sampled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was tried is kept all the same: the time is spent."""
        compressor, encoded = FrameCompressor(), Encoded(monkeypatch)
        # Of each of the slices that a sample has, too.
        frame = b"".join(noise(3_930, seed) + bytes(166) for seed in range(32))
        found = [stored is not None for _ in range(6) for stored in compressor.compress([[frame]] * 4)]
        assert [number for number, kept in enumerate(found) if kept] == [0, 1, 2, 3, 8, 13, 23]
        assert encoded.whole() == 7

    def test_compressible_data_ends_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compressor, encoded = after_noise(9), Encoded(monkeypatch)
        assert compressor.compress([[noise(131_072)]]) == [None]
        assert encoded.whole() == 0
        found = compressor.compress([[noise(131_072)], [XML], [noise(131_072)]])
        assert [stored is None for stored in found] == [True, False, True]
        assert encoded.whole() == 0
        assert compressor.compress([[noise(131_072)]]) == [None]
        assert encoded.whole() == 1

    @pytest.mark.parametrize("where", [0, 1, 2, 3])
    @pytest.mark.parametrize("part_bytes", [131_072, 5_000, 1_000])
    def test_samples_are_of_start_middle_and_end(
        self, monkeypatch: pytest.MonkeyPatch, where: int, part_bytes: int
    ) -> None:
        compressor, encoded = after_noise(), Encoded(monkeypatch)
        starts = [0, 65_536 - 4096, 131_072 - 8192, 30_000]
        frame = bytearray(noise(131_072))
        frame[starts[where] : starts[where] + 8192] = bytes(8192)
        parts = [frame[i : i + part_bytes] for i in range(0, len(frame), part_bytes)]
        assert (compressor.compress([parts]) != [None]) is (where < 3)
        assert encoded.whole() == (where < 3)

    @pytest.mark.parametrize("size_bytes", [0, 1, 4096, 12_288, 12_289])
    def test_small_frames_are_sampled_too(self, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
        compressor, encoded = after_noise(), Encoded(monkeypatch)
        nearly_noise = bytes(value % 200 for value in noise(size_bytes))
        assert compressor.compress([[nearly_noise]]) == [None]
        assert encoded.seen[0] == (1, [min(size_bytes, 12_288)])

    def test_the_same_frames_give_the_same_choices(self) -> None:
        frames = [[XML if seed % 7 == 6 else noise(20_000, seed)] for seed in range(60)]
        first, second = FrameCompressor(), FrameCompressor()
        for at in range(0, 60, 4):
            assert first.compress(frames[at : at + 4]) == second.compress(frames[at : at + 4])


def test_data_that_gains_little_is_encoded_at_the_fast_level_until_a_frame_gains_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poor = b"".join(noise(100_000)[n : n + 3] + b"." for n in range(0, 99_000, 3))
    rich = b"the same words again and again " * 3_000
    far_apart = noise(50_000) * 2  # of which samples do not see that it gains much
    encoded = Encoded(monkeypatch)

    def levels(*frames: bytes) -> list[int]:
        compressor = FrameCompressor()
        encoded.seen.clear()
        for frame in frames:
            assert compressor.compress([[frame]]) != [None]
        return [level for level, sizes in encoded.seen if max(sizes) > 12_288]

    assert levels(poor, poor, rich, rich) == [1, 1, 1, 3]
    assert levels(rich, poor, poor, poor, rich, rich) == [3, 3, 3, 1, 1, 3]
    assert levels(far_apart, far_apart) == [1, 3]


def test_a_probe_tells_noise_from_text() -> None:
    assert looks_incompressible(noise(5_000))
    assert not looks_incompressible(b"word " * 1_000)
    assert not looks_incompressible(noise(1_023))
    assert not looks_incompressible(b"")


@pytest.mark.parametrize("is_compiled", [True, False])
def test_what_is_noise(monkeypatch: pytest.MonkeyPatch, is_compiled: bool) -> None:
    if not is_compiled:
        monkeypatch.setattr("dataver.native.native", None)
    assert all(is_noise(noise(100_000, seed)) for seed in range(20))
    assert not is_noise(noise(1_535))
    assert not is_noise(b"")
    assert not is_noise(b"word " * 1_000)
    random = Random(1)
    floats = struct.pack("<16384f", *(random.gauss(0, 1) for _ in range(16_384)))
    numbers = struct.pack("<16384Q", *(random.getrandbits(48) for _ in range(16_384)))
    assert not is_noise(floats)
    assert not is_noise(numbers)
    for place in (0, 49_744, 99_488):
        spoilt = bytearray(noise(100_000))
        spoilt[place : place + 512] = bytes(512)
        assert not is_noise(spoilt)


@given(st.binary(max_size=64), st.integers(1, 100), st.integers(0, 5))
def test_both_say_the_same_of_noise(part: bytes, count: int, seed: int) -> None:
    data = noise(4_000, seed) + part * count + noise(700, seed)
    compiled = is_noise(data)
    with mock.patch("dataver.native.native", None):
        assert is_noise(data) == compiled


def test_text_after_noise_is_compressed() -> None:
    """A frame that is no noise is sampled, and one in so many that is, is tried."""
    compressor = FrameCompressor()
    for number in range(8):
        (stored,) = compressor.compress([[noise(100_000, number)]])
        assert stored is None
    (stored,) = compressor.compress([[XML]])
    assert stored is not None
    compressor = FrameCompressor()
    repeated = noise(20_000) * 5
    for number in range(4):
        compressor.compress([[noise(100_000, number)]])
    results = [compressor.compress([[repeated]])[0] for _ in range(5)]
    assert [stored is not None for stored in results] == [False, False, False, False, True]
