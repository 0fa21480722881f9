"""What an entry may rely on: what is marked is spared, what is being deleted is not to be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import ConflictError
from dataver.format.operations import GcMark, GcRestore, GcSweep, Operation
from dataver.hashing import blake3_digest
from dataver.log.state import State
from dataver.relying import refuse_dropped, spare, spare_all
from dataver.repository import Repository
from tests.repositories import memory_repository

PACK, SEGMENT, OTHER = sorted(blake3_digest(name) for name in (b"pack", b"segment", b"other"))


@pytest.fixture
def repository() -> Repository:
    return memory_repository()


def after(repository: Repository, *operations: Operation) -> State:
    """The state after an entry with these."""
    return repository.session.log.append(lambda _: operations, repository.session.who(None))


def test_what_is_marked_is_spared_by_its_kind(repository: Repository) -> None:
    state = after(repository, GcMark((PACK, OTHER), (SEGMENT,)))
    assert spare(state, [SEGMENT, PACK]) == [GcRestore((PACK,), (SEGMENT,))]
    assert spare(state, [PACK, blake3_digest(b"not marked")]) == [GcRestore((PACK,), ())]
    assert spare(state, [SEGMENT]) == [GcRestore((), (SEGMENT,))]
    assert spare(state, [blake3_digest(b"not marked")]) == []
    assert spare(state, []) == []
    assert spare_all(state) == [GcRestore(tuple(sorted((PACK, OTHER))), (SEGMENT,))]
    assert spare_all(after(repository, *spare_all(state))) == []


def test_what_is_being_deleted_is_relied_on_by_nobody(repository: Repository) -> None:
    state = after(repository, GcMark((PACK, OTHER), (SEGMENT,)))
    state = after(repository, GcSweep((PACK,), (SEGMENT,)))
    for names in ([PACK], [SEGMENT], [OTHER, PACK]):
        with pytest.raises(ConflictError, match="collected meanwhile"):
            spare(state, names)
    assert spare(state, [OTHER]) == [GcRestore((OTHER,), ())]


def test_what_a_repair_dropped_is_relied_on_by_nobody(repository: Repository, tmp_path: Path) -> None:
    """It is marked, and no segment names it any more; what is only marked may be spared."""
    (tmp_path / "file").write_bytes(b"1")
    repository.commit("d", tmp_path / "file")
    session = repository.session
    index = session.index(session.newest())
    segments = [index.segment(segment.name) for segment in session.newest().segments()]
    named = [Digest(name) for segment in segments for name in segment.packs()]
    assert named
    state = after(repository, GcMark((*named, PACK)))
    refuse_dropped(session, state, [*named, OTHER])
    refuse_dropped(session, state, [])
    for packs in ([PACK], [*named, PACK]):
        with pytest.raises(ConflictError, match=PACK.hex()):
            refuse_dropped(session, state, packs)
