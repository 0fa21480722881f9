"""The FastCDC kernel behind one function. Any kernel that gives these cuts may take its place.

There are two: the compiled part, which cuts a whole buffer in one call without the interpreter's lock, and
the package pyfastcdc, whose cuts are the reference.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from math import floor, log2
from typing import TYPE_CHECKING, TypeAlias

from blake3 import blake3

from dataver.chunking import ALGORITHM, ChunkerParameters
from dataver.errors import EnvironmentFaultError
from dataver.native import native

if TYPE_CHECKING:
    from typing_extensions import Buffer

Kernel: TypeAlias = Callable[[memoryview, ChunkerParameters], list[int]]

__all__ = ["cuts"]

# The cuts that default sizes give in the first bytes of BLAKE3's output for the algorithm's name.
_SELF_TEST_BYTES = 256 << 10
_SELF_TEST_CUTS = [72789, 116239, 246943, _SELF_TEST_BYTES]

# FastCDC as its authors published it in 2020: a mask by the logarithm of the chunk size that it aims at, and
# how many steps stricter it is before the average size, and looser behind.
_NORMALIZATION = 1
_MASKS = {
    7: 0x0000000018035100, 8: 0x0000001800035300, 9: 0x0000019000353000, 10: 0x0000590003530000,
    11: 0x0000D90003530000, 12: 0x0000D90103530000, 13: 0x0000D90303530000, 14: 0x0000D90313530000,
    15: 0x0000D90F03530000, 16: 0x0000D90303537000, 17: 0x0000D90703537000, 18: 0x0000D90707537000,
    19: 0x0000D91707537000, 20: 0x0000D91747537000, 21: 0x0000D91767537000, 22: 0x0000D93767537000,
    23: 0x0000D93777537000,
}  # fmt: skip


def cuts(buffer: Buffer, parameters: ChunkerParameters, *, final: bool) -> list[int]:
    """Where the chunks of `buffer` end: exclusive offsets, ascending; the first chunk starts at 0.

    With `final`, the buffer's end is the data's end, and the last offset is its length (no chunk
    for no bytes). Without, a last chunk that more data might move is left out: the caller carries
    its bytes over to the start of the next buffer, and so gets the very cuts of one big buffer
    whatever the sizes of the pieces. A buffer of `max_bytes` or more always gives at least one.

    The buffer must be contiguous; it is neither copied nor kept. `EnvironmentFaultError` if there is no
    kernel, or one that cuts elsewhere.
    """
    view = memoryview(buffer).cast("B")
    size_bytes = view.nbytes
    if size_bytes <= parameters.min_bytes and size_bytes < parameters.max_bytes:
        # The bulk of small files: no cut can be in here.
        return [size_bytes] if final and size_bytes else []
    ends = _kernel()(view, parameters)
    if not final:
        last_bytes = ends[-1] - (ends[-2] if len(ends) > 1 else 0)
        # A cut by content lies before the buffer's end, so what ends there was cut by its size or not at all.
        if last_bytes < parameters.max_bytes:
            ends.pop()
    return ends


@cache
def _kernel() -> Kernel:
    """The kernel to use, after it gave the known cuts once in this process."""
    kernel = _library() if native is None else _compiled
    name = "pyfastcdc" if native is None else "the compiled part of dataver"
    data = blake3(ALGORITHM.encode()).digest(length=_SELF_TEST_BYTES)
    if kernel(memoryview(data), ChunkerParameters()) != _SELF_TEST_CUTS:
        raise EnvironmentFaultError(
            f"{name} cuts at other places than format v1 does, so nothing would deduplicate; "
            "install another release of it"
        )
    return kernel


def _compiled(data: memoryview, parameters: ChunkerParameters) -> list[int]:
    """The cuts by the compiled part, in one call without the interpreter's lock."""
    assert native is not None
    bits = floor(log2(parameters.average_bytes) + 0.5)
    strict, loose = _MASKS[bits + _NORMALIZATION], _MASKS[bits - _NORMALIZATION]
    sizes = parameters.min_bytes, parameters.average_bytes, parameters.max_bytes
    ends: list[int] = native.cut(data, _gear(), *sizes, strict, loose)
    return ends


@cache
def _gear() -> bytes:
    """The gear table: for each byte the first eight of the MD5 of 64 of it, as a big-endian number."""
    try:
        # OpenSSL's takes longer to be loaded than all of this.
        from _md5 import md5  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import md5
    numbers = (md5(bytes([value]) * 64, usedforsecurity=False).digest()[:8] for value in range(256))
    return array("Q", [int.from_bytes(number, "big") for number in numbers]).tobytes()


def _library() -> Kernel:
    """The same by pyfastcdc."""
    import pyfastcdc

    if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise EnvironmentFaultError(
            "pyfastcdc runs without its compiled part, which is 200 times slower; "
            "install a wheel of pyfastcdc for this Python and platform, or a C compiler and build it"
        )

    def ends(data: memoryview, parameters: ChunkerParameters) -> list[int]:
        kernel = pyfastcdc.FastCDC(
            parameters.average_bytes, min_size=parameters.min_bytes, max_size=parameters.max_bytes
        )
        return [chunk.offset + chunk.length for chunk in kernel.cut_buf(data)]

    return ends
