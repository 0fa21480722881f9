"""Makes the test vectors of format v1: small objects of each kind, with bytes, digest and what they say.

`python -m tests.golden.make_vectors` writes `vectors.json` beside this file. Every vector has `name`,
`kind`, `bytes` (hex), `digest` (hex; of the kind that section 2 of the specification gives), and
`fields`, which say in words what the bytes hold. Bytes in fields are hex, times microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from blake3 import blake3

from dataver.chunking import ChunkerParameters
from dataver.chunking.fastcdc import cuts
from dataver.compression import Codec
from dataver.digest import Digest
from dataver.format import chunk_list, segment
from dataver.format.entry import NO_ENTRY, Entry, StateRoot, Step
from dataver.format.envelope import Envelope, RunStatement, Statement, VersionStatement, payload, signed_bytes
from dataver.format.node import IDENTITY, Row
from dataver.format.node import encode as encode_node
from dataver.format.operations import KINDS, ConfigSet, Genesis, Operation, Unknown
from dataver.format.pack import Frame, PackBuilder, PackKind
from dataver.format.provenance import DerivedFrom, Provenance, Source
from dataver.format.run_record import (
    Code,
    Environment,
    LockedBy,
    ModelFile,
    Process,
    RunInput,
    RunModel,
    RunOutput,
    RunRecord,
    Tracker,
)
from dataver.format.segment import SegmentFrame
from dataver.format.table_statistics import (
    ColumnStatistics,
    FileStatistics,
    Quantiles,
    TopValues,
    Value,
    statistics_key,
)
from dataver.format.table_statistics import encode as encode_statistics
from dataver.format.version import VersionRecord
from dataver.hashing import Kind, blake3_digest, kind_digest, xxh3_64
from dataver.log.nodes import THIS_PACK
from dataver.log.state import value_row
from dataver.signing.public import PublicKey
from dataver.tree.manifest import FILE, FOLDER, REFERENCE, SYMLINK, chunks_extra, reference_extra, to_row
from dataver.tree.manifest import Entry as FileEntry
from dataver.tree.schema import MANIFEST, STATE, Link, LinkedNode, TreeSchema
from dataver.tree.split import Splitter

VECTORS = Path(__file__).with_name("vectors.json")
NOTE_TAG = b"note"
TIME_US = 1_767_225_600_000_000
KEYS = 6_000
NOISE_BYTES = 1_000_000

SECRET_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")

# One zstd frame that declares 100 bytes: a single block of `a`, repeated.
ZSTD_FRAME = bytes.fromhex("28b52ffd2064230300") + b"a"

Vector = dict[str, Any]


def digest_of(name: str) -> Digest:
    """A digest that stands for something outside of the vector."""
    return blake3_digest(name.encode())


def id_of(name: str) -> bytes:
    """Sixteen bytes that stand for an id or a nonce."""
    return digest_of(name)[:16]


def vector(name: str, kind: str, data: bytes, digest: bytes, **fields: Any) -> Vector:
    """One vector, as it stands in the file."""
    return {"name": name, "kind": kind, "bytes": data.hex(), "digest": digest.hex(), "fields": plain(fields)}


def plain(value: Any) -> Any:
    """Values as JSON has them: bytes in hex, tuples as lists, operations and records by their fields."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Unknown):
        return {"tag": value.tag.decode(), "flags": value.flags, "body": value.body.hex()}
    if isinstance(value, Operation):
        return {"tag": value.TAG.decode(), **{name: plain(getattr(value, name)) for name in value.FIELDS}}
    if hasattr(value, "__slots__") and hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def digests() -> list[Vector]:
    """The modes of hashing: each kind of record over the same bytes."""
    plainly = vector("plain", "digest", b"abc", blake3_digest(b"abc"), context=None)
    return [
        plainly,
        *(vector(k.name, "digest", b"abc", kind_digest(k, b"abc"), context=k.value) for k in Kind),
    ]


def splits() -> list[Vector]:
    """The hash that the split rule looks at, by level."""
    keys = [b"", b"a", b"folder/file.txt", "\u2603".encode()]
    return [
        vector(
            f"split {number} level {level}", "split", key, xxh3_64(key, level).to_bytes(8, "big"), level=level
        )
        for number, key in enumerate(keys)
        for level in (0, 1, 2)
    ]


