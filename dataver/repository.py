"""The repository: what users open. It delegates, and owns nothing but the session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, ConflictError
from dataver.format.operations import ALIAS, BRANCH, TAG
from dataver.log.log import Log
from dataver.log.state import KIND_NAMES
from dataver.names import KINDS, delete_dataset, delete_ref, rename_dataset, set_ref, undelete_dataset
from dataver.progress import Progress
from dataver.refs import MAIN, check_dataset_name, live_ref, parse_ref, require_dataset, require_version
from dataver.results import (
    ChangeCounts,
    Changes,
    Check,
    CheckoutResult,
    CommitResult,
    DatasetInfo,
    Forecast,
    OverlapResult,
    RefInfo,
    RefResult,
    VerifyReport,
    VersionInfo,
)
from dataver.session import Session
from dataver.store import open_store
from dataver.store.base import write_usd

if TYPE_CHECKING:
    from dataver.parts import Definition
    from dataver.publish import Label, Published
    from dataver.tables.footer import TableChange
    from dataver.version import Version

Time = datetime | str


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
    ) -> None:
        store = open_store(url, storage_options)
        # A path is kept whole: whoever opens a pickle may be in another folder.
        self._arguments = (url if "://" in url else store.url, dict(storage_options or {}))
        self.session = Session(store, Log(store, accept_rollback=accept_rollback))
        self._at = at

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (*self._arguments, self._at)

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
        progress: Progress | None = None,
        jobs: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> CommitResult:
        """Record `source` (a folder, a file or an fsspec URL) as the next version of `dataset`.

        Atomic: the version is there with all its files and tags, or nothing is. What `source`
        changed against its base is committed: `base`, else the version this source was last
        checked out from or committed as on this machine, else the head. `add` deletes nothing;
        `into` puts the files below a path; `reference` leaves the bytes where they are. Paths that
        `include` and `exclude` leave out stay as they are in the base.

        Raises `ConflictError` where others changed the same paths meanwhile, `AlreadyExistsError`
        for a tag that is taken, `BadInputError` for files that cannot be in a version.
        """
        from dataver.commit import CommitOptions, Committer
        from dataver.source import open_source

        check_dataset_name(dataset)
        _require_place(source, "source")
        self._set_jobs(jobs)
        place = open_source(source, storage_options=storage_options, include=include, exclude=exclude)
        options = CommitOptions(branch, add, into, base, tuple(include), tuple(exclude), reference, dry_run)
        label = self._label(message, author, time, meta, tags, allow_empty)
        committer = Committer(self.session, dataset, place, options, label)
        done = committer.commit(progress)
        if done.published is not None:
            return self._result(dataset, branch, done.published, done.new_bytes, done.stored_bytes)
        return self._forecast(dataset, committer, done)

    def _forecast(self, dataset: str, committer: Any, done: Any) -> CommitResult:
        changes = committer.changes(done)
        files, size_bytes = committer.totals(done)
        requests = 2 * done.packs + 4 if changes else 0
        price = write_usd(self.session.store)
        forecast = Forecast(done.new_bytes, requests, None if price is None else requests * price)
        parents = [str(done.base.id)] if done.base is not None else []
        return CommitResult(
            dataset, None, "", parents, "", files, size_bytes, done.new_bytes, done.stored_bytes,
            changes.counts, False, None, forecast,
        )  # fmt: skip

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
        state = self.session.state()
        found = []
        for name, dataset in state.datasets():
            ref = live_ref(state, dataset, MAIN)
            if ref is None:
                found.append(DatasetInfo(name, None, None, 0, 0))
                continue
            head = require_version(state, dataset, ref.target)
            found.append(DatasetInfo(name, f"v{head.number}", str(head.id), head.files, head.size_bytes))
        return found

    def log(self, ref: str) -> Iterator[VersionInfo]:
        """The versions from `ref` back, newest first."""
        from dataver.history import walk

        state = self.session.state()
        return walk(self.session, state, self.session.resolve(ref, state))

    def show(self, ref: str) -> VersionInfo:
        """Everything about one version, with what it changed against its first parent."""
        from dataclasses import replace

        from dataver.history import Names, compare, version_info

        state = self.session.state()
        found = self.session.resolve(ref, state)
        record = self.session.record(found.version.id, state)
        names = Names.of(state, found.dataset)
        parent = require_version(state, found.dataset, record.parents[0]) if record.parents else None
        changed = compare(self.session, state, parent, found.version).counts
        return replace(version_info(found.name, found.version, record, names), changed=changed)

    def version(self, ref: str) -> Version:
        """A handle on one version."""
        from dataver.version import Version

        state = self.session.state()
        resolved = self.session.resolve(ref, state)
        return Version(self, resolved, state if self.session.at is None else None)

    def diff(self, a: str, b: str) -> Changes:
        """What changed from `a` to `b`."""
        from dataver.history import compare

        state = self.session.state()
        old, new = self.session.resolve(a, state), self.session.resolve(b, state)
        return compare(self.session, state, old.version, new.version)

    def diff_tables(self, a: str, b: str) -> list[TableChange]:
        """How the Parquet files that were modified from `a` to `b` changed: schema and row counts.

        Only footers are read. Files that are not Parquet on both sides are left out.
        """
        from dataver.tables.footer import compare_footers, read_footer

        old, new = self.version(a), self.version(b)
        found = []
        for path in self.diff(a, b).modified:
            if not path.endswith((".parquet", ".pq")):
                continue
            with old.open(path) as before, new.open(path) as after:
                footers = read_footer(before), read_footer(after)
            if footers[0] is not None and footers[1] is not None:
                found.append(compare_footers(path, footers[0], footers[1]))
        return found

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
        from dataver.checkout import Checkout

        _require_place(target, "target")
        self._set_jobs(jobs)
        resolved = self.session.resolve(ref)
        return Checkout(
            self.session, resolved, target,
            include=include, exclude=exclude, overwrite=overwrite, progress=progress,
        ).run()  # fmt: skip

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

        state = self.session.newest()
        theirs = self.session.resolve_ref(parse_ref(ref), state)
        label = self._label(message or f"merge {theirs.canonical}", author, time, None, (), False)
        done = merge(self.session, theirs, branch, label)
        if done is None:
            return self._unchanged(theirs.name, branch)
        return self._result(theirs.name, branch, done, 0, 0)

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

        target = self.session.resolve_ref(parse_ref(ref), self.session.newest())
        label = self._label(message or f"revert to {target.canonical}", author, time, None, (), False)
        return self._result(target.name, branch, revert(self.session, target, branch, label), 0, 0)

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

    # What results are made of

    def _set_jobs(self, jobs: int | None) -> None:
        if jobs is not None and jobs < 1:
            raise BadInputError(f"{jobs} jobs cannot do any work; 1 is the least")
        self.session.jobs = jobs or 0

    def _label(
        self,
        message: str,
        author: str | None,
        time: Time | None,
        meta: Mapping[str, str] | None,
        tags: Sequence[str],
        allow_empty: bool,
    ) -> Label:
        from dataver.moments import microseconds
        from dataver.publish import Label

        if isinstance(tags, str):
            raise BadInputError(f"the tags are {tags!r}, one text; pass a list, as in [{tags!r}]")
        pairs = tuple(sorted((meta or {}).items(), key=str))
        time_us = None if time is None else microseconds(time)
        return Label(message, self.session.who(author), time_us, pairs, tuple(tags), allow_empty)

    def _unchanged(self, dataset: str, branch: str) -> CommitResult:
        state = self.session.state()
        dataset_id = require_dataset(state, dataset)
        ref = live_ref(state, dataset_id, branch)
        if ref is None:
            raise ConflictError(f"{dataset} has no branch {branch!r} any more; nothing was merged")
        head = require_version(state, dataset_id, ref.target)
        record = self.session.record(head.id, state)
        return CommitResult(
            dataset, f"v{head.number}" if head.number and branch == MAIN else None, str(head.id),
            [str(parent) for parent in record.parents], str(record.tree), head.files, head.size_bytes,
            0, 0, ChangeCounts(), False,
        )  # fmt: skip

    def _result(
        self, dataset: str, branch: str, done: Published, new_bytes: int, stored_bytes: int
    ) -> CommitResult:
        from dataver.history import compare

        version, record = done.version, done.record
        if version is None or record is None:
            return CommitResult(dataset, None, "", [], "", 0, 0, 0, 0, ChangeCounts(), False)
        changed = ChangeCounts()
        if done.created:
            changed = compare(self.session, self.session.log.state(), done.parent, version).counts
        number = f"v{version.number}" if branch == MAIN and version.number else None
        return CommitResult(
            dataset=dataset,
            version=number,
            id=str(version.id),
            parents=[str(parent) for parent in record.parents],
            tree=str(record.tree),
            files=version.files,
            bytes=version.size_bytes,
            new_bytes=new_bytes if done.created else 0,
            stored_bytes=stored_bytes if done.created else 0,
            changed=changed,
            created=done.created,
            rebased_onto=None if done.rebased_onto is None else str(done.rebased_onto),
        )


def _require_place(place: str | os.PathLike[str], name: str) -> None:
    if not os.fspath(place):
        raise BadInputError(f"the {name} is empty; '.' is the current folder")


def init(url: str | None = None, *, storage_options: Mapping[str, Any] | None = None) -> Repository:
    """Make a repository at `url`, or at `./.dataver`. `AlreadyExistsError` where there is one."""
    place = os.path.abspath(".dataver") if url is None else url
    if os.path.lexists(place) and not os.path.isdir(place):
        raise BadInputError(
            f"{place} is a file, not a folder; name a folder, or a place where nothing is yet"
        )
    repository = Repository(place, storage_options=storage_options)
    repository.session.create()
    return repository


def open_repository(
    url: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    at: str | None = None,
    accept_rollback: bool = False,
) -> Repository:
    """Open the repository at `url`, else at `DATAVER_REPO`, else the nearest `.dataver` above.

    `at` is a time (RFC 3339) or the number of a log entry: refs are resolved as they were then.
    `RepositoryNotFoundError` where there is none.
    """
    from dataver.config import find_repository
    from dataver.errors import RepositoryNotFoundError

    place = url or find_repository()
    if place is None:
        raise RepositoryNotFoundError(
            "there is no repository here or above: make one with `dataver init`, "
            "or name one with --repo URL or DATAVER_REPO"
        )
    repository = Repository(place, storage_options=storage_options, at=at, accept_rollback=accept_rollback)
    repository._check()
    return repository


def resolve(ref: str, *, repo: str | Repository | None = None) -> Version:
    """A handle on the version that `ref` means, in `repo` or the repository found as `open` finds it."""
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    return repository.version(ref)


def _reopen(url: str, storage_options: Mapping[str, Any], at: str | None) -> Repository:
    return open_repository(url, storage_options=storage_options, at=at)
