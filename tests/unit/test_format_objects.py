"""Every kind of object: its bytes are digested as the specification says and read back to what they hold."""

from __future__ import annotations

from typing import Any

import pytest
from blake3 import blake3

from dataver.format import chunk_list
from dataver.format.entry import decode_entry, entry_digest
from dataver.format.node import Row
from dataver.format.pack import HEADER_BYTES, footer_length, parse_footer, parse_frame_header
from dataver.format.segment import Segment
from dataver.format.version import decode_version
from dataver.tree.schema import MANIFEST, STATE
from tests.samples import Sample, plain, samples

ALL = samples()

# Section 2 of the specification, spelled out once more.
CONTEXTS = {
    "manifest node": "dataver 2026 v1 manifest node",
    "manifest identity": "dataver 2026 v1 identity node",
    "state node": "dataver 2026 v1 state node",
    "state identity": "dataver 2026 v1 state identity",
    "chunk list": "dataver 2026 v1 chunk list",
    "version": "dataver 2026 v1 version",
}


def of_kind(*kinds: str) -> list[Any]:
    found = [pytest.param(v, id=v["name"]) for v in ALL if v["kind"] in kinds]
    assert found
    return found


def data_of(sample: Sample) -> bytes:
    return bytes.fromhex(sample["bytes"])


@pytest.mark.parametrize("sample", of_kind(*CONTEXTS))
def test_records_are_digested_under_the_context_of_their_kind(sample: Sample) -> None:
    hasher = blake3(data_of(sample), derive_key_context=CONTEXTS[sample["kind"]])
    assert hasher.hexdigest() == sample["digest"]


@pytest.mark.parametrize("sample", of_kind("pack", "segment"))
def test_objects_are_named_by_their_plain_digest(sample: Sample) -> None:
    assert blake3(data_of(sample)).hexdigest() == sample["digest"]


@pytest.mark.parametrize("sample", of_kind("manifest node", "state node"))
def test_nodes(sample: Sample) -> None:
    schema = MANIFEST if sample["kind"].startswith("manifest") else STATE
    fields = sample["fields"]
    node = schema.decode(data_of(sample), "it")
    assert (node.level, plain(node.rows)) == (fields["level"], fields["rows"])
    data, link = schema.encode(node.level, node.rows)
    assert data == data_of(sample)
    assert (link.rows, link.size_bytes) == (fields["files"], fields["bytes"])


@pytest.mark.parametrize("sample", of_kind("manifest identity", "state identity"))
def test_identity_bytes_hold_the_identity_columns_alone(sample: Sample) -> None:
    schema = MANIFEST if sample["kind"].startswith("manifest") else STATE
    stored = next(v for v in ALL if v["name"] == sample["name"].removesuffix(", identity"))
    node = schema.decode_identity(data_of(sample), "it")
    whole = schema.decode(data_of(stored), "it")
    columns = (schema.inner if node.level else schema.leaf).spans()

    def identity(row: Row) -> Row:
        fixed = b"".join(row.fixed[start:end] for column, start, end in columns if column.identity)
        return Row(row.key, fixed, tuple(extra for extra in row.extras if extra[1] & 1))

    assert node.rows == [identity(row) for row in whole.rows]


@pytest.mark.parametrize("sample", of_kind("chunk list"))
def test_chunk_lists(sample: Sample) -> None:
    level, rows = chunk_list.decode(data_of(sample), "it")
    assert {"level": level, "rows": plain(rows)} == sample["fields"]
    assert chunk_list.encode(level, rows) == data_of(sample)


@pytest.mark.parametrize("sample", of_kind("version"))
def test_versions(sample: Sample) -> None:
    record = decode_version(data_of(sample), "it")
    assert plain(record) == sample["fields"]
    assert record.encode() == data_of(sample)
    assert str(record.id()) == sample["digest"]


@pytest.mark.parametrize("sample", of_kind("log entry"))
def test_log_entries(sample: Sample) -> None:
    data = data_of(sample)
    entry = decode_entry(data, "it")
    assert plain(entry) == sample["fields"]
    assert entry.encode() == data
    assert str(entry_digest(data)) == sample["digest"]
    assert blake3(data[:-32], derive_key_context="dataver 2026 v1 log entry").hexdigest() == sample["digest"]


@pytest.mark.parametrize("sample", of_kind("pack"))
def test_packs(sample: Sample) -> None:
    data, fields = data_of(sample), sample["fields"]
    length = footer_length(data[-64:], len(data), "it")
    footer = parse_footer(data[:HEADER_BYTES], data[-length:], len(data), "it")
    assert footer.kind == fields["kind_of_pack"]
    assert plain(footer.frames) == fields["frames"]
    assert list(footer.lengths) == fields["lengths"]
    assert footer.digests.hex() == "".join(fields["digests"])
    for frame in footer.frames:
        head = parse_frame_header(data[frame.offset - 16 : frame.offset], "it")
        assert head == (frame.stored_bytes, frame.raw_bytes, frame.chunk_count, frame.codec)
    assert [str(digest) for digest, _, _, _ in footer.chunks()] == fields["digests"]


@pytest.mark.parametrize("sample", of_kind("segment"))
def test_segments(sample: Sample) -> None:
    fields = sample["fields"]
    segment = Segment(data_of(sample), "it")
    segment.check()
    assert [str(pack) for pack in segment.packs()] == fields["packs"]
    assert plain(segment.frames()) == fields["frames"]
    keys = [bytes.fromhex(key) for key, _ in fields["places"]]
    assert segment.keys().tobytes() == b"".join(keys)
    for number, (key, (frame, offset, length)) in enumerate(fields["places"]):
        place = segment.find(bytes.fromhex(key))
        assert place is not None
        assert (place.offset, place.length) == (offset, length)
        assert place.frame_offset == segment.frames()[frame].offset
        assert segment.find_many(bytes.fromhex(key)).tolist() == [number]
    assert segment.find(bytes(32)) is None
    assert segment.find_many(bytes(32) + b"\xff" * 32).tolist() == [-1, -1]
