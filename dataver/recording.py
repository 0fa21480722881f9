"""What a run reads, noted as it is read, by each of its processes.

A run has a private folder; `DATAVER_RUN` and `DATAVER_RUN_FOLDER` name both, so that child processes
note what they read as well. Each process appends lines to a file of its own there, at the first read of
each file, so that what it read is known even if it is killed. Who ends the run gathers the files
(`dataver.lineage.gathering`).

A line is a JSON array: `["v", number, version]` numbers a version as `Asked` and its facts; `["f", number,
path, digest, size]` says that all of a file was read, `["p", number, path, digest, size, start, stop]`
that a part of it was, and `["r", number, path, [[start, stop]…]]` which other ones were; `["a", number]`
that the version was handed out as a whole; `["o", version]` that it was made; `["m", model]` that a model
was logged in another tool, and `["t", tracker]` what the run is called there.

Nothing here fails a read: where notes cannot be written, one warning says so.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from json import JSONDecodeError, dumps, loads
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, Protocol

from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.notes import NotesFile

__all__ = [
    "DEFAULT_ROLE",
    "FOLDER_VARIABLE",
    "NOTES_SUFFIX",
    "RUN_VARIABLE",
    "Asked",
    "FileReads",
    "OpenFile",
    "Reads",
    "Recorder",
    "active_run",
]

RUN_VARIABLE, FOLDER_VARIABLE = "DATAVER_RUN", "DATAVER_RUN_FOLDER"
DEFAULT_ROLE = "input"
NOTES_SUFFIX = ".notes"
PIN_SUFFIX = ".pin"
PENDING_MAX = 256
FLUSH_S = 1.0
"""What a process that is killed has read since then is noted without its ranges."""


class Asked(NamedTuple):
    """How a version was asked for. `split` is the document of a part; `declared`: it was named an input."""

    ref: str
    role: str = DEFAULT_ROLE
    split: dict[str, Any] | None = None
    declared: bool = False
    unnoted: bool = False


class ReadFile(Protocol):
    """What is noted of a file."""

    @property
    def path(self) -> bytes:
        """Where it is in the version."""

    @property
    def digest(self) -> bytes:
        """The BLAKE3-256 of its bytes."""

    @property
    def size(self) -> int:
        """How many they are."""


class Recorder:
    """Writes the notes of this process. For several threads; a forked process begins anew."""

    def __init__(self, run: str, folder: str) -> None:
        self.run = run
        self.folder = folder
        self.failed: str | None = None
        self.plan: object = self
        """That of `dataver.reproduced`; this recorder itself before it was looked for."""
        self._reads: dict[object, Reads] = {}
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self.naming = threading.RLock()
        self._file: NotesFile | None = None
        self._count = 0
        for reads in self._reads.values():
            reads.forget()

    def forked(self) -> None:
        """Begin a file of this process's own: the one that is open is its parent's."""
        if self._file is not None:
            self._file.leave()
        self._begin()

    def reads(self, key: object, facts: Callable[[], dict[str, Any]]) -> Reads:
        """What notes reads of a version, one for each key; `facts` are looked up at the first one."""
        found = self._reads.get(key)
        if found is None:
            found = self._reads.setdefault(key, Reads(self, facts))
        return found

    def made(self, version: dict[str, Any]) -> None:
        """Note a version that was made, and look its dataset's names up anew from here on."""
        self.write(f'["o",{dumps(version)}]\n')
        self._drop_pins(version["repository"], version["dataset"])

    def model(self, model: dict[str, Any]) -> None:
        """Note a model: a document as of `RunModel`."""
        self.write(f'["m",{dumps(model)}]\n')

    def tracker(self, tracker: dict[str, Any]) -> None:
        """Note what the run is called in another tool: a document as of `Tracker`."""
        self.write(f'["t",{dumps(tracker)}]\n')

    def next_number(self) -> int:
        """A number for a version in this process's notes."""
        with self._lock:
            self._count += 1
            return self._count

    def write(self, line: str) -> None:
        """Append lines. What fails is told once."""
        data = line.encode()
        with self._lock:
            if self.failed is not None:
                return
            try:
                if self._file is None:
                    self._file = self._open()
                self._file.append(data)
            except FileNotFoundError:
                self.failed = "the run has ended"
            except OSError as error:
                self._fail(error.strerror or str(error))

    def _open(self) -> NotesFile:
        from dataver.notes import NotesFile

        name = f"{os.getpid()}-{os.urandom(8).hex()}{NOTES_SUFFIX}"
        return NotesFile(os.path.join(self.folder, name))

    def _fail(self, reason: str) -> None:
        self.failed = reason
        import warnings

        warnings.warn(
            f"what this process reads from here on is not recorded for run {self.run[:12]}: {reason}",
            stacklevel=2,
        )

    @property
    def processes(self) -> set[int]:
        """The processes that have noted something so far, by number."""
        names = [name for name in os.listdir(self.folder) if name.endswith(NOTES_SUFFIX)]
        return {int(name.partition("-")[0]) for name in names}

    def flush(self) -> None:
        """Write what is still held back."""
        for reads in list(self._reads.values()):
            reads.flush(every_file=True)

    def close(self) -> None:
        """Write what is held back, and nothing more after that."""
        self.flush()
        with self._lock:
            self.failed = self.failed or "the run has ended"
            if self._file is not None:
                self._file.close()
                self._file = None

    # What names mean in the run

    def pinned(self, repository: str, ref: str) -> str | None:
        """The id of the version that `DATASET@SELECTOR` means in this run, if a process looked it up."""
        try:
            with open(self._pin(repository, ref), encoding="utf-8") as file:
                found = loads(file.read())
            return str(found["id"]) if found["ref"] == ref else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def pin(self, repository: str, dataset: str, ref: str, id: str) -> str:
        """Say what a ref means for the whole run; gives what another process said before, if one did."""
        place = self._pin(repository, ref)
        own = f"{place}.{os.urandom(8).hex()}"
        try:
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(dumps({"repository": repository, "dataset": dataset, "ref": ref, "id": id}))
            try:
                os.link(own, place)
            except FileExistsError:
                return self.pinned(repository, ref) or id
            finally:
                os.unlink(own)
        except OSError:
            return id  # The folder is gone, or full: nobody else can be told.
        return id

    def _pin(self, repository: str, ref: str) -> str:
        from hashlib import blake2b

        name = blake2b(f"{repository} {ref}".encode(), digest_size=16).hexdigest()
        return os.path.join(self.folder, name + PIN_SUFFIX)

    def _drop_pins(self, repository: str, dataset: str) -> None:
        try:
            names = [name for name in os.listdir(self.folder) if name.endswith(PIN_SUFFIX)]
        except OSError:
            return
        for name in names:
            place = os.path.join(self.folder, name)
            try:
                with open(place, encoding="utf-8") as file:
                    pin = loads(file.read())
                if (pin["repository"], pin["dataset"]) == (repository, dataset):
                    os.unlink(place)
            except (OSError, JSONDecodeError, KeyError):
                continue


