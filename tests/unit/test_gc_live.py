"""Which rows of the index are alive: a digest counts where a reader finds it, and is new once."""

from __future__ import annotations

from itertools import count

import pytest

from dataver.compression import Codec
from dataver.errors import DamagedError
from dataver.format.pack import PackKind
from dataver.gc.live import Live, PackUse
from dataver.gc.repack import repack
from dataver.hashing import blake3_digest
from dataver.log.log import Log
from dataver.log.state import SegmentState
from dataver.packs import PackWriter, StoredPack
from dataver.segments import write_segment
from dataver.session import Session
from dataver.store.memory import MemoryStore

NAMES = count()


def digest(name: str) -> bytes:
    return bytes(blake3_digest(name.encode()))


class World:
    """Packs of frames of named chunks, and a segment over each."""

    def __init__(self, *packs: list[str]) -> None:
        self.store = MemoryStore(f"test-live-{next(NAMES)}")
        self.packs: list[StoredPack] = []
        self.segments: list[SegmentState] = []
        for frames in packs:
            writer = PackWriter(self.store, PackKind.DATA)
            for frame in frames:
                chunks = [name.encode() for name in frame.split()]
                keys = b"".join(map(blake3_digest, chunks))
                writer.add(Codec.RAW, chunks, sum(map(len, chunks)), keys, list(map(len, chunks)))
            (pack,) = writer.close()
            stored = write_segment(self.store, [pack])
            self.packs.append(pack)
            self.segments.append(SegmentState(stored.name, stored.keys, stored.size_bytes))

    def live(self, marked: tuple[int, ...] = (), swept: tuple[int, ...] = ()) -> Live:
        names = [bytes(pack.name) for pack in self.packs]
        return Live(self.store, self.segments, {names[n] for n in marked}, {names[n] for n in swept})

    def uses(self, live: Live) -> list[PackUse]:
        packs = live.packs()
        return [packs[bytes(pack.name)] for pack in self.packs]


def test_a_digest_is_new_once() -> None:
    live = World(["a bb", "ccc"]).live()
    assert live.mark([]) == []
    assert live.mark([digest("a"), digest("ccc"), digest("a"), digest("ccc")]) == [digest("a"), digest("ccc")]
    assert live.mark([digest("a"), digest("bb"), digest("none"), digest("bb")]) == [digest("bb")]
    assert live.missing == [digest("none")]
    assert live.mark([digest("a"), digest("none"), digest("other")]) == []
    assert live.missing == [digest("none"), digest("none"), digest("other")]


def test_a_frame_is_alive_with_any_of_its_chunks() -> None:
    world = World(["a bb ccc", "dddd", "ee"], ["x"])
    live = world.live()
    assert world.uses(live) == [PackUse(12, 0, 0), PackUse(1, 0, 0)]
    live.mark([digest("bb")])
    assert world.uses(live) == [PackUse(12, 6, 1), PackUse(1, 0, 0)]
    live.mark([digest("a"), digest("ee"), digest("x")])
    assert world.uses(live) == [PackUse(12, 8, 3), PackUse(1, 1, 1)]
    assert live.digests_in(world.packs[0].name) == {digest("a"), digest("bb"), digest("ee")}
    assert live.digests_in(world.packs[1].name) == {digest("x")}
    assert live.digests_in(digest("no pack")) == set()


def test_of_two_places_the_one_of_the_larger_segment_counts() -> None:
    world = World(["shared own"], ["shared one two three"])
    live = world.live()
    assert live.mark([digest("shared"), digest("own")]) == [digest("shared"), digest("own")]
    assert [use.live_chunks for use in world.uses(live)] == [1, 1]
    assert live.digests_in(world.packs[1].name) == {digest("shared")}


def test_a_place_that_is_marked_counts_only_where_there_is_no_other() -> None:
    world = World(["shared own"], ["shared one two three"])
    live = world.live(marked=(1,))
    assert live.mark([digest("shared"), digest("one")]) == [digest("shared"), digest("one")]
    assert world.uses(live) == [PackUse(9, 9, 1), PackUse(17, 17, 1)]
    assert live.digests_in(world.packs[0].name) == {digest("shared")}
    assert live.digests_in(world.packs[1].name) == {digest("one")}
    assert live.missing == []
    assert live.mark([digest("shared"), digest("one")]) == []


def test_what_is_swept_is_nowhere() -> None:
    world = World(["shared own"], ["shared one two three"])
    live = world.live(marked=(0,), swept=(1,))
    assert live.mark([digest("shared"), digest("one")]) == [digest("shared")]
    assert live.missing == [digest("one")]
    assert [use.live_chunks for use in world.uses(live)] == [1, 0]


def test_of_frames_that_have_the_same_chunk_one_counts() -> None:
    """As in a copy that took frames of two packs: what is rewritten has the needed frames, and no other."""
    world = World(["a bb", "a ccc dddd", "eeeee"])
    session = Session(world.store, Log(world.store))
    live = world.live()
    live.mark([digest("a"), digest("bb")])
    frames = live.frames_in(world.packs[0].name)
    assert set().union(*frames.values()) == {digest("a"), digest("bb")}
    done = repack(session, live, [world.packs[0].name], lambda _: ())
    (new,) = done.new
    assert len(new.frames) == len(frames)
    written = write_segment(world.store, list(done.new))
    again = Live(world.store, [SegmentState(written.name, written.keys, written.size_bytes)], set(), set())
    assert again.mark([digest("a"), digest("bb")]) == [digest("a"), digest("bb")]
    assert again.missing == []


def test_a_rewritten_pack_is_not_rewritten_for_ever() -> None:
    """A frame of which all that is needed is found in another one is dead, and does not come along."""
    world = World(["a bb", "a ccc dddd"])
    session = Session(world.store, Log(world.store))
    live = world.live()
    live.mark([digest("bb"), digest("a")])
    for _ in range(3):
        (name,) = [pack.name for pack in world.packs]
        frames = live.frames_in(name)
        done = repack(session, live, [name], lambda _: ())
        written = write_segment(world.store, list(done.new))
        world.packs = list(done.new)
        world.segments = [SegmentState(written.name, written.keys, written.size_bytes)]
        live = world.live()
        live.mark([digest("bb"), digest("a")])
        assert len(done.new[0].frames) == len(frames)
    (use,) = world.uses(live)
    assert use.live_bytes == use.stored_bytes


class _Lying(Live):
    """An index that names a frame which the pack does not have."""

    def frames_in(self, pack: bytes) -> dict[int, set[bytes]]:
        return {**super().frames_in(pack), 7: {digest("bb")}}


def test_a_frame_that_the_index_alone_knows_is_damage() -> None:
    world = World(["a bb", "ccc"])
    session = Session(world.store, Log(world.store))
    live = _Lying(world.store, world.segments, set(), set())
    live.mark([digest("a"), digest("ccc")])
    with pytest.raises(DamagedError, match="no frame at 7"):
        repack(session, live, [world.packs[0].name], lambda _: ())