def node_ends() -> list[Vector]:
    """Where nodes end on each level over the keys `000000`, `000001`, …: exclusive ends."""
    found = []
    for level in range(3):
        splitter = Splitter(level)
        ends = [n + 1 for n in range(KEYS) if splitter.ends_after(b"%06d" % n, 6)]
        listed = b"".join(end.to_bytes(4, "little") for end in ends)
        found.append(
            vector(
                f"node ends level {level}", "node ends", listed, blake3_digest(listed), level=level, keys=KEYS
            )
        )
    return found


def chunk_ends() -> list[Vector]:
    """Where the default parameters cut the first bytes of BLAKE3's extended output for `dataver`."""
    data = blake3(b"dataver").digest(length=NOISE_BYTES)
    ends = cuts(data, ChunkerParameters(), final=True)
    listed = b"".join(end.to_bytes(4, "little") for end in ends)
    return [
        vector("cuts", "cuts", listed, blake3_digest(data), seed="dataver", length=NOISE_BYTES, ends=ends)
    ]


def files() -> list[FileEntry]:
    """One entry of every kind."""
    return [
        FileEntry(b"a", FILE, False, 3, blake3_digest(b"abc")),
        FileEntry(b"a.b", FILE, True, 9, digest_of("a.b"), ((NOTE_TAG, 0, b"carried along"),)),
        FileEntry(b"a/b", FILE, False, 1 << 33, digest_of("a/b"), chunks_extra(digest_of("chunks"))),
        FileEntry(b"a/link", SYMLINK, False, 4, blake3_digest(b"../b")),
        FileEntry(b"empty", FILE, False, 0, blake3_digest(b"")),
        FileEntry(b"folder", FOLDER, False, 0, blake3_digest(b"")),
        FileEntry(b"new\nline", FILE, False, 1, digest_of("new line"), ((b"mark", IDENTITY, b"x"),)),
        FileEntry(
            b"stays", REFERENCE, False, 7, digest_of("stays"), reference_extra("az://c/stays", '"0x8D"')
        ),
        FileEntry("\u2603/\u96ea".encode(), FILE, False, 12, digest_of("snow")),
    ]


def node(name: str, schema: TreeSchema, level: int, rows: Sequence[Row], **fields: Any) -> list[Vector]:
    """A node as stored and its identity bytes."""
    stored, identity = encode_node(schema.inner if level else schema.leaf, level, rows)
    _, link = schema.encode(level, rows)
    kind = "manifest" if schema is MANIFEST else "state"
    said = {"level": level, "rows": rows, "files": link.rows, "bytes": link.size_bytes, **fields}
    return [
        vector(name, f"{kind} node", stored, link.digest, **said),
        vector(f"{name}, identity", f"{kind} identity", identity, link.identity, level=level),
    ]


def nodes() -> list[Vector]:
    """Leaves and inner nodes of manifests and of states."""
    leaf = [to_row(entry) for entry in files()]
    children = [
        LinkedNode(b"a/b", Link(digest_of("node 1"), digest_of("identity 1"), 130, 1000)),
        LinkedNode(b"zoo", Link(digest_of("node 2"), digest_of("identity 2"), 2048, 1 << 40)),
    ]
    pairs = [(b"conf" + b"name", b"value"), (b"data" + b"iris", id_of("iris")), (b"hold" + b"empty", b"")]
    place = digest_of("pack") + (48).to_bytes(4, "little") + (900).to_bytes(4, "little")
    here = THIS_PACK + (2000).to_bytes(4, "little") + (800).to_bytes(4, "little")
    places = [
        LinkedNode(b"data1", Link(digest_of("state 1"), digest_of("state identity 1"), 200, 5000, place)),
        LinkedNode(b"vers9", Link(digest_of("state 2"), digest_of("state identity 2"), 300, 6000, here)),
    ]
    return [
        *node("empty manifest", MANIFEST, 0, []),
        *node("manifest leaf", MANIFEST, 0, leaf, entries=files()),
        *node("manifest inner", MANIFEST, 1, [MANIFEST.row(child) for child in children], children=children),
        *node("state leaf", STATE, 0, [value_row(*pair) for pair in pairs], values=pairs),
        *node("state inner", STATE, 1, [STATE.row(child) for child in places], children=places),
    ]


