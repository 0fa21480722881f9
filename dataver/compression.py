"""Frames in and out of zstd: bounded on the way out, proven on the way in, raw where it gains nothing.

A frame is what is compressed as one: up to a few neighbouring chunks. A compressed frame is
decoded and compared before it is handed out, because deduplication would spread one encoder's
bug or one bad bit of memory to every later version. A frame is decoded into exactly the length
that its pack states, which is checked against the frame's own header before anything is
allocated.

Frames carry no checksum of zstd's: XXH3 of the stored bytes and BLAKE3 of the plain ones cover
both sides, and are checked by those who know the expected values.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias, cast

from dataver.errors import DamagedError
from dataver.hashing import xxh3_64

if TYPE_CHECKING:
    import zstandard
    from typing_extensions import Buffer

    from dataver.format.binary import Buffer as Bytes

__all__ = [
    "FRAMES_TOGETHER",
    "FRAME_BYTES_MAX",
    "Codec",
    "FrameCompressor",
    "compress_frame",
    "decompress",
    "is_noise",
    "looks_incompressible",
]

FRAME_BYTES_MAX = 8 << 20
"""Hard limit of the format: plain bytes of one frame."""

LEVEL = 3
POOR_LEVEL = 1
"""The level for data that gains little, where a higher one gains no more."""
FRAMES_TOGETHER = 4
"""So many are encoded by one call: what the first of them tell decides about the next ones only."""

# Frames of 128 KiB on one core of a 2-core AMD EPYC, zstd 1.5.7: level 3 passes over random bytes at
# 9 GB/s and over JPEG, PNG and woff2 files at 1.8; where it samples it is 15 and 2.0. HTML is compressed
# and proven at 0.85 GB/s, a shared library at 0.33.
_KEEP_RAW_ABOVE = 0.97
_SAMPLE_BYTES = 4 << 10
_SAMPLE_LEVEL = 1
# More than this left is not worth to be encoded and proven, and decoded by each read, if a sample can tell.
_HARDLY_ABOVE = 0.92
_PROBE_SIZE_MIN = 1 << 10
_PROBE_BYTES = 512
_PROBE_VALUES_MIN = 200
_NOISE_VALUES_MIN = 210
_RUN_FRAMES_MIN = 4
_POOR_ABOVE = 0.6
_POOR_RUN_FRAMES_MIN = 2
_TRIED_AT = 5

_local = threading.local()

Stored: TypeAlias = bytes | memoryview
"""A frame as it is stored, or what it decodes to."""


class Codec(IntEnum):
    """How the stored bytes of a frame become its plain bytes. Values are of format v1."""

    RAW = 0
    ZSTD = 1


class FrameCompressor:
    """Compresses the frames of one stream of data, and spares work that gains nothing.

    After four frames in a row that gained less than 8 %, frames are first sampled (three slices of
    4 KiB, level 1) and left raw if the sample gains less than that, or if they look like noise. The
    fifth of these is tried in full all the same, then the tenth, the twentieth and so on, as
    redundancy over long distances escapes a sample.

    After two frames in a row that kept more than 0.6 of their size, the next are encoded at level 1:
    such data (Parquet pages that are compressed already) gains the same at either level, within a
    thousandth, while level 1 encodes and decodes it in 0.6 of the time. Samples of the first frames
    stand for those before them.

    What is left raw, and at which level the rest is encoded, is decided by the bytes seen alone,
    never by time.

    One for each window of a file, or for each batch of small files. Not for several threads at once.
    """

    __slots__ = ("_hardly_frames", "_is_first", "_poor_frames", "_sampled_frames", "_tried_at")

    def __init__(self) -> None:
        self._is_first = True
        self._hardly_frames = 0
        self._sampled_frames = 0
        self._tried_at = _TRIED_AT
        self._poor_frames = 0

    def compress(self, frames: Sequence[Sequence[Bytes]]) -> list[Stored | None]:
        """Compress some frames, up to `FRAMES_TOGETHER`, each the concatenation of its parts.

        For each what was decoded again and found equal, or None where the gain is under 3 %. See
        `compress_frame`. They are encoded by one call, as each call waits for the interpreter's lock.
        """
        results: list[Stored | None] = [None] * len(frames)
        if self._is_first:
            self._is_first = False
            if all(kept > _POOR_ABOVE for kept in _kept_of_samples(frames)):
                self._poor_frames = _POOR_RUN_FRAMES_MIN
        tried = self._worth_trying(frames)
        plain = [_one_buffer(frames[number]) for number in tried]
        level = POOR_LEVEL if self._poor_frames >= _POOR_RUN_FRAMES_MIN else LEVEL
        for number, stored in zip(tried, _compress(plain, level), strict=True):
            results[number] = stored
        for parts, stored in zip(frames, results, strict=True):
            self._record(1.0 if stored is None else len(stored) / sum(map(len, parts)))
        return results

    def _worth_trying(self, frames: Sequence[Sequence[Bytes]]) -> list[int]:
        """On which of the frames to spend a whole compression."""
        if self._hardly_frames < _RUN_FRAMES_MIN:
            self._sampled_frames, self._tried_at = 0, _TRIED_AT
            return list(range(len(frames)))
        tried = []
        for number, kept in enumerate(_kept_of_samples(frames)):
            self._sampled_frames += 1
            if self._sampled_frames == self._tried_at:
                self._tried_at *= 2
                tried.append(number)
            elif kept <= _HARDLY_ABOVE:
                tried.append(number)
        return tried

    def _record(self, kept: float) -> None:
        """Note what part of a frame's size was left; 1.0 where it stays raw."""
        self._hardly_frames = self._hardly_frames + 1 if kept > _HARDLY_ABOVE else 0
        self._poor_frames = self._poor_frames + 1 if kept > _POOR_ABOVE else 0


