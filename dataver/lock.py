"""Making, moving and checking the pins of a lock file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from dataver.errors import (
    AlreadyExistsError,
    BadInputError,
    ConflictError,
    DamagedError,
    DataverError,
    NotPermittedError,
    RefNotFoundError,
    StoreError,
)
from dataver.log.state import State
from dataver.pins import LOCK_NAME, Lock, Pin, lock_path, lock_text, pinned, read_lock
from dataver.refs import parse_ref
from dataver.replacing import replacing
from dataver.session import Session
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class PinChange:
    """A pin that was made, moved, kept or taken away; `previous` and `id` are None where there is none."""

    ref: str
    version: str | None
    id: str | None
    tree: str | None
    previous: str | None

    def to_json(self) -> dict[str, object]:
        """`{"ref", "version", "id", "tree", "previous"}`."""
        return {
            "ref": self.ref,
            "version": self.version,
            "id": self.id,
            "tree": self.tree,
            "previous": self.previous,
        }


@dataclass(frozen=True, slots=True)
class PinCheck:
    """A pin, and what is wrong with it in the repository; `problem` is None where nothing is."""

    pin: Pin
    problem: str | None

    def to_json(self) -> dict[str, object]:
        """`{"ref", "version", "id", "tree", "ok", "problem"}`."""
        pin = self.pin
        return {
            "ref": pin.ref,
            "version": pin.version,
            "id": pin.id,
            "tree": pin.tree,
            "ok": self.problem is None,
            "problem": self.problem,
        }


def add(session: Session, refs: Sequence[str]) -> tuple[str, list[PinChange]]:
    """Pin what `refs` mean in the repository; the file's path, and the pins.

    The file is made in the current folder where there is none. `AlreadyExistsError` for a ref that
    is pinned to another version: `update` moves it. All of it is done, or nothing.
    """

    def change(lock: Lock) -> tuple[Lock, list[PinChange]]:
        state, pins, done = session.state(), dict(lock.pins), []
        _require_shared(session, state, lock, ())
        for ref in refs:
            there = lock.find(parse_ref(ref))
            pin = _resolve(session, state, there.ref if there else ref)
            if there is not None and (there.id, there.tree) != (pin.id, pin.tree):
                raise AlreadyExistsError(
                    f"{lock.path} pins {there.ref} to {there.id} already; `dataver lock update {there.ref}` "
                    f"moves it to {pin.id}"
                )
            pins[pin.ref] = there or pin
            done.append(_changed(there, pin))
        return replace(lock, pins=pins), done

    return _edit(session, change)


def update(session: Session, refs: Sequence[str] = ()) -> tuple[str, list[PinChange]]:
    """Pin anew what `refs`, or all names in the file, mean in the repository now.

    `RefNotFoundError` for a ref that is not pinned. Where all were pinned anew, the file names this
    repository afterwards.
    """

    def change(lock: Lock) -> tuple[Lock, list[PinChange]]:
        state, pins, done = session.state(), dict(lock.pins), []
        named = _named(lock, refs)
        _require_shared(session, state, lock, [pin.ref for pin in named])
        for pin in named:
            pins[pin.ref] = moved = _resolve(session, state, pin.ref)
            done.append(_changed(pin, moved))
        if len(named) == len(pins):
            lock = replace(lock, repository=session.repository, url=_url(session, lock.path))
        return replace(lock, pins=pins), done

    return _edit(session, change, must_exist=True)


def remove(session: Session, refs: Sequence[str]) -> tuple[str, list[PinChange]]:
    """Take pins away; the versions stay. `RefNotFoundError` for a ref that is not pinned."""

    def change(lock: Lock) -> tuple[Lock, list[PinChange]]:
        gone = _named(lock, refs)
        kept = {name: pin for name, pin in lock.pins.items() if pin not in gone}
        return replace(lock, pins=kept), [PinChange(pin.ref, None, None, None, pin.id) for pin in gone]

    return _edit(session, change, must_exist=True)


def check(session: Session, refs: Sequence[str] = ()) -> tuple[Lock, list[PinCheck]]:
    """Compare the pins with the repository: ids, and trees as the manifests themselves have them."""
    lock = read_lock(lock_path() or os.path.abspath(LOCK_NAME))
    state = session.state()
    return lock, [PinCheck(pin, _problem(session, state, pin, lock)) for pin in _named(lock, refs)]


def _problem(session: Session, state: State, pin: Pin, lock: Lock) -> str | None:
    try:
        found = pinned(state, pin, lambda id: session.record(id, state), lock)
        tree = session.root(session.nodes(state), found.version).identity.hex()
    except DamagedError as error:
        return str(error)
    if tree != pin.tree:
        return f"the manifest of {pin.ref} has the tree {tree}, not {pin.tree}; run `dataver verify {pin.id}`"
    return None


def _named(lock: Lock, refs: Sequence[str]) -> list[Pin]:
    """The pins of `refs`, each once; without any, all."""
    if not refs:
        return [pin for _, pin in sorted(lock.pins.items())]
    found: dict[str, Pin] = {}
    for ref in refs:
        pin = lock.find(parse_ref(ref))
        if pin is None:
            raise RefNotFoundError(f"{lock.path} does not pin {ref}; `dataver lock add {ref}` does")
        found[pin.ref] = pin
    return list(found.values())


def _resolve(session: Session, state: State, ref: str) -> Pin:
    found = session.resolve_ref(parse_ref(ref), state)
    number, id = found.version.number, found.version.id
    return Pin(ref, f"v{number}" if number else None, str(id), str(session.record(id, state).tree))


def _changed(before: Pin | None, pin: Pin) -> PinChange:
    return PinChange(pin.ref, pin.version, pin.id, pin.tree, None if before is None else before.id)


def _require_shared(session: Session, state: State, lock: Lock, moved: Sequence[str]) -> None:
    """Refuse a file of pins that do not hold here, save those in `moved`: it is another repository's."""
    if lock.repository == session.repository:
        return
    for name, pin in lock.pins.items():
        if name not in moved and _problem(session, state, pin, lock) is not None:
            raise ConflictError(
                f"{lock.path} pins {name} to a version of repository {lock.repository} ({lock.url}) that is "
                f"not in this one, {session.repository}: name another lock file with DATAVER_LOCK, or move "
                "all its pins with `dataver lock update`"
            )


