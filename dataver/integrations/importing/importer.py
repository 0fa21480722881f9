"""From lines of commits to versions: what is here already is found by the commit that a version names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from dataver.commit import CommitOptions, Committer
from dataver.errors import AlreadyExistsError, ConflictError, PathNotFoundError
from dataver.integrations.importing.git import Commit
from dataver.integrations.importing.pointed import Place, Pointed, PointedSource
from dataver.integrations.importing.report import Imported, Missing, Report, Tagged
from dataver.outcome import make_label, told
from dataver.paths import safe_spelling
from dataver.progress import Progress, Silent, observed
from dataver.refs import MAIN
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.format.provenance import Provenance, Source
    from dataver.repository import Repository
    from dataver.results import CommitResult

__all__ = ["COMMIT", "Line", "Step", "import_lines"]

COMMIT = "git.commit"
MISSING_SHOWN = 5

Content = Sequence[tuple[Pointed, "Place | None"]]
"""The files of a version, each with where its bytes are; None where they are nowhere."""


@dataclass(frozen=True, slots=True)
class Step:
    """A commit that becomes a version. `source` is the path that the files had there.

    `meta` is recorded with it; those keys of it that are in `identity` tell its versions from others that
    were made of the same commit.
    """

    commit: Commit
    source: str
    content: Callable[[], Content]
    meta: Mapping[str, str] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def is_of(self, meta: Mapping[str, str]) -> bool:
        """Whether a version with this metadata was made of it."""
        return meta.get(COMMIT) == self.commit.id and all(
            meta.get(key) == self.meta[key] for key in self.identity
        )


@dataclass(frozen=True, slots=True)
class Line:
    """The versions of one dataset on one branch, oldest first.

    `names` are those that the dataset may have here, those for a new dataset first; lines that share a
    dataset share the first. `fork` is the step of the branch `trunk` that this one begins at, None for the
    trunk itself or where nothing is shared. `tags` are names of git and the
    commit, one of the steps, that each means.
    """

    names: tuple[str, ...]
    branch: str
    steps: tuple[Step, ...]
    fork: Step | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    trunk: str = MAIN


Standing = tuple[str, dict[str, str], "str | None"]
"""The dataset's name here, what was imported into it by commit, and the version to go on from."""


@dataclass(slots=True)
class _Work:
    """What is to be done for a line: the steps that are left, and the versions by commit that are here."""

    line: Line
    dataset: str
    pending: list[Step]
    known: dict[str, str]
    base: str | None


