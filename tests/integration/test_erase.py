"""Erasure: the bytes are nowhere afterwards, all else is as it was, and they do not come back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.chunking import ChunkerParameters
from dataver.erasure import erase
from dataver.errors import (
    BadInputError,
    ConflictError,
    ErasedDataError,
    ErasedError,
    NotPermittedError,
    PathNotFoundError,
    RefNotFoundError,
    StoreError,
)
from dataver.format.run_record import RunInput, RunModel, RunRecord
from dataver.format.table_statistics import statistics_key
from dataver.gc import collect, restore
from dataver.hashing import blake3_digest
from dataver.lineage.publishing import end_run
from dataver.reading import file_rows
from dataver.store.base import Store, Wrapper
from tests.erased import REASON, World, noise, traces, words
from tests.repositories import memory_repository

if TYPE_CHECKING:
    from dataver.store.base import Data, View

WEEK = 7 * 86_400.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    for number in range(8):
        made.write(f"labels/{number}.txt", words(number, 3_000))
    made.write("secret.txt", words("secret", 3_000))
    made.write("noise.bin", noise("kept", 300_000))
    made.write("large.bin", noise("large", 1_500_000))
    return made


@pytest.mark.parametrize("path", ["secret.txt", "large.bin", "noise.bin", "labels/3.txt"])
def test_the_bytes_are_nowhere_and_all_else_is_there(world: World, path: str) -> None:
    world.commit()
    world.write("later.txt", b"later")
    world.commit()
    canary, rare = world.contents[path], world.rare(path)
    assert traces(world.store, rare)
    before = world.repository.log("d")
    ids = [info.id for info in before]
    report = world.erase(path)
    assert report.done
    assert [file.paths for file in report.files] == [[path]]
    assert (report.bytes, report.undeleted, report.shared) == (len(canary), [], [])
    assert report.packs >= 1
    assert report.versions == ["d@v1", "d@v2"]
    assert traces(world.store, rare, Path(world.url)) == []
    assert world.is_whole(erased=1)
    assert world.reads("d@v2", path)
    assert [info.id for info in world.another().log("d")] == ids


def test_a_report_changes_nothing(world: World) -> None:
    world.commit()
    before = world.packs(), world.repository.session.log.tail().entry.number
    report = erase(world.repository.session, "d@v1", "secret.txt", reason=REASON)
    assert not report.done
    assert (report.chunks, report.bytes, report.packs) == (1, 3_000, 1)
    assert (world.packs(), world.repository.session.log.tail().entry.number) == before
    assert world.reads("d")


def test_every_copy_goes_by_its_digest_from_all_datasets(world: World) -> None:
    world.commit()
    world.write("copy/of.txt", world.contents["secret.txt"])
    world.commit("e")
    world.repository.delete_dataset("e")
    report = world.erase(blake3_digest(world.contents["secret.txt"]).hex())
    assert sorted(report.files[0].paths) == ["copy/of.txt", "secret.txt"]
    assert traces(world.store, world.rare("secret.txt"), Path(world.url)) == []
    world.repository.undelete_dataset("e")
    assert world.is_whole(erased=1)
    assert world.reads("e", "secret.txt", "copy/of.txt")


def test_what_is_in_the_wrong_form_is_refused(world: World) -> None:
    world.write("empty", b"")
    (world.folder / "link").symlink_to("secret.txt")
    world.commit()
    before = world.packs()
    for what, error in (
        ("nothing", PathNotFoundError),
        ("labels", BadInputError),
        ("empty", BadInputError),
        ("link", BadInputError),
        ("ab" * 32, RefNotFoundError),
    ):
        with pytest.raises(error):
            world.erase(what)
    with pytest.raises(RefNotFoundError):
        world.erase("secret.txt", "nothing")
    for reason in ("", "  \n", "x" * 2_001):
        with pytest.raises(BadInputError, match="reason"):
            erase(world.repository.session, "d", "secret.txt", reason=reason, yes=True)
    assert world.packs() == before
    assert world.reads("d")


def shared_world(world: World) -> tuple[bytes, bytes]:
    """A large file, and one that has some of its bytes."""
    first = noise("first", 600_000)
    second = first[:300_000] + noise("second", 300_000)
    world.write("first.bin", first)
    world.write("second.bin", second)
    world.commit()
    return first, second


def test_chunks_that_others_have_stay_and_are_listed(world: World) -> None:
    first, second = shared_world(world)
    report = world.erase("first.bin")
    assert [(other.path, other.at) for other in report.shared] == [("second.bin", "d@v1")]
    assert 0 < report.shared[0].bytes <= 300_000
    assert report.bytes + report.shared[0].bytes == len(first)
    assert world.reads("d", "first.bin")
    assert traces(world.store, first[-200_000:]) == []
    assert traces(world.store, second[:100_000])
    assert world.is_whole(erased=1)


def test_all_holders_go_where_that_is_asked_for(world: World) -> None:
    first, second = shared_world(world)
    report = world.erase("first.bin", all_holders=True)
    assert [file.paths for file in report.files] == [["first.bin"], ["second.bin"]]
    assert report.shared == []
    assert traces(world.store, first, Path(world.url)) == []
    assert traces(world.store, second, Path(world.url)) == []
    assert world.reads("d", "first.bin", "second.bin")
    assert world.is_whole(erased=2)


def test_a_file_of_which_all_is_in_kept_ones_is_not_erased_for_show(world: World) -> None:
    session = world.repository.session
    world.commit()
    # A file whose first chunk is a file by itself.
    large = world.contents["large.bin"]
    version = world.another().version("d")
    first = next(row for _, row in file_rows(version.entry("large.bin"), version.objects()))
    world.write("head.bin", large[: first.size_bytes])
    world.commit()
    with pytest.raises(ConflictError, match=r"large\.bin"):
        world.erase("head.bin")
    assert session.log.state().number == 2
    report = world.erase("head.bin", all_holders=True)
    assert {file.paths[0] for file in report.files} == {"head.bin", "large.bin"}
    assert traces(world.store, large, Path(world.url)) == []
    assert world.is_whole(erased=2)


def test_dead_copies_go_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In packs that are marked, and in those that crashed writers of other machines left."""
    secret = world.contents["large.bin"]
    for number in range(3):
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(world.place / f"machine{number}"))
        crashed = world.another()
        crashed.session.store = _Failing(crashed.session.store, lambda key: key.startswith("index/"))
        with pytest.raises(StoreError):
            crashed.commit("d", world.folder)
        if number == 1:
            assert collect(world.repository.session, yes=True, grace_s=WEEK).marked >= 2
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(world.place / "machine"))
    world.commit()
    assert len({key.partition(" ")[0] for key in traces(world.store, secret)}) == 4
    report = world.erase("large.bin")
    assert report.packs == 4
    assert traces(world.store, secret, Path(world.url)) == []
    assert restore(world.repository.session).done
    assert world.is_whole(erased=1)
    assert world.reads("d", "large.bin")


