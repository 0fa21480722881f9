"""The way out: a version's files on disk, every byte verified, nothing of the user's lost.

A file is written without a name, or under a temporary one, and takes its place when its digest is right. What
is there already and right stays; what an earlier checkout wrote and nobody changed is replaced or
removed; whatever else differs is the user's and stops the checkout before anything is written.
"""

from __future__ import annotations

import os
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from operator import attrgetter

from dataver.column import Column
from dataver.config import require_place
from dataver.erased import Erasures, erasures, files_of
from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    ErasedError,
    NotPermittedError,
    WouldOverwriteError,
)
from dataver.folding import check_folding, check_standing
from dataver.globs import path_filter
from dataver.noting import reads_of
from dataver.objects import Objects
from dataver.paths import REPOSITORY_FOLDER, check_paths, host_problem, safe_spelling
from dataver.progress import Progress, Silent, observed
from dataver.recording import Asked
from dataver.refs import Resolved
from dataver.results import CheckoutResult
from dataver.session import Session
from dataver.source import EMPTY_FOLDER, LocalSource, SourceFile, local_path
from dataver.source.base import PART_PREFIX, SPECIAL
from dataver.source.local import in_repository
from dataver.stat_cache import StatCache
from dataver.targets import Target, target_fault
from dataver.tree.files import FileColumns
from dataver.tree.manifest import FILE, FOLDER, REFERENCE, SYMLINK, Entry, to_entry
from dataver.tree.walk import find
from dataver.values import dataclass
from dataver.worktree import Base, base, begin_base, set_base
from dataver.writing import EntryWriter

_path = attrgetter("path")

CHECKED_TOGETHER = 16_384
NODES_KEPT_BYTES = 4 << 20
"""A checkout goes over the nodes of its version once, in order."""
LEFTOVER_AGE_NS = 3600 * 10**9
"""Temporary files of a checkout that was killed go after so long; younger ones may be in use."""


@observed("checkout")
def check_out(
    session: Session,
    resolved: Resolved,
    target: str | os.PathLike[str],
    asked: Asked,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    overwrite: bool,
    skip_erased: bool,
    progress: Progress | None,
    jobs: int | None,
) -> CheckoutResult:
    """See `Repository.checkout`. `asked` is how a run that is on records it."""
    require_place(target, "target")
    session.set_jobs(jobs)
    return Checkout(
        session, resolved, target, asked,
        include=include, exclude=exclude, overwrite=overwrite, skip_erased=skip_erased, progress=progress,
    ).run()  # fmt: skip


@dataclass(slots=True)
class Plan:
    """What a checkout has to do, decided before anything is written."""

    write: Sequence[Entry] = ()
    chmod: list[tuple[Entry, SourceFile]] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    clear: list[bytes] = field(default_factory=list)
    theirs: list[bytes] = field(default_factory=list)
    staying: list[bytes] = field(default_factory=list)
    seen: dict[bytes, SourceFile] | None = None
    """What is to go, or to be replaced, as it was found; None where whatever is there may be."""


