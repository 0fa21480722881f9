"""`dataver import dvc`: all of it together."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, PathNotFoundError
from dataver.integrations.importing.dvc import (
    SETTINGS,
    DvcHistory,
    Naming,
    inner_projects,
    lines_of,
    project_folder,
)
from dataver.integrations.importing.dvc_bytes import DvcBytes, read_settings
from dataver.integrations.importing.git import Git, clone
from dataver.integrations.importing.importer import import_lines
from dataver.integrations.importing.lines import tracks
from dataver.integrations.importing.names import ref_names
from dataver.integrations.importing.report import Report
from dataver.paths import safe_spelling
from dataver.progress import Progress
from dataver.refs import MAIN, check_dataset_name
from dataver.source import local_path
from dataver.store.clients import public_url
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.repository import Repository

__all__ = ["Asked", "import_dvc", "opened"]

_SSH = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a git repository is to be imported, and where to. `every`: all branches of git."""

    place: str
    dataset: str | None = None
    revision: str | None = None
    every: bool = False
    branch: str = MAIN
    dry_run: bool = False
    skip_missing: bool = False


def import_dvc(
    repository: Repository,
    asked: Asked,
    targets: Sequence[str] = (),
    *,
    subdir: str | None = None,
    remote: str | None = None,
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Make a version of each commit that changed an output of DVC, of those named or of all.

    `subdir` is where in the git repository the project is. `remote` is the one of DVC's, or the URL, in which
    is looked for what the cache lacks; `options` are those of its file system.
    """
    if asked.dataset is not None:
        check_dataset_name(asked.dataset)
    repository.session.newest()  # Whatever is wrong here is told before anything is copied.
    with opened(asked.place) as (git, place):
        found = tracks(git, asked.revision, asked.every, asked.branch)
        tip = git.tree(found[0].commits[-1][0])
        project = project_folder(git, tip, subdir, place)
        report = Report(shown_place(asked.place), asked.dry_run)
        history = DvcHistory(git, project, inner_projects(tip, project), report.refused)
        if git.top is None:
            texts = [git.read(tip[_below(project, SETTINGS)].id, 1 << 20).decode("utf-8", "surrogateescape")]
            store = DvcBytes(None, texts, remote=remote, options=options)
        else:
            folder = os.path.join(git.top, os.fsdecode(project), ".dvc")
            store = DvcBytes(folder, read_settings(folder), remote=remote, options=options)
        wanted = [_target(git, project, place, target) for target in targets]
        try:
            lines = lines_of(git, history, found, store, Naming(project, asked.dataset), wanted)
        except PathNotFoundError:
            for refused in report.refused:
                if refused.file in map(safe_spelling, wanted):
                    raise BadInputError(refused.reason) from None
            raise
        names = ref_names(git.refs("tags"), {line.branch for line in lines})
        return import_lines(
            repository, lines, report, names, skip_missing=asked.skip_missing, progress=progress
        )


@contextmanager
def opened(place: str) -> Iterator[tuple[Git, str | None]]:
    """The git repository at a path, or a copy of that at a URL; and the place if it is on this machine."""
    path = _path(place)
    if path is not None:
        if not os.path.isdir(path):
            raise PathNotFoundError(f"{safe_spelling(place)} is no folder")
        with Git(path) as git:
            yield git, path
        return
    with tempfile.TemporaryDirectory(prefix="dataver-import-") as folder:
        there = os.path.join(folder, "git")
        clone(place, there)
        with Git(there) as git:
            yield git, None


def shown_place(place: str) -> str:
    """A path or URL as it is reported, without credentials."""
    path = _path(place)
    return public_url(place) if path is None else safe_spelling(os.path.abspath(path))


def _path(place: str) -> str | None:
    """A place on this machine, which is read where it is: to copy it, git would run what it names."""
    path = local_path(place)
    is_far = path is None or (_SSH.match(place) is not None and not os.path.lexists(place))
    return None if is_far or path is None else os.fsdecode(path)


def _target(git: Git, project: bytes, place: str | None, target: str) -> bytes:
    """A target as a path of the git repository: on disk it is relative to the place that was named."""
    within = project
    if place is not None and git.top is not None:
        inside = os.path.relpath(os.path.realpath(place), os.path.realpath(git.top))
        within = b"" if inside == "." else os.fsencode(inside)
    return os.path.normpath(_below(within, os.fsencode(target)))


def _below(folder: bytes, path: bytes) -> bytes:
    return folder + b"/" + path if folder else path
