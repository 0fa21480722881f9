"""When a process that serves has rows committed: by a process of its own, which does not slow the service."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dataver.private import opener
from dataver.serving.spool import LOG, Spool

__all__ = ["BUSY", "Committer"]

LOGGER = "dataver.serving"
GATHER_S = 3.0
"""So long after the end of a window at most: the files of several processes are to be one version."""
RETRY_S = 60.0
BUSY = 75
"""The exit code of the process where another one is at it, which is no fault: it is tried again later."""
LOG_SHOWN = 500


class Committer:
    """Starts the process, and looks after it. For one thread; it never waits."""

    def __init__(self, spool: Spool, document: Mapping[str, Any], python: str) -> None:
        self._spool = spool
        self._document = dict(document)
        self._python = python
        self._child: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self._seen_due = False

    def tick(self, now: float) -> None:
        """Start a commit where one is due; tell of one that failed."""
        if self._child is not None and not self._ended(self._child):
            return
        if not self._spool.due(int(now)):
            self._seen_due = False
            return
        if not self._seen_due:
            # Not all workers at once: the first one commits the files of all.
            self._seen_due = True
            self._next = max(self._next, time.monotonic() + random.uniform(0.2, 1) * GATHER_S)  # noqa: S311 - no secret
        if time.monotonic() >= self._next:
            self._start(now)

    def _start(self, now: float) -> None:
        self._next = time.monotonic() + RETRY_S
        log = os.path.join(self._spool.folder, LOG)
        with open(log, "wb", opener=opener) as errors:
            self._child = subprocess.Popen(
                [self._python, "-m", "dataver.cli.served_process"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
                env={**os.environ, "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore")},
            )  # fmt: skip
        with suppress(BrokenPipeError):
            assert self._child.stdin is not None
            self._child.stdin.write(json.dumps({**self._document, "now": now}).encode())
            self._child.stdin.close()

    def _ended(self, child: subprocess.Popen[bytes]) -> bool:
        code = child.poll()
        if code is None:
            return False
        self._child = None
        self._seen_due = False
        if code == 0:
            self._next = 0.0
        elif code != BUSY:
            with open(os.path.join(self._spool.folder, LOG), "rb") as log:
                reason = log.read().decode(errors="replace").strip()[-LOG_SHOWN:]
            logging.getLogger(LOGGER).warning(
                "served rows of %s wait in %s: they could not be committed: %s",
                self._document["dataset"], self._spool.folder, reason or f"exit code {code}",
            )  # fmt: skip
        return True

    def close(self) -> None:
        """Leave a commit that is on to itself."""
        if self._child is not None:
            self._child.poll()
            self._child.returncode = self._child.returncode or 0  # Else Python warns that it goes on.
            self._child = None


def python_program() -> str:
    """The Python that runs this, also where another program has it inside."""
    name = os.path.basename(sys.executable or "")
    return (
        sys.executable if name.startswith(("python", "pypy")) else os.path.join(sys.prefix, "bin", "python")
    )
