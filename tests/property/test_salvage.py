"""Out of a pack that is damaged in any way comes what is whole, and nothing else."""

from __future__ import annotations

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from dataver.compression import compress_frame
from dataver.format.pack import PackKind, parse_footer, parse_frame_header
from dataver.format.segment import Place, Segment
from dataver.hashing import blake3_digest
from dataver.packs import PackWriter, StoredPack
from dataver.repair.rows import Rows
from dataver.repair.salvage import salvage, unlisted
from dataver.segments import segment_over
from dataver.store.memory import MemoryStore
from dataver.transfer.copying import Verified
from dataver.verify.packs import Claim, decode_frame

chunks = st.one_of(
    st.binary(min_size=1, max_size=60), st.integers(0, 255).map(lambda value: bytes([value]) * 400)
)
frames = st.lists(st.lists(chunks, min_size=1, max_size=5), min_size=1, max_size=6)


def pack_of(contents: list[list[bytes]]) -> tuple[StoredPack, bytes]:
    store = MemoryStore(uuid4().hex)
    writer = PackWriter(store, PackKind.DATA)
    for parts in contents:
        codec, stored = compress_frame(parts)
        digests = b"".join(map(blake3_digest, parts))
        writer.add(
            codec, parts if stored is None else [stored], sum(map(len, parts)), digests, list(map(len, parts))
        )
    (pack,) = writer.close()
    return pack, store.get(f"packs/{pack.name.hex()[:2]}/{pack.name.hex()}")


def claims_of(pack: StoredPack) -> list[Claim]:
    segment = Segment(segment_over([pack], bytes(16)), "a segment")
    keys = segment.keys()
    return [(bytes(keys[32 * n : 32 * n + 32]), segment.place(n)) for n in range(segment.key_count)]


def chunks_in(frame: Verified) -> dict[bytes, bytes]:
    plain = bytes(decode_frame(memoryview(b"".join(frame.parts)), frame.codec, frame.raw_bytes, "a frame"))
    found, start = {}, 0
    for number, length in enumerate(frame.lengths):
        found[frame.digests[32 * number : 32 * number + 32]] = plain[start : start + length]
        start += length
    assert start == len(plain)
    return found


def saved(pack: StoredPack, data: bytes, claims: list[Claim]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for frame in salvage(pack.name, data, claims, lambda digests: [True] * (len(digests) // 32)):
        assert frame.kind == PackKind.DATA
        found |= chunks_in(frame)
    assert all(blake3_digest(data) == digest for digest, data in found.items())
    return found


@given(frames, st.data())
def test_all_but_the_frame_of_a_flipped_byte_is_saved(
    contents: list[list[bytes]], draw: st.DataObject
) -> None:
    pack, data = pack_of(contents)
    at = draw.draw(st.integers(0, len(data) - 1), label="at")
    spoiled = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255), label="bits")]) + data[at + 1 :]
    found = saved(pack, spoiled, claims_of(pack))
    whole = [
        parts
        for parts, frame in zip(contents, pack.frames, strict=True)
        if not frame.offset <= at < frame.offset + frame.stored_bytes
    ]
    assert {blake3_digest(chunk): chunk for parts in whole for chunk in parts}.items() <= found.items()
    # Where the index is gone too, the footer says the same, unless it is there that the byte was flipped.
    assert set(saved(pack, spoiled, [])) <= set(found)


@given(frames, st.data())
def test_of_a_pack_that_is_cut_short_all_before_the_cut_is_saved(
    contents: list[list[bytes]], draw: st.DataObject
) -> None:
    pack, data = pack_of(contents)
    end = draw.draw(st.integers(0, len(data)), label="end")
    found = saved(pack, data[:end], claims_of(pack))
    whole = [
        parts
        for parts, frame in zip(contents, pack.frames, strict=True)
        if frame.offset + frame.stored_bytes <= end
    ]
    assert {blake3_digest(chunk) for parts in whole for chunk in parts} <= set(found)
    listed = list(unlisted(data[:end], []))
    if end < len(data):
        assert [bytes(plain) for plain in listed] == [b"".join(parts) for parts in whole]


@given(frames, st.binary(max_size=300), st.data())
def test_nothing_that_claims_and_bytes_say_is_believed(
    contents: list[list[bytes]], noise: bytes, draw: st.DataObject
) -> None:
    pack, data = pack_of(contents)
    numbers = st.integers(0, 2**32 - 1) | st.integers(0, len(data))
    places = st.builds(
        Place, st.just(bytes(pack.name)), numbers, numbers, numbers, st.integers(0, 255), numbers, numbers
    )
    claims = draw.draw(st.lists(st.tuples(st.binary(min_size=32, max_size=32), places), max_size=5))
    at = draw.draw(st.integers(0, len(data)))
    spoiled = data[:at] + noise + data[at + len(noise) :]
    known = {blake3_digest(chunk) for parts in contents for chunk in parts}
    assert set(saved(pack, spoiled, claims)) <= known


@given(frames, frames)
def test_rows_of_dropped_packs_go_and_the_others_stay(one: list[list[bytes]], two: list[list[bytes]]) -> None:
    (first, data), (second, _) = pack_of(one), pack_of(two)
    both = Segment(segment_over([first, second], bytes(16)), "both")
    rows = Rows()
    dropped = rows.add_segment(both, {bytes(first.name)})
    kept = Segment(rows.encode(bytes(16)), "kept")
    in_first = {blake3_digest(chunk) for parts in one for chunk in parts}
    in_second = {blake3_digest(chunk) for parts in two for chunk in parts}
    assert {dropped[at : at + 32] for at in range(0, len(dropped), 32)} == in_first
    for digest in in_second - in_first:
        assert kept.find(digest) == both.find(digest)
    assert all(kept.find(digest) is None for digest in in_first)
    # What the footer says puts them back.
    footer = parse_footer(data[:32], data[32:], len(data), "a pack")
    rows.add_pack(first.name, footer, [True] * len(footer.lengths))
    again = Segment(rows.encode(bytes(16)), "again")
    assert all(again.find(digest) == both.find(digest) for digest in in_first | (in_second - in_first))
    assert parse_frame_header(data[32:48], "a frame")[0] == footer.frames[0].stored_bytes
