"""The end of a process in which other threads than Python's read files of versions.

pyarrow's threads let go of a file, and of the bytes they read from it, a moment after the call that
read it returned. One that does so while the interpreter ends takes the process down with SIGABRT
(apache/arrow#34314, #45214), after all work was done. So the end waits for them.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from weakref import WeakSet

QUIET_S = 0.02
"""Nobody holds a file, and for so long none was let go of: the threads are done."""
HELD_QUIET_S = 0.1
"""The same where files are open, by whoever."""
WAIT_S_MAX = 2.0


class _Watch:
    """The files that are alive, and how often any was read from."""

    def __init__(self) -> None:
        self.files: WeakSet[object] = WeakSet()
        self.reads = 0


_watch = _Watch()


def opened(file: object) -> None:
    """Watch a file for as long as it lives."""
    _watch.files.add(file)


def read() -> None:
    """A watched file was read from."""
    if not _watch.reads:
        atexit.register(_at_exit)
    _watch.reads += 1


def wait_until_quiet(
    activity: Callable[[], tuple[int, int]], sleep: Callable[[float], object] = time.sleep
) -> None:
    """Wait until `activity`, the files that are held and the reads so far, stands still.

    Waiting lets the other threads have the interpreter. At most `WAIT_S_MAX`.
    """
    waited_s = 0.0
    while waited_s < WAIT_S_MAX:
        before = activity()
        pause_s = HELD_QUIET_S if before[0] else QUIET_S
        sleep(pause_s)
        waited_s += pause_s
        if activity() == before:
            return


def _at_exit() -> None:
    if "pyarrow" in sys.modules:
        wait_until_quiet(lambda: (len(_watch.files), _watch.reads))
