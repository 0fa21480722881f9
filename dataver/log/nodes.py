"""The nodes of state trees, read and written by place, with no index: a reader starts from nothing."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from dataver.chunk_index import MapsObjects
from dataver.compression import Codec
from dataver.digest import DIGEST_BYTES, Digest
from dataver.errors import DamagedError, ObjectMissingError
from dataver.format.entry import StateRoot
from dataver.format.limits import NODE_BYTES_MAX
from dataver.format.node import Row
from dataver.format.pack import PackBuilder, PackKind
from dataver.hashing import Kind, kind_digest
from dataver.keys import pack_key
from dataver.packs import Nonce
from dataver.store.base import Store, View
from dataver.store.cached import cache_of
from dataver.tree.schema import NO_PLACE, STATE, Link, Node

AROUND_BYTES = 256 << 10
"""So much of a pack is read at once where that is a request."""

_PLACE = struct.Struct("<32sII")
THIS_PACK = bytes(DIGEST_BYTES)
"""The pack name that means: the pack that holds this node. A pack's own name is not known in it."""


class StateNodes:
    """Reads state nodes and keeps them; writes go to one new pack, until `finish`."""

    schema = STATE

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache = cache_of(store)
        self._far = not isinstance(store, MapsObjects)
        self._around: dict[bytes, tuple[int, View]] = {}
        self._nodes: dict[bytes, Node] = {}
        self._builder: PackBuilder | None = None

    def load(self, link: Link) -> Node:
        """The node at `link.place`, verified."""
        node = self._nodes.get(link.place)
        if node is None:
            node = self._nodes[link.place] = self._read(link)
        return node

    def begin(self, nonce: Nonce) -> None:
        """Nodes are written to a new pack from here on."""
        self._builder = PackBuilder(PackKind.STATE, nonce())

    def save(self, level: int, rows: Sequence[Row]) -> Link:
        """Add a node to the pack that `begin` opened."""
        assert self._builder is not None
        data, link = STATE.encode(level, rows)
        frame = self._builder.add(Codec.RAW, [data], len(data), link.digest, [len(data)])
        link = link._replace(place=_PLACE.pack(THIS_PACK, frame.offset, len(data)))
        self._nodes[link.place] = Node(level, list(rows))
        if self._cache is not None:
            self._cache.put(link.digest, data)
        return link

    def finish(self, link: Link) -> StateRoot:
        """Put the pack and give the root that a log entry can name."""
        assert self._builder is not None
        name, parts = self._builder.finish()
        self._builder = None
        self._store.put_new(pack_key(name), parts, barrier=False)
        self._nodes = {place: node for place, node in self._nodes.items() if place[:32] != THIS_PACK}
        pack, offset, length = _PLACE.unpack(link.place)
        if pack != THIS_PACK:
            name = Digest(pack)
        return StateRoot(Digest(link.digest), Digest(link.identity), link.rows, name, offset, length)

    def _read(self, link: Link) -> Node:
        pack, offset, length = _PLACE.unpack(link.place)
        what = f"the state node at {offset} of {pack_key(pack)}"
        if length > NODE_BYTES_MAX:
            raise DamagedError(f"{what} is announced with {length} bytes, more than a node may have")
        kept = None if self._cache is None else self._cache.get(link.digest)
        data = self._fetch(pack, offset, length) if kept is None else bytes(kept)
        if kept is None and kind_digest(Kind.STATE_NODE, data) != link.digest:
            raise DamagedError(f"{what} does not match its digest; run `dataver verify`")
        if kept is None and self._cache is not None:
            self._cache.put(link.digest, data)
        level, rows = STATE.decode_columns(data, what)
        return Node(level, [_absolute(row, pack) for row in rows] if level else rows)

    def _fetch(self, pack: bytes, offset: int, length: int) -> bytes:
        """The bytes of a node. From far away with those before it: a node's children stand there."""
        start, block = self._around.get(pack, (0, b""))
        if not start <= offset <= offset + length <= start + len(block):
            start = max(0, offset + length - AROUND_BYTES) if self._far else offset
            start = min(start, offset)
            try:
                block = self._store.get_ranges(pack_key(pack), [(start, offset + length - start)])[0]
            except ObjectMissingError as error:
                raise DamagedError(f"{pack_key(pack)} is missing; run `dataver verify`") from error
            if self._far:
                self._around[pack] = start, block
        return bytes(block[offset - start : offset - start + length])


def root_link(root: StateRoot) -> Link:
    """The root that a log entry names, as a link."""
    place = _PLACE.pack(root.pack, root.offset, root.length)
    return Link(root.digest, root.identity, root.rows, 0, place)


def place_pack(link: Link) -> Digest:
    """The pack that holds a state node."""
    return Digest(link.place[:DIGEST_BYTES])


def _absolute(row: Row, pack: bytes) -> Row:
    # `plac` is the last fixed column.
    start = len(row.fixed) - len(NO_PLACE)
    if row.fixed[start : start + DIGEST_BYTES] != THIS_PACK:
        return row
    return row._replace(fixed=row.fixed[:start] + pack + row.fixed[start + DIGEST_BYTES :])
