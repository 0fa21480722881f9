"""What goes in comes out: any folder, any edit, any version, any repository."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.chunking import ChunkerParameters
from dataver.errors import WouldOverwriteError
from dataver.repository import init
from tests.repositories import memory_repository
from tests.strategies import SMALL_CHUNKS, edited, paths, worlds
from tests.worlds import EMPTY, Thing, World, differences, files_and_bytes, folders_of, put, read, write


@st.composite
def histories(draw: st.DrawFn) -> list[World]:
    versions = [draw(worlds())]
    for _ in range(draw(st.integers(1, 3))):
        versions.append(draw(edited(versions[-1])))
    return versions


@given(histories(), st.sampled_from([None, SMALL_CHUNKS]), st.sampled_from([1, 4]))
def test_every_version_comes_back_as_it_was(
    versions: list[World], chunks: ChunkerParameters | None, jobs: int
) -> None:
    with TemporaryDirectory() as scratch:
        data, target = Path(scratch, "data"), Path(scratch, "target")
        repository = memory_repository(chunks)
        names = []
        for number, world in enumerate(versions):
            write(data, world)
            before = versions[number - 1] if number else {}
            if number:
                changes = repository.status("d", data)
                assert (changes.added, changes.modified, changes.deleted, changes.renamed) == differences(
                    before, world
                )
            done = repository.commit("d", data, jobs=jobs, allow_empty=True)
            assert (done.files, done.bytes) == files_and_bytes(world)
            assert not repository.status("d", data)
            names.append(done.version)
        for name, world in zip(names, versions, strict=True):
            repository.checkout(f"d@{name}", Path(scratch, str(name)), jobs=jobs)
            assert read(Path(scratch, str(name))) == world
        # One folder through all versions, back and forth: only the tool's own files are there.
        for name, world in [*zip(names, versions, strict=True), (names[0], versions[0])]:
            done_out = repository.checkout(f"d@{name}", target)
            assert read(target) == world
            assert (done_out.files, done_out.bytes) == files_and_bytes(world)
            again = repository.checkout(f"d@{name}", target)
            assert again.written_files == 0
        assert repository.verify(deep=True).ok


@given(worlds(), worlds())
def test_checkout_over_foreign_files_replaces_what_is_in_the_way_and_nothing_else(
    there: World, wanted: World
) -> None:
    with TemporaryDirectory() as scratch:
        data, target = Path(scratch, "data"), Path(scratch, "target")
        repository = memory_repository()
        write(data, wanted)
        repository.commit("d", data, allow_empty=True)
        write(target, there)
        if any(in_the_way(path, thing, there) for path, thing in wanted.items()):
            with pytest.raises(WouldOverwriteError):
                repository.checkout("d", target)
            assert read(target) == there
        folders = {folder for path in there for folder in folders_of(path)}
        if any(path in folders and thing != EMPTY for path, thing in wanted.items()):
            # A whole folder of somebody's is never the price.
            with pytest.raises(WouldOverwriteError):
                repository.checkout("d", target, overwrite=True)
            assert read(target) == there
            return
        repository.checkout("d", target, overwrite=True)
        found = read(target)
        for path, thing in wanted.items():
            assert found.get(path) == thing or (thing == EMPTY and path in folders)
        needed = {*wanted, *(folder for path in wanted for folder in folders_of(path))}
        for path, thing in there.items():
            assert path in needed or found.get(path) == thing


def in_the_way(path: bytes, thing: Thing, there: World) -> bool:
    """Whether something stands where a thing must go. A mode alone, or an empty folder, is no loss."""
    if any(there.get(folder, EMPTY) != EMPTY for folder in folders_of(path)):
        return True
    if path in there:
        return there[path] != EMPTY and there[path][:2] != thing[:2]
    return thing != EMPTY and any(other.startswith(path + b"/") for other in there)


@given(worlds(), st.data())
def test_the_tree_depends_on_the_files_alone(world: World, data: st.DataObject) -> None:
    """Not on the repository, the store, the chunks, the threads, the source's place or the way there."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch, "data")
        write(folder, world)
        trees = set()
        for chunks, jobs in ((None, 1), (SMALL_CHUNKS, 4), (ChunkerParameters(max_bytes=64 << 10), 2)):
            trees.add(memory_repository(chunks).commit("d", folder, jobs=jobs, allow_empty=True).tree)
        trees.add(init(f"{scratch}/local").commit("other/name", folder, message="m", allow_empty=True).tree)
        # By a detour over other versions, and in pieces.
        detour = memory_repository()
        other = Path(scratch, "other")
        write(other, data.draw(edited(world)))
        detour.commit("d", other, allow_empty=True)
        write(other, world)
        trees.add(detour.commit("d", other, allow_empty=True).tree)
        assert len(trees) == 1


@given(worlds(), st.data())
def test_adding_and_nesting_change_what_they_name_alone(world: World, data: st.DataObject) -> None:
    more = data.draw(worlds())
    into = data.draw(st.one_of(st.just(b""), paths.filter(lambda path: len(path) < 600)))
    with TemporaryDirectory() as scratch:
        write(Path(scratch, "base"), world)
        write(Path(scratch, "more"), more)
        repository = memory_repository()
        repository.commit("d", Path(scratch, "base"), allow_empty=True)
        repository.commit("d", Path(scratch, "more"), add=True, into=into.decode(), allow_empty=True)
        expected = dict(world)
        for path, thing in more.items():
            put(expected, into + b"/" + path if into else path, thing)
        repository.checkout("d", Path(scratch, "out"))
        assert read(Path(scratch, "out")) == expected
        # Without `add`, what the place held and the source has not goes.
        repository.commit("d", Path(scratch, "more"), into=into.decode(), allow_empty=True)
        prefix = into + b"/" if into else b""
        kept = {path: thing for path, thing in expected.items() if not path.startswith(prefix)}
        for path, thing in more.items():
            put(kept, prefix + path, thing)
        repository.checkout("d", Path(scratch, "out"))
        assert read(Path(scratch, "out")) == kept
