"""How far an erasure reaches: files and their chunks wherever versions have them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.chunking import ChunkerParameters
from dataver.digest import Digest
from dataver.errors import ErasedError, RefNotFoundError
from dataver.format.operations import Erase, Operation
from dataver.gc import collect
from dataver.gc.prune import Retention
from dataver.hashing import blake3_digest
from dataver.reading import file_rows
from dataver.repository import Repository, init
from tests.erased import World, noise, traces, words
from tests.repositories import memory_repository

SMALL = ChunkerParameters(min_bytes=1024, average_bytes=4096, max_bytes=16_384)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One version with a text and a large file."""
    made = World(tmp_path)
    made.write("kept.txt", words("kept", 3_000))
    made.write("large.bin", noise("large", 600_000))
    made.commit()
    return made


def digests(repository: Repository) -> dict[str, str]:
    """A version, the root of its manifest, the list of a file's chunks, and one of these."""
    session = repository.session
    state = session.newest()
    version = session.resolve("d", state).version
    entry = repository.version("d").entry("large.bin")
    assert entry.chunks is not None
    _, chunk = next(iter(file_rows(entry, session.objects(state))))
    found = {"version": str(version.id), "manifest": str(version.manifest), "list": entry.chunks.hex()}
    return {**found, "chunk": chunk.digest.hex()}


@pytest.mark.parametrize("kind", ["version", "manifest", "list", "chunk"])
def test_what_is_no_file_is_not_erased(world: World, kind: str) -> None:
    """By its digest: nobody has asked for the history, or the names, to go."""
    before = world.repository.session.newest().number
    with pytest.raises(RefNotFoundError, match="no version and no pack"):
        world.erase(digests(world.repository)[kind])
    assert world.repository.session.newest().number == before
    assert world.is_whole()


@pytest.mark.parametrize("kind", ["version", "manifest", "list"])
def test_a_record_that_names_what_is_no_file_harms_nothing(world: World, kind: str) -> None:
    """As an entry that somebody forged may have it."""
    digest = Digest.parse(digests(world.repository)[kind])
    session = world.repository.session
    operations: tuple[Operation, ...] = (Erase(digest, '{"reason":"forged"}'),)
    session.log.append(lambda _: operations, session.who(None))
    world.write("more.bin", noise("more", 100_000))
    world.commit(branch="x")
    world.repository.delete_ref("branch", "d", "x")
    del world.contents["more.bin"]
    for _ in range(2):
        collect(session, yes=True, grace_s=0)
    report = collect(session, yes=True, grace_s=0)
    assert (report.marked, report.rewritten, report.spared) == (0, 0, 0)
    assert world.reads("d")
    assert world.another().verify(deep=True).ok
    copy = memory_repository()
    copy.pull(["d"], source=world.another())
    assert copy.verify(deep=True).ok
    assert not world.another().repair(yes=True).lost


def lose_to_prune(world: World, path: str) -> str:
    """A version without a file, and the one with it is pruned; the digest of the file."""
    digest = blake3_digest(world.contents.pop(path)).hex()
    (world.folder / path).unlink()
    world.commit()
    assert world.repository.prune("d", Retention(last=1), yes=True).pruned
    return digest


@pytest.mark.parametrize("collected", [False, True])
def test_a_file_that_only_pruned_versions_have(world: World, collected: bool) -> None:
    """They may come back, and its bytes with them."""
    secret = world.contents["large.bin"]
    digest = lose_to_prune(world, "large.bin")
    if collected:
        collect(world.repository.session, yes=True, grace_s=7 * 86_400.0)
    report = world.erase(digest)
    assert report.done
    assert (report.versions, report.runs) == ([], [])
    assert traces(world.store, secret, Path(world.url)) == []
    world.another().gc_restore()
    with pytest.raises(ErasedError):
        world.another().version("d@v1").read("large.bin")
    assert world.is_whole(erased=1)


def test_all_holders_of_which_one_is_in_a_pruned_version(world: World) -> None:
    large = world.contents["large.bin"]
    holder = large[:300_000] + noise("rest", 300_000)
    world.write("holder.bin", holder)
    world.commit()
    lose_to_prune(world, "holder.bin")
    report = world.erase("large.bin", all_holders=True)
    assert {file.paths[0] for file in report.files} == {"large.bin", "holder.bin"}
    assert traces(world.store, large, Path(world.url)) == []
    assert traces(world.store, holder, Path(world.url)) == []


def test_a_file_of_a_dataset_that_is_deleted(world: World) -> None:
    secret = world.contents["large.bin"]
    digest = blake3_digest(secret).hex()
    world.repository.delete_dataset("d")
    with pytest.raises(RefNotFoundError):
        world.erase("large.bin")
    assert world.erase(digest).done
    assert traces(world.store, secret, Path(world.url)) == []
    with pytest.raises(RefNotFoundError):
        world.erase(digest, ref="never")


def test_chunks_that_were_kept_for_others_go_with_the_last_of_them(world: World) -> None:
    """A collection erases what an erased file shared with one that no version has any more."""
    large = world.contents["large.bin"]
    world.write("sharing.bin", large[:300_000] + noise("rest", 300_000))
    world.commit()
    report = world.erase("large.bin")
    assert [file.path for file in report.shared] == ["sharing.bin"]
    world.repository.tag("d@v1", "kept")
    (world.folder / "sharing.bin").unlink()
    del world.contents["sharing.bin"]
    (world.folder / "large.bin").unlink()
    world.commit()
    world.repository.prune("d", Retention(last=1), yes=True)
    # It may come back as it was until it is swept.
    collect(world.repository.session, yes=True, grace_s=7 * 86_400.0)
    assert world.repository.gc_restore().done
    assert world.another().version("d@v2").read("sharing.bin")[:300_000] == large[:300_000]
    world.repository.prune("d", Retention(last=1), yes=True)
    for _ in range(6):
        collect(world.repository.session, yes=True, grace_s=0)
    assert traces(world.store, large, Path(world.url)) == []
    with pytest.raises(ErasedError):
        world.another().version("d@kept").read("large.bin")
    assert world.another().version("d@kept").read("kept.txt") == world.contents["kept.txt"]
    assert world.another().verify(deep=True).ok
    again = collect(world.repository.session, yes=True, grace_s=0)
    assert (again.marked, again.swept, again.rewritten) == (0, 0, 0)


@pytest.mark.parametrize("whole", [12_000, 200_000])
def test_a_record_from_where_files_are_cut_otherwise_takes_nothing(tmp_path: Path, whole: int) -> None:
    """The receiver has all bytes of the file, in one chunk or in others than the source had."""
    data = noise("both", whole)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_bytes(data)
    receiver = init(str(tmp_path / "receiver"))
    receiver.commit("mine", tmp_path / "data")
    source = memory_repository(SMALL)
    (tmp_path / "data" / "g").write_bytes(b"another")
    source.commit("theirs", tmp_path / "data")
    source.erase("theirs", "f", reason="asked there", yes=True)
    done = receiver.pull(["theirs"], source=source)
    assert (done.erased, done.not_erased) == (0, [blake3_digest(data).hex()])
    for _ in range(2):
        collect(receiver.session, yes=True, grace_s=0)
    assert receiver.version("mine").read("f") == data
    assert receiver.version("theirs").read("g") == b"another"
    with pytest.raises(ErasedError, match="asked there"):
        receiver.version("theirs").read("f")
    assert receiver.verify(deep=True).ok
    receiver.checkout("mine", tmp_path / "out")
    assert (tmp_path / "out" / "f").read_bytes() == data