class _Failing(Wrapper):
    """A store that does not take some keys."""

    def __init__(self, inner: Store, fails: Callable[[str], bool]) -> None:
        super().__init__(inner)
        self._fails = fails

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if self._fails(key):
            raise StoreError(f"{key} was not taken")
        return self.inner.put_new(key, data, barrier=barrier)


class _Keeping(Wrapper):
    """A store that lets nothing be deleted."""

    def delete(self, key: str) -> None:
        raise NotPermittedError(f"{key} may not be deleted")


def test_a_store_that_deletes_nothing_is_told_again(world: World) -> None:
    world.commit()
    repository = world.another()
    repository.session.store = _Keeping(repository.session.store)
    report = erase(repository.session, "d", "secret.txt", reason=REASON, yes=True)
    assert len(report.undeleted) == 1
    assert traces(world.store, world.rare("secret.txt"))
    assert world.reads("d", "secret.txt")
    again = world.erase("secret.txt")
    assert (again.undeleted, again.files[0].erased) == ([], True)
    assert traces(world.store, world.rare("secret.txt"), Path(world.url)) == []


def test_a_repeat_changes_nothing_and_keeps_the_first_reason(world: World) -> None:
    world.commit()
    world.erase("secret.txt")
    number = world.repository.session.log.tail().entry.number
    report = erase(world.repository.session, "d", "secret.txt", reason="another", yes=True)
    assert report.files[0].erased
    assert report.packs == 0
    assert world.repository.session.log.tail().entry.number == number
    assert world.reads("d", "secret.txt")


