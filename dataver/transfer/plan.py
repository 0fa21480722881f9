"""What a transfer does to one dataset of the receiver: which versions come, which names move."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field

from dataver.digest import Digest
from dataver.errors import AlreadyExistsError, ConflictError, DamagedError, NewerFormatError
from dataver.format.envelope import VersionStatement, decode_envelope
from dataver.format.operations import ALIAS, BRANCH, TAG
from dataver.log.state import KIND_NAMES, RefState, SignatureState, State, VersionState
from dataver.refs import live_ref
from dataver.results import RefKept, RefMove
from dataver.transfer.ancestry import Ancestry, Relation
from dataver.transfer.choice import Choice
from dataver.transfer.side import Side
from dataver.values import NamedTuple, dataclass


class Diverged(NamedTuple):
    """A branch whose heads in the two repositories do not descend from each other."""

    branch: str
    here: Digest
    there: Digest


class Move(NamedTuple):
    """A name to set; `expected` is where it is in the receiver, None where it is not there."""

    ref: RefState
    expected: Digest | None


@dataclass(slots=True)
class Plan:
    """For one dataset, called `name` in the receiver. Versions stand parents first.

    `signatures` are of versions that the receiver has or gets.
    """

    name: str
    dataset: bytes
    create: bool
    ancestry: Ancestry
    versions: list[VersionState] = field(default_factory=list)
    absent: tuple[Digest, ...] = ()
    present: tuple[Digest, ...] = ()
    numbers: list[tuple[int, Digest]] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    alone: list[RefMove] = field(default_factory=list)
    kept: list[RefKept] = field(default_factory=list)
    diverged: list[Diverged] = field(default_factory=list)
    signatures: list[SignatureState] = field(default_factory=list)


def plan(choice: Choice, source: Side, target: Side, depth: int | None) -> Plan:
    """What there is to do as the two sides are now. Names that cannot be are errors."""
    name, create = _match(choice, source, target)
    ancestry = Ancestry(choice.dataset, source, target)
    made = Plan(name, choice.dataset, create, ancestry)
    heads = dict(choice.heads)
    for ref in choice.refs.values() if depth is None else ():
        if ref.kind == BRANCH and live_ref(target.state, choice.dataset, ref.name) is not None:
            heads[ref.target] = None  # A branch that is there goes on without a gap.
    wanted = ancestry.wanted(heads, fill=choice.whole and depth is None)
    made.versions = [ancestry.source_version(version) for version in wanted.versions]
    coming = set(wanted.versions)
    state = target.state
    made.absent = tuple(v for v in wanted.absent if not state.is_absent(choice.dataset, v))
    made.present = tuple(v for v in wanted.versions if state.is_absent(choice.dataset, v))
    for ref in choice.refs.values():
        if ref.target in coming or ancestry.is_whole(ref.target):
            _plan_ref(made, ref, state, named=ref.name in choice.named)
    _plan_numbers(made, source, target)
    _plan_signatures(made, coming, source, target)
    made.alone = _alone(choice, ancestry, coming)
    return made


def _alone(choice: Choice, ancestry: Ancestry, coming: Collection[Digest]) -> list[RefMove]:
    """The versions that come without a name of their own, or one that leads to them."""
    alone = {text: id for text, id in choice.alone.items() if id in coming}
    numbered = {text: id for text, id in choice.numbered.items() if id in coming}
    if numbered:
        led_to = ancestry.ancestors(ref.target for ref in choice.refs.values())
        alone |= {text: id for text, id in numbered.items() if id not in led_to}
    return [RefMove(text, None, str(id)) for text, id in alone.items()]


def _match(choice: Choice, source: Side, target: Side) -> tuple[str, bool]:
    """The dataset's name in the receiver, and whether it must be made there. Its id is what counts."""
    state, name = target.state, choice.name
    if state.dataset(name) == choice.dataset:
        return name, False
    for other, dataset in state.datasets():
        if dataset == choice.dataset:
            return other, False
    for dataset, other in state.deleted_datasets():
        if dataset == choice.dataset:
            raise ConflictError(
                f"dataset {name} was deleted in {target.url}, where it was called {other}; nothing was "
                f"copied. `dataver --repo {target.url} delete {other} --undo` brings it back"
            )
    if state.dataset(name) is not None:
        raise ConflictError(
            f"{source.url} and {target.url} both have a dataset {name}, and they were made apart from each "
            f"other; nothing was copied. Give one of them another name: `dataver rename {name} NEWNAME`"
        )
    return name, True


