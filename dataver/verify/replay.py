"""The state that the entries of the log add up to, worked out again and compared with its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from dataver.digest import DIGEST_BYTES
from dataver.errors import ConflictError, DamagedError, NewerFormatError
from dataver.format.entry import StateRoot, Step
from dataver.format.node import Row
from dataver.format.operations import Genesis
from dataver.keys import entry_key, pack_key
from dataver.log.apply import Applier
from dataver.log.log import FORMAT
from dataver.log.nodes import StateNodes, place_pack, root_link
from dataver.log.state import State, value_row
from dataver.store.base import Store, View, Wrapper
from dataver.tree.build import build
from dataver.tree.schema import NO_PLACE, STATE, Link, Node
from dataver.tree.update import update
from dataver.tree.walk import position, scan
from dataver.values import NamedTuple
from dataver.verify.findings import WHOLE_REPOSITORY, Findings, plain
from dataver.verify.packs import check_bytes

PACKS_KEPT = 4
NO_GENESIS = Genesis(FORMAT, "", 0, 0, 0)


class ReplayNodes:
    """The nodes of the one tree that is being replayed, in memory; those it outgrows are dropped."""

    schema = STATE

    def __init__(self) -> None:
        self._nodes: dict[bytes, Node] = {}
        self._touched: dict[bytes, Node] = {}

    def load(self, link: Link) -> Node:
        """A node of the tree."""
        node = self._touched[link.digest] = self._nodes[link.digest]
        return node

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Keep a node. It is nowhere, so its digest is not the one of the repository; its identity is."""
        _, link = STATE.encode(level, rows)
        self._nodes[link.digest] = self._touched[link.digest] = Node(level, list(rows))
        return link._replace(place=NO_PLACE)

    def drop_outgrown(self, root: Link) -> None:
        """Forget what was touched since the last call and is not below `root`."""
        touched, self._touched = self._touched, {}
        for digest, node in touched.items():
            if not self._is_below(root, digest, node):
                del self._nodes[digest]

    def _is_below(self, root: Link, digest: bytes, node: Node) -> bool:
        link, here = root, self._nodes[root.digest]
        while here.level > node.level and node.rows:
            at = position(here.rows, node.rows[-1].key)
            if at == len(here.rows):
                return False
            link = STATE.link(here.rows[at])
            here = self._nodes[link.digest]
        return link.digest == digest


class Replay:
    """Applies entries in order and compares with each checkpoint.

    `broken` while the operations of some entry are not to be had; the next checkpoint whose tree
    can be read mends it.
    """

    def __init__(self, findings: Findings, trees: StateTrees) -> None:
        self._findings = findings
        self._trees = trees
        self._nodes = ReplayNodes()
        self.broken = False
        self.state = State(-1, NO_GENESIS, self._nodes, None, {})

    def begin(self, genesis: Genesis) -> None:
        """Say what entry 0 is."""
        self.state.genesis = genesis

    def apply(self, step: Step) -> None:
        """Apply one entry's operations, which must be allowed to follow."""
        state = self.state
        if not self.broken:
            try:
                Applier(state.copy(), step.number, checked=True).apply(step.operations)
            except ConflictError as error:
                reason = f"its operations cannot follow the entries before it: {error}"
                self._findings.add(entry_key(step.number), reason, WHOLE_REPOSITORY)
        Applier(state, step.number, checked=False).apply(step.operations)
        state.number = step.number

    def checkpoint(self, number: int, base: StateRoot | None) -> None:
        """Fold the changes into the tree; compare it with the one that entry `number` names."""
        state = self.state
        rows = {key: None if value is None else value_row(key, value) for key, value in state.changes.items()}
        if state.base is None:
            link = build(self._nodes, [row for _, row in sorted(rows.items()) if row is not None])
        else:
            link = update(self._nodes, state.base, rows)
        self._nodes.drop_outgrown(link)
        readable = base is not None and self._trees.check(base)
        if base is not None and self.broken:
            link = (self._read_again(base) if readable else None) or link
        elif (
            base is not None and not self.broken and (link.identity, link.rows) != (base.identity, base.rows)
        ):
            reason = "the state it names is not what the entries before it add up to"
            self._findings.add(entry_key(number), reason, WHOLE_REPOSITORY)
        self.state = State(state.number, state.genesis, self._nodes, link, {})

    def _read_again(self, base: StateRoot) -> Link | None:
        """Go on from the tree that is stored, if all of it can be read."""
        nodes = ReplayNodes()
        try:
            link = build(nodes, scan(StateNodes(self._trees.store), root_link(base)))
        except (DamagedError, NewerFormatError):
            return None
        nodes.drop_outgrown(link)
        self._nodes, self.broken = nodes, False
        return link


