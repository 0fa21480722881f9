"""What DVC keeps of a git repository: each output a dataset, each commit that changed it a version."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import cache, partial
from itertools import groupby
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, PathNotFoundError
from dataver.integrations.importing.dvc_bytes import DvcBytes
from dataver.integrations.importing.dvc_files import (
    DOCUMENT_BYTES_MAX,
    Output,
    outputs_of_file,
    outputs_of_lock,
)
from dataver.integrations.importing.git import ABSENT, FILE_MODES, Commit, Git, Item
from dataver.integrations.importing.importer import Line, Step
from dataver.integrations.importing.lines import Track, nearest, tags_on
from dataver.integrations.importing.names import dataset_name, mark
from dataver.integrations.importing.report import Refused
from dataver.paths import safe_spelling
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.provenance import Source

__all__ = ["DvcHistory", "Naming", "inner_projects", "lines_of", "project_folder"]

SETTINGS = b".dvc/config"
FILE_SUFFIX, LOCK, PIPELINE = b".dvc", b"dvc.lock", b"dvc.yaml"
OUTPUT = "dvc.output"


Outputs = dict[bytes, tuple[Output, bytes]]


@dataclass(frozen=True, slots=True)
class Change:
    """An output as a commit made it."""

    commit: str
    output: Output


@dataclass(slots=True)
class Trail:
    """What became of one output on one track; it may have had several paths, one after the other.

    `start` is its path before the track, where it had one; `last` is what it was when it was there last.
    `states` are commits from which on what the second commit made of it is there, or, where that is empty,
    nothing. `files` are those of DVC's that named it.
    """

    start: bytes = b""
    last: Output | None = None
    changes: list[Change] = field(default_factory=list)
    states: list[tuple[str, str]] = field(default_factory=list)
    files: set[bytes] = field(default_factory=set)

    @property
    def paths(self) -> list[bytes]:
        """Its paths, the last one first."""
        return list(dict.fromkeys(change.output.path for change in reversed(self.changes)))

    def path_after(self, commits: Container[str]) -> bytes:
        """Its path after those of its commits, empty where it is not there."""
        states = [made for since, made in self.states if since in commits]
        made = {change.commit: change.output.path for change in self.changes}
        return made.get(states[-1], b"") if states else self.start

    def is_named(self, target: bytes) -> bool:
        """Whether a target is its path, or a file that named it."""
        file = target.removesuffix(PIPELINE) + LOCK if target.endswith(PIPELINE) else target
        return file in self.files or target in self.paths


def project_folder(git: Git, tree: Mapping[bytes, Item], given: str | None, place: str | None) -> bytes:
    """The folder of the DVC project in a commit: the one given, else the one around a place on disk.

    `BadInputError` where there are several to choose from, `PathNotFoundError` where there is none.
    """
    found = sorted(path[: -len(SETTINGS)].rstrip(b"/") for path in tree if _is_settings(path))
    if given is not None:
        wanted = os.fsencode(os.path.normpath(given)).strip(b"/").removeprefix(b".").lstrip(b"/")
        if wanted not in found:
            raise PathNotFoundError(
                f"{safe_spelling(given)} has no .dvc/config in git; it is no project of DVC"
            )
        return wanted
    if place is not None and git.top is not None:
        inside = os.fsencode(os.path.relpath(os.path.realpath(place), os.path.realpath(git.top)))
        around = b"" if inside == b"." else inside
        while around and around not in found:
            around = around.rpartition(b"/")[0]
        if around in found:
            return around
    if not found:
        raise PathNotFoundError("there is no .dvc/config in git; `dvc init` makes a project of DVC")
    if len(found) > 1:
        names = ", ".join(safe_spelling(name) or "." for name in found)
        raise BadInputError(f"there are several projects of DVC: {names}; name one with --subdir")
    return found[0]


def inner_projects(tree: Mapping[bytes, Item], project: bytes) -> list[bytes]:
    """The folders of projects below one, which are no part of it."""
    above = project + b"/" if project else b""
    found = (path[: -len(SETTINGS)].rstrip(b"/") for path in tree if _is_settings(path))
    return [folder for folder in found if folder != project and folder.startswith(above)]


def _is_settings(path: bytes) -> bool:
    return path == SETTINGS or path.endswith(b"/" + SETTINGS)


class DvcHistory:
    """The outputs of one project through the commits of tracks."""

    def __init__(self, git: Git, project: bytes, inner: Sequence[bytes], refused: list[Refused]) -> None:
        """`inner` are folders of other projects below; what cannot be taken goes to `refused`."""
        self._git = git
        self._project = project + b"/" if project else b""
        self._inner = tuple(folder + b"/" for folder in inner)
        self._refused = refused
        self._parsed: dict[tuple[bytes, str, str], list[Output]] = {}

    def trails(self, track: Track) -> list[Trail]:
        """What became of each output on a track; as they were before it is where they start from."""
        tree = self._git.tree(track.before) if track.before else {}
        ours = {path: item for path, item in tree.items() if self._is_ours(path)}
        trails = _Trails(self._outputs(ours, tree, track.before))
        for commit, changes in self._git.changes(track.commits):
            is_ours = False
            for path, _, after in changes:
                for files in (tree, ours) if self._is_ours(path) else (tree,):
                    is_ours = is_ours or files is ours
                    if after == ABSENT:
                        files.pop(path, None)
                    else:
                        files[path] = after
            if is_ours:
                trails.step(commit, self._outputs(ours, tree, commit))
        return [trail for trail in trails.all if trail.changes]

    def _outputs(self, ours: Mapping[bytes, Item], tree: Mapping[bytes, Item], commit: str) -> Outputs:
        """The outputs by path, each with the file that names it; what git itself holds is none of DVC's."""
        found: Outputs = {}
        for path, item in sorted(ours.items()):
            if path.endswith(PIPELINE) or item.mode not in FILE_MODES:
                continue
            for output in self._read(path, item, ours, commit):
                if output.path not in tree and not (output.is_folder and _is_in(tree, output.path)):
                    found[output.path] = (output, path)
        return found

    def _read(self, path: bytes, item: Item, ours: Mapping[bytes, Item], commit: str) -> list[Output]:
        is_lock = path.rpartition(b"/")[2] == LOCK
        beside = ours.get(path.removesuffix(LOCK) + PIPELINE) if is_lock else None
        key = (path, item.id, "" if beside is None else beside.id)
        if key not in self._parsed:
            problems: list[str] = []
            try:
                data = self._git.read(item.id, DOCUMENT_BYTES_MAX)
                if is_lock:
                    pipeline = None if beside is None else self._git.read(beside.id, DOCUMENT_BYTES_MAX)
                    found = outputs_of_lock(data, pipeline, path, problems)
                else:
                    found = outputs_of_file(data, path, problems)
            except BadInputError as error:
                found, problems = [], [str(error)]
            self._refused += [Refused(safe_spelling(path), commit, reason) for reason in problems]
            self._parsed[key] = found
        return self._parsed[key]

    def _is_ours(self, path: bytes) -> bool:
        name = path.rpartition(b"/")[2]
        is_dvc = name in (LOCK, PIPELINE) or (name.endswith(FILE_SUFFIX) and name != FILE_SUFFIX)
        return is_dvc and path.startswith(self._project) and not path.startswith(self._inner)


