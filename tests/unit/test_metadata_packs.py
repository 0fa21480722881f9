"""What is read ahead of metadata that is far away: the bytes are those of the pack, in few requests."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from dataver import metadata_packs
from dataver.compression import Codec
from dataver.errors import ObjectMissingError
from dataver.format.pack import FRAME_HEADER_BYTES, PackKind, footer_length
from dataver.format.segment import Segment
from dataver.hashing import blake3_digest
from dataver.keys import pack_key
from dataver.metadata_packs import MetadataPacks
from dataver.packs import PackWriter, StoredPack
from dataver.segments import segment_over
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore

NAMES = count()
KIB = 1 << 10


@pytest.fixture
def store() -> CountingStore:
    return CountingStore(MemoryStore(f"test-metadata-{next(NAMES)}"))


def pack_of(store: CountingStore, records: list[bytes], seed: int = 0) -> StoredPack:
    """A pack with a frame for each three records."""
    writer = PackWriter(store, PackKind.META)
    for start in range(0, len(records), 3):
        some = records[start : start + 3]
        digests = b"".join(map(blake3_digest, some))
        writer.add(Codec.RAW, some, sum(map(len, some)), digests, list(map(len, some)))
    (pack,) = writer.close()
    store.reset()
    return pack


def records_of(number: int, size_bytes: int) -> list[bytes]:
    return [Random(seed).randbytes(size_bytes) for seed in range(number)]


def test_a_footer_gives_the_places_that_the_index_has(store: CountingStore) -> None:
    records = records_of(9, 700)
    pack = pack_of(store, records)
    segment = Segment(segment_over([pack], bytes(16)), "it")
    packs = MetadataPacks(store)
    assert packs.place(blake3_digest(records[0])) is None
    packs.look_into(pack.name)
    packs.look_into(pack.name)
    assert [call.method for call in store.calls] == ["get_suffix"]
    for record in records:
        place = packs.place(blake3_digest(record))
        assert place == segment.find(blake3_digest(record))
    assert packs.place(blake3_digest(b"another")) is None


def test_what_a_small_pack_holds_came_with_its_end(store: CountingStore) -> None:
    pack = pack_of(store, records_of(9, 700))
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    data = store.inner.get(pack_key(pack.name))
    for start in range(0, len(data) - 50, 333):
        assert bytes(packs.read(pack.name, start, 50)) == data[start : start + 50]
    assert bytes(packs.read(pack.name, 0, len(data))) == data
    assert len(store.calls) == 1


def test_a_footer_longer_than_the_end_that_is_read_first(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_packs, "END_READ_BYTES", 200)
    records = records_of(40, 60)
    pack = pack_of(store, records)
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    assert [call.method for call in store.calls] == ["get_suffix", "get_suffix"]
    assert all(packs.place(blake3_digest(record)) is not None for record in records)
    data = store.inner.get(pack_key(pack.name))
    assert bytes(packs.read(pack.name, len(data) - 300, 300)) == data[-300:]
    assert len(store.calls) == 2


def test_a_footer_that_fills_what_is_read_first_is_read_once(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = pack_of(store, records_of(9, 700))
    data = store.inner.get(pack_key(pack.name))
    monkeypatch.setattr(metadata_packs, "END_READ_BYTES", footer_length(data, len(data), "it"))
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    assert [call.method for call in store.calls] == ["get_suffix"]
    assert packs.place(pack.digests[:32]) is not None


def test_a_pack_that_is_missing_is_told_and_looked_for_again(store: CountingStore) -> None:
    packs = MetadataPacks(store)
    for _ in range(2):
        with pytest.raises(ObjectMissingError):
            packs.look_into(blake3_digest(b"none"))
        with pytest.raises(ObjectMissingError):
            packs.read(blake3_digest(b"none"), 0, 10)
    assert len(store.calls) == 4


def test_of_a_damaged_footer_nothing_is_known_and_all_is_read(store: CountingStore) -> None:
    records = records_of(4, 700)
    pack = pack_of(store, records)
    data = bytearray(store.inner.get(pack_key(pack.name)))
    data[-1] ^= 1
    store.inner.put_hint(pack_key(pack.name), bytes(data))
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    packs.look_into(pack.name)
    assert packs.place(blake3_digest(records[0])) is None
    assert bytes(packs.read(pack.name, 5, 900)) == data[5:905]
    assert len(store.calls) == 1


@pytest.fixture
def large(store: CountingStore) -> tuple[StoredPack, bytes]:
    """A pack of 12 MiB."""
    pack = pack_of(store, records_of(48, 256 * KIB))
    return pack, store.inner.get(pack_key(pack.name))


def test_reads_that_follow_each_other_fetch_more_each_time(
    store: CountingStore, large: tuple[StoredPack, bytes]
) -> None:
    pack, data = large
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    store.reset()
    step = 16 * KIB
    fetched = []
    for start in range(0, len(data) - step, step):
        before = store.read_bytes
        assert bytes(packs.read(pack.name, start, step)) == data[start : start + step]
        if store.read_bytes > before:
            fetched.append((store.read_bytes - before) // KIB)
    assert fetched[:5] == [256, 512, 1024, 2048, 4096]
    assert max(fetched) == 4096
    assert store.read_bytes <= len(data)  # None of it twice, and nothing of the end, which is there.


def test_a_read_somewhere_else_fetches_little(store: CountingStore, large: tuple[StoredPack, bytes]) -> None:
    pack, data = large
    packs = MetadataPacks(store)
    packs.look_into(pack.name)
    for start in (5_000 * KIB, 1_000 * KIB, 8_000 * KIB):
        before = store.read_bytes
        assert bytes(packs.read(pack.name, start, 100)) == data[start : start + 100]
        assert store.read_bytes - before == 256 * KIB
    before = store.read_bytes
    assert bytes(packs.read(pack.name, 1_100 * KIB, 900 * KIB)) == data[1_100 * KIB : 2_000 * KIB]
    assert store.read_bytes - before == 900 * KIB  # As much as was asked for, if that is more.


def test_the_frame_behind_follows_and_one_further_on_does_not(
    store: CountingStore, large: tuple[StoredPack, bytes]
) -> None:
    pack, data = large
    packs = MetadataPacks(store)
    packs.look_into(pack.name)

    def fetched(start: int) -> int:
        before = store.read_bytes
        assert bytes(packs.read(pack.name, start, 100)) == data[start : start + 100]
        return (store.read_bytes - before) // KIB

    assert fetched(0) == 256
    behind = 256 * KIB + FRAME_HEADER_BYTES
    assert fetched(behind) == 512
    assert fetched(behind + 512 * KIB + FRAME_HEADER_BYTES + 1) == 256


def test_a_pack_whose_end_was_not_read_is_read_as_asked(
    store: CountingStore, large: tuple[StoredPack, bytes]
) -> None:
    pack, data = large
    packs = MetadataPacks(store)
    assert bytes(packs.read(pack.name, 100, 50)) == data[100:150]
    assert store.read_bytes == 50


def test_what_is_forgotten_of_one_pack_is_known_of_others(store: CountingStore) -> None:
    one, other = records_of(3, 500), records_of(5, 400)[3:]
    first, second = pack_of(store, one), pack_of(store, other)
    packs = MetadataPacks(store)
    for pack in (first, second):
        packs.look_into(pack.name)
    packs.forget(first.name)
    assert packs.place(blake3_digest(one[0])) is None
    assert packs.place(blake3_digest(other[0])) is not None
    store.reset()
    packs.read(second.name, 0, 10)
    assert store.calls == []
    data = bytearray(store.inner.get(pack_key(first.name)))
    data[40] ^= 1
    store.inner.put_hint(pack_key(first.name), bytes(data))
    assert bytes(packs.read(first.name, 0, 100)) == data[:100]  # Nothing that was read before.
    packs.look_into(first.name)
    assert packs.place(blake3_digest(one[0])) is not None
    packs.forget(blake3_digest(b"never known"))


def test_what_was_read_longest_ago_is_dropped(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [pack_of(store, records_of(number + 1, 1_000)[number:]).name for number in range(4)]
    whole = len(store.inner.get(pack_key(names[0])))
    monkeypatch.setattr(metadata_packs, "BLOCKS_KEPT_BYTES", 2 * whole)
    packs = MetadataPacks(store)

    def asks(number: int) -> int:
        before = len(store.calls)
        assert len(packs.read(names[number], 0, whole)) == whole
        return len(store.calls) - before

    assert [asks(0), asks(1), asks(0), asks(1)] == [1, 1, 0, 0]
    assert [asks(0), asks(2), asks(0), asks(1), asks(2)] == [0, 1, 0, 1, 1]
    monkeypatch.setattr(metadata_packs, "BLOCKS_KEPT_BYTES", 1)
    assert [asks(3), asks(3), asks(0), asks(3)] == [1, 0, 1, 1]  # The last one stays, however large.
    packs.forget(names[3])
    monkeypatch.setattr(metadata_packs, "BLOCKS_KEPT_BYTES", 3 * whole)
    assert [asks(0), asks(1), asks(2), asks(0), asks(1), asks(2)] == [1, 1, 1, 0, 0, 0]


def test_each_byte_that_is_kept_counts_once(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [pack_of(store, records_of(number + 1, 1_000)[number:]).name for number in range(2)]
    whole = len(store.inner.get(pack_key(names[0])))

    def kept_of_two(room: int) -> int:
        monkeypatch.setattr(metadata_packs, "BLOCKS_KEPT_BYTES", room)
        packs = MetadataPacks(store)
        packs.read(names[0], 0, 100)
        for name in (names[0], names[1]):  # The first block is replaced by one that begins there too.
            packs.read(name, 0, whole)
        store.reset()
        for name in (names[1], names[0]):
            packs.read(name, 0, whole)
        return 2 - len(store.calls)

    assert kept_of_two(2 * whole) == 2
    assert kept_of_two(2 * whole - 1) == 1
