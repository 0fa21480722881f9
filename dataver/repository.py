"""The repository: what users open. It delegates, and owns nothing but the session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataver.config import new_place, require_place
from dataver.errors import RepositoryNotFoundError
from dataver.format.operations import ALIAS, BRANCH, TAG
from dataver.log.log import Log
from dataver.log.state import KIND_NAMES
from dataver.names import (
    KINDS,
    datasets,
    delete_dataset,
    delete_ref,
    rename_dataset,
    set_ref,
    undelete_dataset,
)
from dataver.noting import resolve_in_run
from dataver.progress import Progress
from dataver.recording import Asked
from dataver.refs import MAIN, check_dataset_name, parse_ref, require_dataset
from dataver.results import (
    Changes,
    Check,
    CheckoutResult,
    CommitResult,
    DatasetInfo,
    OverlapResult,
    RefInfo,
    RefResult,
    TransferResult,
    VerifyReport,
    VersionInfo,
)
from dataver.session import Session
from dataver.store import open_store

if TYPE_CHECKING:
    import pyarrow

    from dataver.moments import Time
    from dataver.parts import Definition
    from dataver.tables.changes import TableChange
    from dataver.tables.drift import DriftReport
    from dataver.version import Version

Place = str | os.PathLike[str]


class Repository:
    """A repository that is open. Made by `dataver.open` and `dataver.init`.

    Every method reads the log's newest entry first, so that it sees what others did. Pickles carry
    the URL and the storage options. One object a thread.
    """

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        at: str | None = None,
        accept_rollback: bool = False,
        offline: bool = False,
    ) -> None:
        store = open_store(url, storage_options, offline=offline)
        # A path is kept whole: whoever opens a pickle may be in another folder.
        self._arguments = (url if "://" in url else store.url, dict(storage_options or {}))
        self._offline = offline
        self.session = Session(store, Log(store, accept_rollback=accept_rollback))
        self._at = at

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (*self._arguments, self._at, self._offline)

    def __repr__(self) -> str:
        return f"<Repository {self.url}>"

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        return self.session.store.url

    @property
    def id(self) -> str:
        """32 hex digits that no other repository has."""
        return self.session.repository

    def _check(self) -> None:
        """See that there is a repository, and find the entry that reads look at."""
        self.session.log.genesis()
        if self._at is not None:
            from dataver.moments import entry_number

            self.session.at = entry_number(self.session.log, self._at)

    # Versions

    def commit(
        self,
        dataset: str,
        source: str | os.PathLike[str],
        *,
        message: str = "",
        tags: Sequence[str] = (),
        branch: str = MAIN,
        author: str | None = None,
        time: Time | None = None,
        meta: Mapping[str, str] | None = None,
        add: bool = False,
        into: str = "",
        base: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        reference: bool = False,
        dry_run: bool = False,
        allow_empty: bool = False,
        stats: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> CommitResult:
        """Record `source` (a folder, a file or an fsspec URL) as the next version of `dataset`.

        Atomic: the version is there with all its files and tags, or nothing is. What `source`
        changed against its base is committed: `base`, else the version this source was last
        checked out from or committed as on this machine, else the head. `add` deletes nothing;
        `into` puts the files below a path; `reference` leaves the bytes where they are. Paths that
        `include` and `exclude` leave out stay as they are in the base. `stats` records what the
        columns of new Parquet files hold, which is computed on demand otherwise.

        Raises `ConflictError` where others changed the same paths meanwhile, `AlreadyExistsError`
        for a tag that is taken, `BadInputError` for files that cannot be in a version.
        """
        from dataver.commit import CommitOptions, Committer
        from dataver.outcome import make_label, outcome
        from dataver.source import open_source

        check_dataset_name(dataset)
        require_place(source, "source")
        self.session.set_jobs(jobs)
        place = open_source(source, storage_options=storage_options, include=include, exclude=exclude)
        options = CommitOptions(
            branch, add, into, base, tuple(include), tuple(exclude), reference, dry_run, stats
        )
        label = make_label(self.session, message, author, time, meta, tags, allow_empty)
        committer = Committer(self.session, dataset, place, options, label)
        done = committer.commit(progress)
        if done.published is not None:
            return outcome(self.session, dataset, branch, done.published, *committer.gain(done))
        return committer.forecast(done)

    def status(
        self, dataset: str, source: str | os.PathLike[str] | None = None, *, progress: Progress | None = None
    ) -> Changes:
        """What `source` has that the head of `dataset` has not, and the reverse. Writes nothing to either.

        Without `source`, the one that this machine used last for the dataset.
        """
        from dataver.source import open_source
        from dataver.status import last_source, status

        state = self.session.state()
        dataset_id = require_dataset(state, dataset)
        place = source if source is not None else last_source(self.session, dataset, dataset_id)
        return status(self.session, state, dataset_id, open_source(place), progress)

    def datasets(self) -> list[DatasetInfo]:
        """The datasets by name, each with the head of its `main`."""
        return datasets(self.session.state())

    def log(self, ref: str) -> Iterator[VersionInfo]:
        """The versions from `ref` back, newest first."""
        from dataver.history import walk

        state = self.session.state()
        return walk(self.session, state, self.session.resolve(ref, state))

    def show(self, ref: str) -> VersionInfo:
        """Everything about one version, with what it changed against its first parent."""
        from dataver.history import show

        state = self.session.state()
        return show(self.session, state, self.session.resolve(ref, state))

    def version(self, ref: str) -> Version:
        """A handle on one version."""
        from dataver.version import Version

        state = self.session.state()
        resolved = resolve_in_run(self.session, ref, state)
        return Version(self, resolved, state if self.session.at is None else None, Asked(ref))

    def diff(self, a: str, b: str) -> Changes:
        """What changed from `a` to `b`."""
        from dataver.history import compare

        state = self.session.state()
        old, new = self.session.resolve(a, state), self.session.resolve(b, state)
        return compare(self.session, state, old.version, new.version)

    def diff_tables(self, a: str, b: str, *, compute: bool = False) -> list[TableChange]:
        """How the Parquet files that were modified from `a` to `b` changed: schema and row counts.

        And what moved in their columns, where statistics of both sides are at hand; `compute` reads
        the files for them. Files that are not Parquet on both sides are left out.
        """
        from dataver.tabular import diff_tables

        return diff_tables(self.version(a), self.version(b), self.diff(a, b).modified, compute=compute)

    def diff_rows(self, a: str, b: str, *, key: Sequence[str] | str, path: str = "") -> pyarrow.Table:
        """The rows of Parquet files that were added, removed or changed from `a` to `b`, by their key.

        Columns: `change`, those of `key`, `columns` (the names of what differs), `before`, `after`.
        Row groups that differ are read, at `path` if given. `BadInputError` for a key that is none.
        """
        from dataver.tabular import diff_rows

        return diff_rows(self.version(a), self.version(b), self.diff(a, b), key, path)

    def overlap(
        self,
        a: str,
        b: str,
        *,
        key: Sequence[str] | str | None = None,
        path: str = "",
        by: Definition | None = None,
    ) -> OverlapResult:
        """What two versions `REF`, or parts of them `REF:PART`, both have: files, chunks, and rows by `key`.

        Equal files are known by their digests and never read; of other Parquet files, those at `path`,
        the columns of the key alone are. No row counts as shared unless its key is equal. Without
        `key`, parts that were made by a key are compared by it. `by` defines the parts, as for
        `Version.split`.
        """
        from dataver.overlap import overlap

        return overlap(self, a, b, key, path, by)

    def drift(
        self,
        a: str,
        b: str,
        path: str = "",
        *,
        columns: Sequence[str] | str | None = None,
        metrics: Sequence[str] | str = "auto",
        thresholds: Mapping[str, float] | float | None = None,
        exact: bool = False,
        compute: bool = True,
        by: Definition | None = None,
        progress: Progress | None = None,
    ) -> DriftReport:
        """How far the tables of `b` moved away from those of the baseline `a`. See `Version.drift`.

        Either is a `REF` or a part `REF:PART`, of which the rows are read; `by` as for `Version.split`.
        """
        from dataver.drift import of_nodes

        return of_nodes(
            self, a, b, path, columns=columns, metrics=metrics, thresholds=thresholds,
            exact=exact, compute=compute, by=by, progress=progress,
        )  # fmt: skip

    def checkout(
        self,
        ref: str,
        target: str | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
    ) -> CheckoutResult:
        """Write a version's files into the folder `target`: exact bytes, each verified.

        Each file appears whole or not at all. Files that are right already stay; those of an
        earlier checkout that nobody changed are replaced, or removed where this version lacks
        them; others that differ are a `WouldOverwriteError` before anything is written, unless
        `overwrite`. Not synced to disk: after a power failure, run it again.
        """
        from dataver.checkout import check_out

        return check_out(
            self.session, resolve_in_run(self.session, ref), target, Asked(ref),
            include=include, exclude=exclude, overwrite=overwrite, progress=progress, jobs=jobs,
        )  # fmt: skip

    def merge(
        self,
        ref: str,
        *,
        branch: str = MAIN,
        message: str = "",
        author: str | None = None,
        time: Time | None = None,
    ) -> CommitResult:
        """Bring what `ref` changed since its line parted onto `branch`: a version with two parents.

        `ConflictError` where both lines changed the same paths. No data is copied.
        """
        from dataver.history import merge
        from dataver.outcome import make_label, outcome, unchanged

        state = self.session.newest()
        theirs = self.session.resolve_ref(parse_ref(ref), state)
        label = make_label(
            self.session, message or f"merge {theirs.canonical}", author, time, None, (), False
        )
        done = merge(self.session, theirs, branch, label)
        if done is None:
            return unchanged(self.session, theirs.name, branch)
        return outcome(self.session, theirs.name, branch, done)

    def revert(
        self,
        ref: str,
        *,
        branch: str = MAIN,
        message: str = "",
        author: str | None = None,
        time: Time | None = None,
    ) -> CommitResult:
        """A new version on `branch` with the files of `ref`. No data is copied."""
        from dataver.history import revert
        from dataver.outcome import make_label, outcome

        target = self.session.resolve_ref(parse_ref(ref), self.session.newest())
        label = make_label(
            self.session, message or f"revert to {target.canonical}", author, time, None, (), False
        )
        return outcome(self.session, target.name, branch, revert(self.session, target, branch, label))

    def push(
        self,
        refs: Sequence[str] = (),
        *,
        to: str | os.PathLike[str] | Repository,
        progress: Progress | None = None,
        jobs: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> TransferResult:
        """Copy to another repository what it lacks: all datasets, or those and the single versions in `refs`.

        Branches only move forward: one that has versions there which are not here is a
        `ConflictError`, and nothing was copied. A tag that differs there is an `AlreadyExistsError`,
        a dataset of the same name that was made there a `ConflictError`. An alias moves only where
        `refs` names it, as `iris@prod`. `storage_options` are those of `to`.
        """
        from dataver.transfer import push

        self.session.set_jobs(jobs)
        return push(self.session, _other(to, storage_options, self._offline).session, refs, progress=progress)

    def pull(
        self,
        refs: Sequence[str] = (),
        *,
        source: str | os.PathLike[str] | Repository,
        rebase: bool = False,
        depth: int | None = None,
        progress: Progress | None = None,
        jobs: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> TransferResult:
        """Copy from the repository `source` what this one lacks; as `push` the other way round.

        Where a branch diverged, all else is done before its `ConflictError`: the versions of there are
        here then, and `merge("iris@<id>")` brings both lines together. With `rebase` the versions of
        here are put on top of the other head instead; where both changed the same paths, it is a
        `ConflictError` and nothing was changed. `depth` is how many versions back are copied.
        """
        from dataver.transfer import pull

        self.session.set_jobs(jobs)
        there = _other(source, storage_options, self._offline).session
        return pull(self.session, there, refs, rebase=rebase, depth=depth, progress=progress)

    # Names

    def tag(self, ref: str, name: str) -> RefResult:
        """Name a version for good. `AlreadyExistsError` where the name is taken by another one."""
        return set_ref(self.session, TAG, ref, name)

    def alias(self, ref: str, name: str) -> RefResult:
        """Make or move an alias."""
        return set_ref(self.session, ALIAS, ref, name)

    def branch(self, ref: str, name: str) -> RefResult:
        """Start a branch at a version, or move one forward. `ConflictError` where it would lose versions."""
        return set_ref(self.session, BRANCH, ref, name)

    def delete_ref(self, kind: str, dataset: str, name: str) -> RefResult:
        """Delete a branch, tag or alias (`kind`). The versions stay. `main` is never deleted."""
        return delete_ref(self.session, KINDS[kind], dataset, name)

    def refs(self, dataset: str) -> list[RefInfo]:
        """The branches, tags and aliases of a dataset, by name."""
        state = self.session.state()
        found = state.refs(require_dataset(state, dataset))
        return [RefInfo(KIND_NAMES[ref.kind], ref.name, str(ref.target)) for ref in found if not ref.deleted]

    def rename(self, dataset: str, new_name: str) -> None:
        """Give a dataset another name; versions, refs and what folders are based on stay."""
        rename_dataset(self.session, dataset, new_name)

    def delete_dataset(self, dataset: str) -> None:
        """Take a dataset's name away. `undelete_dataset` brings it back until its data are collected."""
        delete_dataset(self.session, dataset)

    def undelete_dataset(self, dataset: str) -> None:
        """Undo the deletion of the dataset that had this name last."""
        undelete_dataset(self.session, dataset)

    # Health

    def verify(
        self, ref: str | None = None, *, deep: bool = False, progress: Progress | None = None
    ) -> VerifyReport:
        """Check what `ref` reaches, or the whole repository; `deep` reads and compares every byte."""
        from dataver.verify import verify

        return verify(self.session, ref, deep=deep, progress=progress)

    def doctor(self) -> list[Check]:
        """Check the environment and the repository, in seconds."""
        from dataver.doctor import checks

        return checks(self.session)