class _Trails:
    """Follows outputs from commit to commit."""

    def __init__(self, before: Outputs) -> None:
        self._now = before
        self._alive = {path: Trail(start=path, last=output) for path, (output, _) in before.items()}
        self.all = list(self._alive.values())

    def step(self, commit: str, now: Outputs) -> None:
        """Take what a commit made of the outputs: new, changed, gone, or moved with the bytes they had."""
        moved: dict[str, list[bytes]] = defaultdict(list)
        for path, (output, _) in sorted(self._now.items()):
            if path not in now:
                moved[output.md5].append(path)
        for path, (output, file) in sorted(now.items()):
            if path not in self._alive:
                old = moved[output.md5].pop(0) if moved[output.md5] else None
                if old is None:
                    self.all.append(Trail())
                self._alive[path] = self.all[-1] if old is None else self._alive.pop(old)
            trail = self._alive[path]
            is_changed = trail.last is None or _looks(trail.last) != _looks(output)
            if is_changed:
                trail.changes.append(Change(commit, output))
            if is_changed or path not in self._now:
                trail.states.append((commit, trail.changes[-1].commit if trail.changes else ""))
            trail.files.add(file)
            trail.last = output
        for path in self._now:
            if path not in now and path in self._alive:
                self._alive[path].states.append((commit, ""))
        self._now = now


def _looks(output: Output) -> tuple[bytes, str, bool]:
    """What makes a version of an output another one."""
    return output.path, output.md5, output.executable


def _is_in(tree: Mapping[bytes, Item], folder: bytes) -> bool:
    return any(path.startswith(folder + b"/") for path in tree)


