"""`dataver import git-lfs`: the files that git-lfs keeps for a git repository, each commit a version."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, cast

from dataver.errors import BadInputError, PathNotFoundError
from dataver.integrations.importing.dvc_store import local_file
from dataver.integrations.importing.from_dvc import Asked, opened, shown_place
from dataver.integrations.importing.git import FILE_MODES, SYMLINK_MODE, Change, Git, Item
from dataver.integrations.importing.importer import Content, Line, Step, import_lines
from dataver.integrations.importing.lines import Track, nearest, tags_on, tracks
from dataver.integrations.importing.names import dataset_name, ref_names
from dataver.integrations.importing.pointed import GIT, SHA256, Pointed
from dataver.integrations.importing.report import Refused, Report
from dataver.paths import RelativePath, safe_spelling
from dataver.progress import Progress
from dataver.refs import check_dataset_name
from dataver.source.base import FILE, SYMLINK
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.integrations.importing.pointed import Place
    from dataver.repository import Repository

__all__ = ["import_git_lfs", "pointer"]

POINTER_BYTES_MAX = 1024
SMALL_BYTES_MAX = 1 << 20
SELECTION = "git-lfs.selection"
_VERSIONS = ("https://git-lfs.github.com/spec/v1", "https://hawser.github.com/spec/v1")
_OID = re.compile(r"sha256:([0-9a-f]{64})")
EXTENDED = "ext"


def import_git_lfs(
    repository: Repository,
    asked: Asked,
    pathspecs: Sequence[str] = (),
    *,
    all_files: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Make a version of each commit that changed a file of git-lfs, of those that the pathspecs choose.

    `all_files`: git's own files beside them too, so that a folder is whole.
    """
    if asked.dataset is not None:
        check_dataset_name(asked.dataset)
    repository.session.newest()
    with opened(asked.place) as (git, place):
        if place is None:
            raise BadInputError(
                "what git-lfs keeps is read from a copy on this machine: clone it, and run "
                "`git lfs fetch --all` there"
            )
        report = Report(shown_place(asked.place), asked.dry_run)
        folder = os.path.basename((git.top or git.folder).rstrip("/")).removesuffix(".git")
        name = asked.dataset or dataset_name(folder)
        selection = " ".join([*(["--all-files"] if all_files else []), *pathspecs]) or "."
        store = _Objects(git)
        found: list[Line] = []
        main: Sequence[Step] | None = None
        is_there = False
        for track in tracks(git, asked.revision, asked.every, asked.branch):
            history = _History(git, store, track, pathspecs, all_files, report.refused)
            commits = history.commits
            steps = tuple(history.step(at, selection) for at in range(len(commits)))
            main = steps if main is None else main
            shared = {commit for commit, _ in track.shared}
            forks = [step for step in main if step.commit.id in shared]
            tags = nearest(track, [(commit, commit) for commit in commits], tags_on(git, track))
            fork = forks[-1] if forks else None
            found.append(Line((name,), track.branch, steps, fork, tags, asked.branch))
            is_there = is_there or history.is_there
        if not is_there and not report.refused:
            what = "no file" if all_files else "no file of git-lfs"
            raise PathNotFoundError(
                f"{what} of {report.source} is in {safe_spelling(selection)} in these commits"
            )
        tags_here = ref_names(git.refs("tags"), {line.branch for line in found})
        return import_lines(
            repository, found, report, tags_here, skip_missing=asked.skip_missing, progress=progress
        )


def pointer(data: bytes) -> str | None:
    """The SHA-256 that a pointer of git-lfs names; None for what is none, `EXTENDED` for one of an extension.

    Of an extension the bytes that are kept are not those of the file.
    """
    try:
        lines = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        return None
    rows = [line.partition(" ") for line in lines]
    values = {key: value for key, _, value in rows}
    if rows[0][0] != "version" or rows[0][2] not in _VERSIONS or len(values) < len(rows):
        return None
    oid = _OID.fullmatch(values.get("oid", ""))
    if oid is None or not re.fullmatch(r"[0-9]{1,18}", values.get("size", "")):
        return None
    return EXTENDED if any(key.startswith("ext-") for key in values) else oid[1]


class _Objects:
    """Where bytes are: those of git-lfs in its folder, those of git in git."""

    def __init__(self, git: Git) -> None:
        self._git = git
        storage = git.setting("lfs.storage") or "lfs"
        self._folder = os.path.join(git.common_folder, os.path.expanduser(storage), "objects")
        self._sizes: dict[str, int] = {}

    def place(self, pointed: Pointed) -> Place | None:
        """Where the bytes of a file are; None where they are not."""
        id = pointed.digest
        if pointed.algorithm == SHA256:
            return local_file(self._folder, os.path.join(id[:2], id[2:4], id))
        size = self.sizes([id])[0]
        return BlobPlace(self._git, id, size) if size >= 0 else None

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """The sizes of objects of git."""
        new = [id for id in dict.fromkeys(ids) if id not in self._sizes]
        if new:
            self._sizes.update(zip(new, self._git.sizes(new), strict=True))
        return [self._sizes[id] for id in ids]


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """A file that git itself keeps."""

    git: Git
    id: str
    size: int

    @property
    def name(self) -> str:
        """For messages."""
        return f"object {self.id} of git"

    def open(self) -> BinaryIO:
        """What git has of it; a large one is copied to a file that goes when it is closed."""
        if self.size <= SMALL_BYTES_MAX:
            return io.BytesIO(self.git.read(self.id, SMALL_BYTES_MAX))
        copy = tempfile.TemporaryFile(prefix="dataver-import-")  # noqa: SIM115 - the caller closes it
        try:
            self.git.copy(self.id, copy)
            copy.seek(0)
        except BaseException:
            copy.close()
            raise
        return cast("BinaryIO", copy)


