"""What a trace reaches: all that a repository is made of, and nothing besides."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataver.chunking import ChunkerParameters
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.table_statistics import statistics_key
from dataver.gc import collect
from dataver.gc.listing import list_contents
from dataver.gc.trace import trace
from dataver.hashing import xxh3_64
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX, segment_key
from dataver.lineage.publishing import amend_run, start_run
from dataver.packs import read_footer
from dataver.progress import Silent
from dataver.repository import Repository
from dataver.tree.manifest import ManifestNodes, manifest_link
from dataver.tree.split import INNER_RULE, LEAF_RULE
from tests.repositories import memory_repository
from tests.runs import part_of_list, read, record

SMALL_CHUNKS = ChunkerParameters(min_bytes=64, average_bytes=256, max_bytes=1024)


@pytest.fixture
def repository() -> Repository:
    return memory_repository(SMALL_CHUNKS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def noise(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def many_files(folder: Path) -> None:
    """More than a node of a manifest holds."""
    for number in range(3_000):
        (folder / f"{number}").write_bytes(b"%d" % number)


def a_tree_of_three_levels(folder: Path) -> None:
    """As few files as have two nodes of nodes: their names are those after which nodes end."""
    for leaf in range(INNER_RULE.rows_min + 1):
        for number in range(LEAF_RULE.rows_min - 1):
            (folder / f"{leaf:03}-{number:04}").write_bytes(b"%d %d" % (leaf, number))
        is_last = leaf == INNER_RULE.rows_min - 1
        ends = (f"{leaf:03}-z{number}" for number in count())
        name = next(name for name in ends if ends_nodes(name, is_last))
        (folder / name).write_bytes(b"%d" % leaf)


def ends_nodes(name: str, inner_too: bool) -> bool:
    key = name.encode()
    is_end = not xxh3_64(key, 0) & LEAF_RULE.mask
    return is_end and (not inner_too or not xxh3_64(key, 1) & INNER_RULE.mask)


def a_large_file(folder: Path) -> None:
    """More chunks than one list names, beside another one with a list."""
    (folder / "large").write_bytes(noise(1, 1 << 20))
    (folder / "other").write_bytes(noise(2, 1 << 19))


def files_after_those_without_bytes(folder: Path) -> None:
    """Folders, empty files and links stand before, between and behind files."""
    for name in ("a", "c", "e"):
        (folder / f"{name}-folder").mkdir()
        (folder / f"{name}-empty").touch()
        (folder / f"{name}-link").symlink_to(name)
    for number, name in enumerate("bdf"):
        (folder / f"{name}-short").write_bytes(b"%d" % number)
        (folder / f"{name}-long").write_bytes(noise(number, 20_000))


def tables(folder: Path) -> None:
    """Beside which statistics are kept, however their names are spelt."""
    for number, name in enumerate(("a.parquet", "B.PARQUET", "c/d.parquet")):
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": list(range(number, 500))}), folder / name)


@pytest.mark.parametrize(
    ("fill", "level"),
    [
        (many_files, 1),
        (a_tree_of_three_levels, 2),
        (a_large_file, 0),
        (files_after_those_without_bytes, 0),
        (tables, 0),
    ],
)
def test_all_that_a_version_is_made_of_is_alive(
    repository: Repository, folder: Path, fill: Callable[[Path], None], level: int
) -> None:
    fill(folder)
    repository.commit("d", folder, stats=True)
    session = repository.session
    root = manifest_link(session.resolve("d").version.manifest)
    assert ManifestNodes(session.objects(session.newest())).load(root).level == level
    assert all_is_alive(repository)
    repository.delete_dataset("d")
    assert nothing_is_alive(repository)


def test_statistics_are_kept_of_tables_however_they_are_called(repository: Repository, folder: Path) -> None:
    tables(folder)
    (folder / "d.txt").write_bytes(noise(1, 500))
    repository.commit("d", folder, stats=True)
    index = repository.session.index(repository.session.newest())
    for file in repository.version("d").files():
        there = index.find(statistics_key(bytes.fromhex(file.digest)))
        assert (there is not None) is file.path.lower().endswith(".parquet")


def all_is_alive(repository: Repository) -> bool:
    """Whether a trace reaches every chunk and every object that is in the store."""
    session = repository.session
    traced = trace(session, session.newest(), Silent())
    used = traced.live.packs()
    for name in list_contents(session.store).packs:
        if bytes(name) in traced.state_packs:
            continue
        footer, _ = read_footer(session.store, name)
        dead = {bytes(chunk) for chunk, _, _, _ in footer.chunks()} - traced.live.digests_in(name)
        assert not dead
        use = used[bytes(name)]
        assert (use.live_chunks, use.live_bytes) == (len(footer.lengths), use.stored_bytes)
        assert use.stored_bytes == sum(frame.stored_bytes for frame in footer.frames)
    return True


def nothing_is_alive(repository: Repository) -> bool:
    session = repository.session
    traced = trace(session, session.newest(), Silent())
    return all((use.live_chunks, use.live_bytes) == (0, 0) for use in traced.live.packs().values())


def test_references_are_somewhere_else_and_what_is_beside_them_is_alive(
    repository: Repository, folder: Path
) -> None:
    (folder / "a").write_bytes(noise(1, 5_000))
    (folder / "link").symlink_to("a")
    repository.commit("d", folder, reference=True)
    assert all_is_alive(repository)


def test_all_records_and_parts_of_a_run_are_alive(repository: Repository, folder: Path) -> None:
    (folder / "a").write_bytes(noise(1, 5_000))
    repository.commit("d", folder)
    parts = [part_of_list([(name, "ab" * 32, 1, None)]) for name in "xyz"]
    given = read(repository, "d@v1")
    first = replace(given, reads=(parts[0][1], parts[1][1]))
    ended = record(repository, [first], parts=[parts[0][0], parts[1][0]])
    second = replace(given, role="test", reads=(parts[2][1],))
    amended = replace(ended, inputs=(first, second), amends=str(ended.digest()))
    amend_run(repository.session, amended, [parts[2][0]])
    again = replace(amended, exit_code=3, amends=str(amended.digest()))
    amend_run(repository.session, again)
    start_run(repository.session, replace(ended, run="cd" * 16, inputs=(), status="running"))
    assert all_is_alive(repository)
    repository.delete_dataset("d")
    collect(repository.session, yes=True, grace_s=0)
    assert Repository(repository.url).verify(deep=True).ok


def test_states_of_the_log_are_alive_whatever_is_collected(repository: Repository, folder: Path) -> None:
    (folder / "a").write_bytes(noise(1, 5_000))
    repository.commit("d", folder)
    repository.commit("old", folder)
    for number in range(2 * CHECKPOINT_EVERY):
        repository.tag("d@v1", f"t{number}")
    repository.delete_dataset("old")
    log = repository.session.log
    before = [dict(log.state_at(number).items()) for number in range(log.tail().entry.number + 1)]
    collect(repository.session, yes=True, grace_s=0)
    fresh = Repository(repository.url)
    assert [dict(fresh.session.log.state_at(n).items()) for n in range(len(before))] == before
    assert fresh.verify(deep=True).ok


def test_of_a_collection_nothing_is_left_but_what_is_alive(repository: Repository, folder: Path) -> None:
    (folder / "a").write_bytes(noise(1, 5_000))
    repository.commit("d", folder)
    session = repository.session
    before = {info.key: info.size_bytes for info in session.store.list("")}
    for number in range(3):
        (folder / "a").write_bytes(noise(2 + number, 5_000))
        repository.commit("old", folder)
    repository.delete_dataset("old")
    there = {info.key: info.size_bytes for info in session.store.list("")}
    report = collect(session, yes=True, grace_s=0)
    gone = there.keys() - {info.key for info in session.store.list("")}
    assert report.bytes == sum(there[key] for key in gone)
    assert (report.swept, report.marked) == (len(gone), len(gone))
    packs = [info.key for info in session.store.list(PACK_PREFIX)]
    assert packs == [key for key in before if key.startswith(PACK_PREFIX)]


def test_segments_that_were_merged_go_and_those_that_count_stay(repository: Repository, folder: Path) -> None:
    for number in range(20):
        (folder / "a").write_bytes(noise(number, 1_000))
        repository.commit("d", folder)
    session = repository.session
    valid = {segment_key(segment.name) for segment in session.newest().segments()}
    merged = {info.key for info in session.store.list(SEGMENT_PREFIX)} - valid
    assert len(merged) > 5
    report = collect(session, yes=True, grace_s=1e6)
    assert (report.marked, report.swept) == (len(merged), 0)
    assert merged < {info.key for info in session.store.list(SEGMENT_PREFIX)}
    assert collect(session, yes=True, grace_s=0).swept == len(merged)
    assert {info.key for info in session.store.list(SEGMENT_PREFIX)} == valid
    assert Repository(repository.url).verify(deep=True).ok