def import_lines(
    repository: Repository,
    lines: Sequence[Line],
    report: Report,
    tag_names: Mapping[str, str],
    *,
    skip_missing: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Make the versions of all lines, each line's in order; those of `main` before those of branches.

    What bytes are missing is found before anything is written: `PathNotFoundError` names them, unless
    `skip_missing` leaves out the versions that need them. In a dry run nothing is written. Interrupted, it
    goes on where it was when it is repeated.
    """
    sizes: dict[str, int] = {}
    standings = _standings(repository, lines)
    works = [
        _planned(repository, line, standing, report, sizes)
        for line, standing in zip(lines, standings, strict=True)
    ]
    if report.missing and not skip_missing:
        raise PathNotFoundError(_missing_text(report))
    report.bytes = sum(sizes.values())
    watcher = progress or Silent()
    count = sum(len(work.pending) for work in works)
    watcher.begin("importing versions", count, report.bytes)
    try:
        for work in works:
            _make(repository, work, report, tag_names, watcher)
    finally:
        watcher.end()
    return report


def _planned(
    repository: Repository, line: Line, standing: Standing, report: Report, sizes: dict[str, int]
) -> _Work:
    """What is left to do for a line. The size of each file that will be read is noted by its digest.

    Files are looked for twice, now and when their version is made: all of a long history would be a lot.
    """
    dataset, known, base = standing
    steps = line.steps
    last = max((at for at, step in enumerate(steps) if step.commit.id in known), default=-1)
    report.known += sum(step.commit.id in known for step in steps)
    report.passed_over += sum(step.commit.id not in known for step in steps[: max(last, 0)])
    pending: list[Step] = []
    for step in steps[last + 1 :]:
        content = step.content()
        lacking = [pointed for pointed, place in content if place is None]
        report.missing += [
            Missing(dataset, step.commit.id, safe_spelling(pointed.path), pointed.digest)
            for pointed in lacking
        ]
        if not lacking:
            pending.append(step)
            sizes.update((pointed.digest, place.size) for pointed, place in content if place is not None)
    head = _branches(repository, dataset).get(line.branch) if pending and base is not None else None
    if head not in (None, base):
        # Git's history was written anew, or it is not ours: made from an older version, the next one would
        # be mixed with what came since, and have files that its commit does not have.
        if COMMIT not in repository.show(f"{dataset}@{head}").meta:
            raise ConflictError(_not_ours_text(dataset, line.branch))
        base = head
    return _Work(line, dataset, pending, known, base)


def _standings(repository: Repository, lines: Sequence[Line]) -> list[Standing]:
    """Where each line stands. One that is not here yet gets a name that no other line has."""
    there = {info.name for info in repository.datasets()}
    standings = [_standing(repository, line, there) for line in lines]
    homes: dict[str, str] = {}
    for line, standing in zip(lines, standings, strict=True):
        if standing is not None:
            homes.setdefault(standing[0], line.names[0])
    found = []
    for line, standing in zip(lines, standings, strict=True):
        found.append(standing or (_new_home(repository, line, homes), {}, None))
        homes.setdefault(found[-1][0], line.names[0])
    return found


def _standing(repository: Repository, line: Line, there: Collection[str]) -> Standing | None:
    """Where a line stands; None where nothing of it is here."""
    for name in line.names:
        if name not in there:
            continue
        known = _known(repository, line, name)
        done = [step.commit.id for step in line.steps if step.commit.id in known]
        if done:
            return name, known, known[done[-1]]
        if line.fork is not None and line.fork.commit.id in known:
            return name, known, known[line.fork.commit.id]
    return None


def _new_home(repository: Repository, line: Line, homes: Mapping[str, str]) -> str:
    """The dataset for a line of which nothing is here: that of its trunk, else the first that is free.

    An output may have a path that another one had before, which is imported under it.
    """
    own = [name for name in line.names if homes.get(name) == line.names[0]]
    free = [name for name in line.names if name not in homes]
    dataset = (own or free or line.names)[0]
    if line.branch in _branches(repository, dataset):
        raise ConflictError(_not_ours_text(dataset, line.branch))
    return dataset


def _known(repository: Repository, line: Line, dataset: str) -> dict[str, str]:
    """The versions of a dataset that were imported for this line, by commit."""
    steps = {step.commit.id: step for step in line.steps}
    known: dict[str, str] = {}
    branches = _branches(repository, dataset)
    for branch in dict.fromkeys((line.branch, line.trunk)):
        if branch not in branches:
            continue
        for info in repository.log(f"{dataset}@{branch}"):
            commit = info.meta.get(COMMIT, "")
            step = steps.get(commit)
            if any(one is not None and one.is_of(info.meta) for one in (line.fork, step)):
                known.setdefault(commit, info.id)
    return known


def _not_ours_text(dataset: str, branch: str) -> str:
    return (
        f"{dataset} has versions on {branch} that were not imported from these commits of git; "
        "nothing was imported. Name another dataset with --dataset, or another branch with --branch"
    )


def _branches(repository: Repository, dataset: str) -> dict[str, str]:
    """The branches of a dataset that is there, and their heads; none where it is not."""
    if all(info.name != dataset for info in repository.datasets()):
        return {}
    return {ref.name: ref.id for ref in repository.refs(dataset) if ref.kind == "branch"}


def _make(
    repository: Repository, work: _Work, report: Report, tag_names: Mapping[str, str], watcher: Progress
) -> None:
    line, known = work.line, work.known
    base = work.base
    if base is None and line.fork is not None:
        # Made a moment ago, with the versions of `main`.
        base = _known(repository, line, work.dataset).get(line.fork.commit.id)
    for step in work.pending:
        done = _commit(repository, work, step, base, report.dry_run, watcher)
        if done.id is not None:
            base = known[step.commit.id] = done.id
        report.versions.append(done)
        watcher.advance(1)
    for git, commit in sorted(line.tags.items()):
        report.tags.append(_tag(repository, work, git, tag_names[git], known.get(commit), report.dry_run))


def _commit(
    repository: Repository,
    work: _Work,
    step: Step,
    base: str | None,
    dry_run: bool,
    watcher: Progress,
) -> Imported:
    files = [(pointed, place) for pointed, place in step.content() if place is not None]
    size = sum(place.size for _, place in files)
    head = (work.dataset, work.line.branch)
    if dry_run:
        return Imported(*head, None, None, step.commit.id, step.source, len(files), size, created=True)
    result = _record(repository, work.dataset, work.line.branch, step, files, base, watcher)
    _check_alone(result, base, f"{work.dataset}@{work.line.branch}", step.commit.id)
    return Imported(
        *head,
        result.version,
        result.id or None,
        step.commit.id,
        step.source,
        len(files),
        size,
        result.created,
    )


@observed("commit")
def _record(
    repository: Repository,
    dataset: str,
    branch: str,
    step: Step,
    files: Sequence[tuple[Pointed, Place]],
    base: str | None,
    watcher: Progress,
) -> CommitResult:
    """Make the version of a step, and tell whoever listens, as of any commit."""
    session = repository.session
    label = make_label(
        session, step.commit.message, step.commit.author or None, step.commit.time,
        {COMMIT: step.commit.id, **step.meta}, provenance=_provenance(step.sources),
    )  # fmt: skip
    key = f"import {session.repository} {dataset}@{branch}".encode()
    source = PointedSource(f"{step.source} of {step.commit.id[:12]}", key, files)
    options = CommitOptions(branch, base=None if base is None else f"{dataset}@{base}")
    committer = Committer(session, dataset, source, options, label)
    return told(repository, committer.result(committer.commit(_Inner(watcher))))


def _check_alone(result: CommitResult, base: str | None, branch: str, commit: str) -> None:
    """`ConflictError` where others committed meanwhile, so that the version is not what the commit has."""
    text = f"{branch} was changed while commit {commit[:12]} was imported"
    if not result.created and base not in (None, result.id):
        raise ConflictError(f"{text}, perhaps by another import; repeat it when that has ended")
    if result.created and result.rebased_onto is not None:
        raise ConflictError(
            f"{text}: {result.version or result.id} has that change too; take another dataset or branch"
        )


def _provenance(sources: tuple[Source, ...]) -> Provenance | None:
    if not sources:
        return None
    from dataver.format.provenance import Provenance

    return Provenance(sources)


def _tag(repository: Repository, work: _Work, git: str, name: str, id: str | None, dry_run: bool) -> Tagged:
    """Name the version of a commit as git's tag does."""
    note = "" if name == git else f"no tag can be called {safe_spelling(git)}"
    if dry_run:
        return Tagged(work.dataset, name, git, id, note)
    if id is None:
        return Tagged(work.dataset, None, git, None, "the version that it names was left out")
    try:
        repository.tag(f"{work.dataset}@{id}", name)
    except AlreadyExistsError as error:
        return Tagged(work.dataset, None, git, id, str(error))
    return Tagged(work.dataset, name, git, id, note)


class _Inner:
    """Progress of one commit as a part of the whole: only the bytes count."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """The outer work goes on."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:  # noqa: ARG002
        """So many bytes more."""
        self._outer.advance(0, size_bytes)

    def end(self) -> None:
        """The outer work goes on."""


def _missing_text(report: Report) -> str:
    missing = report.missing
    first = "; ".join(
        f"{one.path} ({one.digest}) of {one.dataset} in commit {one.commit[:12]}"
        for one in missing[:MISSING_SHOWN]
    )
    more = f"; and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
    unopened = "".join(f" ({reason})" for reason in report.unopened.values())
    return (
        f"the bytes of {first}{more} are nowhere that was looked{unopened}; nothing was imported. Fetch them "
        "with the tool that has them, or import the versions that can be had with --skip-missing"
    )