def lists() -> list[Vector]:
    """Chunk lists of two levels."""
    rows = [chunk_list.ListRow(digest_of(f"chunk {number}"), 65_536 + number) for number in range(3)]
    digests, sizes = zip(*rows, strict=True)
    found = []
    for level in (0, 1):
        data = chunk_list.encode(level, b"".join(digests), sizes)
        found.append(
            vector(
                f"chunk list {level}",
                "chunk list",
                data,
                kind_digest(Kind.CHUNK_LIST, data),
                level=level,
                rows=rows,
            )
        )
    return found


def versions() -> list[Vector]:
    """The shortest record and a full one."""
    records = {
        "first version": VersionRecord(digest_of("tree"), (), 0, "A <a@example.org>", ""),
        "full version": VersionRecord(
            digest_of("tree"),
            (digest_of("parent"), digest_of("other parent")),
            TIME_US,
            "Zo\u00eb <zoe@example.org>",
            "two\nlines",
            (("licence", "CC0"), ("source", "\u2603")),
            id_of("run"),
            ((NOTE_TAG, 0, b"kept"),),
        ),
        "version before 1970": VersionRecord(digest_of("tree"), (), -1, "a", "m"),
        "version with sources": VersionRecord(
            digest_of("tree"), (), 0, "a", "m", extensions=(provenance().extension(),)
        ),
    }
    return [
        vector(name, "version", record.encode(), record.id(), **plain(record))
        for name, record in records.items()
    ]


