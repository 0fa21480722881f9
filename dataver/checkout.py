"""The way out: a version's files on disk, every byte verified, nothing of the user's lost.

A file is written without a name, or under a temporary one, and takes its place when its digest is right. What
is there already and right stays; what an earlier checkout wrote and nobody changed is replaced or
removed; whatever else differs is the user's and stops the checkout before anything is written.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import field
from typing import TypeVar

from dataver.errors import BadInputError, DamagedError, DataverError, WouldOverwriteError
from dataver.filling import fill
from dataver.format.segment import Place
from dataver.globs import path_filter
from dataver.hashing import blake3_digest
from dataver.objects import Objects
from dataver.paths import REPOSITORY_FOLDER, check_paths, host_problem, safe_spelling
from dataver.progress import Progress, Silent
from dataver.reading import blocks
from dataver.refs import Resolved
from dataver.results import CheckoutResult
from dataver.session import Session
from dataver.source import EMPTY_FOLDER, LocalSource, SourceFile, local_path
from dataver.source.base import PART_PREFIX, SPECIAL
from dataver.source.columns import STAMP_EXECUTABLE, pack_stamp
from dataver.source.local import in_repository
from dataver.stat_cache import StatCache
from dataver.store.base import View
from dataver.targets import OtherBytesError, Target, WholeFile, target_fault, write_buffers
from dataver.tree.manifest import FILE, FOLDER, REFERENCE, SYMLINK, Entry, to_entry
from dataver.tree.walk import find, scan
from dataver.values import dataclass
from dataver.worktree import Base, base, set_base

BATCH_FILES = 256
BATCH_BYTES = 8 << 20
READ_BACK_BYTES_MIN = 1 << 20
"""Of shorter files the bytes are hashed on their way: they fit the processor's cache, and calls cost more."""
LEFTOVER_AGE_NS = 3600 * 10**9
"""Temporary files of a checkout that was killed go after so long; younger ones may be in use."""

_Item = TypeVar("_Item")


@dataclass(slots=True)
class Plan:
    """What a checkout has to do, decided before anything is written."""

    write: list[Entry] = field(default_factory=list)
    chmod: list[Entry] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    clear: list[bytes] = field(default_factory=list)
    theirs: list[bytes] = field(default_factory=list)