def compress_frame(parts: Sequence[Buffer], *, level: int = LEVEL) -> tuple[Codec, bytes | None]:
    """Compress the concatenation of `parts` as one frame of at most 8 MiB.

    Returns `(Codec.ZSTD, stored)`, where `stored` was decoded again and found equal, or
    `(Codec.RAW, None)` where the gain is under 3 %: the parts themselves are then what is to be
    stored, and nothing was copied for the caller. Parts may be of any contiguous buffer type; no
    reference to them is kept. An encoder whose output does not decode to its input is a
    `DamagedError`: the memory or the library of this machine is not to be trusted.
    """
    (stored,) = _compress([_one_buffer(parts)], level)
    return (Codec.RAW, None) if stored is None else (Codec.ZSTD, bytes(stored))


def looks_incompressible(data: Buffer) -> bool:
    """Whether nearly all byte values occur in 512 bytes from the middle; False for less than 1,024 bytes.

    Of noise 221 occur, give or take 5; of text some 40. Neighbours that differ in this are better not
    in one frame: noise beside text spoils the statistics of both. The compiled part decides by the
    same rule (`dataver.source.batch`).
    """
    view = memoryview(data).cast("B")
    if view.nbytes < _PROBE_SIZE_MIN:
        return False
    start = (view.nbytes - _PROBE_BYTES) // 2
    return len(set(view[start : start + _PROBE_BYTES].tobytes())) >= _PROBE_VALUES_MIN