class Reads:
    """Notes the reads of one version. For several threads."""

    __slots__ = (
        "_additions", "_all", "_changed", "_facts", "_files", "_flushed", "_head", "_number", "_parts",
        "_whole", "recorder",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, facts: Callable[[], dict[str, Any]]) -> None:
        self.recorder = recorder
        self._facts = facts
        self.forget()

    def forget(self) -> None:
        """Nothing was noted yet."""
        self._number = 0
        self._files = 0
        self._head = ""
        self._all = False
        self._whole: set[bytes] = set()
        self._parts: dict[bytes, FileReads] = {}
        self._changed: dict[bytes, FileReads] = {}
        self._additions = 0
        self._flushed = time.monotonic()

    def number(self) -> int:
        """The version's number in this process's notes; at the first call it is noted."""
        with self.recorder.naming:  # Facts are looked up in the repository, by one thread at a time.
            if not self._number:
                facts = {**self._facts(), "time_ns": time.time_ns()}
                number = self.recorder.next_number()
                self.recorder.write(f'["v",{number},{dumps(facts)}]\n')
                self._files = int(facts.get("files", 0))
                self._number = number
            return self._number

    def whole(self, entry: ReadFile) -> None:
        """All of a file is read."""
        path = entry.path
        if path not in self._whole and not self._all:
            self._whole.add(path)
            head = self._head or self._new_head()
            self.recorder.write(f'{head}{quoted(path.decode())},"{entry.digest.hex()}",{entry.size}]\n')
            if len(self._whole) == self._files:
                self.everything()

    def several(self, entries: Iterable[ReadFile]) -> None:
        """All of each of these files is read."""
        new = [] if self._all else [entry for entry in entries if entry.path not in self._whole]
        self._whole.update(entry.path for entry in new)
        for start in range(0, len(new), 1000):
            self.recorder.write("".join(map(self._line, new[start : start + 1000])))

    def everything(self) -> None:
        """All of the version is read, or handed out; its files need not be kept in mind any more."""
        if not self._all:
            self.recorder.write(f'["a",{self.number()}]\n')
            self._all = True
            self._whole, self._parts = set(), {}

    def _line(self, entry: ReadFile) -> str:
        head = self._head or self._new_head()
        return f'{head}{quoted(entry.path.decode())},"{entry.digest.hex()}",{entry.size}]\n'

    def _new_head(self) -> str:
        self._head = f'["f",{self.number()},'
        return self._head

    def part(self, entry: ReadFile, start: int, stop: int) -> None:
        """Bytes `start` to `stop` of a file are read."""
        path = entry.path
        if start <= 0 and stop >= entry.size:
            self.whole(entry)
            return
        known = self._parts.get(path)
        if known is None:
            if self._all or path in self._whole:
                return
            known = self._parts[path] = FileReads()
            known.add(start, stop)
            known.pending.clear()
            name, digest = quoted(path.decode()), entry.digest.hex()
            self.recorder.write(
                f'["p",{self._number or self.number()},{name},"{digest}",{entry.size},{start},{stop}]\n'
            )
        elif known.add(start, stop):
            self._changed[path] = known
            self._additions += 1
            if self._additions > PENDING_MAX or time.monotonic() - self._flushed > FLUSH_S:
                self.flush()

    def parts(self, entry: ReadFile, ranges: Iterable[tuple[int, int]]) -> None:
        """Ranges of a file, as (start, stop), are read; what lies beyond its end is left out."""
        for start, stop in ranges:
            self.part(entry, max(start, 0), min(stop, entry.size))

    def flush(self, *, every_file: bool = False) -> None:
        """Write the ranges that are held back; `every_file`: also those that other threads add just now."""
        if not self._changed and not every_file:
            return
        self._flushed = time.monotonic()
        changed, self._changed, self._additions = self._changed, {}, 0
        lines = []
        for path, known in list((self._parts if every_file else changed).items()):
            pending = known.taken()
            if pending:
                lines.append(f'["r",{self.number()},{quoted(path.decode())},{dumps(pending)}]\n')
        self.recorder.write("".join(lines))


