"""Cutting a file that is read window by window, with cuts forced where its format wants them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Cutter"]


class Cutter:
    """Cuts one file in consecutive windows; where the windows end makes no difference to the cuts.

    `forced` holds ascending absolute offsets where a chunk must end; between two of them the
    bytes are cut by content as if they were a file of their own. Those beyond the end of the
    file have no effect. For one thread at a time.

    The caller keeps a buffer, and moves what is not yet decided to its front::

        ends = cutter.cut(buffer[:filled], final=at_end_of_file)
        carried = filled - (ends[-1] if ends else 0)
    """

    __slots__ = ("_forced", "_parameters", "offset")

    offset: int
    """Where the next window must start: the absolute offset in bytes of the end of the last chunk."""

    def __init__(self, parameters: ChunkerParameters, forced: Sequence[int] = ()) -> None:
        self._parameters = parameters
        self._forced = forced
        self.offset = 0

    def cut(self, window: Buffer, *, final: bool) -> list[int]:
        """The ends of the chunks that are decided, exclusive, relative to the window, ascending.

        The window starts at `offset`, which advances by the last end returned; bytes after it must
        be the start of the next window. With `final` the window ends with the file and is cut up
        to its end. A window of `max_bytes` or more always gives at least one end; a shorter one may give
        none. The window is neither copied nor kept.
        """
        view = memoryview(window).cast("B")
        ends: list[int] = []
        start = 0
        for stop in self._forced_within(view.nbytes):
            self._cut_segment(view, start, stop, ends, final=True)
            start = stop
        self._cut_segment(view, start, view.nbytes, ends, final=final)
        if ends:
            self.offset += ends[-1]
        return ends

    def _forced_within(self, size_bytes: int) -> list[int]:
        """Forced cuts in a window of this size, relative to it; its end is within, its start is not."""
        first = bisect_right(self._forced, self.offset)
        last = bisect_right(self._forced, self.offset + size_bytes)
        return [absolute - self.offset for absolute in self._forced[first:last]]

    def _cut_segment(self, view: memoryview, start: int, stop: int, ends: list[int], *, final: bool) -> None:
        ends.extend(start + end for end in cuts(view[start:stop], self._parameters, final=final))
