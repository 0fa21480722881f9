"""Columns of trees, listings, and what is told by comparing them: the same as from an object a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataver.beside import entries_of, mark, stand_beside
from dataver.source import EMPTY_FOLDER, FILE, LocalSource, SourceFile
from dataver.source.columns import Listing
from dataver.stat_cache import CacheRow, StatCache
from dataver.tree.build import build
from dataver.tree.columns import read_columns
from dataver.tree.manifest import Entry, to_row
from dataver.tree.schema import MANIFEST, Link, MemoryNodes
from dataver.tree.walk import scan

OLD_NS = 10**18
NOW_NS = OLD_NS + 10**13


def entry(path: bytes, number: int = 7) -> Entry:
    extras = ((b"chnk", 2, b"c" * 32),) if number % 50 == 3 else ()
    return Entry(path, FILE, number % 5 == 0, number, number.to_bytes(32, "big"), extras)


def tree(entries: list[Entry]) -> tuple[MemoryNodes, Link]:
    nodes = MemoryNodes(MANIFEST)
    return nodes, build(nodes, map(to_row, entries))


ENTRIES = [entry(b"part-%02d/%04d" % divmod(n, 300), n) for n in range(3_000)]


@pytest.mark.parametrize(
    ("start", "stop"),
    [(b"", None), (b"part-03/", b"part-030"), (b"part-02/0150", b"part-05/0001"), (b"x", None)],
)
def test_columns_hold_what_a_scan_gives(start: bytes, stop: bytes | None) -> None:
    nodes, root = tree(ENTRIES)
    columns = read_columns(nodes, root, start, stop)
    rows = list(scan(nodes, root, start, stop))
    assert [columns[key] for key in columns] == rows
    assert list(columns) == [row.key for row in rows]
    assert columns.get(b"part-03/") is None
    assert b"part-03/" not in columns
    chosen = columns.selected(lambda name: name.endswith(b"3"), 3)
    assert [chosen[key] for key in chosen] == [row for row in rows if row.key.endswith(b"3")]


def test_entries_are_found_one_by_one_and_all_at_once() -> None:
    nodes, root = tree(ENTRIES)
    entries = entries_of(nodes, root)
    for each in (*ENTRIES[:400], *ENTRIES[-10:]):
        assert entries[each.path] == each
        assert each.path in entries
    assert entries.get(b"absent") is None
    assert b"absent" not in entries
    with pytest.raises(KeyError):
        entries[b"absent"]
    assert list(entries.values()) == ENTRIES


class TestStanding:
    def files(self, entries: list[Entry]) -> list[SourceFile]:
        return [SourceFile(e.path, e.kind, e.executable, e.size, OLD_NS, OLD_NS, 5) for e in entries]

    def known(self, entries: list[Entry]) -> StatCache:
        cache = StatCache(b"/x")
        rows = zip(self.files(entries), entries, strict=True)
        cache.update([CacheRow(file, each.digest, NOW_NS) for file, each in rows])
        return cache

    @pytest.mark.parametrize("is_marked", [False, True])
    def test_only_what_may_differ_is_open(self, is_marked: bool) -> None:
        nodes, root = tree(ENTRIES)
        cache, files = self.known(ENTRIES), self.files(ENTRIES)
        if is_marked:
            mark(cache, Listing.of(files), root)
            assert cache.tree == root.identity
        assert stand_beside(Listing.of(files), cache, entries_of(nodes, root), root).open in ((), [])
        touched, added = files[10]._replace(mtime_ns=OLD_NS + 1), files[0]._replace(path=b"zz")
        changed = Listing.of([*files[:10], touched, *files[12:], added])
        standing = stand_beside(changed, cache, entries_of(nodes, root), root)
        assert [changed[at].path for at in standing.open] == [touched.path, b"zz"]
        assert list(standing.digests) == [None, None]
        assert list(standing.gone) == [files[11].path]

    def test_kind_bit_size_and_digest_are_compared(self) -> None:
        others = [
            ENTRIES[0]._replace(executable=False),
            ENTRIES[1]._replace(size=99),
            ENTRIES[2]._replace(digest=b"d" * 32),
            ENTRIES[3]._replace(kind=3),
            *ENTRIES[4:],
        ]
        nodes, root = tree(others)
        standing = stand_beside(Listing.of(self.files(ENTRIES)), self.known(ENTRIES), entries_of(nodes, root))
        assert standing.open == [0, 1, 2, 3]
        assert standing.digests == [each.digest for each in ENTRIES[:4]]
        assert not standing.gone

    def test_below_a_folder_of_the_version(self) -> None:
        nodes, root = tree([each._replace(path=b"in/" + each.path) for each in ENTRIES])
        listing, cache = Listing.of(self.files(ENTRIES)), self.known(ENTRIES)
        standing = stand_beside(listing, cache, entries_of(nodes, root), into=b"in/")
        assert not standing.open
        assert not standing.gone

    def test_no_tree_is_told_where_an_empty_folder_is_among_the_files(self) -> None:
        folder = Entry(b"zz", EMPTY_FOLDER, False, 0, b"e" * 32)
        _, root = tree([*ENTRIES, folder])
        files = [*self.files(ENTRIES), SourceFile(b"zz", EMPTY_FOLDER, False, 0, OLD_NS, OLD_NS, 6)]
        cache = self.known(ENTRIES)
        mark(cache, Listing.of(files), root)
        assert cache.tree is None


def test_a_listing_is_sorted_whatever_stands_between_folders(tmp_path: Path) -> None:
    names = ["b/x", "b-c", "b.d", "b0", "a/b/c", "a/b-", "a/b.x/y", "a/z", "é/x", "é.x", "Z", "~"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("empty", "empty-not/inner", "b1/none"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "empty.txt").touch()
    found = LocalSource(tmp_path).files()
    assert found.paths == sorted(found.paths)
    assert found.joined_paths == b"\0".join(found.paths)
    expected = {*map(str.encode, names), b"empty", b"empty-not/inner", b"b1/none", b"empty.txt"}
    assert set(found.paths) == expected
    for file in found:
        stamps = os.lstat(os.fsencode(tmp_path) + b"/" + file.path)
        assert (file.mtime_ns, file.ctime_ns, file.inode) == (
            stamps.st_mtime_ns,
            stamps.st_ctime_ns,
            stamps.st_ino,
        )


def test_a_listing_gives_back_the_files_it_was_made_of() -> None:
    files = [
        SourceFile(b"b", FILE, True, 2**62, -5, OLD_NS, 2**64 - 1),
        SourceFile(b"a", EMPTY_FOLDER, False, 0, 0, 0, 0),
    ]
    listing = Listing.of(files)
    assert list(listing) == listing[:] == sorted(files)
    assert listing[1] == files[0]
    assert len(Listing.of([])) == len(list(Listing.of([]))) == 0


def test_a_time_beyond_all_reason_becomes_the_last_there_is() -> None:
    (file,) = Listing.of([SourceFile(b"a", FILE, False, 1, 2**70, OLD_NS, 1)])
    assert file.mtime_ns == 2**63 - 1
