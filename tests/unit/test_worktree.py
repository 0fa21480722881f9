"""The stat cache and what a folder is based on: right or unknown, never wrong, never an error."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dataver import stat_cache
from dataver.column import Column
from dataver.config import cache_folder
from dataver.hashing import blake3_digest
from dataver.source import EMPTY_FOLDER, FILE, SYMLINK, LocalSource, SourceFile
from dataver.source.base import REMOTE_MTIME, REMOTE_TAG
from dataver.source.columns import Listing, Picked, stamp_of
from dataver.stat_cache import COARSE_GRAIN_NS, FINE_GRAIN_NS, CacheRow, StatCache, is_settled
from dataver.stat_file import Lock, locked, worktrees_folder
from dataver.worktree import Base, announce_base, announced_base, base, known_sources, set_base

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND_NS + 123_456_789
OLD_NS = NOW_NS - 3600 * SECOND_NS
A, B = b"a" * 32, b"b" * 32


def file(path: Any = b"f", **changes: Any) -> SourceFile:
    return SourceFile(path, FILE, False, 7, OLD_NS, OLD_NS, 42)._replace(**changes)


def stored_files() -> list[Path]:
    return sorted(path for path in (cache_folder() / "worktrees").rglob("*.stat") if path.is_file())


class TestLookup:
    def test_nothing_is_known_at_first(self) -> None:
        cache = StatCache(b"/x")
        assert cache.lookup([file()]) == [None]
        assert cache.recorded(b"f") is None
        assert cache.owned() == []
        assert len(cache) == 0

    def test_what_was_taken_in_is_found_again_by_a_later_process(self) -> None:
        rows = [
            CacheRow(file(b"a"), A, NOW_NS),
            CacheRow(file(b"line\nbreak/\xc3\xa9", executable=True, size=0), B, NOW_NS),
            CacheRow(file(b"link", kind=SYMLINK), A, NOW_NS),
            CacheRow(file(b"folder", kind=EMPTY_FOLDER, size=0), B, NOW_NS),
            CacheRow(file(b"big", size=2**62, mtime_ns=-5, inode=2**63 + 5), A, NOW_NS, owned=True),
        ]
        assert StatCache(b"/x").update(rows)
        again = StatCache(b"/x")
        assert again.lookup([row.file for row in rows]) == [row.digest for row in rows]
        assert again.lookup([file(b"other"), file(b"a")]) == [None, A]
        assert set(again.paths()) == {row.file.path for row in rows}
        for row in rows:
            assert again.recorded(row.file.path) == row._replace(hashed_at_ns=0)
        assert StatCache(b"/y").lookup([file(b"a")]) == [None]

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": SYMLINK},
            {"executable": True},
            {"size": 8},
            {"mtime_ns": OLD_NS + 1},
            {"ctime_ns": OLD_NS - 1},
            {"inode": 43},
        ],
    )
    def test_any_other_stamp_makes_it_unknown(self, change: dict[str, int]) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(), A, NOW_NS)])
        assert cache.lookup([file(), file(**change)]) == [A, None]

    def test_an_empty_cache_can_be_saved(self) -> None:
        assert StatCache(b"/x").update([])
        assert len(StatCache(b"/x")) == 0


class TestUpdate:
    def test_rows_replace_rows_and_forgotten_ones_go(self) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(path), A, NOW_NS) for path in (b"a", b"b", b"c")])
        newer = file(b"b", size=9)
        cache.update([CacheRow(newer, B, NOW_NS)], forget=[b"c", b"absent"])
        for seen in (cache, StatCache(b"/x")):
            assert seen.lookup([file(b"a"), file(b"b"), newer, file(b"c")]) == [A, None, B, None]

    def test_a_path_forgotten_and_taken_in_at_once_stays(self) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(), A, NOW_NS)], forget=[b"f"])
        assert cache.lookup([file()]) == [A]

    def test_another_process_rows_stay(self) -> None:
        one, other = StatCache(b"/x"), StatCache(b"/x")
        one.update([CacheRow(file(b"one"), A, NOW_NS)])
        other.update([CacheRow(file(b"other"), B, NOW_NS)])
        assert StatCache(b"/x").lookup([file(b"one"), file(b"other")]) == [A, B]
        assert other.lookup([file(b"one")]) == [A]

    def test_saving_at_once_from_many_threads_loses_nothing(self) -> None:
        def save(number: int) -> None:
            for step in range(5):
                StatCache(b"/x").update([CacheRow(file(b"%d-%d" % (number, step)), A, NOW_NS)])

        threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(StatCache(b"/x")) == 40
        assert [path.suffix for path in stored_files()] == [".stat"]

    def test_saving_at_once_from_many_processes_loses_nothing(self) -> None:
        program = (
            "import sys\n"
            "from dataver.source import SourceFile\n"
            "from dataver.stat_cache import CacheRow, StatCache\n"
            "for step in range(10):\n"
            "    path = f'{sys.argv[1]}-{step}'.encode()\n"
            "    row = CacheRow(SourceFile(path, 0, False, 7, 5, 5, 5), b'a' * 32, 10**19)\n"
            "    assert StatCache(b'/x').update([row])\n"
        )
        running = [subprocess.Popen([sys.executable, "-c", program, str(number)]) for number in range(4)]
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]
        assert len(StatCache(b"/x")) == 40

    def test_a_digest_of_another_length_is_refused(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            StatCache(b"/x").update([CacheRow(file(), b"short", NOW_NS)])

    @pytest.mark.parametrize("stamp", [2**63, -(2**63) - 1])
    def test_a_time_beyond_all_reason_is_not_kept_and_does_no_harm(self, stamp: int) -> None:
        cache = StatCache(b"/x")
        assert cache.update([CacheRow(file(b"odd", mtime_ns=stamp), A, NOW_NS), CacheRow(file(), B, NOW_NS)])
        again = StatCache(b"/x")
        assert again.lookup([file(b"odd", mtime_ns=stamp), file()]) == [None, B]


class TestColumns:
    """What is saved from columns is what is saved a row at a time."""

    FILES = (file(b"a"), file(b"b/c", executable=True, mtime_ns=NOW_NS), file(b"b/d", kind=SYMLINK, size=0))

    def stamps(self) -> Column:
        return Column(b"".join(map(stamp_of, self.FILES)))

    def picked(self) -> Picked:
        return Picked(Listing.of(self.FILES), range(len(self.FILES)))

    @pytest.mark.parametrize("is_known", [False, True])
    def test_files_that_were_read(self, is_known: bool) -> None:
        digests = [A, B, A]
        if is_known:
            StatCache(b"/x").update([CacheRow(file(b"gone"), A, NOW_NS), CacheRow(file(b"a"), B, NOW_NS)])
        cache = StatCache(b"/x")
        gone = [b"gone"] if is_known else []
        assert cache.update_read(self.picked(), self.stamps(), Column(b"".join(digests)), NOW_NS, gone)
        for known in (cache, StatCache(b"/x")):
            assert known.lookup(list(self.FILES)) == [A, None, A]
            assert list(known.paths()) == [b"a", b"b/c", b"b/d"]
            assert known.owned() == []
            assert len(known) == 3
        cache.update([CacheRow(file(b"e"), B, NOW_NS)])
        assert StatCache(b"/x").lookup([file(b"e"), *self.FILES]) == [B, A, None, A]

    def test_another_process_saved_meanwhile(self) -> None:
        cache = StatCache(b"/x")
        StatCache(b"/x").update([CacheRow(file(b"other"), A, NOW_NS)])
        assert cache.update_read(self.picked(), self.stamps(), Column(3 * A), NOW_NS)
        assert StatCache(b"/x").lookup([file(b"other"), *self.FILES]) == [A, A, None, A]

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("is_known", [False, True])
    def test_files_that_a_checkout_wrote(self, order: int, is_known: bool) -> None:
        if is_known:
            StatCache(b"/x").update([CacheRow(file(b"gone"), A, NOW_NS)])
        rows = [(one.path, stamp_of(one), A) for one in self.FILES][::order]
        assert StatCache(b"/x").update_written(lambda: iter(rows), NOW_NS, [b"gone"])
        again = StatCache(b"/x")
        assert [row.file.path for row in again.owned()] == [b"a", b"b/c", b"b/d"]
        assert again.lookup(list(self.FILES)) == [A, None, A]
        assert len(again) == 3

    def test_a_checkout_that_wrote_nothing(self) -> None:
        assert StatCache(b"/x").update_written(lambda: (), NOW_NS)
        assert len(StatCache(b"/x")) == 0


class TestAppending:
    """What changed is put at the end of the file, so that a change costs what it is."""

    def many(self) -> StatCache:
        cache = StatCache(b"/x")
        assert cache.update([CacheRow(file(b"%05d" % n), A, NOW_NS) for n in range(2_000)])
        return cache

    def test_one_change_among_many_writes_little(self) -> None:
        cache = self.many()
        (place,) = stored_files()
        whole = place.read_bytes()
        newer = file(b"00700", size=9)
        assert cache.update(
            [CacheRow(newer, B, NOW_NS), CacheRow(file(b"new"), B, NOW_NS)], forget=[b"00003"]
        )
        assert place.read_bytes().startswith(whole)
        assert place.stat().st_size < len(whole) + 500
        for seen in (cache, StatCache(b"/x")):
            assert len(seen) == 2_000
            assert seen.lookup([file(b"00002"), file(b"00003"), newer, file(b"new")]) == [A, None, B, B]
            assert list(seen.paths()) == sorted(seen.paths())

    def test_many_changes_make_it_anew(self) -> None:
        cache = self.many()
        (place,) = stored_files()
        size = place.stat().st_size
        for step in range(5):
            cache.update([CacheRow(file(b"%05d" % n, size=step), B, NOW_NS) for n in range(900)])
        assert place.stat().st_size < 2 * size
        assert StatCache(b"/x").lookup([file(b"00001", size=4), file(b"01500")]) == [B, A]

    @pytest.mark.parametrize("is_new", [True, False])
    def test_no_tree_is_claimed_for_rows_that_could_not_be_written(
        self, monkeypatch: pytest.MonkeyPatch, is_new: bool
    ) -> None:
        cache = self.many()
        with monkeypatch.context() as failing:
            failing.setattr(stat_cache, "append", lambda _file, _block: False)
            rows = [CacheRow(file(b"new"), B, NOW_NS)] if is_new else []
            assert not cache.update(rows, forget=[b"00003"])
        cache.mark(bytes(range(32)))
        assert StatCache(b"/x").tree is None
        # What is saved next is all that is known.
        assert cache.update([CacheRow(file(b"newer"), B, NOW_NS)])
        cache.mark(bytes(range(32)))
        seen = StatCache(b"/x")
        assert seen.tree == bytes(range(32))
        assert seen.lookup([file(b"new"), file(b"newer"), file(b"00003")]) == [B if is_new else None, B, None]

    def test_many_small_changes_are_put_together_when_they_are_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = self.many()
        for n in range(50):
            assert cache.update([CacheRow(file(b"0%04d-new" % n), B, NOW_NS)])
        puts = []
        real = StatCache._put

        def put(self: StatCache, changes: dict[bytes, Any]) -> None:
            puts.append(len(changes))
            real(self, changes)

        monkeypatch.setattr(StatCache, "_put", put)
        seen = StatCache(b"/x")
        assert puts == [50]
        assert seen.lookup([file(b"00049-new"), file(b"00049")]) == [B, A]

    def test_what_is_torn_at_the_end_is_as_if_it_was_not_written(self) -> None:
        cache = self.many()
        (place,) = stored_files()
        whole = place.read_bytes()
        cache.update([CacheRow(file(b"00700", size=9), B, NOW_NS)])
        added = place.read_bytes()[len(whole) :]
        for length in range(len(added)):
            place.write_bytes(whole + added[:length])
            again = StatCache(b"/x")
            assert again.lookup([file(b"00700"), file(b"00700", size=9)]) == [A, None]
        again = StatCache(b"/x")
        assert again.update([CacheRow(file(b"00701"), B, NOW_NS)])
        assert StatCache(b"/x").lookup([file(b"00700"), file(b"00701")]) == [A, B]

    def test_nothing_new_writes_nothing(self) -> None:
        cache = self.many()
        (place,) = stored_files()
        before = place.stat()
        assert cache.update([])
        assert place.stat() == before


class TestTree:
    """Which tree the rows are, told by whoever compared them."""

    TREE = b"t" * 32

    def marked(self) -> StatCache:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(name), A, NOW_NS) for name in (b"a", b"b")])
        cache.mark(self.TREE)
        return cache

    def test_it_is_remembered(self) -> None:
        assert self.marked().tree == self.TREE
        assert StatCache(b"/x").tree == self.TREE
        assert StatCache(b"/y").tree is None

    @pytest.mark.parametrize(
        ("rows", "forget"),
        [
            ([CacheRow(file(b"a"), B, NOW_NS)], []),
            ([CacheRow(file(b"a", size=9), A, NOW_NS)], []),
            ([CacheRow(file(b"a", executable=True), A, NOW_NS)], []),
            ([CacheRow(file(b"c"), A, NOW_NS)], []),
            ([], [b"a"]),
        ],
    )
    def test_another_content_forgets_it(self, rows: list[CacheRow], forget: list[bytes]) -> None:
        cache = self.marked()
        cache.update(rows, forget=forget)
        assert cache.tree is None
        assert StatCache(b"/x").tree is None

    def test_other_stamps_of_the_same_content_do_not(self) -> None:
        cache = self.marked()
        cache.update([CacheRow(file(b"a", mtime_ns=OLD_NS + 7), A, NOW_NS)])
        assert cache.tree == StatCache(b"/x").tree == self.TREE

    def test_it_is_not_taken_from_one_who_did_not_see_the_last_rows(self) -> None:
        cache, other = self.marked(), StatCache(b"/x")
        cache.update([CacheRow(file(b"a"), B, NOW_NS)])
        other.mark(b"u" * 32)
        assert StatCache(b"/x").tree is None
        other.update([CacheRow(file(b"b"), B, NOW_NS)])
        other.mark(b"u" * 32)  # What it compared was not all that is recorded now.
        assert StatCache(b"/x").tree is None

    def test_all_files_are_compared_at_once(self) -> None:
        cache = self.marked()
        both = [file(b"a"), file(b"b")]
        assert cache.is_all(Listing.of(both))
        assert StatCache(b"/x").is_all(Listing.of(reversed(both)))
        assert not cache.is_all(Listing.of(both[:1]))
        assert not cache.is_all(Listing.of([*both, file(b"c")]))
        assert not cache.is_all(Listing.of([both[0], file(b"b", ctime_ns=5)]))
        cache.update([CacheRow(file(b"b"), A, OLD_NS)])  # too young to be trusted
        assert not StatCache(b"/x").is_all(Listing.of(both))


class TestOwned:
    def test_what_a_checkout_wrote_is_listed_in_order(self) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(path), A, NOW_NS, owned=path != b"b") for path in (b"c", b"b", b"a")])
        assert [row.file.path for row in StatCache(b"/x").owned()] == [b"a", b"c"]
        assert all(row.owned and row.digest == A for row in cache.owned())

    def test_it_stays_the_tools_own_while_the_bytes_do(self) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(), A, NOW_NS, owned=True)])
        touched = file(mtime_ns=OLD_NS + 5)
        cache.update([CacheRow(touched, A, NOW_NS)])
        assert [row.file for row in cache.owned()] == [touched]
        cache.update([CacheRow(touched, B, NOW_NS)])
        assert cache.owned() == []
        cache.update([CacheRow(touched, A, NOW_NS)])
        assert cache.owned() == []

    def test_it_is_known_even_where_it_cannot_be_trusted(self) -> None:
        cache = StatCache(b"/x")
        cache.update([CacheRow(file(), A, OLD_NS, owned=True)])  # written at this very moment
        assert cache.lookup([file()]) == [None]
        assert cache.owned() == [CacheRow(file(), A, 0, owned=True)]


class TestGrain:
    """A change right after hashing may leave the stamps as they are, so such rows do not count."""

    @pytest.mark.parametrize("stamp", ["mtime_ns", "ctime_ns"])
    @pytest.mark.parametrize(
        ("age_ns", "settled"), [(FINE_GRAIN_NS + 1, True), (FINE_GRAIN_NS, False), (0, False), (-5, False)]
    )
    def test_fine_clocks(self, stamp: str, age_ns: int, settled: bool) -> None:
        assert is_settled(file(**{stamp: NOW_NS - age_ns}), NOW_NS) is settled

    @pytest.mark.parametrize("stamp", ["mtime_ns", "ctime_ns"])
    @pytest.mark.parametrize(
        ("age_ns", "settled"), [(COARSE_GRAIN_NS + 1, True), (COARSE_GRAIN_NS, False), (SECOND_NS, False)]
    )
    def test_clocks_of_whole_seconds(self, stamp: str, age_ns: int, settled: bool) -> None:
        whole_ns = NOW_NS // SECOND_NS * SECOND_NS
        assert is_settled(file(**{stamp: whole_ns}), whole_ns + age_ns) is settled

    def test_stamps_of_other_machines_need_a_change_tag_or_much_time(self) -> None:
        tagged = file(mtime_ns=0, ctime_ns=123, inode=REMOTE_TAG)
        assert is_settled(tagged, NOW_NS)
        dated = file(ctime_ns=0, inode=REMOTE_MTIME)
        assert is_settled(dated, NOW_NS)
        assert not is_settled(dated._replace(mtime_ns=NOW_NS - 60 * SECOND_NS), NOW_NS)
        assert not is_settled(dated._replace(mtime_ns=2**63 - 1), NOW_NS)  # no time known

    @pytest.mark.parametrize(
        "age_ns", [grain + more for grain in (FINE_GRAIN_NS, COARSE_GRAIN_NS) for more in (0, 1)]
    )
    @pytest.mark.parametrize("inode", [42, REMOTE_TAG, REMOTE_MTIME])
    def test_the_cache_trusts_what_is_settled_and_nothing_else(self, age_ns: int, inode: int) -> None:
        found = file(mtime_ns=NOW_NS - age_ns, inode=inode)
        cache = StatCache(b"/x")
        cache.update([CacheRow(found, A, NOW_NS)])
        assert cache.lookup([found]) == [A if is_settled(found, NOW_NS) else None]


class TestRealFiles:
    """With a real folder: hash as a commit does, change the file behind its back, look again."""

    def hashed(self, top: Path) -> tuple[StatCache, LocalSource]:
        started_ns = time.time_ns()
        source = LocalSource(top)
        cache = StatCache(source.key)
        rows = []
        for listed in source.files():
            data, found = source.read_small(listed)
            rows.append(CacheRow(found, blake3_digest(data), started_ns))
        cache.update(rows)
        return StatCache(source.key), source

    def test_an_old_file_that_did_not_change_is_known(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"content")
        time.sleep(0.15)
        cache, source = self.hashed(tmp_path)
        assert cache.lookup(source.files()) == [blake3_digest(b"content")]

    @pytest.mark.parametrize("way", ["write", "replace", "rename", "chmod"])
    def test_same_size_and_restored_time_do_not_hide_a_change(self, tmp_path: Path, way: str) -> None:
        place = tmp_path / "f"
        place.write_bytes(b"content")
        time.sleep(0.15)
        cache, source = self.hashed(tmp_path)
        stamps = place.stat()
        if way == "write":
            place.write_bytes(b"CONTENT")
        elif way == "replace":
            place.unlink()
            place.write_bytes(b"CONTENT")
        elif way == "rename":
            (tmp_path / "other").write_bytes(b"CONTENT")
            (tmp_path / "other").rename(place)
        else:
            place.chmod(0o755)
        os.utime(place, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
        assert place.stat().st_mtime_ns == stamps.st_mtime_ns
        assert place.stat().st_size == stamps.st_size
        assert cache.lookup(source.files()) == [None]

    def test_a_file_written_just_before_is_not_known(self, tmp_path: Path) -> None:
        # Its stamps may be those of a second write in the same tick, which nobody could tell apart.
        (tmp_path / "f").write_bytes(b"content")
        cache, source = self.hashed(tmp_path)
        assert cache.lookup(source.files()) == [None]
        time.sleep(0.15)
        cache, source = self.hashed(tmp_path)
        assert cache.lookup(source.files()) == [blake3_digest(b"content")]

    def test_a_time_in_the_future_is_never_trusted(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"content")
        ahead_ns = time.time_ns() + 3600 * SECOND_NS
        os.utime(tmp_path / "f", ns=(ahead_ns, ahead_ns))
        time.sleep(0.15)
        cache, source = self.hashed(tmp_path)
        assert cache.lookup(source.files()) == [None]

    def test_another_path_to_the_same_folder_is_the_same_source(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real/f").write_bytes(b"content")
        (tmp_path / "link").symlink_to("real")
        time.sleep(0.15)
        self.hashed(tmp_path / "real")
        source = LocalSource(tmp_path / "link")
        assert StatCache(source.key).lookup(source.files()) == [blake3_digest(b"content")]


class TestDamage:
    def stored(self) -> Path:
        StatCache(b"/x").update([CacheRow(file(b"%d" % n), A, NOW_NS) for n in range(3)])
        (place,) = stored_files()
        return place

    def test_every_truncation_counts_as_empty(self) -> None:
        place = self.stored()
        whole = place.read_bytes()
        for length in range(len(whole)):
            place.write_bytes(whole[:length])
            assert len(StatCache(b"/x")) == 0
        place.write_bytes(whole)
        assert len(StatCache(b"/x")) == 3

    def test_every_flipped_byte_counts_as_empty(self) -> None:
        place = self.stored()
        whole = bytearray(place.read_bytes())
        for at in range(len(whole)):
            whole[at] ^= 0x40
            place.write_bytes(whole)
            assert len(StatCache(b"/x")) == 0, at
            whole[at] ^= 0x40

    def test_what_cannot_be_read_is_replaced(self) -> None:
        place = self.stored()
        place.write_bytes(b"not a cache")
        assert StatCache(b"/x").update([CacheRow(file(), B, NOW_NS)])
        assert StatCache(b"/x").lookup([file()]) == [B]

    @pytest.mark.parametrize("obstacle", ["file", "missing parent of a file"])
    def test_a_cache_that_cannot_be_written_says_so_and_works_in_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
    ) -> None:
        (tmp_path / "file").touch()
        place = tmp_path / "file" if obstacle == "file" else tmp_path / "file" / "below"
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(place))
        cache = StatCache(b"/x")
        assert not cache.update([CacheRow(file(), A, NOW_NS)])
        assert cache.lookup([file()]) == [A]
        assert not set_base(b"/x", "repo", "iris", Base("1" * 64))
        assert base(b"/x", "repo", "iris") is None
        assert known_sources("repo", "iris") == []

    def test_nothing_but_the_cache_is_left_behind(self) -> None:
        place = self.stored()
        set_base(b"/x", "repo", "iris", Base("1" * 64))
        found = {path.name for path in (cache_folder() / "worktrees").rglob("*") if path.is_file()}
        assert {name.rpartition(".")[2] for name in found} == {"stat", "json", "lock"}
        assert place.parent.stat().st_mode & 0o77 == 0


class TestBases:
    def test_one_for_each_source_repository_and_dataset(self) -> None:
        keys = [
            (source, repo, name) for source in (b"/x", b"/y") for repo in ("r", "s") for name in ("a", "b")
        ]
        for number, key in enumerate(keys):
            assert base(*key) is None
            assert set_base(*key, Base(f"{number:064x}"))
        assert [base(*key) for key in keys] == [Base(f"{number:064x}") for number in range(len(keys))]

    def test_the_last_one_counts(self) -> None:
        set_base(b"/x", "r", "a", Base("1" * 64))
        set_base(b"/x", "r", "a", Base("2" * 64))
        assert base(b"/x", "r", "a") == Base("2" * 64)

    def test_what_is_announced_counts_until_a_base_is_set(self) -> None:
        line = b"/x", "r", "a"
        own = Base(None, (("3" * 64, "4" * 64), ("5" * 64, "6" * 64)))
        assert (announced_base(*line), own.newest, Base("1" * 64).newest) == (None, "6" * 64, "1" * 64)
        set_base(*line, Base("1" * 64))
        assert announce_base(*line, own)
        assert (announced_base(*line), base(*line)) == (own, Base("1" * 64))
        assert known_sources("r", "a") == [b"/x"]
        set_base(*line, own)
        assert (announced_base(*line), base(*line)) == (None, own)

    def test_changes_that_follow_each_other_are_one(self) -> None:
        first = Base("1" * 64).brought("2" * 64, "3" * 64)
        assert first == Base("1" * 64, (("2" * 64, "3" * 64),))
        assert first.brought("3" * 64, "4" * 64) == Base("1" * 64, (("2" * 64, "4" * 64),))
        assert first.brought("5" * 64, "6" * 64).own == (("2" * 64, "3" * 64), ("5" * 64, "6" * 64))

    def test_sources_of_a_dataset_the_last_used_first(self) -> None:
        assert known_sources("r", "a") == []
        for path in (b"/first", b"/caf\xe9\n", b"/last", b"/first"):
            set_base(path, "r", "a", Base("1" * 64))
        set_base(b"/elsewhere", "r", "b", Base("1" * 64))
        assert known_sources("r", "a") == [b"/first", b"/last", b"/caf\xe9\n"]

    @pytest.mark.parametrize(
        "content",
        [
            *(
                b"",
                b"{",
                b"[]",
                b"{}",
                b'{"used_ns": 1, "path": 2, "version": 3}',
                b"\xff",
                b"null",
                b"1" * 5000,
            ),
            b'{"used_ns": 1, "path": "", "version": null, "own": [["a", "b"]]}',
            b'{"used_ns": 1, "path": "", "version": null, "own": [[]]}',
            b'{"used_ns": 1, "path": "", "version": null, "own": 5}',
        ],
    )
    def test_a_damaged_one_is_unknown(self, content: bytes) -> None:
        set_base(b"/x", "r", "a", Base("1" * 64))
        (place,) = (cache_folder() / "worktrees" / "bases").rglob("*.json")
        place.write_bytes(content)
        assert base(b"/x", "r", "a") is None
        assert known_sources("r", "a") == []
        assert set_base(b"/x", "r", "a", Base("2" * 64))
        assert base(b"/x", "r", "a") == Base("2" * 64)

    def test_machines_that_share_a_home_share_no_paths(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dataver.stat_file.machine_id", lambda: "one")
        set_base(b"/x", "r", "a", Base("1" * 64))
        StatCache(b"/x").update([CacheRow(file(), A, NOW_NS)])
        monkeypatch.setattr("dataver.stat_file.machine_id", lambda: "other")
        assert base(b"/x", "r", "a") is None
        assert StatCache(b"/x").lookup([file()]) == [None]


class TestLocks:
    """Two processes that save what they know of one folder, of which one may not have the lock."""

    KEY = b"/locks"
    TREE = b"T" * 32

    @pytest.fixture(autouse=True)
    def known(self) -> None:
        """Two files that are those of a tree."""
        StatCache(self.KEY).update([self.row(b"a", 1, A), self.row(b"b", 1, B)])
        StatCache(self.KEY).mark(self.TREE)
        assert StatCache(self.KEY).tree == self.TREE

    @staticmethod
    def row(path: bytes, number: int, digest: bytes) -> CacheRow:
        time_ns = NOW_NS - 10**12 + number
        return CacheRow(SourceFile(path, FILE, False, 1, time_ns, time_ns, 7), digest, NOW_NS)

    @pytest.fixture
    def held(self) -> Iterator[None]:
        """Another process has the lock, and goes on having it."""
        fd = os.open(worktrees_folder() / "lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @pytest.mark.usefixtures("held")
    def test_who_does_not_get_the_lock_saves_nothing_and_claims_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dataver.stat_cache.locked", partial(locked, timeout_s=0.05))
        before = StatCache(self.KEY)
        assert not before.update([self.row(b"a", 2, B)])
        picked = Picked(Listing.of([self.row(b"a", 2, B).file]), range(1))
        assert not before.update_read(picked, Column(picked.listing.stamp(0)), Column(B), NOW_NS)
        assert not before.update_written(lambda: [(b"a", picked.listing.stamp(0), B)], NOW_NS)
        before.mark(b"U" * 32)
        after = StatCache(self.KEY)
        assert after.tree == self.TREE
        recorded = after.recorded(b"a")
        assert recorded is not None
        assert recorded.digest == A

    def test_what_was_not_saved_is_claimed_by_no_later_mark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = StatCache(self.KEY)
        with monkeypatch.context() as patch:
            patch.setattr("dataver.stat_cache.locked", lambda _: nullcontext(Lock.TAKEN))
            assert not cache.update([self.row(b"a", 2, B)])
        cache.mark(b"U" * 32)
        assert StatCache(self.KEY).tree == self.TREE

    @pytest.mark.parametrize("inner_changes", [b"a", b"b"])
    def test_without_locks_no_tree_is_claimed(
        self, monkeypatch: pytest.MonkeyPatch, inner_changes: bytes
    ) -> None:
        """One process saves while another one is about to."""
        monkeypatch.setattr("dataver.stat_cache.locked", lambda _: nullcontext(Lock.NONE))
        outer, inner = StatCache(self.KEY), StatCache(self.KEY)
        real = StatCache._save

        def save(cache: StatCache, changes: dict[bytes, Any]) -> bool:
            if cache is outer:
                assert inner.update([self.row(inner_changes, 2, b"Z" * 32)])
            return real(cache, changes)

        monkeypatch.setattr(StatCache, "_save", save)
        assert outer.update([self.row(b"b", 2, B)])
        after = StatCache(self.KEY)
        assert after.tree is None
        after.mark(self.TREE)
        assert StatCache(self.KEY).tree is None