class _History:
    """The files that are imported, from commit to commit of one track."""

    def __init__(
        self,
        git: Git,
        store: _Objects,
        track: Track,
        pathspecs: Sequence[str],
        all_files: bool,
        refused: list[Refused],
    ) -> None:
        self._git = git
        self._store = store
        self._all = all_files
        self._refused = refused
        self._oids: dict[str, str | None] = {}
        before = git.tree(track.before, pathspecs) if track.before else {}
        changed = list(git.changes(track.commits, pathspecs))
        self._look(before.values())
        self._look(change.after for _, changes in changed for change in changes)
        if not track.shared:  # Else `main` has told.
            for path, item in before.items():
                self._note_refused(path, item, track.before)
        self._start = {path: item for path, item in before.items() if self._counts(path, item)}
        self._steps = [
            (commit, ours)
            for commit, changes in changed
            if (ours := [change for change in changes if self._is_ours(change, commit)])
        ]
        self._at, self._state = -1, dict(self._start)

    @property
    def commits(self) -> list[str]:
        """Those that changed anything."""
        return [commit for commit, _ in self._steps]

    @property
    def is_there(self) -> bool:
        """Whether there is anything to import, be it from before the track."""
        return bool(self._steps or self._start)

    def step(self, at: int, selection: str) -> Step:
        """The version of such a commit."""
        commit = self._git.commit(self._steps[at][0])
        return Step(commit, selection, partial(self._content, at), self._meta(at, selection), (SELECTION,))

    def _content(self, at: int) -> Content:
        return [(pointed, self._store.place(pointed)) for pointed in self._files(at)]

    def _files(self, at: int) -> list[Pointed]:
        """The files after a step, by path. Cheap where steps are asked for in their order."""
        if at < self._at:
            self._at, self._state = -1, dict(self._start)
        for _, changes in self._steps[self._at + 1 : at + 1]:
            for change in changes:
                if self._counts(change.path, change.after):
                    self._state[change.path] = change.after
                else:
                    self._state.pop(change.path, None)
        self._at = at
        return [self._pointed(path, item) for path, item in sorted(self._state.items())]

    def _pointed(self, path: bytes, item: Item) -> Pointed:
        oid = self._oids.get(item.id) if item.mode in FILE_MODES else None
        kind = SYMLINK if item.mode == SYMLINK_MODE else FILE
        algorithm, digest = (GIT, item.id) if oid is None else (SHA256, oid)
        return Pointed(path, algorithm, digest, item.mode == "100755", kind)

    def _meta(self, at: int, selection: str) -> Mapping[str, str]:
        """What tells the files apart: the SHA-256 of a single one, or of what `sha256sum` prints of all."""
        kept = [file for file in self._files(at) if file.algorithm == SHA256]
        meta = {SELECTION: selection, "git-lfs.files": str(len(kept))}
        if len(kept) == 1:
            return {**meta, "git-lfs.sha256": kept[0].digest}
        digest = sha256()
        for file in kept:
            digest.update(file.digest.encode() + b"  " + file.path + b"\n")
        return {**meta, "git-lfs.sha256sums": digest.hexdigest()}

    def _look(self, items: Iterable[Item]) -> None:
        """Find the pointers among objects: all that is small enough is read once."""
        ids = list(dict.fromkeys(item.id for item in items if item.mode in FILE_MODES))
        for id, size in zip(ids, self._store.sizes(ids), strict=True):
            if id not in self._oids:
                is_small = 0 < size < POINTER_BYTES_MAX
                self._oids[id] = pointer(self._git.read(id, POINTER_BYTES_MAX)) if is_small else None

    def _counts(self, path: bytes, item: Item) -> bool:
        """Whether a file is imported."""
        return self._is_wanted(item) and not self._problem(path, item)

    def _is_wanted(self, item: Item) -> bool:
        """Whether a file is to be imported, if it can be."""
        if item.mode in FILE_MODES:
            return self._all or self._oids.get(item.id) is not None
        return item.mode == SYMLINK_MODE and self._all

    def _problem(self, path: bytes, item: Item) -> str:
        """Why a file cannot be imported."""
        if item.mode in FILE_MODES and self._oids.get(item.id) == EXTENDED:
            return f"{safe_spelling(path)} was changed by an extension of git-lfs, which is not undone"
        try:
            RelativePath.parse(path)
        except BadInputError as error:
            return str(error)
        return ""

    def _note_refused(self, path: bytes, item: Item, commit: str) -> None:
        problem = self._problem(path, item) if self._is_wanted(item) else ""
        if problem:
            self._refused.append(Refused(safe_spelling(path), commit, problem))

    def _is_ours(self, change: Change, commit: str) -> bool:
        self._note_refused(change.path, change.after, commit)
        return self._counts(change.path, change.before) or self._counts(change.path, change.after)