def is_noise(data: Buffer) -> bool:
    """Whether at the start, in the middle and at the end nearly as many values occur as in random bytes.

    Of 512 random bytes 221, give or take 5; of floats, or of numbers with two bytes that are zero, some
    200. False for less than 1,536 bytes. What repeats at a distance looks like noise.
    """
    from dataver.native import native  # Not before: light commands do without it.

    if native is not None:
        found: bool = native.is_noise(data)
        return found
    view = memoryview(data).cast("B")
    rest = view.nbytes - _PROBE_BYTES
    return view.nbytes >= 3 * _PROBE_BYTES and all(
        len(set(view[start : start + _PROBE_BYTES].tobytes())) >= _NOISE_VALUES_MIN
        for start in (0, rest // 2, rest)
    )


def decompress(stored: Buffer, raw_bytes: int) -> bytes:
    """Decode one zstd frame into exactly `raw_bytes` bytes, or raise `DamagedError`.

    Never allocates more than `raw_bytes` for the output, whatever the frame says: its header must
    declare that very size, at most 8 MiB, and it must be the only thing in `stored`. A damaged
    frame may still decode to wrong bytes of the right length; the digests of what is inside tell.
    """
    import zstandard

    view = memoryview(stored).cast("B")
    try:
        _check_header(view, raw_bytes)
        plain = _decompressor().decompress(view, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DamagedError(f"a compressed frame does not decode: {error}") from error
    if len(plain) != raw_bytes:
        raise DamagedError(f"a frame decoded to {len(plain)} bytes instead of {raw_bytes}")
    return plain


def _check_header(view: memoryview, raw_bytes: int) -> None:
    import zstandard

    if not 0 < raw_bytes <= FRAME_BYTES_MAX:
        raise DamagedError(f"a frame has 1 to {FRAME_BYTES_MAX} plain bytes, its pack states {raw_bytes}")
    header = zstandard.get_frame_parameters(view)
    if header.content_size != raw_bytes:
        raise DamagedError(f"a frame's header does not declare the {raw_bytes} bytes its pack states")
    if header.dict_id or header.window_size > FRAME_BYTES_MAX:
        raise DamagedError("a frame wants a dictionary or a window that the format does not have")


def _one_buffer(parts: Sequence[Buffer]) -> memoryview:
    return memoryview(parts[0] if len(parts) == 1 else b"".join(parts)).cast("B")


def _compress(plain: Sequence[memoryview], level: int) -> list[Stored | None]:
    """The frame of each, or None where it gains too little; checked by decoding it."""
    stored: list[Stored | None] = []
    for frame, view in zip(_encode(plain, level), plain, strict=True):
        stored.append(frame if len(frame) <= view.nbytes * _KEEP_RAW_ABOVE else None)
    kept = [(frame, view) for frame, view in zip(stored, plain, strict=True) if frame is not None]
    decoded = _decode([frame for frame, _ in kept], [view.nbytes for _, view in kept])
    for found, (_, view) in zip(decoded, kept, strict=True):
        if not _is_same(found, view):
            raise DamagedError(
                "zstd made a frame that decodes to other bytes than went in; nothing was stored. "
                "Check this machine's memory and its zstandard package"
            )
    return stored


def _encode(plain: Sequence[bytes | memoryview], level: int) -> list[Stored]:
    """The zstd frame of each buffer."""
    import zstandard

    encoder = _compressor(level)
    if len(plain) < 2 or "multi_compress_to_buffer" not in zstandard.backend_features:
        return [encoder.compress(one) for one in plain]
    return _segments(encoder.multi_compress_to_buffer(list(plain)))


def _decode(frames: Sequence[Stored], sizes: Sequence[int]) -> list[Stored]:
    """What frames of this process's own making decode to; `sizes` are the bytes of each, to be compared."""
    import zstandard

    if len(frames) < 2 or "multi_decompress_to_buffer" not in zstandard.backend_features:
        return [decompress(frame, size) for frame, size in zip(frames, sizes, strict=True)]
    try:
        for frame, size in zip(frames, sizes, strict=True):
            _check_header(memoryview(frame).cast("B"), size)
        return _segments(_decompressor().multi_decompress_to_buffer(list(frames)))
    except zstandard.ZstdError as error:
        raise DamagedError(f"a compressed frame does not decode: {error}") from error


def _segments(found: zstandard.BufferWithSegmentsCollection) -> list[Stored]:
    return [memoryview(cast("bytes", found[number])) for number in range(len(found))]


def _is_same(decoded: Buffer, plain: memoryview) -> bool:
    from dataver.native import native  # Not before: light commands do without it.

    if native is not None:
        equal: bool = native.same(decoded, plain)
        return equal
    # By checksum: Python compares a view one element at a time, and a copy of it costs more than both.
    return xxh3_64(decoded) == xxh3_64(plain)


def _kept_of_samples(frames: Sequence[Sequence[Bytes]]) -> list[float]:
    """Of a sample of each frame what part of its size is left; all of what is noise."""
    kept = [1.0] * len(frames)
    unsure = [at for at, parts in enumerate(frames) if len(parts) > 1 or not is_noise(parts[0])]
    if not unsure:
        return kept
    samples = [_sample([memoryview(part).cast("B") for part in frames[at]]) for at in unsure]
    for at, sample, encoded in zip(unsure, samples, _encode(samples, _SAMPLE_LEVEL), strict=True):
        kept[at] = len(encoded) / max(len(sample), 1)
    return kept


def _sample(parts: Sequence[memoryview]) -> bytes:
    """Slices from the start, the middle and the end of the concatenation of `parts`."""
    total = sum(part.nbytes for part in parts)
    if total <= 3 * _SAMPLE_BYTES:
        return b"".join(parts)
    starts = (0, (total - _SAMPLE_BYTES) // 2, total - _SAMPLE_BYTES)
    if len(parts) == 1:
        return b"".join([parts[0][start : start + _SAMPLE_BYTES] for start in starts])
    pieces: list[memoryview] = []
    offset = 0
    for part in parts:
        end = offset + part.nbytes
        pieces.extend(
            part[max(start - offset, 0) : start + _SAMPLE_BYTES - offset]
            for start in starts
            if start < end and start + _SAMPLE_BYTES > offset
        )
        offset = end
    return b"".join(pieces)


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """This thread's encoder: contexts are costly to make and not to be shared."""
    encoders: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "encoders", None)
    if encoders is None:
        encoders = _local.encoders = {}
    if level not in encoders:
        import zstandard

        encoders[level] = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
    return encoders[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    """This thread's decoder."""
    decoder: zstandard.ZstdDecompressor | None = getattr(_local, "decoder", None)
    if decoder is None:
        import zstandard

        decoder = _local.decoder = zstandard.ZstdDecompressor(max_window_size=FRAME_BYTES_MAX)
    return decoder
