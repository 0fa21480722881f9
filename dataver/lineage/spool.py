"""Runs that wait on this machine, as the exact records that a repository will get.

A folder for each, this user's alone: `start` and `end` are run records, `parts/` what they name,
`place.json` says where they belong. `end` is written last.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from dataver.config import spool_folder
from dataver.errors import ConflictError, DamagedError, NotPermittedError
from dataver.format.run_record import RunRecord, decode_run, part_digest
from dataver.lineage.processes import is_alive
from dataver.lineage.publishing import end_run, start_run
from dataver.private import make_folder
from dataver.session import Session
from dataver.values import dataclass

__all__ = ["Waiting", "drop", "keep", "push_one", "waiting"]

START, END, PARTS, PLACE = "start", "end", "parts", "place.json"
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits. `end` is None where it still runs, or ended without a word."""

    folder: str
    url: str
    repository: str
    start: RunRecord
    end: RunRecord | None

    @property
    def run(self) -> str:
        """The run's id."""
        return self.start.run

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.end is not None or is_alive(self.start.process) is not True

    def parts(self) -> list[bytes]:
        """The bytes of all parts."""
        found = []
        for record in filter(None, (self.start, self.end)):
            for digest in record.parts():
                data = _read(os.path.join(self.folder, PARTS, str(digest)))
                if part_digest(data) != digest:
                    raise DamagedError(f"the part {digest} of the waiting run {self.run} was changed on disk")
                found.append(data)
        return found


def keep(url: str, repository: str, start: RunRecord, end: RunRecord | None, parts: Iterable[bytes]) -> str:
    """Put a run aside for the repository at `url`; gives the folder. `NotPermittedError` where that fails."""
    folder = os.path.join(spool_folder(), start.run)
    try:
        make_folder(os.path.join(folder, PARTS))
        os.chmod(spool_folder(), 0o700)
        os.chmod(folder, 0o700)
        _write(os.path.join(folder, PLACE), json.dumps({"url": url, "repository": repository}).encode())
        for part in parts:
            _write(os.path.join(folder, PARTS, str(part_digest(part))), part)
        _write(os.path.join(folder, START), start.encode())
        if end is not None:
            _write(os.path.join(folder, END), end.encode())
    except OSError as error:
        raise NotPermittedError(
            f"run {start.run[:12]} can be recorded neither in {url} nor in {folder}: {error.strerror}; set "
            "DATAVER_SPOOL_DIR to a folder of yours that can be written"
        ) from error
    return folder


def drop(run: str) -> None:
    """Forget a run that waited."""
    shutil.rmtree(os.path.join(spool_folder(), run), ignore_errors=True)


def waiting() -> Iterator[Waiting]:
    """The runs that wait on this machine, the first started first."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(spool_folder()):
            if _NAME.fullmatch(name):
                with suppress(FileNotFoundError):  # It was pushed meanwhile, or is being made.
                    found.append(_waiting(os.path.join(spool_folder(), name)))
    yield from sorted(found, key=lambda run: (run.start.started_us, run.run))


def _waiting(folder: str) -> Waiting:
    url, repository = _place(folder)
    start = decode_run(_read(os.path.join(folder, START)), f"{folder}/{START}")
    end: RunRecord | None = None
    with suppress(FileNotFoundError):
        end = decode_run(_read(os.path.join(folder, END)), f"{folder}/{END}")
    return Waiting(folder, url, repository, start, end)


def _place(folder: str) -> tuple[str, str]:
    """The URL and the id of the repository that a run waits for."""
    try:
        place = json.loads(_read(os.path.join(folder, PLACE)))
        return str(place["url"]), str(place["repository"])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise DamagedError(
            f"{folder}/{PLACE} does not say for which repository the run waits; put it back from a copy, or "
            "remove the folder, and the run is lost"
        ) from None


def push_one(session: Session, run: Waiting) -> bool:
    """Record a waiting run, and forget it; False where somebody else does so now, or did.

    What the repository has already is not recorded again.
    """
    with _alone(run.folder) as got:
        if not got or not os.path.exists(os.path.join(run.folder, START)):
            return False
        if run.end is not None:
            end_run(session, run.end, run.parts(), start=run.start)
        else:
            with suppress(ConflictError):  # Its start is there.
                start_run(session, run.start, run.parts())
        shutil.rmtree(run.folder, ignore_errors=True)
    return True


@contextmanager
def _alone(folder: str) -> Iterator[bool]:
    """Whether this process is the only one that works on the folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    own = f"{path}.{secrets.token_hex(8)}"
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.replace(own, path)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