def _other(place: Place | Repository, options: Mapping[str, Any] | None, offline: bool) -> Repository:
    if isinstance(place, Repository):
        return place
    require_place(place, "other repository")
    return open_repository(os.fspath(place), storage_options=options, offline=offline)


def init(
    url: str | None = None, *, storage_options: Mapping[str, Any] | None = None, offline: bool = False
) -> Repository:
    """Make a repository at `url`, or at `./.dataver`. `AlreadyExistsError` where there is one."""
    repository = Repository(new_place(url), storage_options=storage_options, offline=offline)
    repository.session.create()
    return repository


def open_repository(
    url: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    at: str | None = None,
    accept_rollback: bool = False,
    offline: bool = False,
) -> Repository:
    """Open the repository at `url`, else at `DATAVER_REPO`, else the nearest `.dataver` above.

    `at` is a time (RFC 3339) or the number of a log entry: refs are resolved as they were then.
    `offline`, or `DATAVER_OFFLINE`: a remote store is not asked for anything. What this machine's
    cache holds can be read, as of the newest entry it saw; all else is an `OfflineError`.
    `RepositoryNotFoundError` where there is none.
    """
    from dataver.config import find_repository

    place = url or find_repository()
    if place is None:
        raise RepositoryNotFoundError(
            "there is no repository here or above: make one with `dataver init`, "
            "or name one with --repo URL or DATAVER_REPO"
        )
    repository = Repository(
        place, storage_options=storage_options, at=at, accept_rollback=accept_rollback, offline=offline
    )
    repository._check()
    return repository


def resolve(ref: str, *, repo: str | Repository | None = None) -> Version:
    """A handle on the version that `ref` means, in `repo` or the repository found as `open` finds it."""
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    return repository.version(ref)


def _reopen(url: str, options: Mapping[str, Any], at: str | None, offline: bool = False) -> Repository:
    return open_repository(url, storage_options=options, at=at, offline=offline)