def _plan_ref(made: Plan, ref: RefState, state: State, *, named: bool) -> None:
    there, full = state.ref(made.dataset, ref.name), f"{made.name}@{ref.name}"
    if there is not None and there.deleted:
        if there.kind == TAG and (ref.kind != TAG or there.target != ref.target):
            if named:
                raise AlreadyExistsError(
                    f"{full} was a tag at {there.target}, and its name may only come back there; nothing "
                    "was copied"
                )
            made.kept.append(RefKept(full, None, str(ref.target)))
            return
        there = None
    if there is None:
        made.moves.append(Move(ref, None))
    elif there.kind != ref.kind:
        raise AlreadyExistsError(
            f"{full} is a {KIND_NAMES[there.kind]} where it is copied to, and another kind of name, "
            f"{KIND_NAMES[ref.kind]}, in the other repository; nothing was copied. Delete one of them"
        )
    elif there.target == ref.target:
        return
    elif ref.kind == TAG:
        raise AlreadyExistsError(
            f"tag {full} is at {there.target} in the repository that is copied to and at {ref.target} in the "
            "other one, and tags never move; nothing was copied. Delete one of them"
        )
    elif ref.kind == ALIAS:
        if named:
            made.moves.append(Move(ref, there.target))
        else:
            made.kept.append(RefKept(full, str(there.target), str(ref.target)))
    else:
        _plan_branch(made, ref, there)


def _plan_branch(made: Plan, ref: RefState, there: RefState) -> None:
    assert ref.kind == BRANCH
    relation = made.ancestry.relation(there.target, ref.target)
    if relation is Relation.FORWARD:
        made.moves.append(Move(ref, there.target))
    elif relation is Relation.DIVERGED:
        made.diverged.append(Diverged(ref.name, there.target, ref.target))


def _plan_signatures(made: Plan, coming: Collection[Digest], source: Side, target: Side) -> None:
    """Signatures of versions that the receiver has or gets, save those that it has from the same key.

    One that was made for another name of the dataset gives way to one for the name it has there.
    """
    for one in source.state.signatures():
        version = source.state.version(made.dataset, one.subject)
        there = target.state.version(made.dataset, one.subject) or (
            version if one.subject in coming else None
        )
        if version is None or there is None:
            continue
        fits = _fits(one.envelope, made.name, there)
        known = target.state.signature(one.subject, one.signer)
        if fits is not None and (known is None or (fits and not _fits(known, made.name, there))):
            made.signatures.append(one)


def _fits(envelope: bytes, name: str, version: VersionState) -> bool | None:
    """Whether an envelope says what it must of a version; None for one that no writer makes.

    Nobody vouches for a repository, and what is malformed goes no further.
    """
    try:
        statement = decode_envelope(envelope, "it").statement
    except (DamagedError, NewerFormatError):
        return None
    return isinstance(statement, VersionStatement) and (statement.dataset, statement.manifest) == (
        name,
        str(version.manifest),
    )


def _plan_numbers(made: Plan, source: Side, target: Side) -> None:
    """Numbers come along as they were given, save where the receiver gave the same to another version.

    Also where it gave it to this one, which it has forgotten since: added again, it would have none.
    """
    for version in made.versions:
        number = version.number
        if not number or source.state.numbered(made.dataset, number) != version.id:
            continue
        given = target.state.numbered(made.dataset, number)
        if given in (None, version.id):
            made.numbers.append((number, version.id))
        else:
            made.kept.append(RefKept(f"{made.name}@v{number}", str(given), str(version.id)))
    made.numbers.sort()