def signatures() -> list[Vector]:
    """An envelope of each kind, by the key of the first test of RFC 8032; its digest is the key's id."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.from_private_bytes(SECRET_KEY)
    key = PublicKey(secret.public_key().public_bytes_raw())
    repository, raw = id_of("repository").hex(), key.raw.hex()
    statements: dict[str, Statement] = {
        "signature of a version": VersionStatement(
            "vision/x", str(digest_of("version")), raw, str(digest_of("manifest")), repository,
            str(digest_of("tree")),
        ),
        "signature of a run": RunStatement(id_of("run").hex(), raw, str(digest_of("record")), repository),
    }  # fmt: skip
    found = []
    for name, statement in statements.items():
        data = signed_bytes(statement)
        signature = secret.sign(data)
        envelope = Envelope(statement, key.id, signature).encode()
        found.append(
            vector(
                name, "signature", envelope, key.id, secret_key=SECRET_KEY, public_key=key.raw,
                fingerprint=key.fingerprint, payload_type=statement.TYPE, payload=payload(statement).decode(),
                signed=data.decode(), signature=signature,
            )
        )  # fmt: skip
    return found


def provenance() -> Provenance:
    """With every field, and with one alone."""
    every = Source(
        "https://a.example/\u2603", "CC0-1.0", "2026-01-31T09:30:00.5Z", "Zo\u00eb", 'by "hand"\n', "Art. 6",
        f"sha256:{digest_of('fetched')}", "\x7f\U0001f98b",
    )  # fmt: skip
    derived = DerivedFrom("iris", str(digest_of("id")), str(digest_of("tree")), id_of("repository").hex())
    return Provenance((every, Source(collected_at="2026-01-31")), (derived,), partial=True)


def table_statistics() -> list[Vector]:
    """Of a file that is no table, and of one with a column of each kind of value."""
    samples: list[tuple[Value, Value]] = [(-3, 2**63), (-0.5, 1e300), ("a", "\u2603"), (b"", b"\xff")]
    samples += [(Decimal("-1.50"), Decimal("2.25")), (False, True), (None, None)]
    columns = tuple(
        ColumnStatistics(
            f"c{number}", "type", "", 10, 2, 1, 2, 3, low, high, 0.25, 1.5, bytes(1023) + b"\x05",
            TopValues(((high, 2), (low, 1)), 1), Quantiles((-1.5, 0.0), (1, 3), 2),
        )
        for number, (low, high) in enumerate(samples)
    )  # fmt: skip
    records = {
        "statistics of no table": FileStatistics(reason="it is truncated"),
        "statistics of a table": FileStatistics(12, (*columns, ColumnStatistics("n", "null", "why not")), ""),
    }
    digest = digest_of("file")
    return [
        vector(
            name, "table statistics", encode_statistics(digest, record), statistics_key(digest),
            file=digest, **plain(record),
        )
        for name, record in records.items()
    ]  # fmt: skip


def run_records() -> list[Vector]:
    """A run at its start, with what it must have, and one at its end, with everything."""
    run, text = id_of("run").hex(), str(digest_of("digest"))
    begun = RunRecord(run, "train", "A <a@example.org>", TIME_US)
    ended = RunRecord(
        run, "träin", "A <a@example.org>", TIME_US, "done", TIME_US + 1, 0, 0, "", ("python", "train.py"),
        Process("host", "machine", "boot", 7, "42"),
        Code("https://host/repo.git", "c" * 40, "main", True, text, False, "src", ("new.py",), ""),
        Environment("3.11.7", "CPython", "linux", text, (LockedBy("uv.lock", text),), {"TZ": "UTC"},
                    {"cores": 2}, "0.1.0"),
        {"lr": 0.1}, {"f1": 0.5}, {"python": 7},
        (RunInput("training", "iris@prod", "iris", text, text, run, "az://data/ml", 3, {"part": "train"},
                  False, 1, 8, (text,)),),
        (RunOutput("clean", text, text, run, 1),),
        (RunModel("churn", text, (ModelFile("model.pkl", 3, text),), "models/churn", {"kind": "tree"}),),
        (Tracker("mlflow", "39a8545a", "http://host", "0"),), id_of("parent").hex(), text,
    )  # fmt: skip
    return [
        vector(name, "run record", record.encode(), record.digest(), record=record.document())
        for name, record in (("run at its start", begun), ("run at its end", ended))
    ]


def operations() -> tuple[Operation, ...]:
    """One operation of every kind but `gene`, and one that nobody knows and may ignore."""
    samples: dict[str, Any] = {
        "dataset": id_of("iris"),
        "name": "name",
        "new_name": "new/name",
        "version": digest_of("version"),
        "manifest": digest_of("manifest"),
        "run": id_of("run"),
        "expected": digest_of("expected"),
        "target": digest_of("target"),
        "first_number": 2,
        "versions": (digest_of("read 1"), digest_of("read 2")),
        "digests": (digest_of("model tree"), digest_of("model file")),
        "numbered": (digest_of("v2"), digest_of("v3")),
        "absent": (digest_of("parent 1"), digest_of("parent 2")),
        "present": (digest_of("parent 3"),),
        "kind": 3,
        "record": digest_of("record"),
        "status": 1,
        "number": 4,
        "segment": digest_of("segment"),
        "inputs": (digest_of("input 1"), digest_of("input 2")),
        "output": digest_of("output"),
        "packs": (digest_of("pack"),),
        "segments": (),
        "key": "setting",
        "value": "on",
        "digest": digest_of("erased"),
        "files": 5,
        "size_bytes": 6,
        "new_bytes": 7,
        "stored_bytes": 8,
        "keys": 9,
        "subject": digest_of("signed"),
        "signer": digest_of("signer"),
        "envelope": b"{}",
    }
    made: list[Operation] = []
    for tag, kind in KINDS.items():
        if tag == b"gene":
            continue
        values = {name: samples[name] for name in kind.FIELDS}
        if tag == b"eras":
            values["record"] = "who, when and why"
        made.append(kind(**values))
    return (*made, Unknown(b"xtra", 0, b"kept"))


def entry_vector(name: str, entry: Entry) -> Vector:
    """A log entry. Its digest is its last 32 bytes too."""
    data = entry.encode()
    return vector(name, "log entry", data, kind_digest(Kind.LOG_ENTRY, data[:-32]), **plain(entry))


def entries() -> list[Vector]:
    """A genesis, an entry with every operation, a checkpoint and one after it."""
    genesis = Genesis(1, "fastcdc2020-nc1-seed0", 16_384, 65_536, 262_144, (), ("later",))
    repository, author = id_of("repository"), "A <a@example.org>"
    first = Entry(0, NO_ENTRY, repository, id_of("write 0"), TIME_US, author, (genesis,), None, ())
    steps = (Step(0, TIME_US, (genesis,)),)
    every = Entry(
        1, digest_of("entry 0"), repository, id_of("write 1"), TIME_US, author, operations(), None, steps
    )
    root = StateRoot(digest_of("state root"), digest_of("state identity"), 12, digest_of("pack"), 48, 4096)
    setting = ConfigSet("setting", "")
    checkpoint = Entry(
        64, digest_of("entry 63"), repository, id_of("write 64"), TIME_US, author, (setting,), root, ()
    )
    after = Entry(
        65,
        digest_of("entry 64"),
        repository,
        id_of("write 65"),
        TIME_US + 1,
        "",
        (),
        root,
        (Step(64, TIME_US, (setting,)),),
    )
    named = {
        "genesis": first,
        "every operation": every,
        "checkpoint": checkpoint,
        "after a checkpoint": after,
    }
    return [entry_vector(name, entry) for name, entry in named.items()]


def pack_parts(kind: PackKind) -> tuple[bytes, list[Frame], list[bytes], list[int]]:
    """A pack of a raw frame of two chunks and a compressed one of two: bytes, frames, digests, lengths."""
    builder = PackBuilder(kind, id_of("nonce"))
    chunks = [b"raw chunk", b"and another", b"a" * 30, b"a" * 70]
    digests_of = [bytes(blake3_digest(chunk)) for chunk in chunks]
    frames = [
        builder.add(Codec.RAW, chunks[:2], 20, b"".join(digests_of[:2]), [9, 11]),
        builder.add(Codec.ZSTD, [ZSTD_FRAME], 100, b"".join(digests_of[2:]), [30, 70]),
    ]
    _, parts = builder.finish()
    return b"".join(bytes(part) for part in parts), frames, digests_of, [9, 11, 30, 70]


def packs() -> list[Vector]:
    """A data pack, and a metadata pack without frames."""
    data, frames, digests_of, lengths = pack_parts(PackKind.DATA)
    name, parts = PackBuilder(PackKind.META, id_of("nonce")).finish()
    empty = b"".join(bytes(part) for part in parts)
    return [
        vector(
            "data pack",
            "pack",
            data,
            blake3_digest(data),
            kind_of_pack=1,
            frames=frames,
            digests=digests_of,
            lengths=lengths,
        ),
        vector("empty pack", "pack", empty, name, kind_of_pack=2, frames=[], digests=[], lengths=[]),
    ]


def segments() -> list[Vector]:
    """A segment over the data pack, one with a fan-out table, and one without keys."""
    data, frames, digests_of, _ = pack_parts(PackKind.DATA)
    of_pack = [SegmentFrame(0, f.offset, f.stored_bytes, f.raw_bytes, f.codec) for f in frames]
    rows = [(0, 0, 9), (0, 9, 11), (1, 0, 30), (1, 30, 70)]
    many = [digest_of(f"key {number}") for number in range(40)]
    one = [SegmentFrame(1, 48, 4000, 4000, 0)]
    found = []
    for name, packs_named, of, keys, places in (
        ("segment of a pack", [blake3_digest(data)], of_pack, digests_of, rows),
        (
            "segment of 40",
            [digest_of("pack 0"), digest_of("pack 1")],
            one,
            many,
            [(0, 100 * n, 100) for n in range(40)],
        ),
        ("empty segment", [], [], [], []),
    ):
        packed = b"".join(number.to_bytes(4, "little") for place in places for number in place)
        encoded = segment.encode(packs_named, of, b"".join(keys), packed, id_of("nonce"))
        found.append(
            vector(
                name,
                "segment",
                encoded,
                blake3_digest(encoded),
                packs=packs_named,
                frames=of,
                places=sorted(zip(plain(keys), places, strict=True)),
            )
        )
    return found


def make() -> list[Vector]:
    """All vectors."""
    return [
        *digests(),
        *splits(),
        *node_ends(),
        *chunk_ends(),
        *nodes(),
        *lists(),
        *versions(),
        *signatures(),
        *table_statistics(),
        *run_records(),
        *entries(),
        *packs(),
        *segments(),
    ]


def dump() -> str:
    """The file's text."""
    return json.dumps(make(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    VECTORS.write_text(dump(), encoding="utf-8")
