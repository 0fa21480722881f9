"""The FastCDC kernel behind one function. Any kernel that gives these cuts may take its place."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from blake3 import blake3

from dataver.chunking import ALGORITHM, ChunkerParameters
from dataver.errors import EnvironmentFaultError

if TYPE_CHECKING:
    import pyfastcdc
    from typing_extensions import Buffer

__all__ = ["cuts"]

# The cuts that default sizes give in the first bytes of BLAKE3's output for the algorithm's name.
_SELF_TEST_BYTES = 256 << 10
_SELF_TEST_CUTS = [72789, 116239, 246943, _SELF_TEST_BYTES]


def cuts(buffer: Buffer, parameters: ChunkerParameters, *, final: bool) -> list[int]:
    """Where the chunks of `buffer` end: exclusive offsets, ascending; the first chunk starts at 0.

    With `final`, the buffer's end is the data's end, and the last offset is its length (no chunk
    for no bytes). Without, a last chunk that more data might move is left out: the caller carries
    its bytes over to the start of the next buffer, and so gets the very cuts of one big buffer
    whatever the sizes of the pieces. A buffer of `max_bytes` or more always gives at least one.

    The buffer must be contiguous; it is neither copied nor kept. The GIL is released while a
    chunk's end is searched. `EnvironmentFaultError` if the compiled kernel is missing.
    """
    view = memoryview(buffer).cast("B")
    size_bytes = view.nbytes
    if size_bytes <= parameters.min_bytes and size_bytes < parameters.max_bytes:
        # The bulk of small files: no cut can be in here.
        return [size_bytes] if final and size_bytes else []
    ends = _ends(_kernel(), view, parameters)
    if not final:
        last_bytes = ends[-1] - (ends[-2] if len(ends) > 1 else 0)
        # A cut by content lies before the buffer's end, so what ends there was cut by its size or not at all.
        if last_bytes < parameters.max_bytes:
            ends.pop()
    return ends


def _ends(kernel: type[pyfastcdc.FastCDC], data: memoryview, parameters: ChunkerParameters) -> list[int]:
    chunker = kernel(parameters.average_bytes, min_size=parameters.min_bytes, max_size=parameters.max_bytes)
    return [chunk.offset + chunk.length for chunk in chunker.cut_buf(data)]


@cache
def _kernel() -> type[pyfastcdc.FastCDC]:
    """The compiled kernel, after it gave the known cuts once in this process."""
    import pyfastcdc

    if not pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise EnvironmentFaultError(
            "pyfastcdc runs without its compiled part, which is 200 times slower; "
            "install a wheel of pyfastcdc for this Python and platform, or a C compiler and build it"
        )
    data = blake3(ALGORITHM.encode()).digest(length=_SELF_TEST_BYTES)
    if _ends(pyfastcdc.FastCDC, memoryview(data), ChunkerParameters()) != _SELF_TEST_CUTS:
        raise EnvironmentFaultError(
            f"pyfastcdc {pyfastcdc.__version__} cuts at other places than format v1 does, so nothing would "
            "deduplicate; install another release of it"
        )
    return pyfastcdc.FastCDC