class Checkout:
    """Writes one version into one folder. Used once."""

    def __init__(
        self,
        session: Session,
        resolved: Resolved,
        target: str | os.PathLike[str],
        asked: Asked = Asked(""),  # noqa: B008 - immutable
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        skip_erased: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._session = session
        self._resolved = resolved
        self._asked = asked
        path = local_path(target)
        if path is None:
            raise BadInputError(f"{target!s} is not a folder of this machine; name one to check out into")
        self._root = os.path.realpath(os.fsencode(path))
        self._filter = path_filter(include, exclude)
        self._filtered = bool(include or exclude)
        self._overwrite = overwrite
        self._skip_erased = skip_erased
        self._progress = progress or Silent()
        self._jobs = session.readers()
        self._writer = EntryWriter(self._root, self._jobs, self._progress)
        self._leftovers: list[SourceFile] = []
        self._closed: list[bytes] = []
        self._removed: list[bytes] = []

    def run(self) -> CheckoutResult:
        """Do it. `WouldOverwriteError` comes before anything is written."""
        session, name = self._session, safe_spelling(self._root)
        state = session.state()
        self._nodes = session.nodes(state, kept_bytes_max=NODES_KEPT_BYTES)
        root = session.root(self._nodes, self._resolved.version)
        every = FileColumns.read(self._nodes, root)
        erased = erasures(state)
        skipped = 0
        if erased and self._skip_erased:
            left = every.without(lambda entry: _is_erased(entry, erased))
            every, skipped = left, len(every) - len(left)
        wanted = every.at_paths(self._filter) if self._filtered else every
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
        files = plan.write
        gone = [entry for entry in files if _is_erased(entry, erased)] if erased else []
        if gone:
            raise _erased_error(gone, erased)
        size = _size_bytes(files)
        objects = session.objects(state)
        objects.expect(size)
        self._progress.begin("writing", len(files), size)
        try:
            self._execute(plan, objects)
        except OSError as error:
            if isinstance(error, DataverError):
                raise
            raise target_fault(error, self._root) from error
        finally:
            self._progress.end()
            cache.update_written(self._writer.rows, time.time_ns(), self._removed)
        if not self._filtered:
            set_base(*self._base)
        kept = wanted.without_folders()
        self._note(kept)
        size = kept.size_bytes
        written = len(files), self._writer.written_bytes
        return CheckoutResult(len(kept), size, *written, len(plan.remove), skipped)

    def _note(self, kept: Sequence[Entry]) -> None:
        """In a run, what was checked out counts as read."""
        reads = reads_of(self._session, self._resolved, self._asked)
        if reads is None:
            return
        if self._filtered:
            reads.several(kept)
        else:
            reads.everything()

    # Deciding

    def _plan(self, every: FileColumns, wanted: FileColumns, cache: StatCache) -> Plan:
        plan = Plan(seen=None if self._overwrite else {})
        rows = {row.file.path: row for row in cache.owned()}
        owned = {path: row.digest for path, row in rows.items()}
        there = self._there(wanted, sorted(owned.keys() - set(every.each_path())) if owned else [])
        if not there and not self._closed:
            plan.folders, plan.write = wanted.folders(), wanted.without_folders()
            return plan
        write: list[Entry] = []
        plan.write = write
        known = dict(zip(there, cache.lookup(list(there.values())), strict=True))
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
        occupied.update(folder for path in self._closed for folder in (path, *_folders(path)))
        for entry in wanted:
            self._decide(
                entry, there.get(entry.path), known.get(entry.path), entry.path in occupied, ours, plan, write
            )
        if not self._overwrite:
            # The bytes are right, but the bit is not what was written: somebody changed it.
            bits = {path: row.file.executable for path, row in rows.items()}
            changed = [
                file for _, file in plan.chmod if bits.get(file.path, file.executable) != file.executable
            ]
            plan.theirs += [file.path for file in changed]
        replaced = leaving.union(entry.path for entry in write)
        plan.staying = [path for path in there if path not in replaced]
        for path, file in there.items():
            if path in folders and file.kind != EMPTY_FOLDER and path not in leaving:
                (plan.clear if ours(path) else plan.theirs).append(path)
        if not self._overwrite:
            linked = (file.path for _, file in plan.chmod)  # these may be
            plan.seen = {path: there[path] for path in replaced.union(plan.clear, linked) if path in there}
        return plan

    def _decide(
        self,
        entry: Entry,
        file: SourceFile | None,
        digest: bytes | None,
        occupied: bool,
        ours: Callable[[bytes], bool],
        plan: Plan,
        write: list[Entry],
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
                write.append(entry)
            return
        if file.kind == EMPTY_FOLDER:
            plan.clear.append(entry.path)
            write.append(entry)
            return
        if (file.kind == SYMLINK) == (entry.kind == SYMLINK) and digest == entry.digest:
            if file.executable != entry.executable:
                plan.chmod.append((entry, file))
            return
        if ours(entry.path):
            write.append(entry)
        else:
            plan.theirs.append(entry.path)

    def _there(self, wanted: FileColumns, forsaken: list[bytes]) -> dict[bytes, SourceFile]:
        """What is in the target, without the folders that may not be read and are none of the checkout's."""
        if not os.path.isdir(self._root):
            return {}
        there = {}

        def refused(folder: bytes, is_repository: bool) -> None:
            if is_repository:
                self._pass_by(folder, wanted)
            else:
                self._pass_over(folder, wanted, forsaken)

        for file in LocalSource(self._root, ignore=False, refused=refused).files():
            if file.path.rpartition(b"/")[2].startswith(PART_PREFIX):
                self._leftovers.append(file)
            else:
                there[file.path] = file
        for path in self._closed:
            for folder in _folders(path):
                there.pop(folder, None)  # Nothing else is in it, but it is not empty.
        return there

    def _pass_by(self, folder: bytes, wanted: FileColumns) -> None:
        """Leave a repository as it is; `WouldOverwriteError` where a file of the version belongs in it."""
        entry = _belonging(folder, wanted)
        if entry is not None:
            raise WouldOverwriteError(
                f"{safe_spelling(os.path.join(self._root, folder))} is a repository, and "
                f"{safe_spelling(entry.path)} belongs there; nothing was written. Move the repository "
                "away, or leave the file out with --exclude"
            )
        self._closed.append(folder)

    def _pass_over(self, folder: bytes, wanted: FileColumns, forsaken: list[bytes]) -> None:
        """Leave a folder that may not be read as it is; `NotPermittedError` where something in it counts."""
        what = safe_spelling(os.path.join(self._root, folder).rstrip(b"/"))
        refusal = f"{what} cannot be read: permission denied; nothing was written. "
        entry = _belonging(folder, wanted)
        if entry is not None:
            advice = "name another target" if not folder else "leave it out with --exclude"
            raise NotPermittedError(
                f"{refusal}{safe_spelling(entry.path)} belongs there: change its permissions, or {advice}"
            )
        below = folder + b"/" if folder else b""
        at = bisect_left(forsaken, below)
        if at < len(forsaken) and forsaken[at].startswith(below):
            raise NotPermittedError(
                f"{refusal}An earlier checkout wrote {safe_spelling(forsaken[at])} there, which this version "
                "lacks: change its permissions"
            )
        self._closed.append(folder)

    def _hash_unknown(
        self,
        wanted: FileColumns,
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
        known.update((file.path, digest) for file, digest in done)

    def _forsaken(
        self, every: FileColumns, there: dict[bytes, SourceFile], owned: dict[bytes, bytes]
    ) -> Iterator[bytes]:
        """What an earlier checkout of this dataset wrote here and this version lacks, where the filter looks.

        Nobody can tell who made an empty folder: one that the earlier version has counts as its own.
        """
        dataset = self._resolved.dataset
        before = base(self._root, self._session.repository, dataset.hex())
        if before is None or before.version is None:
            return
        version = self._session.state().version(dataset, bytes.fromhex(before.version))
        if version is None:
            return
        present = set(every.each_path())
        root = self._session.root(self._nodes, version)
        empty = {path for path, file in there.items() if file.kind == EMPTY_FOLDER}
        for path in sorted(empty.union(owned)):
            if path not in there or path in present or not self._filter(path):
                continue
            row = find(self._nodes, root, path)
            if row is not None and (path not in empty or to_entry(row).kind == FOLDER):
                yield path

    # Doing

    @property
    def _base(self) -> tuple[bytes, str, str, Base]:
        """What the target is based on at the end."""
        line = self._resolved.dataset.hex()
        return self._root, self._session.repository, line, Base(str(self._resolved.version.id))

    def _begin(self, plan: Plan) -> None:
        """From here on the target is neither what it was nor what it is to be."""
        if not self._filtered and (plan.write or plan.remove or plan.clear):
            begin_base(*self._base)

    def _execute(self, plan: Plan, objects: Objects) -> None:
        with Target(self._root, plan.seen) as target:
            check_folding(target, _joined_paths(plan.write))
            if plan.staying:
                check_standing(target, [entry.path for entry in plan.write], plan.staying)
            self._begin(plan)
            for path in plan.remove:
                target.expect(path)
                target.remove(path)
                self._removed.append(path)
            for file in self._leftovers:
                if file.mtime_ns < time.time_ns() - LEFTOVER_AGE_NS:
                    target.remove(file.path)
            for path in plan.clear:
                target.expect(path)
                target.remove(path)
            for path in plan.folders:
                target.folder(path)
            linked = []
            for entry, file in plan.chmod:
                found = target.set_executable(entry.path, entry.executable)
                if found is None:
                    linked.append(entry)
                elif (found.st_size, found.st_mtime_ns, found.st_ino) == (
                    file.size,
                    file.mtime_ns,
                    file.inode,
                ):
                    self._writer.written(entry, found, 0)  # Nobody wrote to it since it was looked at.
        self._writer.write([*plan.write, *linked] if linked else plan.write, objects, plan.seen)


def _belonging(folder: bytes, wanted: FileColumns) -> Entry | None:
    """What of the version belongs into a folder, or is that folder: the first; None where nothing does."""
    below = folder + b"/" if folder else b""
    for start in (folder, below):  # Others may stand between the two.
        at = bisect_left(wanted, start, key=_path)
        if at < len(wanted):
            entry = wanted[at]
            if entry.path.startswith(below) or (entry.path == folder and entry.kind == FOLDER):
                return entry
    return None


def _is_erased(entry: Entry, erased: Erasures) -> bool:
    return entry.kind not in (FOLDER, REFERENCE) and entry.digest in erased


def _erased_error(gone: list[Entry], erased: Erasures) -> ErasedError:
    shown = ", ".join(safe_spelling(entry.path) for entry in gone[:5])
    more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
    return ErasedError(
        f"the bytes of {shown}{more} {files_of(erased, [gone[0].digest])}. Nothing was written; "
        "--skip-erased checks the others out"
    )


def _size_bytes(files: Sequence[Entry]) -> int:
    return files.size_bytes if isinstance(files, FileColumns) else sum(entry.size for entry in files)


def _joined_paths(files: Sequence[Entry]) -> Column:
    if isinstance(files, FileColumns):
        return files.joined_paths
    return Column(b"\0".join(entry.path for entry in files))


def check_entries(entries: Sequence[Entry]) -> None:
    """Refuse paths that no honest version has, and those that this system cannot hold."""
    for start in range(0, len(entries), CHECKED_TOGETHER):
        _check_some(entries[start : start + CHECKED_TOGETHER])


def _check_some(entries: Sequence[Entry]) -> None:
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


def _folders(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
