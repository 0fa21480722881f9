"""The command line: `dataver VERB …`. One verb a file; `root` holds the program itself.

This imports next to nothing: `start` is there before all that a light command spends its time on importing.
"""

from __future__ import annotations

import gc
import os
import signal

TYPE_CHECKING = False  # `typing` would be one of the slow ones
if TYPE_CHECKING:
    from types import FrameType

    from dataver.cli.root import PROGRAM, VERBS, main

__all__ = ["PROGRAM", "VERBS", "main", "start"]

INTERRUPTED = 130
GARBAGE = 100_000, 50, 100
"""How many objects must have come before garbage is looked for, and so on: see `gc.set_threshold`."""


def start() -> None:
    """Run the process's command line and end with its exit code. Ctrl-C is quiet from here on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    # A command is short and makes few cycles: to look for them as often as Python does may be a tenth of it.
    gc.set_threshold(*GARBAGE)
    from dataver.cli.root import main

    main()


def leave(_signal: int, _frame: FrameType | None) -> None:
    """What Ctrl-C does before a verb begins: there is nothing yet to clean up, nor to tell."""
    os._exit(INTERRUPTED)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dataver.cli import root

    return getattr(root, name)