class Checkout:
    """Writes one version into one folder. Used once."""

    def __init__(
        self,
        session: Session,
        resolved: Resolved,
        target: str | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._session = session
        self._resolved = resolved
        path = local_path(target)
        if path is None:
            raise BadInputError(f"{target!s} is not a folder of this machine; name one to check out into")
        self._root = os.path.realpath(os.fsencode(path))
        self._filter = path_filter(include, exclude)
        self._filtered = bool(include or exclude)
        self._overwrite = overwrite
        self._progress = progress or Silent()
        self._jobs = session.readers()
        self._rows: list[tuple[bytes, bytes, bytes]] = []  # path, stamp and digest of what was written
        self._leftovers: list[SourceFile] = []
        self._written_bytes = 0
        self._lock = threading.Lock()
        self._stopped = False

    def run(self) -> CheckoutResult:
        """Do it. `WouldOverwriteError` comes before anything is written."""
        session, name = self._session, safe_spelling(self._root)
        state = session.state()
        self._nodes = session.nodes(state)
        root = session.root(self._nodes, self._resolved.version)
        every = [to_entry(row) for row in scan(self._nodes, root)]
        wanted = [entry for entry in every if self._filter(entry.path)]
        check_entries(wanted)
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise WouldOverwriteError(
                f"{name} is not a folder; name one that is, or one that does not exist yet"
            )
        if os.path.basename(self._root) == REPOSITORY_FOLDER or in_repository(self._root):
            raise BadInputError(f"{name} is for a repository alone; name a folder outside of it")
        cache = StatCache(self._root)
        plan = self._plan(every, wanted, cache)
        if plan.theirs:
            shown = ", ".join(safe_spelling(path) for path in plan.theirs[:5])
            more = f" and {len(plan.theirs) - 5} more" if len(plan.theirs) > 5 else ""
            advice = (
                "a file must go where a folder with other files is; move it away"
                if self._overwrite
                else "move them away, or repeat with --overwrite"
            )
            raise WouldOverwriteError(
                f"{name} has files of yours that differ: {shown}{more}. Nothing was written; {advice}"
            )
        files = [entry for entry in plan.write if entry.kind != FOLDER]
        size = sum(entry.size for entry in files)
        objects = session.objects(state)
        objects.expect(size)
        self._progress.begin("writing", len(files), size)
        try:
            self._execute(plan, files, objects)
        except OSError as error:
            if isinstance(error, DataverError):
                raise
            raise target_fault(error, name) from error
        finally:
            self._progress.end()
            cache.update_written(self._rows, time.time_ns(), plan.remove)
        if not self._filtered:
            line = self._resolved.dataset.hex()
            set_base(self._root, session.repository, line, Base(str(self._resolved.version.id)))
        kept = [entry for entry in wanted if entry.kind != FOLDER]
        size = sum(entry.size for entry in kept)
        return CheckoutResult(len(kept), size, len(files), self._written_bytes, len(plan.remove))

    # Deciding

    def _plan(self, every: list[Entry], wanted: list[Entry], cache: StatCache) -> Plan:
        plan = Plan()
        there = self._there()
        if not there:
            for entry in wanted:
                if entry.kind == FOLDER:
                    plan.folders.append(entry.path)
                else:
                    plan.write.append(entry)
            return plan
        known = dict(zip(there, cache.lookup(list(there.values())), strict=True))
        owned = {row.file.path: row.digest for row in cache.owned()}
        self._hash_unknown(wanted, there, known, owned)

        def ours(path: bytes) -> bool:
            return self._overwrite or (path in owned and known.get(path) == owned[path])

        wanted_paths = {entry.path for entry in wanted}
        folders = {folder for path in wanted_paths for folder in _folders(path)}
        for path in self._forsaken(every, there, owned):
            if there[path].kind == EMPTY_FOLDER or known.get(path) == owned.get(path):
                plan.remove.append(path)
        leaving = set(plan.remove)
        occupied = {folder for path in there if path not in leaving for folder in _folders(path)}
        for entry in wanted:
            self._decide(
                entry, there.get(entry.path), known.get(entry.path), entry.path in occupied, ours, plan
            )
        for path, file in there.items():
            if path in folders and file.kind != EMPTY_FOLDER and path not in leaving:
                (plan.clear if ours(path) else plan.theirs).append(path)
        return plan

    def _decide(
        self,
        entry: Entry,
        file: SourceFile | None,
        digest: bytes | None,
        occupied: bool,
        ours: Callable[[bytes], bool],
        plan: Plan,
    ) -> None:
        """Sort one wanted entry by what stands in its place."""
        if entry.kind == FOLDER:
            if file is not None and file.kind != EMPTY_FOLDER and not ours(entry.path):
                plan.theirs.append(entry.path)
                return
            if file is not None and file.kind != EMPTY_FOLDER:
                plan.clear.append(entry.path)
            plan.folders.append(entry.path)
            return
        if file is None:
            if occupied:
                plan.theirs.append(entry.path)
            else:
                plan.write.append(entry)
            return
        if file.kind == EMPTY_FOLDER:
            plan.clear.append(entry.path)
            plan.write.append(entry)
            return
        if (file.kind == SYMLINK) == (entry.kind == SYMLINK) and digest == entry.digest:
            if file.executable != entry.executable:
                plan.chmod.append(entry)
            return
        if ours(entry.path):
            plan.write.append(entry)
        else:
            plan.theirs.append(entry.path)

    def _there(self) -> dict[bytes, SourceFile]:
        if not os.path.isdir(self._root):
            return {}
        there = {}
        for file in LocalSource(self._root, ignore=False).files():
            if file.path.rpartition(b"/")[2].startswith(PART_PREFIX):
                self._leftovers.append(file)
            else:
                there[file.path] = file
        return there

    def _hash_unknown(
        self,
        wanted: list[Entry],
        there: dict[bytes, SourceFile],
        known: dict[bytes, bytes | None],
        owned: dict[bytes, bytes],
    ) -> None:
        """Read the files whose digest decides something and is not known."""
        sizes = {entry.path: entry.size for entry in wanted}
        unknown = [
            file
            for path, file in there.items()
            if known[path] is None
            and file.kind not in (EMPTY_FOLDER, SPECIAL)
            and (sizes.get(path) == file.size or path in owned)
        ]
        if not unknown:
            return
        from dataver.ingest import digest_files

        self._progress.begin("comparing", len(unknown), sum(file.size for file in unknown))
        try:
            source = LocalSource(self._root, ignore=False)
            done = digest_files(source, unknown, jobs=self._jobs, progress=self._progress)
        finally:
            self._progress.end()
        known.update((entry.path, entry.digest) for entry in done.entries)

    def _forsaken(
        self, every: list[Entry], there: dict[bytes, SourceFile], owned: dict[bytes, bytes]
    ) -> Iterator[bytes]:
        """What an earlier checkout of this dataset wrote here and this version lacks.

        Nobody can tell who made an empty folder: one that the earlier version has counts as its own.
        """
        dataset = self._resolved.dataset
        before = base(self._root, self._session.repository, dataset.hex())
        if before is None or before.version is None:
            return
        version = self._session.state().version(dataset, bytes.fromhex(before.version))
        if version is None:
            return
        present = {entry.path for entry in every}
        root = self._session.root(self._nodes, version)
        empty = {path for path, file in there.items() if file.kind == EMPTY_FOLDER}
        for path in sorted(empty.union(owned)):
            if path not in there or path in present:
                continue
            row = find(self._nodes, root, path)
            if row is not None and (path not in empty or to_entry(row).kind == FOLDER):
                yield path

    # Doing

    def _execute(self, plan: Plan, files: list[Entry], objects: Objects) -> None:
        with Target(self._root) as target:
            check_folding(target, [entry.path for entry in files])
            for path in plan.remove:
                target.remove(path)
            for file in self._leftovers:
                if file.mtime_ns < time.time_ns() - LEFTOVER_AGE_NS:
                    target.remove(file.path)
            for path in plan.clear:
                target.remove(path)
            for path in plan.folders:
                target.folder(path)
            for entry in plan.chmod:
                self._written(entry, target.set_executable(entry.path, entry.executable), 0)
        small = [entry for entry in files if entry.kind != REFERENCE and entry.chunks is None]
        large = [entry for entry in files if entry.kind == REFERENCE or entry.chunks is not None]
        # Threads that write a file together have to wait for each other: only where some would be idle.
        long = sum(entry.size >= READ_BACK_BYTES_MIN for entry in large)
        helpers = self._jobs // long if 0 < long < self._jobs else 0
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="dataver-checkout") as pool:
            work = [pool.submit(self._write_large, entry, objects, helpers) for entry in large]
            batches = _apart(list(self._batches(small, objects)), self._jobs)
            work += [pool.submit(self._write_batch, batch, objects) for batch in batches]
            try:
                for future in work:
                    future.result()
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _batches(self, entries: list[Entry], objects: Objects) -> Iterator[list[tuple[Entry, Place | None]]]:
        """Small files with their places, in the order of the packs, so that reads run on."""
        filled = [entry for entry in entries if entry.size]
        places = objects.places(b"".join(entry.digest for entry in filled)) if filled else []
        order = sorted(
            zip(filled, places, strict=True),
            key=lambda item: (item[1].pack, item[1].frame_offset, item[1].offset),
        )
        batch: list[tuple[Entry, Place | None]] = [(entry, None) for entry in entries if not entry.size]
        size = 0
        for entry, place in order:
            batch.append((entry, place))
            size += entry.size
            if size >= BATCH_BYTES or len(batch) >= BATCH_FILES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _write_batch(self, batch: list[tuple[Entry, Place | None]], objects: Objects) -> None:
        filled = [entry for entry, place in batch if place is not None]
        places = [place for _, place in batch if place is not None]
        contents = dict(objects.read_files([entry.digest for entry in filled], places))
        # In the order of the paths: neighbours in a folder are written by one call.
        work = sorted(
            [(entry, contents[number]) for number, entry in enumerate(filled)]
            + [(entry, b"") for entry, place in batch if place is None],
            key=lambda item: item[0].path,
        )
        links = [item for item in work if item[0].kind == SYMLINK]
        files = [item for item in work if item[0].kind != SYMLINK]
        with Target(self._root) as target:
            for entry, data in links:
                if blake3_digest(data) != entry.digest:
                    raise _damaged(entry, objects)
                self._written(entry, target.symlink(entry.path, bytes(data)), len(data))
            self._write_files(target, files, objects)

    def _write_files(self, target: Target, files: list[tuple[Entry, View]], objects: Objects) -> None:
        rows: list[tuple[bytes, bytes, bytes]] = []
        size = 0
        wanted = [WholeFile(entry.path, entry.executable, entry.digest, data) for entry, data in files]
        try:
            for (entry, _), stamp in zip(files, target.write_files(wanted), strict=True):
                rows.append((entry.path, stamp, entry.digest))
                size += entry.size
        except OtherBytesError as error:
            raise _damaged(files[error.number][0], objects) from None
        finally:
            with self._lock:
                self._rows += rows
                self._written_bytes += size
                self._progress.advance(len(rows), size)

    def _write_large(self, entry: Entry, objects: Objects, helpers: int) -> None:
        def copy(fd: int) -> None:
            if entry.kind != REFERENCE and entry.size >= READ_BACK_BYTES_MIN:
                fill(entry, objects, fd, helpers=helpers, advance=self._advance)
                return
            for buffers in blocks(entry, objects):
                write_buffers(fd, buffers)
                self._advance(sum(map(len, buffers)))

        with Target(self._root) as target:
            found = target.write(entry.path, entry.executable, copy)
        with self._lock:
            self._progress.advance(0, -entry.size)
        self._written(entry, found, entry.size)

    def _advance(self, size_bytes: int) -> None:
        """So many bytes more of a large file are there. Ends the file's work where all is to end."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            self._progress.advance(0, size_bytes)

    def _written(self, entry: Entry, found: os.stat_result, size: int) -> None:
        kind = SYMLINK if entry.kind == SYMLINK else FILE | (STAMP_EXECUTABLE if entry.executable else 0)
        stamp = pack_stamp(kind, entry.size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        with self._lock:
            self._rows.append((entry.path, stamp, entry.digest))
            self._written_bytes += size
            self._progress.advance(1, size)


def check_entries(entries: list[Entry]) -> None:
    """Refuse paths that no honest version has, and those that this system cannot hold."""
    paths = [entry.path for entry in entries]
    try:
        check_paths(paths)
    except BadInputError as error:
        raise DamagedError(f"the version holds a path that is not allowed: {error}") from error
    for entry in entries:
        if entry.kind != FILE and entry.path.rpartition(b"/")[2] == REPOSITORY_FOLDER:
            raise DamagedError(
                f"the version holds {safe_spelling(entry.path)}, which would become a repository"
            )
    for path in paths:
        problem = host_problem(path, sys.platform)
        if problem is not None:
            raise BadInputError(
                f"{safe_spelling(path)} cannot be written here: {problem}; leave it out with --exclude"
            )


def check_folding(target: Target, paths: list[bytes]) -> None:
    """Refuse paths that this file system takes for one."""
    folded: dict[str, bytes] = {}
    for path in paths:
        other = folded.setdefault(path.decode().casefold(), path)
        if other != path and target.folds_case():
            raise BadInputError(
                f"{safe_spelling(other)} and {safe_spelling(path)} are one name on this file system; "
                "leave one out with --exclude"
            )


def _damaged(entry: Entry, objects: Objects) -> DamagedError:
    objects.chunk(entry.digest)  # Says which object it is, if it is still damaged.
    return DamagedError(
        f"{safe_spelling(entry.path)} was read wrong once; check this machine's memory and disk"
    )


def _apart(batches: list[_Item], jobs: int) -> list[_Item]:
    """The batches in an order in which those of one time lie far apart.

    Neighbours go to one folder, and one file at a time is made in a folder.
    """
    stretch = -(-len(batches) // jobs)
    return [batch for start in range(stretch) for batch in batches[start::stretch]]


def _folders(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