def test_no_commit_takes_them_again(world: World, tmp_path: Path) -> None:
    world.commit()
    world.erase("secret.txt")
    world.erase("large.bin")
    before = world.packs()
    # Unchanged in the folder that was committed from: nobody reads it, and it is refused all the same.
    world.write("new.txt", b"new")
    with pytest.raises(ErasedDataError, match=rf"(secret.txt|large.bin).*{REASON}"):
        world.commit()
    # Under another name in another dataset, alone, among others, as a part of something, by reference.
    other = tmp_path / "other"
    other.mkdir()
    for data in (
        world.contents["secret.txt"],
        world.contents["large.bin"],
        world.contents["large.bin"] + b"more",
        b"more" + world.contents["large.bin"],
    ):
        (other / "file").write_bytes(data)
        for options in ({}, {"add": True}, {"dry_run": True}):
            with pytest.raises(ErasedDataError, match=REASON):
                world.repository.commit("e", other, **options)  # type: ignore[arg-type]
    (other / "file").write_bytes(world.contents["secret.txt"])
    with pytest.raises(ErasedDataError, match=REASON):
        world.repository.commit("e", other, reference=True)
    assert traces(world.store, world.rare("secret.txt")) == []
    assert traces(world.store, world.contents["large.bin"]) == []
    assert before <= world.packs()
    for path in ("secret.txt", "large.bin"):
        (world.folder / path).unlink()
        del world.contents[path]
    world.commit()
    assert world.is_whole(erased=2)
    assert world.reads("d")


def test_a_small_part_of_a_file_that_was_erased_is_refused(world: World, tmp_path: Path) -> None:
    world.write("medium.bin", noise("medium", 400_000))
    world.commit()
    world.erase("medium.bin")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a").write_bytes(b"a")
    (other / "b").write_bytes(world.contents["medium.bin"] + b"more")
    with pytest.raises(ErasedDataError, match="from a to b"):
        world.repository.commit("e", other)


def test_an_erasure_while_somebody_commits(world: World, tmp_path: Path) -> None:
    """The writer read the bytes before they were erased, and is refused when it records them."""
    world.commit()
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(noise("other", 50_000))
    (other / "same").write_bytes(world.contents["secret.txt"])
    (other / "begins").write_bytes(world.contents["large.bin"] + b"more")

    class Meanwhile(Wrapper):
        def __init__(self, inner: Store) -> None:
            super().__init__(inner)
            self.done = False

        def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
            if key.startswith("index/") and not self.done:
                self.done = True
                world.erase("large.bin")
                world.erase("secret.txt")
            return self.inner.put_new(key, data, barrier=barrier)

    writer = world.another()
    writer.session.store = writer.session.log.store = Meanwhile(writer.session.store)
    with pytest.raises(ErasedDataError, match=REASON):
        writer.commit("e", other)
    assert [info.name for info in world.another().datasets()] == ["d"]
    assert world.is_whole(erased=2)
    # What the writer put of it before it was refused is found by a repeat.
    world.erase("secret.txt")
    world.erase("large.bin")
    assert traces(world.store, world.contents["large.bin"]) == []
    assert traces(world.store, world.rare("secret.txt")) == []


def test_a_writer_that_relies_on_a_pack_that_goes_is_told_to_repeat_or_spares_it(
    world: World, tmp_path: Path
) -> None:
    world.commit()
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(world.contents["noise.bin"])
    (other / "new").write_bytes(noise("other", 50_000))

    class Meanwhile(Wrapper):
        done = False

        def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
            if key.startswith("index/") and not self.done:
                self.done = True
                world.erase("secret.txt")
            return self.inner.put_new(key, data, barrier=barrier)

    writer = world.another()
    writer.session.store = writer.session.log.store = Meanwhile(writer.session.store)
    with pytest.raises(ConflictError, match="repeat"):
        writer.commit("e", other)
    world.another().commit("e", other)
    assert world.is_whole(erased=1)
    assert world.another().version("e").read("kept") == world.contents["noise.bin"]


def test_a_writer_between_the_entries_is_not_lost(world: World, tmp_path: Path) -> None:
    """After the marks and before the sweep somebody records a version that relies on a marked pack."""
    world.commit()
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_bytes(world.contents["noise.bin"])
    planned: list[str] = []

    class Between(Wrapper):
        def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
            if key.endswith("3") and key.startswith("log/") and not planned:
                planned.append(key)
                world.another().commit("e", other)
            return self.inner.put_new(key, data, barrier=barrier)

    eraser = world.another()
    eraser.session.store = eraser.session.log.store = Between(eraser.session.store)
    erase(eraser.session, "d", "secret.txt", reason=REASON, yes=True)
    assert planned
    assert traces(world.store, world.rare("secret.txt"), Path(world.url)) == []
    assert world.is_whole(erased=1)
    assert world.another().version("e").read("kept") == world.contents["noise.bin"]


