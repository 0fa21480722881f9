"""What an entry may rely on: no pack and no segment that is being deleted.

A pack or segment that is only marked is spared by the very entry that relies on it. What collects it
names it in an entry of its own before anything is deleted, and that entry is refused where the
objects are not marked any more; of the two entries one is first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from dataver.digest import Digest
from dataver.errors import ConflictError, DamagedError, RefNotFoundError
from dataver.format.operations import SPARE, GcRestore, Operation, VersionMark
from dataver.keys import pack_key
from dataver.log.state import PACK_NAME, State, VersionState
from dataver.session import Session

__all__ = ["refuse_dropped", "spare", "spare_all", "spare_versions", "unless_collected"]


def spare(state: State, names: Iterable[bytes]) -> list[Operation]:
    """The operation that spares those of these packs and segments that are marked.

    `ConflictError` where one is being deleted: what was in it must be stored again.
    """
    relied = set(names)
    if not relied:
        return []
    if relied & state.swept().keys():
        raise ConflictError(
            "what was stored for this was collected meanwhile; nothing was recorded, repeat it"
        )
    marks = state.marks()
    found = sorted(Digest(name) for name in relied & marks.keys())
    if not found:
        return []
    packs = tuple(name for name in found if marks[name][1] == PACK_NAME)
    return [GcRestore(packs, tuple(name for name in found if marks[name][1] != PACK_NAME))]


def refuse_dropped(session: Session, state: State, packs: Iterable[bytes]) -> None:
    """`ConflictError` where something was found in a pack that is marked and that no segment names any more.

    A repair has marked it as damaged: what was found in it may be lost, and must be stored again.
    """
    left = set(packs) & state.marks().keys()
    index = session.index(state)
    for segment in state.segments() if left else ():
        with suppress(DamagedError):
            left.difference_update(index.segment(segment.name).packs())
    if left:
        raise ConflictError(
            f"{pack_key(min(left))}, in which a part of this was found, turned out to be damaged meanwhile; "
            "nothing was recorded, repeat it"
        )


@contextmanager
def unless_collected(
    session: Session, dataset: str, versions: Callable[[], Iterable[VersionState]]
) -> Iterator[None]:
    """Damage that is met within is a `ConflictError` where one of these versions was let go meanwhile."""
    try:
        yield
    except DamagedError as error:
        state = session.newest()
        id = state.dataset(dataset)
        if id is not None and all(state.version(id, version.id) is not None for version in versions()):
            raise
        raise ConflictError(
            f"a version of {dataset} that this is made from was let go and collected meanwhile; nothing was "
            "recorded"
        ) from error


def spare_versions(state: State, dataset: bytes) -> list[Operation]:
    """The operations after which the condemned versions of a dataset may be named again.

    All that is marked is spared: which of it they need is not known. `RefNotFoundError` where names of
    the dataset lead to versions that were collected.
    """
    condemned = tuple(sorted(version for version, _ in state.condemned(dataset)))
    for ref in state.refs(dataset):
        there = ref.target in condemned or state.version(dataset, ref.target) is not None
        if not ref.deleted and not there:
            raise RefNotFoundError(
                f"version {ref.target}, which {ref.name} names, was collected; nothing was changed"
            )
    if not condemned:
        return []
    return [*spare_all(state), VersionMark(dataset, SPARE, condemned)]


def spare_all(state: State) -> list[Operation]:
    """The operation that spares every pack and segment that is marked."""
    return spare(state, state.marks())
