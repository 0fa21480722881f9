"""What a power cut may leave of a folder: recorded from real system calls, and enumerated.

The model is what POSIX promises, and no more. Bytes are on the disk from their `fsync` on; a name, its
removal, a rename or a folder from the `fsync` of the folder they are in. Until then any of them may have
reached the disk, in any order, and of unsynced bytes all, none, half, or as many zeros.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataver.values import dataclass

Tree = dict[str, bytes | None]
"""Relative paths: of files with their bytes, of folders with None."""

CONTENTS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    lambda _: b"",
    lambda data: data[: len(data) // 2],
    lambda data: b"\0" * len(data),
]
"""What may have become of bytes that were not synced."""


@dataclass(frozen=True, slots=True)
class Event:
    """A system call that succeeded below the folder. `file` numbers a file, whatever its names are."""

    kind: str
    path: str = ""
    file: int = -1
    data: bytes = b""


class Recorder:
    """Notes what this process changes below `root`, in order. The calls stand in for those of `os`.

    `beside` is a folder whose contents are kept as they are after each call, and before the first.
    """

    def __init__(self, root: Path, beside: Path) -> None:
        self.events: list[Event] = []
        self.beside = [tree_of(beside)]
        self._beside = beside
        self._root = f"{root}/"
        self._lock = threading.RLock()
        self._open: dict[int, int | str] = {}
        self._named: dict[str, int] = {}
        self._made = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "writev", "fsync", "link", "unlink", "replace", "mkdir", "rmdir"):
                patch.setattr(os, name, self._wrapped(getattr(os, name), getattr(self, f"_on_{name}")))
            yield

    def _wrapped(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                result = real(*arguments, **options)
                note(result, *arguments)
                while len(self.beside) <= len(self.events):
                    self.beside.append(tree_of(self._beside))
                return result

        return call

    def _inside(self, path: object) -> str | None:
        # The root itself is the folder of the names in it.
        return f"{path}/".removeprefix(self._root).rstrip("/") if f"{path}/".startswith(self._root) else None

    def _on_open(self, fd: int, path: object, flags: int, *_: object) -> None:
        inside = self._inside(path)
        self._open.pop(fd, None)
        if inside is not None and flags & os.O_CREAT:
            self._made += 1
            self._open[fd] = self._named[inside] = self._made
            self.events.append(Event("name", inside, self._made))
        elif inside is not None and flags & os.O_DIRECTORY:
            self._open[fd] = inside

    def _on_writev(self, count: int, fd: int, views: list[memoryview]) -> None:
        if isinstance(self._open.get(fd), int):
            self.events.append(Event("write", file=self._file(fd), data=b"".join(views)[:count]))

    def _on_fsync(self, _: None, fd: int) -> None:
        found = self._open.get(fd)
        if isinstance(found, int):
            self.events.append(Event("sync", file=found))
        elif found is not None:
            self.events.append(Event("sync names", found))

    def _on_link(self, _: None, source: str, target: str) -> None:
        inside = self._inside(target)
        if inside is not None:
            self._named[inside] = self._named[str(self._inside(source))]
            self.events.append(Event("name", inside, self._named[inside]))

    def _on_replace(self, _: None, source: str, target: str) -> None:
        before, inside = self._inside(source), self._inside(target)
        if before is not None and inside is not None:
            self._named[inside] = self._named.pop(before)
            self.events.append(Event(f"rename {before}", inside, self._named[inside]))

    def _on_unlink(self, _: None, path: str) -> None:
        self._note("unname", path)

    def _on_mkdir(self, _: None, path: str, *__: object) -> None:
        self._note("folder", path)

    def _on_rmdir(self, _: None, path: str) -> None:
        self._note("unname", path)

    def _note(self, kind: str, path: str) -> None:
        inside = self._inside(path)
        if inside is not None:
            self.events.append(Event(kind, inside))

    def _file(self, fd: int) -> int:
        found = self._open[fd]
        assert isinstance(found, int)
        return found


@dataclass(frozen=True, slots=True)
class State:
    """What may be on the disk after a power cut behind so many calls."""

    after: int
    lost: str
    tree: Tree

    def __str__(self) -> str:
        return f"after {self.after} calls, {self.lost}"

    def write(self, root: Path) -> None:
        """Make it real. All is as old as two hours, as when a machine comes back late."""
        write_tree(root, self.tree)
        long_ago = time.time() - 7_200
        for path, data in self.tree.items():
            if data is not None:
                os.utime(root / path, (long_ago, long_ago))


def write_tree(root: Path, tree: Tree) -> None:
    """Make a new folder of this."""
    root.mkdir(parents=True)
    for path, data in tree.items():
        if data is None:
            (root / path).mkdir(parents=True, exist_ok=True)
    for path, data in tree.items():
        if data is not None:
            (root / path).write_bytes(data)


def tree_of(root: Path) -> Tree:
    """What is in a folder now, all of it durable."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def crash_states(before: Tree, events: list[Event]) -> Iterator[State]:
    """Every state that a power cut at any moment may leave, by the model above, each once.

    Of what is not durable: all reached the disk, nothing did, nothing but one, all but one.
    """
    seen: set[frozenset[tuple[str, bytes | None]]] = set()
    for after in range(len(events) + 1):
        done = events[:after]
        pending = _pending(done)
        unsynced = _unsynced(done)
        kept: dict[str, set[int]] = {"nothing lost": set(pending), "all that may be lost": set()}
        for at in pending if len(pending) > 1 else ():
            kept[f"without {done[at].kind} of {done[at].path}"] = set(pending) - {at}
            kept[f"with nothing but {done[at].kind} of {done[at].path}"] = {at}
        for lost, chosen in kept.items():
            gone = set(pending) - chosen
            for spoil in CONTENTS if unsynced else CONTENTS[:1]:
                tree = _applied(before, done, gone, unsynced, spoil)
                key = frozenset(tree.items())
                if key not in seen:
                    seen.add(key)
                    yield State(after, lost, tree)


