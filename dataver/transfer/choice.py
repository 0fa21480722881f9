"""What a push or pull was asked to copy: datasets, or single versions with the names they were asked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from dataver.digest import Digest
from dataver.errors import BadInputError, DamagedError
from dataver.format.operations import BRANCH
from dataver.log.state import KIND_NAMES, RefState
from dataver.refs import (
    LATEST,
    MAIN,
    check_dataset_name,
    check_ref_name,
    live_ref,
    parse_ref,
    require_dataset,
)
from dataver.transfer.side import Side
from dataver.values import dataclass


@dataclass(slots=True)
class Choice:
    """What is wanted of one dataset of the source.

    `refs` are the names to set in the receiver, `named` those that the user spelled out. `heads` are
    the versions to copy, each with how many back from it (None: all). `alone` are versions
    without a name, by the text that asked for them, `numbered` others that names may lead to or not.
    """

    name: str
    dataset: bytes
    whole: bool = False
    refs: dict[str, RefState] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    heads: dict[Digest, int | None] = field(default_factory=dict)
    alone: dict[str, Digest] = field(default_factory=dict)
    numbered: dict[str, Digest] = field(default_factory=dict)

    def add_head(self, version: Digest, depth: int | None) -> None:
        """Want a version and those behind it; of two wishes the deeper one counts."""
        known = self.heads.get(version, depth)
        self.heads[version] = None if known is None or depth is None else max(known, depth)


def choose(source: Side, wanted: Sequence[str], depth: int | None) -> list[Choice]:
    """The choices that `wanted` stands for, one a dataset; all datasets where it is empty.

    A dataset means all its names. A ref means that one version, and the name where it is one.
    `depth` is how many versions back are copied: of a dataset all, of a ref one, where it is None.
    With it, of a dataset the branches alone begin: other names come where their version does.
    """
    if depth is not None and depth < 1:
        raise BadInputError(f"a depth of {depth} has no version in it; 1 is the least")
    found: dict[bytes, Choice] = {}
    for text in wanted or _datasets(source):
        ref = parse_ref(text)
        dataset = require_dataset(source.state, ref.dataset)
        choice = found.setdefault(dataset, Choice(ref.dataset, dataset))
        if "@" in text:
            _choose_ref(source, choice, text, depth or 1)
        else:
            _choose_all(source, choice, depth)
    return list(found.values())


def _datasets(source: Side) -> list[str]:
    """The names of all datasets. Nobody vouches for a repository: what no writer makes goes no further."""
    names = [name for name, _ in source.state.datasets()]
    for name in names:
        try:
            check_dataset_name(name)
        except BadInputError as error:
            raise DamagedError(f"{source.url} is damaged: {error}; run `dataver verify` there") from error
    return names


def _choose_all(source: Side, choice: Choice, depth: int | None) -> None:
    choice.whole = True
    for ref in source.state.refs(choice.dataset):
        if not ref.deleted:
            choice.refs[ref.name] = _checked(ref, source)
            if depth is None or ref.kind == BRANCH:
                choice.add_head(ref.target, depth)
    if MAIN not in choice.refs:
        # Versions that came by their numbers alone have no other name.
        for number, version in source.state.numbers(choice.dataset):
            choice.add_head(version, 1)
            choice.alone[f"{choice.name}@v{number}"] = version
    elif depth is None and any(True for _ in source.state.absent(choice.dataset)):
        # From those before the ones that were pruned no name may lead back.
        for number, version in source.state.numbers(choice.dataset):
            choice.add_head(version, None)
            choice.numbered[f"{choice.name}@v{number}"] = version


def _checked(ref: RefState, source: Side) -> RefState:
    """A ref whose name and kind a writer could have made."""
    try:
        check_ref_name(ref.name)
    except BadInputError as error:
        raise DamagedError(f"{source.url} is damaged: {error}; run `dataver verify` there") from error
    if ref.kind not in KIND_NAMES:
        raise DamagedError(
            f"{source.url} is damaged: {ref.name} is no kind of name; run `dataver verify` there"
        )
    return ref


def _choose_ref(source: Side, choice: Choice, text: str, depth: int) -> None:
    ref = parse_ref(text)
    version = source.session.resolve_ref(ref, source.state).version
    choice.add_head(version.id, depth)
    name = None
    if not ref.back:
        name = live_ref(source.state, choice.dataset, MAIN if ref.selector == LATEST else ref.selector)
    if name is None:
        selector = f"v{version.number}" if version.number else str(version.id)
        choice.alone[f"{choice.name}@{selector}"] = version.id
    else:
        choice.refs[name.name] = _checked(name, source)
        choice.named.add(name.name)
