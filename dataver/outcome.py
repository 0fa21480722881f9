"""What commits, merges and reverts are told, and what they answer with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, ConflictError, DamagedError
from dataver.log.state import VersionState
from dataver.noting import note_made
from dataver.publish import Label, Published
from dataver.refs import MAIN, live_ref, parse_ref, require_dataset, require_version
from dataver.results import ChangeCounts, CommitResult
from dataver.session import Session

if TYPE_CHECKING:
    from dataver.format.provenance import Provenance
    from dataver.moments import Time


def make_label(
    session: Session,
    message: str,
    author: str | None,
    time: Time | None,
    meta: Mapping[str, str] | None,
    tags: Sequence[str] = (),
    allow_empty: bool = False,
    provenance: Provenance | None = None,
) -> Label:
    """What a new version is to say of itself."""
    if isinstance(tags, str):
        raise BadInputError(f"the tags are {tags!r}, one text; pass a list, as in [{tags!r}]")
    pairs = tuple(sorted((meta or {}).items(), key=str))
    time_us = None
    if time is not None:
        from dataver.moments import microseconds

        time_us = microseconds(time)
    return Label(message, session.who(author), time_us, pairs, tuple(tags), allow_empty, provenance)


def outcome(
    session: Session,
    dataset: str,
    branch: str,
    done: Published,
    new_bytes: int = 0,
    stored_bytes: int = 0,
    counts: ChangeCounts | None = None,
) -> CommitResult:
    """The version that was published on a branch, or the head that stays.

    `counts` are its changes against its parent; without them the two are compared.
    """
    version, record = done.version, done.record
    if version is None or record is None:
        return CommitResult(dataset, None, "", [], "", 0, 0, 0, 0, ChangeCounts(), False)
    note_made(session, dataset, version, record, created=done.created)
    changed = ChangeCounts()
    if done.created:
        changed = counts or _changes(session, dataset, done.parent, version)
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


def _changes(
    session: Session, dataset: str, parent: VersionState | None, version: VersionState
) -> ChangeCounts:
    """What a version that was recorded changed; nothing where somebody let it go and collected it since."""
    from dataver.history import compare

    try:
        return compare(session, session.log.state(), parent, version).counts
    except DamagedError:
        state = session.newest()
        id = state.dataset(dataset)
        compared = [one for one in (parent, version) if one is not None]
        if id is not None and all(state.version(id, one.id) is not None for one in compared):
            raise
        return ChangeCounts()


def told(repository: Any, result: CommitResult) -> CommitResult:
    """The result, after whoever listens was told of it and the repository, if it is a new version."""
    if result.created:
        from dataver import events

        if events.heard():
            events.emit("version_committed", repository, result)
    return result


def unchanged(session: Session, dataset: str, branch: str) -> CommitResult:
    """The head of a branch that has everything already."""
    state = session.state()
    dataset_id = require_dataset(state, dataset)
    ref = live_ref(state, dataset_id, branch)
    if ref is None:
        raise ConflictError(f"{dataset} has no branch {branch!r} any more; nothing was merged")
    head = require_version(state, dataset_id, ref.target)
    record = session.record(head.id, state)
    return CommitResult(
        dataset, f"v{head.number}" if head.number and branch == MAIN else None, str(head.id),
        [str(parent) for parent in record.parents], str(record.tree), head.files, head.size_bytes,
        0, 0, ChangeCounts(), False,
    )  # fmt: skip


def merged(
    session: Session, ref: str, branch: str, message: str, author: str | None, time: Time | None
) -> CommitResult:
    """Bring what `ref` changed onto a branch, see `Repository.merge`."""
    from dataver.history import merge

    theirs = session.resolve_ref(parse_ref(ref), session.newest())
    label = make_label(session, message or f"merge {theirs.canonical}", author, time, None)
    done = merge(session, theirs, branch, label)
    if done is None:
        return unchanged(session, theirs.name, branch)
    return outcome(session, theirs.name, branch, done)


def reverted(
    session: Session, ref: str, branch: str, message: str, author: str | None, time: Time | None
) -> CommitResult:
    """Put the files of `ref` on a branch as a new version, see `Repository.revert`."""
    from dataver.history import revert

    target = session.resolve_ref(parse_ref(ref), session.newest())
    label = make_label(session, message or f"revert to {target.canonical}", author, time, None)
    return outcome(session, target.name, branch, revert(session, target, branch, label))
