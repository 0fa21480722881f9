"""What `verify` says where every digest is right, and what is said is not."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from dataver.column import Column
from dataver.digest import Digest
from dataver.format import chunk_list
from dataver.format.entry import CHECKPOINT_EVERY, StateRoot
from dataver.format.operations import ConfigSet, DatasetRename, IndexAdd, TagCreate, VersionAdd
from dataver.format.version import VersionRecord
from dataver.hashing import Kind, blake3_digest, kind_digest
from dataver.keys import entry_key, pack_key
from dataver.log.log import Identity, Log
from dataver.log.state import State
from dataver.packs import Nonce, RecordWriter, StoredPack
from dataver.repository import Repository, init
from dataver.results import Harm
from dataver.segments import StoredSegment, write_segment
from dataver.store.base import Store
from dataver.tree.build import build
from dataver.tree.manifest import Entry as Manifest
from dataver.tree.manifest import chunks_extra, reference_extra, to_row
from dataver.tree.schema import MANIFEST, Link, LinkedNode, MemoryNodes, NodeStore
from dataver.tree.update import Edits, update
from tests.damage import WHOLE, append, change, commit, harms, opened, the_one
from tests.worlds import noise

NAMES = count()


@pytest.fixture
def repository() -> Repository:
    return init(f"memory://forged-{next(NAMES)}")


# Contradictions: every digest is right, and what is said is not


def test_an_operation_that_cannot_follow_is_damage(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    dataset = repository.session.state().dataset("iris")
    assert dataset is not None
    number = append(repository, DatasetRename(dataset, "roses", "tulips"))
    damage = the_one(opened(repository).verify())
    assert (damage.object, damage.harms) == (entry_key(number), [WHOLE])
    assert "cannot follow" in damage.reason


def test_a_checkpoint_of_another_state_is_damage(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Log._checkpoint

    def forget(log: Log, state: State, identity: Identity) -> StateRoot:
        state.changes.popitem()
        return honest(log, state, identity)

    for number in range(1, CHECKPOINT_EVERY):
        append(repository, ConfigSet(f"key {number}", "value"))
    assert opened(repository).verify().ok
    monkeypatch.setattr(Log, "_checkpoint", forget)
    assert append(repository, ConfigSet("last", "value")) == CHECKPOINT_EVERY
    damage = the_one(opened(repository).verify())
    assert (damage.object, damage.harms) == (entry_key(CHECKPOINT_EVERY), [WHOLE])


def test_an_entry_that_repeats_others_wrongly_is_damage(repository: Repository) -> None:
    append(repository, ConfigSet("colour", "red"))
    log = repository.session.log
    honest = log._next(log.tail(), (ConfigSet("shape", "round"),), repository.session.who(None))
    first, second = honest.since
    lie = replace(honest, since=(first, replace(second, operations=(ConfigSet("colour", "blue"),))))
    assert repository.session.store.put_new(entry_key(2), lie.encode())
    damage = the_one(opened(repository).verify())
    assert damage.object == entry_key(2)
    assert "otherwise" in damage.reason


def test_an_entry_made_after_another_one_is_damage(repository: Repository) -> None:
    append(repository, ConfigSet("colour", "red"))
    append(repository, ConfigSet("shape", "round"))
    log = repository.session.log
    other = log._next(log.entry(0), (ConfigSet("colour", "red"),), repository.session.who(None))
    change(repository.session.store, entry_key(1), other.encode())
    found = {damage.object for damage in opened(repository).verify().damaged}
    assert entry_key(1) in found


def test_a_record_with_another_tree_is_damage(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    honest = repository.session.resolve("iris")
    record = VersionRecord(Digest(bytes(32)), (), 0, "Mallory", "a lie")
    version = record.id()
    writer = RecordWriter(repository.session.store)
    writer.add(version, record.encode())
    packs = writer.close()
    segment = write_segment(repository.session.store, packs)
    append(
        repository,
        VersionAdd(honest.dataset, version, honest.version.manifest, 1, 3, 0, 0),
        IndexAdd(segment.name, segment.keys, segment.size_bytes),
    )
    damage = the_one(opened(repository).verify())
    assert damage.object == pack_key(packs[0].name)
    assert "another tree" in damage.reason
    assert damage.harms == [Harm("iris", str(version), None)]


def test_a_long_file_that_is_not_its_digest_is_found_by_deep(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(nodes: NodeStore, root: Link, edits: Edits) -> Link:
        long = edits[b"long"]
        assert long is not None
        false = long._replace(fixed=bytes(32) + long.fixed[32:])
        return update(nodes, root, {**edits, b"long": false})

    monkeypatch.setattr("dataver.publish.update", lie)
    commit(repository, tmp_path / "data", long=noise(1, 400_000), other=noise(2, 400_000))
    assert repository.verify().ok
    damage = the_one(repository.verify(deep=True))
    assert damage.harms == [Harm("iris", "v1", "long")]
    assert "long" in damage.reason


def test_a_segment_that_leads_elsewhere_is_blamed_where_the_pack_is_proven(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crossed(store: Store, packs: list[StoredPack], *, nonce: Nonce) -> StoredSegment:
        """A segment that takes the first two chunks of the data for each other."""
        data, *rest = packs
        digests = data.digests[32:64] + data.digests[:32] + data.digests[64:]
        return write_segment(store, [replace(data, digests=Column(digests)), *rest], nonce=nonce)

    monkeypatch.setattr("dataver.publish.write_segment", crossed)
    commit(repository, tmp_path / "data", a=noise(1, 70_000), b=noise(2, 70_000))
    (segment,) = repository.session.store.list("index/")
    report = repository.verify(deep=True)
    assert segment.key in {damage.object for damage in report.damaged}
    assert {path for _, _, path in harms(report)[segment.key]} <= {"a", "b"}
    assert harms(report)[segment.key]
    # Without reading the pack it might as well be the pack that is another one.
    assert not repository.verify().ok


def test_a_version_with_other_counts_than_its_manifest_is_damage(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    nodes = MemoryNodes(MANIFEST)
    root = build(nodes, [to_row(Manifest(b"f", 0, False, 3, blake3_digest(b"one")))])
    key = forge(repository, nodes, root._replace(rows=2))
    damage = the_one(opened(repository).verify())
    assert damage.object == key
    assert "files and bytes" in damage.reason


def test_a_ref_to_a_version_that_nobody_added_is_damage(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    dataset = repository.session.resolve("iris").dataset
    number = append(repository, TagCreate(dataset, "paper", Digest(b"x" * 32)))
    damage = the_one(opened(repository).verify())
    assert damage.object == entry_key(number)
    assert f"paper names version {b'x'.hex() * 32}" in damage.reason
    assert damage.harms == [Harm(None, None, None), Harm("iris", None, None)]


@pytest.mark.parametrize("lie", ["bytes", "level"])
def test_a_chunk_list_that_lies_about_what_is_below_is_damage(
    repository: Repository, tmp_path: Path, lie: str
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    above = chunk_list.encode(1 + (lie == "level"), LIST_DIGEST, [3 + (lie == "bytes")])
    digest = kind_digest(Kind.CHUNK_LIST, above)
    nodes = MemoryNodes(MANIFEST)
    entry = Manifest(b"f", 0, False, 3 + (lie == "bytes"), blake3_digest(b"one"), chunks_extra(digest))
    lists = {LIST_DIGEST.hex(): LIST, digest.hex(): above}
    key = forge(repository, nodes, build(nodes, [to_row(entry)]), **lists)
    damage = the_one(opened(repository).verify())
    assert damage.object == key
    assert "does not fit" in damage.reason
    assert [harm.path for harm in damage.harms] == ["f"]


# Manifests that nobody of ours wrote


def forge(repository: Repository, nodes: MemoryNodes, root: Link, **more: bytes) -> str:
    """Put a version of these nodes, and other records by the hex of their digests; gives the pack."""
    record = VersionRecord(Digest(root.identity), (), 0, "Mallory", "forged")
    writer = RecordWriter(repository.session.store)
    for digest, data in nodes.encoded.items():
        writer.add(digest, data)
    for name, data in more.items():
        writer.add(bytes.fromhex(name), data)
    writer.add(record.id(), record.encode())
    (pack,) = writer.close()
    segment = write_segment(repository.session.store, [pack])
    dataset = repository.session.resolve("iris").dataset
    append(
        repository,
        VersionAdd(dataset, record.id(), Digest(root.digest), root.rows, root.size_bytes, 0, 0),
        IndexAdd(segment.name, segment.keys, segment.size_bytes),
    )
    return pack_key(pack.name)


LIST = chunk_list.encode(0, blake3_digest(b"one"), [3])
LIST_DIGEST = kind_digest(Kind.CHUNK_LIST, LIST)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Manifest(b"f", 0, False, 3, blake3_digest(b"one"), chunks_extra(b"short")), "not named by a digest"),
        (Manifest(b"f", 7, False, 3, blake3_digest(b"one")), "kind 7"),
        (Manifest(b"f", 0, False, 0, blake3_digest(b"one")), "has no bytes"),
        (Manifest(b"f", 2, False, 3, blake3_digest(b"")), "has no bytes"),
        (Manifest(b"f", 0, False, 4, blake3_digest(b"one")), "has 3 bytes"),
        (
            Manifest(b"f", 0, False, 9, blake3_digest(b"one"), chunks_extra(LIST_DIGEST)),
            "has not the 3 bytes",
        ),
        (Manifest(b"f", 3, False, 3, blake3_digest(b"one")), "reference to nowhere"),
        (Manifest(b"f", 3, False, 3, blake3_digest(b"one"), ((b"refr", 2, b"7"),)), "malformed"),
        (Manifest(b"../f", 0, False, 3, blake3_digest(b"one")), "cannot be a path"),
    ],
)
def test_an_entry_that_contradicts_itself_is_damage(
    repository: Repository, tmp_path: Path, entry: Manifest, reason: str
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    nodes = MemoryNodes(MANIFEST)
    key = forge(repository, nodes, build(nodes, [to_row(entry)]), **{LIST_DIGEST.hex(): LIST})
    damage = the_one(opened(repository).verify())
    assert damage.object == key
    assert reason in damage.reason
    assert [harm.path for harm in damage.harms] == ([None] if b"/" in entry.path else ["f"])


def test_a_reference_to_a_place_of_no_meaning_is_damage_at_that_place(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    for url in ("nonsense://place", "http", "no.where"):
        nodes = MemoryNodes(MANIFEST)
        # The place is no part of what a version is, so the paths must differ.
        entry = Manifest(
            url[-2:].encode() + b"x", 3, False, 3, blake3_digest(b"one"), reference_extra(url, "")
        )
        forge(repository, nodes, build(nodes, [to_row(entry)]))
    assert opened(repository).verify().ok
    assert {damage.object for damage in opened(repository).verify(deep=True).damaged} == {
        "nonsense://place", "http", "no.where",
    }  # fmt: skip


@pytest.mark.parametrize("lie", ["rows", "size_bytes", "identity", "last key", "first key", "level"])
def test_an_inner_node_that_lies_about_what_is_below_is_damage(
    repository: Repository, tmp_path: Path, lie: str
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    nodes = MemoryNodes(MANIFEST)
    files = [to_row(Manifest(b"%04d" % n, 0, False, 3, blake3_digest(b"one"))) for n in range(20)]
    leaves = [nodes.save(0, files[:10]), nodes.save(0, files[10:])]
    level, links, keys = 1, list(leaves), [files[9].key, files[19].key]
    if lie == "last key":
        keys[1] += b"0"
    elif lie == "first key":
        links[1] = nodes.save(0, [files[3], *files[11:]])
    elif lie == "level":
        level = 2
    elif lie == "identity":
        links[0] = links[0]._replace(identity=bytes(32))
    elif lie == "rows":
        links[0] = links[0]._replace(rows=11)
    else:
        links[0] = links[0]._replace(size_bytes=1 << 40)
    rows = [MANIFEST.row(LinkedNode(key, link)) for key, link in zip(keys, links, strict=True)]
    key = forge(repository, nodes, nodes.save(level, rows))
    damage = the_one(opened(repository).verify())
    assert damage.object == key
    assert "does not fit" in damage.reason
    assert [(harm.dataset, harm.path) for harm in damage.harms] == [("iris", None)]
