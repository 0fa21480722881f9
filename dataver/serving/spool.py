"""Served rows on this machine, until they are committed.

A folder for each repository and dataset, this user's alone. Files of it are `START-END-NAME.rows`, with
the seconds since 1970 between which their rows came; END is 0 where rows are counted, not time. A file
is JSON, one value a line: first what holds for all of it, then `{"t": microseconds, "rows": [{…}…]}` and
`{"dropped": {reason: count}}`. The process that writes a file holds its lock; a file that nobody
holds is whole, save perhaps its last line, and anybody may commit it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any

from dataver.config import served_folder
from dataver.private import make_folder, opener
from dataver.serving.bodies import Row
from dataver.source import local_path
from dataver.store.clients import public_url
from dataver.values import dataclass

__all__ = [
    "PLACE",
    "Spool",
    "SpoolFile",
    "SpoolFullError",
    "Waiting",
    "folder_of",
    "held",
    "is_free",
    "read",
    "size_of",
    "waiting",
]

PLACE, LOCK, LOG = "place.json", "commit.lock", "commit.log"
FORMAT = 1
POLL_S = 0.05
FILE_BYTES_MAX = 64 << 20
"""A file goes on in another one then, so that whoever commits it need not hold more."""
HALF = rb"\ud"
_NAME = re.compile(r"([0-9]{1,12})-([0-9]{1,12})-([0-9a-f]{16})\.rows", re.ASCII)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that waits. `start` and `end` are of its window, in seconds; `end` is 0 where it has none."""

    path: str
    start: int
    end: int
    name: str


def folder_of(url: str, dataset: str) -> str:
    """Where the rows wait of a dataset in a repository; the same for all that its URL may look like."""
    path = local_path(url)
    place = public_url(url) if path is None else os.path.realpath(os.fsdecode(path))
    key = blake2b(f"{place}\n{dataset}".encode(), digest_size=8).hexdigest()
    return str(served_folder() / key)


