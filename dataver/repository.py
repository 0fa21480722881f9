"""The repository: what users open. It delegates, and owns nothing but the session."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dataver.comparisons import Comparisons
from dataver.config import new_place, require_place
from dataver.errors import RepositoryNotFoundError
from dataver.format.operations import ALIAS, BRANCH, TAG
from dataver.log.log import Log
from dataver.names import (
    KINDS,
    datasets,
    delete_dataset,
    delete_ref,
    refs,
    rename_dataset,
    set_ref,
    undelete_dataset,
)
from dataver.progress import Progress, observed
from dataver.recording import Asked
from dataver.refs import MAIN, check_dataset_name, require_dataset
from dataver.results import (
    Changes,
    CheckoutResult,
    CommitResult,
    DatasetInfo,
    RefInfo,
    RefResult,
    TransferResult,
    VersionInfo,
)
from dataver.run_queries import RunQueries
from dataver.session import Session
from dataver.store import open_store
from dataver.upkeep import Upkeep

if TYPE_CHECKING:
    from dataver.moments import Time
    from dataver.provenance import SourceLike
    from dataver.repair import RepairReport
    from dataver.settings import Settings
    from dataver.signatures import Signatures
    from dataver.version import Version

Place = str | os.PathLike[str]


class Repository(Comparisons, RunQueries, Upkeep):
    """A repository that is open. Made by `dataver.open` and `dataver.init`.

    Every method reads the log's newest entry first, so that it sees what others did. Pickles carry
    the URL and the storage options. One object a thread.
    """

    def __init__(
        self,
        url: Place,
        *,
        storage_options: Mapping[str, Any] | None = None,
        at: str | None = None,
        accept_rollback: bool = False,
        offline: bool = False,
        require_signed: bool = False,
    ) -> None:
        url = os.fspath(url)
        store = open_store(url, storage_options, offline=offline)
        # A path is kept whole: whoever opens a pickle may be in another folder.
        self._arguments = (url if "://" in url else store.url, dict(storage_options or {}))
        self._offline = offline
        log = Log(store, accept_rollback=accept_rollback)
        log.forget = _forget
        self.session = Session(store, log, require_signed=require_signed)
        self._at = at

    def __reduce__(self) -> tuple[Any, ...]:
        how: dict[str, Any] = {
            "at": self._at,
            "offline": self._offline,
            "require_signed": self.session.require_signed,
        }
        url, options = self._arguments
        return partial(open_repository, storage_options=options, **how), (url,)

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

    @property
    def settings(self) -> Settings:
        """What is set for everybody who uses the repository, to look at and to change."""
        from dataver.settings import Settings

        return Settings(self.session)

    # Versions

    @observed("commit")
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
        sources: Sequence[SourceLike] = (),
        derived_from: Sequence[str | Version] = (),
        add: bool = False,
        into: str = "",
        base: str | None = None,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        reference: bool = False,
        dry_run: bool = False,
        allow_empty: bool = False,
        stats: bool | None = None,
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
        columns of new Parquet files hold, which is computed on demand otherwise; None: as the
        setting `commit.stats` says.

        `sources` and `derived_from` say where the data came from: `Source`s, or their fields by name, or
        URLs; and versions, or refs, `URL#REF` in another repository. With `add`, `into`, `include` or
        `exclude` they are those of what was added, and those of the version before count as well.

        Raises `ConflictError` where others changed the same paths meanwhile, `AlreadyExistsError`
        for a tag that is taken, `BadInputError` for files that cannot be in a version.
        """
        from dataver.commit import CommitOptions, Committer
        from dataver.noting import kept_apart
        from dataver.outcome import make_label, told
        from dataver.relying import unless_collected
        from dataver.source import open_source

        check_dataset_name(dataset)
        require_place(source, "source")
        branch, tags = kept_apart(branch, tags)
        self.session.set_jobs(jobs)
        provenance = None
        if sources or derived_from:
            from dataver.derivation import made_from

            partial = bool(add or into or include or exclude)
            provenance = made_from(self, sources, derived_from, partial)
        place = open_source(source, storage_options=storage_options, include=include, exclude=exclude)
        options = CommitOptions(
            branch, add, into, base, tuple(include), tuple(exclude), reference, dry_run, stats
        )
        label = make_label(self.session, message, author, time, meta, tags, allow_empty, provenance)
        committer = Committer(self.session, dataset, place, options, label)
        with unless_collected(self.session, dataset, lambda: committer.basis.versions):
            done = committer.commit(progress)
        return told(self, committer.result(done))

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

    def version(self, ref: str, *, require_signed: bool = False) -> Version:
        """A handle on one version. `require_signed`: a `SignatureError` unless a trusted key signed it."""
        from dataver.noting import resolve_in_run
        from dataver.version import Version

        state = self.session.state()
        resolved = resolve_in_run(self.session, ref, state, require_signed=require_signed)
        return Version(self, resolved, state if self.session.at is None else None, Asked(ref))

    def checkout(
        self,
        ref: str,
        target: str | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        skip_erased: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
    ) -> CheckoutResult:
        """Write a version's files into the folder `target`: exact bytes, each verified.

        Each file appears whole or not at all. Files that are right already stay; those of an
        earlier checkout that nobody changed are replaced, or removed where this version lacks
        them; others that differ are a `WouldOverwriteError` before anything is written, unless
        `overwrite`. A file that was erased is an `ErasedError` before anything is written, unless
        `skip_erased` leaves it out. Not synced to disk: after a power failure, run it again.
        """
        from dataver.checkout import check_out
        from dataver.noting import resolve_in_run

        return check_out(
            self.session, resolve_in_run(self.session, ref), target, Asked(ref),
            include=include, exclude=exclude, overwrite=overwrite, skip_erased=skip_erased,
            progress=progress, jobs=jobs,
        )  # fmt: skip

    @observed("merge")
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
        from dataver.outcome import merged, told

        return told(self, merged(self.session, ref, branch, message, author, time))

    @observed("revert")
    def revert(
        self,
        ref: str,
        *,
        branch: str = MAIN,
        message: str = "",
        author: str | None = None,
        time: Time | None = None,
    ) -> CommitResult:
        """A new version on `branch` with the files of `ref`, and its sources. No data is copied."""
        from dataver.outcome import reverted, told

        return told(self, reverted(self.session, ref, branch, message, author, time))

    @observed("push")
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

    @observed("pull")
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
        return refs(self.session.state(), dataset)

    def rename(self, dataset: str, new_name: str) -> None:
        """Give a dataset another name; versions, refs and what folders are based on stay."""
        rename_dataset(self.session, dataset, new_name)

    @observed("delete")
    def delete_dataset(self, dataset: str) -> None:
        """Take a dataset's name away. `undelete_dataset` brings it back until its data are collected."""
        delete_dataset(self.session, dataset)

    def undelete_dataset(self, dataset: str) -> None:
        """Undo the deletion of the dataset that had this name last."""
        undelete_dataset(self.session, dataset)

    @property
    def signatures(self) -> Signatures:
        """Signing versions and runs, checking who did, and whom to trust."""
        from dataver.signatures import Signatures

        return Signatures(self.session)

    # Health

    @observed("repair")
    def repair(
        self,
        *,
        yes: bool = False,
        deep: bool = True,
        sources: Sequence[str | os.PathLike[str] | Repository] = (),
        folders: Sequence[str | os.PathLike[str]] = (),
        progress: Progress | None = None,
        jobs: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> RepairReport:
        """Make whole what is damaged; without `yes` only say what would be done.

        The index is built again from packs, and what is whole in damaged packs is copied into new ones. What
        is lost is looked for in the repositories `sources` (opened with `storage_options`) and in the files
        of `folders`. Nothing is deleted. What is still lost stands in the report, and is no error.
        Not `deep`: packs whose ends are well formed are taken to be whole.
        """
        from dataver.repair import repair

        self.session.set_jobs(jobs)
        others = [_other(source, storage_options, self._offline).session for source in sources]
        return repair(self.session, others, folders, yes=yes, deep=deep, progress=progress)


def _other(place: Place | Repository, options: Mapping[str, Any] | None, offline: bool) -> Repository:
    if isinstance(place, Repository):
        return place
    require_place(place, "other repository")
    return open_repository(place, storage_options=options, offline=offline)


def init(
    url: Place | None = None, *, storage_options: Mapping[str, Any] | None = None, offline: bool = False
) -> Repository:
    """Make a repository at `url`, or at `./.dataver`. `AlreadyExistsError` where there is one."""
    repository = Repository(new_place(url), storage_options=storage_options, offline=offline)
    repository.session.create()
    return repository


def open_repository(
    url: Place | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    at: str | None = None,
    accept_rollback: bool = False,
    offline: bool = False,
    require_signed: bool = False,
) -> Repository:
    """Open the repository at `url`, else at `DATAVER_REPO`, else the nearest `.dataver` above.

    `at` is a time (RFC 3339) or the number of a log entry: refs are resolved as they were then.
    `offline`, or `DATAVER_OFFLINE`: a remote store is not asked for anything. What this machine's
    cache holds can be read, as of the newest entry it saw; all else is an `OfflineError`.
    `require_signed`, or `DATAVER_REQUIRE_SIGNED`: what no trusted key signed is a `SignatureError`.
    `RepositoryNotFoundError` where there is none.
    """
    from dataver.config import find_repository

    place = find_repository() if url is None else url
    if place is None:
        raise RepositoryNotFoundError(
            "there is no repository here or above: make one with `dataver init`, "
            "or name one with --repo URL or DATAVER_REPO"
        )
    repository = Repository(
        place, storage_options=storage_options, at=at, accept_rollback=accept_rollback, offline=offline,
        require_signed=require_signed,
    )  # fmt: skip
    repository._check()
    return repository


def resolve(ref: str, *, repo: Place | Repository | None = None, require_signed: bool = False) -> Version:
    """A handle on the version that `ref` means, in `repo` or the repository found as `open` finds it.

    With `require_signed` a `SignatureError` unless a trusted key signed it.
    """
    repository = repo if isinstance(repo, Repository) else open_repository(repo)
    return repository.version(ref, require_signed=require_signed)


def _forget(erased: list[bytes], packs: list[bytes]) -> None:
    """Drop what was erased from this machine's caches."""
    from dataver.forgetting import forget

    forget(erased, packs)
