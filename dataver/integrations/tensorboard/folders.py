"""Event files in a log folder: which are ours, which are others', and which a run has written.

Nothing here needs TensorBoard.

Ours are `events.out.tfevents.0NNNNNNNNN.dataver.RUN`. TensorBoard's Python loader reads the files of a
folder in the order of their names and does not come back to an earlier one: a file of ours that came
behind the user's would end the reading of theirs while it still grows. So the number, which is a time
in seconds in other names, is of 1970 to 2001, and the newest run of a folder has the lowest: of a tag
in several files the first counts.
"""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dataver.values import dataclass

__all__ = ["OwnFile", "folders_below", "folders_of", "other_files", "own_file", "own_files"]

NUMBER_MAX = 999_999_999
"""All of a file's name after it counts down from here, which leaves room for more runs than a folder gets."""
FOLDERS_MAX = 2_000
NAMES_MAX = 100_000
"""So much of a working folder is looked through for event files; log folders lie near its top."""
_OWN = re.compile(r"events\.out\.tfevents\.(0[0-9]{9})\.dataver\.([0-9a-f]{32})", re.ASCII)
_ANY = "tfevents"
_NAMED = re.compile(r"events\.out\.tfevents\.([0-9]{10})\.(.+)\.([0-9]+)\.[0-9]+(?:\..*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class OwnFile:
    """The file of a run, there or to be."""

    path: str
    number: int
    run: str


def own_files(folder: str) -> list[OwnFile]:
    """Our files in a folder, in the order in which TensorBoard reads them; none where there is no folder."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [(name, _OWN.fullmatch(name)) for name in names]
    return [
        OwnFile(os.path.join(folder, name), int(own[1]), own[2]) for name, own in found if own is not None
    ]


def own_file(folder: str, run: str) -> OwnFile:
    """Where the file of a run is in a folder, or is to be."""
    there = own_files(folder)
    for file in there:
        if file.run == run:
            return file
    number = there[0].number - 1 if there else NUMBER_MAX
    return OwnFile(os.path.join(folder, f"events.out.tfevents.{number:010}.dataver.{run}"), number, run)


def other_files(folder: str) -> list[str]:
    """The event files of a folder that are not ours."""
    return [
        os.path.join(folder, name)
        for name in sorted(os.listdir(folder))
        if _ANY in name and not _OWN.fullmatch(name)
    ]


def folders_of(processes: Iterable[int], started_us: int, below: str) -> list[str]:
    """The folders below one that have event files of these processes of this machine, made since then.

    The names say it: the writers of TensorBoard, PyTorch and Keras put time, host and process there.
    """
    wanted, host, since = {*processes}, socket.gethostname(), started_us // 1_000_000
    found: dict[str, None] = {}
    for folder, name in _event_files(below):
        named = _NAMED.fullmatch(name)
        if named and int(named[1]) >= since and named[2] == host and int(named[3]) in wanted:
            found[folder] = None
    return list(found)


def folders_below(folder: str) -> Iterator[str]:
    """The folders below one that have files of ours, upper ones first, then by name."""
    found = dict.fromkeys(place for place, name in _event_files(folder) if _OWN.fullmatch(name))
    yield from sorted(found, key=lambda place: (place.count(os.sep), place))


def _event_files(below: str) -> Iterator[tuple[str, str]]:
    """Folder and name of event files, those of upper folders first; not in hidden folders."""
    waiting = deque([below])
    names = folders = 0
    while waiting and folders < FOLDERS_MAX and names < NAMES_MAX:
        folder = waiting.popleft()
        folders += 1
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                names += 1
                if names > NAMES_MAX:
                    return
                if entry.name.startswith("."):
                    continue
                if _ANY in entry.name:
                    yield folder, entry.name
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
