"""The operations of a transfer's log entry, and the words for branches that diverged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dataver.digest import Digest
from dataver.format.operations import (
    ALIAS,
    BRANCH,
    TAG,
    AliasSet,
    BranchSet,
    DatasetCreate,
    Operation,
    Shallow,
    Sign,
    TagCreate,
    VersionAdd,
    VersionNumber,
)
from dataver.log.state import State
from dataver.refs import MAIN
from dataver.transfer.copying import Counts
from dataver.transfer.plan import Diverged, Move, Plan
from dataver.transfer.rebase import Rebased


def dataset_operations(
    made: Plan, rebased: Mapping[Diverged, Rebased], state: State, counts: Mapping[Digest, Counts]
) -> list[Operation]:
    """What the entry does to one dataset: versions first, names last. Empty where there is nothing to do."""
    dataset = made.dataset
    operations: list[Operation] = []
    for version in made.versions:
        if state.version(dataset, version.id) is None:
            cost = counts.get(version.id) or Counts()
            operations.append(
                VersionAdd(
                    dataset, version.id, version.manifest, version.files, version.size_bytes,
                    cost.new_bytes, cost.stored_bytes, version.run,
                )
            )  # fmt: skip
    operations += _numbering(dataset, made.numbers)
    if made.absent or made.present:
        operations.append(Shallow(dataset, made.absent, made.present))
    operations += [Sign(one.subject, one.signer, one.envelope) for one in made.signatures]
    operations += [_moving(dataset, move) for move in made.moves]
    for diverged, done in rebased.items():
        operations += _rebasing(made, diverged, done, state)
    if made.create and operations:
        operations.insert(0, DatasetCreate(dataset, made.name))
    return operations


def _numbering(dataset: bytes, numbers: Sequence[tuple[int, Digest]]) -> list[Operation]:
    """One operation for each run of numbers that follow each other."""
    runs: list[tuple[int, list[Digest]]] = []
    for number, version in numbers:
        if runs and runs[-1][0] + len(runs[-1][1]) == number:
            runs[-1][1].append(version)
        else:
            runs.append((number, [version]))
    return [VersionNumber(dataset, first, tuple(versions)) for first, versions in runs]


def _moving(dataset: bytes, move: Move) -> Operation:
    ref = move.ref
    if ref.kind == TAG:
        return TagCreate(dataset, ref.name, ref.target)
    if ref.kind == ALIAS:
        return AliasSet(dataset, ref.name, move.expected, ref.target)
    assert ref.kind == BRANCH
    return BranchSet(dataset, ref.name, move.expected, ref.target)


def _rebasing(made: Plan, diverged: Diverged, done: Rebased, state: State) -> list[Operation]:
    """The versions that were put on top, and the branch's move; on `main` they get the next free numbers."""
    dataset = made.dataset
    operations: list[Operation] = []
    for version in done.versions:
        root = version.root
        if state.version(dataset, version.id) is None:
            manifest = Digest(root.digest)
            operations.append(
                VersionAdd(dataset, version.id, manifest, root.rows, root.size_bytes, 0, 0, version.run)
            )
    first, numbered = 0, tuple[Digest, ...]()
    if diverged.branch == MAIN:
        numbered = tuple(v.id for v in done.versions if not _number(state, dataset, v.id))
        lines = (_number(state, dataset, diverged.here), _number(state, dataset, diverged.there))
        after = max(*lines, *(number for number, _ in made.numbers))
        first = _free(state, dataset, after, len(numbered)) if numbered else 0
    move = BranchSet(dataset, diverged.branch, diverged.here, done.head, first, numbered)
    return [*operations, move]


def _number(state: State, dataset: bytes, version: Digest) -> int:
    found = state.version(dataset, version)
    return 0 if found is None else found.number


def _free(state: State, dataset: bytes, after: int, count: int) -> int:
    """The first of so many numbers in a row that were never given, all above `after`."""
    first = state.next_number(dataset, after)
    while any(state.numbered(dataset, first + offset) is not None for offset in range(count)):
        first += 1
    return first


def diverged_message(
    diverged: Iterable[tuple[str, Diverged]], url: str, outcome: str, *, pulling: bool
) -> str:
    """What diverged, and the commands that bring the lines together."""
    named = list(diverged)
    heads = "; ".join(
        f"{name}@{one.branch} is at {one.here} {'here' if pulling else 'there'} and at {one.there} "
        f"{'there' if pulling else 'here'}"
        for name, one in named
    )
    name, first = named[0]
    other = first.there if pulling else first.here
    branch = "" if first.branch == MAIN else f" --branch {first.branch}"
    merge = f"`dataver merge {name}@{other}{branch}`"
    again = f"`dataver pull {name} --from {url} --rebase`"
    if pulling:
        way = f"{merge} brings both together, {again} puts the versions of here on top"
    else:
        way = f"`dataver pull {name} --from {url}` and then {merge}, or {again}; then push again"
    return f"both {url} and this repository have versions that the other has not: {heads}; {outcome}. {way}"
