"""The files of a version as folders and links: look-ups, listings, and where a symlink leads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from dataver.errors import BadInputError, PathNotFoundError
from dataver.paths import RelativePath, safe_spelling
from dataver.results import FileEntry, Listing
from dataver.tree.manifest import FOLDER, KIND_NAMES, SYMLINK, Entry, to_entry
from dataver.tree.schema import Link, NodeStore
from dataver.tree.walk import find, prefix_stop, scan

LINKS_MAX = 40


class Files:
    """The manifest of one version. Safe for several threads as far as `nodes` is.

    Paths are bytes without a slash at either end, `b""` is the top folder. A folder is an entry of
    kind `FOLDER`, whether it is empty (and so stands in the manifest) or has files below it.
    `target` reads the bytes of a symlink.
    """

    def __init__(self, nodes: NodeStore, root: Link, target: Callable[[Entry], bytes]) -> None:
        self._nodes = nodes
        self._root = root
        self.link_target = target

    def get(self, path: bytes) -> Entry | None:
        """What stands at a path, a symlink itself; None where there is nothing."""
        row = find(self._nodes, self._root, path) if path else None
        if row is not None:
            return to_entry(row)
        if not path or next(self.scan(path + b"/"), None) is not None:
            return Entry(path, FOLDER, False, 0, b"")
        return None

    def follow(self, path: bytes) -> Entry:
        """What a path leads to within the version, through symlinks in any part of it.

        `PathNotFoundError` where that is nothing, `BadInputError` where a link leads out of the
        version or in a circle.
        """
        row = find(self._nodes, self._root, path) if path else None
        if row is not None:
            entry = to_entry(row)
            if entry.kind != SYMLINK:
                return entry
        elif (folder := self.get(path)) is not None:
            return folder
        return self._follow(path)

    def _follow(self, path: bytes) -> Entry:
        """As POSIX does: part by part, each link replaced by its target's parts."""
        done: list[bytes] = []
        parts = deque(path.split(b"/"))
        links = 0
        while parts:
            part = parts.popleft()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not done:
                    raise self._outside(path)
                done.pop()
                continue
            done.append(part)
            row = find(self._nodes, self._root, b"/".join(done))
            if row is None:
                continue
            entry = to_entry(row)
            if entry.kind != SYMLINK:
                continue
            links += 1
            if links > LINKS_MAX:
                raise BadInputError(f"{safe_spelling(path)!r} is a symlink that leads in a circle")
            target = self.link_target(entry)
            if target.startswith(b"/"):
                raise self._outside(path)
            done.pop()
            parts.extendleft(reversed(target.split(b"/")))
        found = self.get(b"/".join(done))
        if found is None:
            what = "is, or is below, a symlink that leads to nothing" if links else "is not there"
            raise PathNotFoundError(f"{safe_spelling(path)!r} {what}")
        return found

    def _outside(self, path: bytes) -> BadInputError:
        return BadInputError(
            f"{safe_spelling(path)!r} is, or is below, a symlink out of the version; check it out to "
            "follow it"
        )

    def scan(self, prefix: bytes = b"") -> Iterator[Entry]:
        """What the manifest has below a prefix, in order: files, symlinks, empty folders."""
        for row in scan(self._nodes, self._root, prefix, prefix_stop(prefix) if prefix else None):
            yield to_entry(row)

    def children(self, folder: bytes) -> Iterator[Entry]:
        """What is in a folder, itself; a folder in it stands for all that is below. Not in order."""
        prefix = folder + b"/" if folder else b""
        stop = prefix_stop(prefix) if prefix else None
        start: bytes | None = prefix
        while start is not None:
            rows = scan(self._nodes, self._root, start, stop)
            start = None
            for row in rows:
                name, slash, _ = row.key[len(prefix) :].partition(b"/")
                if not slash:
                    yield to_entry(row)
                    continue
                yield Entry(prefix + name, FOLDER, False, 0, b"")
                # Whatever is below that folder is skipped without being read.
                start = prefix + name + b"0"
                break


def to_path(path: str) -> bytes:
    """A path as users write it, `""` or with a slash at its end for a folder. `BadInputError` as ever."""
    trimmed = path.rstrip("/")
    return bytes(RelativePath.parse(trimmed)) if trimmed else b""


def to_file_entry(entry: Entry) -> FileEntry:
    """An entry as callers see it."""
    return FileEntry(
        entry.path.decode(),
        KIND_NAMES.get(entry.kind, "file"),
        entry.executable,
        entry.size,
        entry.digest.hex(),
    )


def listing(files: Files, place: bytes, follow: Callable[[bytes], Entry], recursive: bool) -> Listing:
    """The files and folders at a path, which `follow` finds where it is not there itself.

    A symlink is listed as such, but one that leads to a folder as that folder.
    """
    found = files.get(place) or follow(place)
    if found.kind == SYMLINK:
        with suppress(BadInputError, PathNotFoundError):
            led_to = files.follow(place)
            found = led_to if led_to.kind == FOLDER else found
    if found.kind != FOLDER:
        return Listing([to_file_entry(found)], [])
    if recursive:
        entries = files.scan(found.path + b"/" if found.path else b"")
    else:
        entries = files.children(found.path)
    inner: list[FileEntry] = []
    folders: list[str] = []
    for entry in entries:
        if entry.kind == FOLDER:
            folders.append(entry.path.decode())
        else:
            inner.append(to_file_entry(entry))
    return Listing(inner, sorted(folders))


def below(files: Files, folder: Entry, path: str, suffixes: tuple[str, ...]) -> list[str]:
    """The paths of files below a folder, which was asked for as `path`, whose names end so.

    Names that begin with `.` or `_` are left out.
    """
    prefix = path.rstrip("/") + "/" if path.rstrip("/") else ""
    start = folder.path + b"/" if folder.path else b""
    names = (entry.path[len(start) :].decode() for entry in files.scan(start) if entry.kind != FOLDER)
    return [
        prefix + name
        for name in names
        if name.lower().endswith(suffixes) and not any(p.startswith((".", "_")) for p in name.split("/"))
    ]