def waiting(folder: str) -> list[Waiting]:
    """The files of a folder, also those that are written still, the oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [(name, _NAME.fullmatch(name)) for name in names]
    files = [
        Waiting(os.path.join(folder, name), int(known[1]), int(known[2]), known[3])
        for name, known in found
        if known is not None
    ]
    return sorted(files, key=lambda file: (file.start, file.name))


def size_of(file: Waiting) -> int:
    """How many bytes it has; none once it was committed, which may be at any time."""
    try:
        return os.stat(file.path).st_size
    except FileNotFoundError:
        return 0


@contextmanager
def held(path: str, *, make: bool = False, wait_s: float = 0) -> Iterator[bool]:
    """Hold the lock of a file; False where another process has it for `wait_s`. `make`: a missing one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not (ours := _lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        yield ours
    finally:
        os.close(descriptor)


def is_free(path: str) -> bool:
    """Whether a file is there that no process writes."""
    try:
        with held(path) as ours:
            return ours
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(path: str) -> Iterator[dict[str, Any]]:
    """The lines of a file, without what was cut short."""
    with open(path, "rb") as file:
        for line in file:
            with suppress(ValueError, RecursionError):
                value = json.loads(line)
                if HALF in line:
                    # Half a pair of UTF-16, which JSON can hold, is no text: no table takes it.
                    value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
                if isinstance(value, dict):
                    yield value


class SpoolFile:
    """A file that this process writes. What is written outlives the process."""

    def __init__(self, folder: str, start: int, end: int, facts: Mapping[str, Any]) -> None:
        self.start, self.end = start, end
        self.rows = 0
        self.size_bytes = 0
        name = f"{start}-{end}-{os.urandom(8).hex()}.rows"
        # Under another name until it is locked: nobody is to take it for one that was left behind.
        hidden = os.path.join(folder, f".{name}")
        self._file = open(hidden, "xb", buffering=0, opener=opener)  # noqa: SIM115 - open until it is left
        try:
            _lock(self._file.fileno())
            self._write({"format": FORMAT, "start": start, "end": end, **facts})
            self.path = os.path.join(folder, name)
            os.rename(hidden, self.path)
        except BaseException:
            self._file.close()
            with suppress(OSError):
                os.unlink(hidden)
            raise

    def add(self, time_us: int, rows: list[Row]) -> None:
        """Append rows that came at one time. `ValueError` or `TypeError` where JSON cannot hold them."""
        self._write({"t": time_us, "rows": rows})
        self.rows += len(rows)

    def dropped(self, counts: Mapping[str, int]) -> None:
        """Note what was not captured since the last call."""
        self._write({"dropped": dict(counts)})

    def close(self) -> None:
        """Let others have it, also where a process that was forked meanwhile has it open."""
        with suppress(OSError):
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        self._file.close()

    def forget(self) -> None:
        """Leave it to the process that this one was forked from: it stays locked as long as that lives."""
        self._file.close()

    def _write(self, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, default=_plain, separators=(",", ":")).encode() + b"\n"
        written = self._file.write(data)
        self.size_bytes += written
        if written < len(data):  # Whoever reads passes over a half line, if it is the last one.
            raise OSError("the disk is full")


def _plain(value: Any) -> Any:
    """What JSON has no word for: numbers and arrays of NumPy as numbers, times and all others as text."""
    found = value.tolist() if hasattr(value, "tolist") else value
    return found if isinstance(found, bool | int | float | str | list) else str(found)


class Spool:
    """The folder of one dataset, as a process that serves uses it. `window_s` is 0 where rows are counted."""

    def __init__(
        self, folder: str, place: Mapping[str, Any], window_s: int, rows_max: int, bytes_max: int
    ) -> None:
        self.folder = folder
        self._place = dict(place)
        self._window_s = window_s
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._file: SpoolFile | None = None

    def add(self, time_us: int, rows: list[Row], facts: Mapping[str, Any]) -> None:
        """Append rows to the file of their window. `SpoolFullError` where there is no room."""
        now_s = time_us // 1_000_000
        self.roll(now_s)
        if self._file is None:
            self._make()
            if sum(map(size_of, waiting(self.folder))) > self._bytes_max:
                raise SpoolFullError
            start = now_s // self._window_s * self._window_s if self._window_s else now_s
            self._file = SpoolFile(self.folder, start, start + self._window_s if self._window_s else 0, facts)
        self._file.add(time_us, rows)

    def dropped(self, counts: Mapping[str, int]) -> bool:
        """Note what was not captured; False where there is no file that could say it."""
        if self._file is None:
            return False
        self._file.dropped(counts)
        return True

    def roll(self, now_s: int) -> bool:
        """Close the file where its window is over or it is full; whether it was closed."""
        file = self._file
        if file is None:
            return False
        over = file.end and not file.start <= now_s < file.end
        full = file.size_bytes >= FILE_BYTES_MAX or (self._rows_max and file.rows >= self._rows_max)
        if over or full:
            self.close()
            return True
        return False

    def close(self) -> None:
        """Close the file that is open, so that it can be committed."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def forget(self) -> None:
        """Leave the file that is open to the process that this one was forked from."""
        file, self._file = self._file, None
        if file is not None:
            file.forget()

    def due(self, now_s: int) -> bool:
        """Whether a file waits whose window is over and that no process writes."""
        own = "" if self._file is None else self._file.path
        over = [file for file in waiting(self.folder) if file.end <= now_s and file.path != own]
        return any(is_free(file.path) for file in over)

    def _make(self) -> None:
        """Make the folder, also again where somebody removed it meanwhile."""
        place = os.path.join(self.folder, PLACE)
        if not os.path.exists(place):
            make_folder(self.folder)
            with open(place, "w", encoding="utf-8", opener=opener) as file:
                json.dump(self._place, file)


class SpoolFullError(OSError):
    """The files that wait take all the room that they may."""
