"""Telling whether the process of a run still lives, on the machine where it ran."""

from __future__ import annotations

import os
import socket

from dataver.config import machine_id
from dataver.format.run_record import Process
from dataver.hashing import blake3_digest

__all__ = ["is_alive", "this_process"]

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_START_FIELD = 22
"""Of `/proc/PID/stat`, counted from 1: when the process began, in ticks since the machine did."""


def this_process() -> Process:
    """What tells this process from all others. The machine's id is not given away, but a digest of it."""
    pid = os.getpid()
    return Process(socket.gethostname(), _machine(), _boot(), pid, _began(pid))


def is_alive(process: Process) -> bool | None:
    """Whether that process lives; None where this machine cannot tell."""
    if not process.pid or not process.machine or process.machine != _machine():
        return None
    if process.boot != _boot():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It is another user's.
    began = _began(process.pid)
    return None if not began or not process.began else began == process.began


def _machine() -> str:
    """Equal where process ids mean the same: on one machine, in one name space."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    name = machine_id() or socket.gethostname()
    return str(blake3_digest(f"dataver run {name} {space}".encode()))[:32]


def _boot() -> str:
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def _began(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode("ascii", "replace")
    except OSError:
        return ""
    # The second field is the program's name, in parentheses, and may hold anything.
    fields = text.rpartition(")")[2].split()
    state = fields[0] if fields else ""
    return "" if state == "Z" or len(fields) < _START_FIELD - 2 else fields[_START_FIELD - 3]