class _Expected(NamedTuple):
    """A node as its parent names it: after the key `before`, up to `last_key`. A root has no level."""

    link: Link
    level: int | None
    before: bytes
    last_key: bytes

    def fits(self, node: Node) -> bool:
        _, found = STATE.encode(node.level, node.rows)
        if (found.identity, found.rows) != (self.link.identity, self.link.rows):
            return False
        if self.level is None:
            return True
        return (
            bool(node.rows)
            and (node.level, found.size_bytes) == (self.level, self.link.size_bytes)
            and self.before < node.rows[0].key
            and node.rows[-1].key == self.last_key
        )


class StateTrees:
    """The state trees of checkpoints, each distinct node read once, each of their packs whole."""

    def __init__(self, store: Store, findings: Findings) -> None:
        self.store = store
        self._findings = findings
        self._packs = _WholePacks(store, findings)
        self._seen: dict[bytes, bool] = {}

    def check(self, base: StateRoot) -> bool:
        """Read the tree as far as it was not read before; whether all that was read now is right."""
        nodes = StateNodes(self._packs)
        right = True
        waiting = [_Expected(root_link(base), None, b"", b"")]
        while waiting:
            expected = waiting.pop()
            place = expected.link.place
            known = self._seen.get(place)
            if known is not None:
                right = right and known
                continue
            node = self._load(nodes, expected)
            self._seen[place] = node is not None
            if node is None:
                right = False
            elif node.level:
                befores = [expected.before, *(row.key for row in node.rows)]
                for row, before in zip(node.rows, befores, strict=False):
                    waiting.append(_Expected(STATE.link(row), node.level - 1, before, row.key))
        return right

    def _load(self, nodes: StateNodes, expected: _Expected) -> Node | None:
        link = expected.link
        key = pack_key(place_pack(link))
        try:
            node = nodes.load(link)
        except (DamagedError, NewerFormatError) as error:
            self._findings.add(key, plain(error))
            return None
        if not expected.fits(node):
            self._findings.add(key, "a state node in it is not the one that is expected there")
            return None
        return node

    def harm_readers(self, base: StateRoot) -> None:
        """Charge the packs that keep the newest state from being read with harming everything."""
        nodes = StateNodes(self.store)
        waiting = [root_link(base)]
        while waiting:
            link = waiting.pop()
            try:
                node = nodes.load(link)
            except (DamagedError, NewerFormatError) as error:
                self._findings.add(pack_key(place_pack(link)), plain(error), WHOLE_REPOSITORY)
                continue
            if node.level:
                waiting.extend(STATE.link(row) for row in node.rows)


class _WholePacks(Wrapper):
    """Reads packs whole, checks each once, and answers ranges from the last few."""

    def __init__(self, inner: Store, findings: Findings) -> None:
        super().__init__(inner)
        self._findings = findings
        self._checked: set[str] = set()
        self._kept: dict[str, bytes] = {}

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        data = self._kept.pop(key, None)
        if data is None:
            data = self.inner.get(key)
            if key not in self._checked:
                self._checked.add(key)
                self._findings.looked_at()
                name = bytes.fromhex(key[-2 * DIGEST_BYTES :])
                for problem in check_bytes(name, data).problems:
                    self._findings.add(key, problem)
        self._kept[key] = data
        while len(self._kept) > PACKS_KEPT:
            del self._kept[next(iter(self._kept))]
        for start, length in ranges:
            if start < 0 or start + length > len(data):
                raise DamagedError(f"{key} ends before a node that is expected in it")
        return [memoryview(data)[start : start + length] for start, length in ranges]