def test_a_collection_and_an_erasure_do_not_meet_in_loss(world: World) -> None:
    world.commit()
    world.write("more.bin", noise("more", 300_000))
    world.commit(branch="x")
    world.repository.delete_ref("branch", "d", "x")
    collect(world.repository.session, yes=True, grace_s=WEEK)
    world.erase("secret.txt")
    assert world.is_whole(erased=1)
    collect(world.repository.session, yes=True, grace_s=0)
    assert world.is_whole(erased=1)
    del world.contents["more.bin"]
    assert world.reads("d", "secret.txt")
    again = collect(world.repository.session, yes=True, grace_s=0)
    assert (again.marked, again.swept) == (0, 0)


def test_who_had_seen_it_is_listed(world: World) -> None:
    world.commit()
    repository, session = world.repository, world.repository.session
    found = repository.version("d")
    given = RunInput("training", "d", "d", found.id, found.tree, repository.id)
    run = RunRecord(
        "ab" * 16, "train", "Ana <a@x>", 0, status="done", inputs=(given,),
        models=(RunModel("churn", found.tree),),
    )  # fmt: skip
    end_run(session, run)
    report = world.erase("secret.txt")
    assert (report.versions, report.runs, report.models) == (["d@v1"], ["ab" * 16], ["model:churn@v1"])
    assert report.soft_delete_days == 0


def test_a_checkout_leaves_them_out_when_told_to(world: World, tmp_path: Path) -> None:
    world.commit()
    world.repository.checkout("d", tmp_path / "out")
    world.erase("secret.txt")
    with pytest.raises(ErasedError, match=rf"secret.txt.*{REASON}.*skip-erased"):
        world.another().checkout("d", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    done = world.another().checkout("d", tmp_path / "new", skip_erased=True)
    assert (done.erased_files, done.written_files) == (1, len(world.contents) - 1)
    assert not (tmp_path / "new" / "secret.txt").exists()
    # A folder that has the file from before: it goes with the others of an earlier checkout.
    world.another().checkout("d", tmp_path / "out", skip_erased=True)
    assert not (tmp_path / "out" / "secret.txt").exists()
    # What is committed from there lacks the file, and nothing is in the way.
    assert world.repository.commit("d", tmp_path / "new").changed.deleted == 1


def test_a_reader_that_was_open_looks_again(world: World, tmp_path: Path) -> None:
    world.commit()
    version = world.another().version("d")
    assert version.read("labels/0.txt") == world.contents["labels/0.txt"]
    world.erase("secret.txt")
    world.erase("large.bin")
    for path, data in world.contents.items():
        if path not in ("secret.txt", "large.bin"):
            assert version.read(path) == data
    with pytest.raises(ErasedError):
        version.read("large.bin")
    with version.open("large.bin") as file, pytest.raises(ErasedError):
        file.read(100)


def test_local_copies_lose_it(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    world.commit()
    copy = world.another().version("d").path()
    assert (copy / "large.bin").read_bytes() == world.contents["large.bin"]
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "other"))
    world.erase("large.bin")
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    assert traces(world.store, world.contents["large.bin"], tmp_path / "cache")
    world.another().datasets()
    assert traces(world.store, world.contents["large.bin"], tmp_path / "cache") == []
    assert (copy / "noise.bin").read_bytes() == world.contents["noise.bin"]
    with pytest.raises(ErasedError):
        world.another().version("d").path()
    assert world.another().version("d").path("labels").is_dir()


