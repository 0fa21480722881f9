"""The state of one entry the way readers get it, with what keeps them from it noted."""

from __future__ import annotations

from dataver.errors import DamagedError, NewerFormatError, ObjectMissingError
from dataver.format.entry import Entry
from dataver.format.operations import Genesis
from dataver.keys import entry_key, pack_key
from dataver.log.apply import Applier
from dataver.log.nodes import StateNodes, place_pack, root_link
from dataver.log.state import State
from dataver.store.base import Store
from dataver.tree.schema import Link, Node
from dataver.verify.findings import WHOLE_REPOSITORY, Findings, plain
from dataver.verify.history import decode_whole


class _NotingNodes(StateNodes):
    """State nodes whose damage is noted before it is raised."""

    def __init__(self, store: Store, findings: Findings) -> None:
        super().__init__(store)
        self._findings = findings

    def load(self, link: Link) -> Node:
        try:
            return super().load(link)
        except (DamagedError, NewerFormatError) as error:
            self._findings.add(pack_key(place_pack(link)), plain(error), WHOLE_REPOSITORY)
            raise


def as_readers_see(store: Store, number: int, findings: Findings) -> State | None:
    """The state after entry `number`, or None where that or the genesis cannot be read."""
    first = read_entry(store, 0, findings)
    entry = first if not number else read_entry(store, number, findings)
    if first is None or entry is None:
        return None
    if not first.operations or not isinstance(first.operations[0], Genesis):
        findings.add(entry_key(0), "it does not begin a repository", WHOLE_REPOSITORY)
        return None
    if first.repository != entry.repository:
        findings.add(entry_key(number), "it is of another repository than entry 0", WHOLE_REPOSITORY)
        return None
    link = None if entry.base is None else root_link(entry.base)
    state = State(number, first.operations[0], _NotingNodes(store, findings), link, {})
    for step in entry.steps:
        Applier(state, step.number, checked=False).apply(step.operations)
    return state


def read_entry(store: Store, number: int, findings: Findings) -> Entry | None:
    """An entry, or None where it is damaged, which is noted."""
    findings.looked_at()
    try:
        data = store.get(entry_key(number))
    except ObjectMissingError:
        findings.add(entry_key(number), "it is missing", WHOLE_REPOSITORY)
        return None
    return decode_whole(number, data, findings)
