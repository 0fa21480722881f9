"""The private folders in which processes of a run put their notes, and what is left of runs that died."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import time
from contextlib import suppress

from dataver.format.run_record import Process
from dataver.lineage.processes import is_alive
from dataver.private import opener

__all__ = ["make_run_folder"]

PREFIX = "dataver-run-"
OWNER = "owner.json"
LEFTOVER_AGE_S = 3600.0
"""Children may outlive the process that began a run, and read on."""


def make_run_folder(run: str, process: Process) -> str:
    """A new folder for a run of a process, for this user alone. Those of runs whose process died go."""
    _sweep(tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{run[:12]}-")
    with open(os.path.join(folder, OWNER), "x", encoding="utf-8", opener=opener) as file:
        json.dump(dataclasses.asdict(process), file)
    return folder


def _sweep(place: str) -> None:
    with suppress(OSError), os.scandir(place) as found:
        for entry in found:
            if entry.name.startswith(PREFIX):
                with suppress(OSError, ValueError, TypeError):
                    _remove_if_dead(entry)


def _remove_if_dead(entry: os.DirEntry[str]) -> None:
    stat = entry.stat(follow_symlinks=False)
    if not entry.is_dir(follow_symlinks=False) or stat.st_uid != os.getuid():
        return
    if time.time() - stat.st_mtime < LEFTOVER_AGE_S:
        return
    with open(os.path.join(entry.path, OWNER), encoding="utf-8") as file:
        process = Process(**json.load(file))
    if is_alive(process) is False:
        shutil.rmtree(entry.path, ignore_errors=True)