class OpenFile:
    """Notes the reads of one file that is open."""

    __slots__ = ("_entry", "_reads")

    def __init__(self, reads: Reads, entry: ReadFile) -> None:
        self._reads = reads
        self._entry = entry

    def read(self, start: int, stop: int) -> None:
        """Bytes `start` to `stop` are read."""
        self._reads.part(self._entry, start, stop)

    def close(self) -> None:
        """Write what is held back."""
        self._reads.flush()


class FileReads:
    """The ranges of one file that were read: disjoint, in order, those that touch made one."""

    __slots__ = ("_lock", "_starts", "_stops", "pending")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._lock = threading.Lock()
        self.pending: list[list[int]] = []

    @property
    def ranges(self) -> list[list[int]]:
        """The ranges as pairs of start and stop."""
        return [list(pair) for pair in zip(self._starts, self._stops, strict=True)]

    def add(self, start: int, stop: int) -> bool:
        """Whether any of these bytes were not known to be read."""
        if start >= stop:
            return False
        with self._lock:
            first = bisect_left(self._stops, start)
            if first < len(self._starts) and self._starts[first] <= start and stop <= self._stops[first]:
                return False
            last, low, high = first, start, stop
            while last < len(self._starts) and self._starts[last] <= stop:
                low, high = min(low, self._starts[last]), max(high, self._stops[last])
                last += 1
            self._starts[first:last] = [low]
            self._stops[first:last] = [high]
            pending = self.pending
            if pending and pending[-1][0] <= start <= pending[-1][1]:
                pending[-1][1] = max(pending[-1][1], stop)
            else:
                pending.append([start, stop])
            return True

    def taken(self) -> list[list[int]]:
        """What was added since the last call."""
        with self._lock:
            pending, self.pending = self.pending, []
            return pending


def active_run() -> bytes:
    """The id of the run that is on, 16 bytes; empty where none is."""
    return b"" if active is None else bytes.fromhex(active.run)


def _inherited() -> Recorder | None:
    """The run that started this process, if it is there and this user's own."""
    run, folder = os.environ.get(RUN_VARIABLE, ""), os.environ.get(FOLDER_VARIABLE, "")
    if len(run) != 32 or set(run) - set("0123456789abcdef") or not os.path.isabs(folder):
        return None
    try:
        found = os.stat(folder)
    except OSError:
        return None
    own = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return Recorder(run, folder) if own else None


active: Recorder | None = _inherited()
"""The run that is on in this process. Readers look here, and do nothing more where there is none."""


def _forked() -> None:
    if active is not None:
        active.forked()
        _flush_at_end()


def _flush() -> None:
    if active is not None:
        active.flush()


def _flush_at_end() -> None:
    """Write what is held back when the process ends; those of `multiprocessing` skip `atexit`."""
    import sys

    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _flush, exitpriority=0)
        # A process that `multiprocessing` forks forgets what was to be done at its end, and then does this.
        util.register_after_fork(_forked, _finalize_with(util))


def _finalize_with(util: Any) -> Callable[[object], None]:
    return lambda _: util.Finalize(None, _flush, exitpriority=0)


def activate(recorder: Recorder | None) -> Recorder | None:
    """Make this the run that is on; gives the one before."""
    global active
    before, active = active, recorder
    return before


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_flush)
_flush_at_end()
