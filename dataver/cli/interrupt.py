"""Ctrl-C: ends the program in bounded time, whatever its threads are doing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dataver.cli import INTERRUPTED, leave

__all__ = ["INTERRUPTED", "end_quietly", "interruptible"]

# What Ctrl-C does where nobody but Python or the start of this program has said what.
NOBODYS = (signal.default_int_handler, leave)
# How long work under way may take to stop and to clean up after itself.
GRACE_S = 5.0
STANDARD_ERROR = 2
# A progress bar hides it.
SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the body the first Ctrl-C raises `KeyboardInterrupt`, the second ends the process.

    So does the end of `GRACE_S` after the first, also after the body. That is safe at any moment,
    as a crash is: what is not complete was never visible. A program that was started to ignore
    Ctrl-C still ignores it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before not in NOBODYS or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _first)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _first:
            signal.signal(signal.SIGINT, before)


def end_quietly() -> None:
    """From here on Ctrl-C just ends the process: while it shuts down, Python would print a traceback."""
    if signal.getsignal(signal.SIGINT) in NOBODYS:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _first(_signal: int, _frame: FrameType | None) -> None:
    # No thread may be started here: the main thread may hold the lock that starting one takes.
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGALRM, _leave)
    signal.setitimer(signal.ITIMER_REAL, GRACE_S)
    raise KeyboardInterrupt


def _leave(_signal: int, _frame: FrameType | None) -> None:
    if os.isatty(STANDARD_ERROR):
        os.write(STANDARD_ERROR, SHOW_CURSOR)
    os._exit(INTERRUPTED)
