"""The test vectors of the specification: what the code writes today, byte for byte, and reads back."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from xxhash import xxh3_64_intdigest

from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.format import chunk_list
from dataver.format.entry import decode_entry, entry_digest
from dataver.format.envelope import decode_envelope, payload
from dataver.format.node import Row
from dataver.format.pack import HEADER_BYTES, footer_length, parse_footer, parse_frame_header
from dataver.format.run_record import decode_run
from dataver.format.segment import Segment
from dataver.format.table_statistics import decode as decode_statistics
from dataver.format.table_statistics import encode as encode_statistics
from dataver.format.version import decode_version
from dataver.tree.schema import MANIFEST, STATE
from tests.golden.make_vectors import VECTORS, dump, plain

Vector = dict[str, Any]
ALL: list[Vector] = json.loads(VECTORS.read_text(encoding="utf-8"))

# Section 2 of the specification, spelled out once more.
CONTEXTS = {
    "manifest node": "dataver 2026 v1 manifest node",
    "manifest identity": "dataver 2026 v1 identity node",
    "state node": "dataver 2026 v1 state node",
    "state identity": "dataver 2026 v1 state identity",
    "chunk list": "dataver 2026 v1 chunk list",
    "version": "dataver 2026 v1 version",
    "run record": "dataver 2026 v1 run",
}


def of_kind(*kinds: str) -> list[Any]:
    found = [pytest.param(v, id=v["name"]) for v in ALL if v["kind"] in kinds]
    assert found
    return found


def data_of(vector: Vector) -> bytes:
    return bytes.fromhex(vector["bytes"])


def test_the_vectors_are_what_the_code_writes() -> None:
    assert dump() == VECTORS.read_text(encoding="utf-8"), (
        "the format changed: no released byte may; where that is meant, `python -m tests.golden.make_vectors`"
    )


@pytest.mark.parametrize("vector", of_kind("digest"))
def test_digests(vector: Vector) -> None:
    context = vector["fields"]["context"]
    hasher = blake3(b"abc") if context is None else blake3(b"abc", derive_key_context=context)
    assert hasher.hexdigest() == vector["digest"]


@pytest.mark.parametrize("vector", of_kind(*CONTEXTS))
def test_records_are_digested_under_the_context_of_their_kind(vector: Vector) -> None:
    hasher = blake3(data_of(vector), derive_key_context=CONTEXTS[vector["kind"]])
    assert hasher.hexdigest() == vector["digest"]


def numbers_of(vector: Vector) -> list[int]:
    data = data_of(vector)
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


@pytest.mark.parametrize("vector", of_kind("node ends"))
def test_node_ends_by_the_rule_as_the_specification_has_it(vector: Vector) -> None:
    level, ends, start = vector["fields"]["level"], numbers_of(vector), 0
    least, most, mask = (32, 512, 127) if level else (128, 2048, 511)
    for end in range(1, vector["fields"]["keys"] + 1):
        meets = not xxh3_64_intdigest(b"%06d" % (end - 1), level) & mask
        if end - start == most or (end - start >= least and meets):
            start = end
            assert ends.pop(0) == end
    assert ends == []


@pytest.mark.parametrize("vector", of_kind("cuts"))
def test_cuts(vector: Vector) -> None:
    fields = vector["fields"]
    data = blake3(fields["seed"].encode()).digest(length=fields["length"])
    assert blake3(data).hexdigest() == vector["digest"]
    assert numbers_of(vector) == fields["ends"]
    assert cuts(data, ChunkerParameters(), final=True) == fields["ends"]


@pytest.mark.parametrize("vector", of_kind("pack", "segment"))
def test_objects_are_named_by_their_plain_digest(vector: Vector) -> None:
    assert blake3(data_of(vector)).hexdigest() == vector["digest"]


@pytest.mark.parametrize("vector", of_kind("manifest node", "state node"))
def test_nodes(vector: Vector) -> None:
    schema = MANIFEST if vector["kind"].startswith("manifest") else STATE
    fields = vector["fields"]
    node = schema.decode(data_of(vector), "it")
    assert (node.level, plain(node.rows)) == (fields["level"], fields["rows"])
    data, link = schema.encode(node.level, node.rows)
    assert data == data_of(vector)
    assert (link.rows, link.size_bytes) == (fields["files"], fields["bytes"])


@pytest.mark.parametrize("vector", of_kind("manifest identity", "state identity"))
def test_identity_bytes_hold_the_identity_columns_alone(vector: Vector) -> None:
    schema = MANIFEST if vector["kind"].startswith("manifest") else STATE
    stored = next(v for v in ALL if v["name"] == vector["name"].removesuffix(", identity"))
    node = schema.decode_identity(data_of(vector), "it")
    whole = schema.decode(data_of(stored), "it")
    columns = (schema.inner if node.level else schema.leaf).spans()

    def identity(row: Row) -> Row:
        fixed = b"".join(row.fixed[start:end] for column, start, end in columns if column.identity)
        return Row(row.key, fixed, tuple(extra for extra in row.extras if extra[1] & 1))

    assert node.rows == [identity(row) for row in whole.rows]


@pytest.mark.parametrize("vector", of_kind("chunk list"))
def test_chunk_lists(vector: Vector) -> None:
    level, rows = chunk_list.decode(data_of(vector), "it")
    assert {"level": level, "rows": plain(rows)} == vector["fields"]
    assert chunk_list.encode(*chunk_list.decode_columns(data_of(vector), "it")) == data_of(vector)


@pytest.mark.parametrize("vector", of_kind("run record"))
def test_run_records(vector: Vector) -> None:
    record, document = decode_run(data_of(vector), "it"), vector["fields"]["record"]
    assert json.loads(json.dumps(record.document())) == document
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert data_of(vector) == b"DVRN\x01" + text.encode()


@pytest.mark.parametrize("vector", of_kind("table statistics"))
def test_table_statistics(vector: Vector) -> None:
    data, fields = data_of(vector), dict(vector["fields"])
    file = bytes.fromhex(fields.pop("file"))
    record = decode_statistics(data, file)
    assert plain(record) == fields
    assert encode_statistics(file, record) == data
    context = "dataver 2026 v1 table statistics"
    assert blake3(data[:37], derive_key_context=context).hexdigest() == vector["digest"]
    assert blake3(data[:-32], derive_key_context=context).digest() == data[-32:]


@pytest.mark.parametrize("vector", of_kind("signature"))
def test_signatures(vector: Vector) -> None:
    """Spelled out once more: envelope, statement, what is signed, by which key."""
    data, fields = data_of(vector), vector["fields"]
    document = json.loads(data)
    assert json.dumps(document, sort_keys=True, separators=(",", ":")).encode() == data
    assert set(document) == {"payload", "payloadType", "signatures"}
    body = b64decode(document["payload"])
    assert (body.decode(), document["payloadType"]) == (fields["payload"], fields["payload_type"])
    kind = document["payloadType"].encode()
    signed = b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(body)).encode() + b" " + body
    assert signed.decode() == fields["signed"]
    (signature,) = document["signatures"]
    secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(fields["secret_key"]))
    assert secret.sign(signed) == b64decode(signature["sig"]) == bytes.fromhex(fields["signature"])
    raw = secret.public_key().public_bytes_raw()
    assert raw.hex() == fields["public_key"] == json.loads(body)["key"]
    line = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    blob = b64decode(line.split()[1])
    assert hashlib.sha256(blob).hexdigest() == signature["keyid"] == vector["digest"]
    fingerprint = "SHA256:" + b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    assert fingerprint == fields["fingerprint"]
    envelope = decode_envelope(data, "it")
    assert payload(envelope.statement) == body
    assert envelope.encode() == data


@pytest.mark.parametrize("vector", of_kind("version"))
def test_versions(vector: Vector) -> None:
    record = decode_version(data_of(vector), "it")
    assert plain(record) == vector["fields"]
    assert record.encode() == data_of(vector)
    assert str(record.id()) == vector["digest"]


@pytest.mark.parametrize("vector", of_kind("log entry"))
def test_log_entries(vector: Vector) -> None:
    data = data_of(vector)
    entry = decode_entry(data, "it")
    assert plain(entry) == vector["fields"]
    assert entry.encode() == data
    assert str(entry_digest(data)) == vector["digest"]
    assert blake3(data[:-32], derive_key_context="dataver 2026 v1 log entry").hexdigest() == vector["digest"]


@pytest.mark.parametrize("vector", of_kind("pack"))
def test_packs(vector: Vector) -> None:
    data, fields = data_of(vector), vector["fields"]
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


@pytest.mark.parametrize("vector", of_kind("segment"))
def test_segments(vector: Vector) -> None:
    fields = vector["fields"]
    segment = Segment(data_of(vector), "it")
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
