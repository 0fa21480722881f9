"""What is noted of versions in a run: what was asked for, what it meant, and what was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dataver import recording
from dataver.errors import DataverError, RefNotFoundError
from dataver.format.version import VersionRecord
from dataver.log.state import State, VersionState
from dataver.progress import observed
from dataver.recording import Asked, Reads, Recorder
from dataver.refs import MAIN, Ref, Resolved, is_exact, parse_ref
from dataver.session import Session

if TYPE_CHECKING:
    from dataver.reproduced import Plan

__all__ = ["kept_apart", "note_made", "reads_of", "resolve_in_run"]


@observed("resolve")
def resolve_in_run(
    session: Session, text: str, state: State | None = None, *, require_signed: bool = False
) -> Resolved:
    """What a ref means to a reader; in a run the same for all its processes, whoever looks it up first.

    A commit of the run itself makes names of its dataset be looked up anew.
    """
    recorder = recording.active
    ref = None if recorder is None or session.at is not None else parse_ref(text)
    if recorder is None or ref is None or is_exact(ref):
        return session.resolve(text, state, require_signed=require_signed)
    from dataver.pins import same

    name = str(same(ref))
    id = recorder.pinned(session.repository, name)
    if id is None:
        then = _then(session, recorder)
        try:
            found = session.resolve(text, then or state, require_signed=require_signed)
        except RefNotFoundError:  # It was made since, by the run itself.
            if then is None:
                raise
            found = session.resolve(text, state, require_signed=require_signed)
        id = recorder.pin(session.repository, found.name, name, str(found.version.id))
        if id == str(found.version.id):
            return found
    pinned = str(Ref(ref.dataset, id))
    try:
        return session.resolve(pinned, state, require_signed=require_signed)
    except RefNotFoundError:  # It is newer than the state that was given.
        return session.resolve(pinned, require_signed=require_signed)


def _then(session: Session, recorder: Recorder) -> State | None:
    """The state in which names are looked up by a run that repeats another: that when the other one began."""
    plan = _plan_of(recorder)
    entry = None if plan is None else plan.entries.get(session.repository)
    return None if entry is None else session.log.state_at(entry)


def _plan_of(recorder: Recorder) -> Plan | None:
    """What a run goes by that repeats another one; None for any other."""
    from dataver.reproduced import plan_of

    return plan_of(recorder)


def kept_apart(branch: str, tags: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Where a commit goes, and its tags: a run that repeats another one moves no names that others use."""
    plan = None if recording.active is None else _plan_of(recording.active)
    return (branch, tags) if plan is None else (plan.branch, ())


def reads_of(session: Session, resolved: Resolved, asked: Asked) -> Reads | None:
    """What notes reads of a version in the run that is on; None where none is."""
    recorder = recording.active
    if recorder is None or asked.unnoted:
        return None
    part = None if asked.split is None else repr(sorted(asked.split.items(), key=str))
    key = (session.store.url, resolved.name, resolved.version.id, asked.role, part, asked.declared)
    return recorder.reads(key, lambda: _facts(session, resolved, asked))


def _facts(session: Session, resolved: Resolved, asked: Asked) -> dict[str, Any]:
    version = resolved.version
    try:
        tree = str(session.record(version.id).tree)
    except DataverError:
        tree = ""  # Whoever reads the version is told what is wrong with it.
    return {
        "ref": asked.ref or resolved.canonical,
        "role": asked.role,
        "split": asked.split,
        "declared": asked.declared,
        "dataset": resolved.name,
        "version": str(version.id),
        "tree": tree,
        "repository": session.repository,
        "url": session.store.url,
        "number": version.number,
        "files": version.files,
        "size_bytes": version.size_bytes,
    }


def note_made(
    session: Session, dataset: str, version: VersionState, record: VersionRecord, *, created: bool
) -> None:
    """Note a version that a commit made, or found to be there as it would have made it."""
    recorder = recording.active
    if recorder is not None:
        made = {
            "dataset": dataset,
            "version": str(version.id),
            "tree": str(record.tree),
            "repository": session.repository,
            "number": version.number,
            "created": created,
        }
        recorder.made(made)
        if _plan_of(recorder) is not None:
            # It went to a branch of its own; who commits and reads back expects what was committed.
            recorder.pin(session.repository, dataset, str(Ref(dataset, MAIN)), str(version.id))