def test_statistics_go_too(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    table = pa.table({"who": ["canary-ada-lovelace-4711"] * 3, "n": [1, 2, 3]})
    pq.write_table(table, world.folder / "t.parquet")
    pq.write_table(pa.table({"n": [4, 5, 6]}), world.folder / "u.parquet")
    world.commit(stats=True)
    canary = b"canary-ada-lovelace-4711"
    key = statistics_key(blake3_digest((world.folder / "t.parquet").read_bytes()))
    other = statistics_key(blake3_digest((world.folder / "u.parquet").read_bytes()))
    assert world.repository.session.index().find(key) is not None
    assert world.another().version("d").stats("t.parquet") is not None
    world.erase("t.parquet")
    index = world.another().session.index()
    assert index.find(key) is None
    assert index.find(other) is not None
    assert traces(world.store, canary, Path(world.url), tmp_path / "cache") == []
    with pytest.raises(ErasedError):
        world.another().version("d").stats("t.parquet")
    assert world.another().version("d").stats("u.parquet") is not None
    assert world.is_whole(erased=1)
    collect(world.repository.session, yes=True, grace_s=0)
    assert world.is_whole(erased=1)


def test_a_file_with_lists_of_lists(tmp_path: Path) -> None:
    """So many chunks that they stand in lists below a list, some of which another file has as well."""
    folder = tmp_path / "source"
    folder.mkdir()
    first = noise("first", 700_000)
    (folder / "first").write_bytes(first)
    (folder / "second").write_bytes(first[:400_000] + noise("second", 100_000))
    repository = memory_repository(ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024))
    repository.commit("d", folder)
    report = erase(repository.session, "d", "first", reason=REASON, yes=True)
    assert 0 < report.bytes < 350_000
    assert report.shared[0].path == "second"
    assert traces(repository.session.store, first[-250_000:]) == []
    assert repository.version("d").read("second") == (folder / "second").read_bytes()
    found = repository.verify(deep=True)
    assert (found.ok, found.erased) == (True, 1), found.damaged
    collect(repository.session, yes=True, grace_s=0)
    assert repository.verify(deep=True).ok
    again = erase(repository.session, "d", "second", reason=REASON, yes=True)
    assert again.bytes == 500_000
    assert traces(repository.session.store, first) == []
    assert repository.verify(deep=True).erased == 2


def test_one_version_is_verified(world: World) -> None:
    world.commit()
    world.erase("large.bin")
    found = world.another().verify("d@v1", deep=True)
    assert (found.ok, found.erased) == (True, 1)


def test_names_lines_and_old_versions_go_on(world: World, tmp_path: Path) -> None:
    """Reverts, merges, tags and deletions of versions with what was erased need no bytes of it."""
    world.commit()
    world.erase("secret.txt")
    (world.folder / "secret.txt").unlink()
    repository = world.repository
    repository.commit("d", world.folder)
    assert repository.revert("d@v1").created
    assert repository.tag("d@v1", "old").id
    repository.branch("d@v2", "side")
    other = tmp_path / "other"
    other.mkdir()
    (other / "new").write_bytes(b"new")
    repository.commit("d", other, add=True, branch="side")
    assert repository.merge("d@side").created
    assert repository.diff("d@v1", "d@v2").deleted == ["secret.txt"]
    assert world.is_whole(erased=1)


def test_packs_that_nobody_can_search_are_told(world: World) -> None:
    world.commit()
    world.store.put_new("packs/ab/" + "ab" * 32, b"no pack")
    report = world.erase("secret.txt")
    assert report.unread == ["packs/ab/" + "ab" * 32]
    assert traces_of(world, "secret.txt") == []


def traces_of(world: World, path: str) -> list[str]:
    canary = world.rare(path)
    return [info.key for info in world.store.list("") if canary in world.store.get(info.key)]


def test_files_that_killed_writers_left_unfinished_go(world: World) -> None:
    world.commit()
    folder = next((Path(world.url) / "packs").iterdir())
    old, young = folder / ".tmp-old", folder / ".tmp-young"
    for path in (old, young):
        path.write_bytes(world.contents["secret.txt"])
    os.utime(old, (time.time() - 4_000, time.time() - 4_000))
    world.erase("secret.txt")
    assert (old.exists(), young.exists()) == (False, True)


def test_an_erasure_while_somebody_checks_out(world: World, tmp_path: Path) -> None:
    """The packs go that the checkout was about to read: it finds the same bytes in others."""
    world.commit()

    class Meanwhile(Wrapper):
        done = False

        def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
            if armed and not self.done:
                self.done = True
                world.erase("secret.txt")
            return self.inner.get_ranges(key, ranges)

        def map(self, key: str) -> memoryview:
            return self.inner.map(key)  # type: ignore[attr-defined, no-any-return]

    armed = False
    reader = world.another()
    between = Meanwhile(reader.session.store)
    reader.session.store = reader.session.log.store = between
    version = reader.version("d")
    assert version.read("labels/1.txt") == world.contents["labels/1.txt"]
    list(version.files())
    armed = True
    reader.checkout("d", tmp_path / "out", exclude=["secret.txt"])
    assert between.done
    for path, data in world.contents.items():
        if path != "secret.txt":
            assert (tmp_path / "out" / path).read_bytes() == data
    assert world.is_whole(erased=1)