# The file


def _edit(
    session: Session, change: Callable[[Lock], tuple[Lock, list[PinChange]]], *, must_exist: bool = False
) -> tuple[str, list[PinChange]]:
    """Read the file, change it, and put the new one in its place at once, one editor at a time."""
    if os.environ.get("DATAVER_LOCK") == "":
        raise BadInputError("DATAVER_LOCK is empty, which turns lock files off; unset it")
    # Through a link the file that it leads to is written, as an editor does it.
    path = os.path.realpath(lock_path() or os.path.abspath(LOCK_NAME))
    try:
        with _only_one(os.path.dirname(path)):
            old = None
            if must_exist or os.path.lexists(path):
                old = read_lock(path)
            lock, done = change(old or Lock(path, session.repository, _url(session, path)))
            if lock != old:
                _write(path, lock_text(lock))
    except DataverError:
        raise
    except PermissionError as error:
        raise NotPermittedError(f"the lock file {path} cannot be written: {error.strerror}") from error
    except FileNotFoundError as error:
        raise RefNotFoundError(f"there is no folder for the lock file {path}") from error
    return path, done


@contextmanager
def _only_one(folder: str) -> Iterator[None]:
    """Hold the folder while the body runs, so that no other editor's pins are lost."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # Some network file systems have no locks.
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except DataverError:
        raise
    except OSError as error:
        raise StoreError(f"the lock file {path} could not be written: {error.strerror}") from error


def _url(session: Session, path: str) -> str:
    """Where the repository is, without credentials; relative to the file where it lies in its folder."""
    url, folder = session.store.url, os.path.dirname(path)
    if "://" in url or os.path.commonpath([folder, url]) != folder:
        return url
    return os.path.relpath(url, folder)
