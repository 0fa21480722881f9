"""Running a command as a child: signals are handed on, and how it ended is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from dataver.errors import NotPermittedError, PathNotFoundError
from dataver.paths import safe_spelling
from dataver.values import dataclass

FORWARDED = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")
KILL_AT = 3
"""At the third Ctrl-C a command that does not end is killed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: `code` as a shell tells it, the number of the signal that ended it or 0."""

    code: int
    signal: int = 0
    interrupted: bool = False

    @property
    def reason(self) -> str:
        """In words; empty where all went well."""
        if self.interrupted:
            return "interrupted"
        if self.signal:
            with suppress(ValueError):
                return f"ended by {signal.Signals(self.signal).name}"
            return f"ended by signal {self.signal}"
        return f"exit code {self.code}" if self.code else ""


def run_child(
    command: Sequence[str],
    *,
    to_stderr: bool,
    folder: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command to its end. `to_stderr`: what it prints goes to standard error.

    In `folder` and with `variables` for its environment, where they are given, else as this program is.

    `PathNotFoundError` and `NotPermittedError` where it cannot be started.
    """
    sys.stdout.flush()
    try:
        child = subprocess.Popen(command, stdout=2 if to_stderr else None, cwd=folder, env=variables)
    except FileNotFoundError as error:
        raise PathNotFoundError(f"there is no program {safe_spelling(command[0])!r} to run") from error
    except OSError as error:
        raise NotPermittedError(
            f"the program {safe_spelling(command[0])!r} cannot be run: {error.strerror}"
        ) from error
    with _forwarding(child) as interrupts:
        code = child.wait()
    number = -code if code < 0 else 0
    interrupted = bool(interrupts) or number == signal.SIGINT
    return Ended(128 + number if number else code, number, interrupted)


@contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand signals on to the child while it runs; gives a list to which each Ctrl-C is added."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        if len(interrupts) >= KILL_AT:
            child.kill()
        elif not _from_terminal():
            child.send_signal(number)

    def forward(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    before: dict[int, Any] = {}
    for name, handler in [("SIGINT", interrupt), *((name, forward) for name in FORWARDED)]:
        number = getattr(signal, name, None)
        # What this program was started to ignore, as `nohup` has it, the child ignores as well.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handler)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _from_terminal() -> bool:
    """Whether the terminal sends Ctrl-C to the child as well: both are in its foreground group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