def lines_of(
    git: Git,
    history: DvcHistory,
    tracks: Sequence[Track],
    store: DvcBytes,
    naming: Naming,
    targets: Sequence[bytes] = (),
) -> list[Line]:
    """The lines of versions of the outputs that `targets` name, of all where there are none.

    `PathNotFoundError` for a target that is no output of DVC's.
    """
    found = [(track, trail) for track in tracks for trail in history.trails(track)]
    for target in targets:
        if not any(trail.is_named(target) for _, trail in found):
            raise PathNotFoundError(f"{safe_spelling(target)} is no output of DVC in these commits")
    if targets:
        found = [(track, trail) for track, trail in found if any(map(trail.is_named, targets))]
    parents = _parents(found)
    tops = [trail for _, trail in found if parents[id(trail)][0] is trail]
    names = dict(zip(map(id, tops), naming.names([trail.paths for trail in tops]), strict=True))
    tags = {id(track): tags_on(git, track) for track in tracks}
    read = cache(git.commit)
    lines = []
    for track, trail in found:
        parent = parents[id(trail)][0]
        possible = [name for one in parents[id(trail)] for name in names[id(one)]]
        shared = {commit for commit, _ in track.shared} if trail.start else set()
        forks = [change for change in parent.changes if change.commit in shared]
        lines.append(
            Line(
                tuple(dict.fromkeys(possible)),
                track.branch,
                tuple(_step(read(change.commit), change.output, store) for change in trail.changes),
                _step(read(forks[-1].commit), forks[-1].output, store) if forks else None,
                nearest(track, trail.states, tags[id(track)]),
                tracks[0].branch,
            )
        )
    return lines


def _parents(found: Sequence[tuple[Track, Trail]]) -> dict[int, list[Trail]]:
    """For each trail those, of earlier tracks, whose dataset it may go to: itself where there is none.

    The first is the one that had its path where its track begins, else one that ended at the path, else one
    that had it ever; no two of a track have the same. The others may be the first before histories grow.
    """
    parents: dict[int, list[Trail]] = {}
    groups = [list(group) for _, group in groupby(found, key=lambda pair: id(pair[0]))]
    ended: dict[bytes, Trail] = {}
    ever: dict[bytes, Trail] = {}
    for group in groups:
        shared = {commit for commit, _ in group[0][0].shared}
        began = {trail.path_after(shared): trail for _, trail in groups[0]} if shared else {}
        taken: set[int] = set()
        for _, trail in group:
            path = trail.start or trail.changes[0].output.path
            near = [homes.get(path) for homes in ((began if trail.start else {}), ended, ever)]
            possible = [parents[id(one)][0] for one in near if one is not None]
            first = next((one for one in possible if id(one) not in taken), trail)
            parents[id(trail)] = [first, *(one for one in possible if one is not first)]
            taken.add(id(first))
        for _, trail in group:
            ended.setdefault(trail.paths[0], trail)
            for path in trail.paths:
                ever.setdefault(path, trail)
    return parents


@dataclass(frozen=True, slots=True)
class Naming:
    """How datasets are called: by the path of the output in the project, or as the user said."""

    project: bytes
    dataset: str | None = None

    def names(self, trails: Sequence[Sequence[bytes]]) -> list[tuple[str, ...]]:
        """The names that the dataset of each output may have, those for a new dataset first."""
        found: list[tuple[str, ...]] = []
        used: set[str] = set()
        for paths in trails:
            own = [self._name(path) for path in paths]
            marked = [f"{name}-{mark(os.fsdecode(path))}" for name, path in zip(own, paths, strict=True)]
            if own[0] in used:
                own[0] = marked[0]
            used.add(own[0])
            own = list(dict.fromkeys([*own, *marked]))
            if self.dataset is not None:
                below = [f"{self.dataset}/{name}" for name in own]
                own = [self.dataset, *below] if len(trails) == 1 else [*below, self.dataset]
            found.append(tuple(own))
        return found

    def _name(self, path: bytes) -> str:
        inside = path.removeprefix(self.project + b"/") if self.project else path
        return dataset_name(os.fsdecode(inside))


def _step(commit: Commit, output: Output, store: DvcBytes) -> Step:
    path = output.path.decode()
    meta = {OUTPUT: path, "dvc.md5": output.md5}
    return Step(commit, path, partial(store.content, output), meta, (OUTPUT,), tuple(_sources(output)))


def _sources(output: Output) -> Iterator[Source]:
    from dataver.provenance import make_source

    for url in output.urls:
        with suppress(BadInputError):  # It cannot be told what is a password in it.
            yield make_source({"url": url, "method": "downloaded by DVC"})