def _pending(done: list[Event]) -> list[int]:
    """The changes of names that no sync of their folder has made durable."""
    found: list[int] = []
    for at, event in enumerate(done):
        if event.kind == "sync names":
            found = [other for other in found if os.path.dirname(done[other].path) != event.path]
        elif event.kind not in ("write", "sync"):
            found.append(at)
    return found


def _unsynced(done: list[Event]) -> dict[int, int]:
    """The files with bytes that are not durable, and how many of each are."""
    sizes: dict[int, int] = {}
    durable: dict[int, int] = {}
    for event in done:
        if event.kind == "write":
            sizes[event.file] = sizes.get(event.file, 0) + len(event.data)
        elif event.kind == "sync":
            durable[event.file] = sizes.get(event.file, 0)
    return {file: durable.get(file, 0) for file, size in sizes.items() if durable.get(file, 0) < size}


def _applied(
    before: Tree, done: list[Event], gone: set[int], unsynced: dict[int, int], spoil: Callable[[bytes], bytes]
) -> Tree:
    names: dict[str, int | bytes | None] = dict(before)
    bytes_of: dict[int, bytes] = {}
    for at, event in enumerate(done):
        if event.kind == "write":
            bytes_of[event.file] = bytes_of.get(event.file, b"") + event.data
        if event.kind in ("write", "sync", "sync names") or at in gone:
            continue
        if event.kind.startswith("rename "):
            names.pop(event.kind.removeprefix("rename "), None)
        if event.kind == "unname":
            names.pop(event.path, None)
        elif event.kind == "folder":
            names.setdefault(event.path, None)
        else:
            names[event.path] = event.file
    tree: Tree = {}
    for path in sorted(names):
        value = names[path]
        above = os.path.dirname(path)
        if above and tree.get(above, b"") is not None:
            continue  # The folder that it is in did not reach the disk.
        if isinstance(value, int):
            data, safe = bytes_of.get(value, b""), unsynced.get(value)
            value = data if safe is None else data[:safe] + spoil(data[safe:])
        tree[path] = value
    return tree
