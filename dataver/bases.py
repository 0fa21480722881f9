"""What a source was checked out from or committed as, in the repository as it is now."""

from __future__ import annotations

from collections.abc import Iterable

from dataver.errors import ConflictError
from dataver.log.state import State
from dataver.publish import Basis
from dataver.refs import is_absent
from dataver.worktree import Base, announced_base, base, unfinished_base


def remembered_basis(state: State, name: str, dataset: bytes, line: tuple[bytes, str, str]) -> Basis | None:
    """What is remembered of a source under `line`; None where that is nothing, or not there.

    `ConflictError` where it was pruned: measured against the head, the source would undo what others did;
    and where a checkout into it did not end: what it did not come to would count as deleted.
    """
    begun = unfinished_base(*line)
    if begun is not None:
        raise ConflictError(
            f"a checkout of {name}@{begun.version} into the source did not come to its end, so what is "
            "missing there was not deleted. Nothing was committed; repeat the checkout, or say by --base REF "
            "that all is your change that REF has otherwise"
        )
    for remembered in (announced_base(*line), base(*line)):
        if remembered is None:
            continue
        basis = _basis(state, dataset, remembered)
        if basis is not None:
            return basis
        gone = [id for id in _versions(remembered) if is_absent(state, dataset, id)]
        if gone:
            raise ConflictError(
                f"the source was made from version {gone[0].hex()} of {name}, which is not here any more: it "
                "was pruned, or left out when the history was copied, and what the source changed since "
                f"cannot be told. Nothing was committed; check out {name} into another folder, bring your "
                "change there, and commit that, or say by --base REF that all is your change that REF has "
                "otherwise"
            )
    return None


def as_remembered(basis: Basis) -> Base:
    """The basis as it is remembered for a source."""
    own = tuple([(str(old.id), str(new.id)) for old, new in basis.own])
    return Base(None if basis.id is None else str(basis.id), own)


def _versions(known: Base) -> list[bytes]:
    texts: Iterable[str | None] = (known.version, *(id for pair in known.own for id in pair))
    return [bytes.fromhex(text) for text in texts if text is not None]


def _basis(state: State, dataset: bytes, known: Base) -> Basis | None:
    """A remembered base in this state; None where one of its versions is not there."""
    versions = {id: state.version(dataset, id) for id in _versions(known)}
    if None in versions.values():
        return None
    at = {id.hex(): version for id, version in versions.items() if version is not None}
    own = tuple([(at[old], at[new]) for old, new in known.own])
    return Basis(None if known.version is None else at[known.version], own)
