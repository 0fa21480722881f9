"""What is known of files, whichever way it is held: the same as a dictionary."""

from __future__ import annotations

from itertools import count
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from dataver import joined as joined_module
from dataver.column import Column
from dataver.joined import JoinedPaths, beside
from dataver.source import FILE, SourceFile
from dataver.source.columns import Listing, Picked, stamp_of
from dataver.stat_cache import CacheRow, StatCache

NOW_NS = 1_700_000_000 * 10**9 + 123_456_789
OLD_NS = NOW_NS - 3600 * 10**9
KEYS = count()

PATHS = [f"{folder}/{name}".encode() for folder in "ab" for name in ("", "1", "2", "22", "3")] + [b"a", b"z"]
paths = st.sampled_from(PATHS)
names = st.lists(st.binary(min_size=1, max_size=5).map(lambda name: name.replace(b"\0", b"1")), unique=True)


def file(path: bytes, number: int, *, fresh: bool = False) -> SourceFile:
    return SourceFile(path, FILE, False, number, NOW_NS if fresh else OLD_NS, OLD_NS, 5)


def digest(number: int) -> bytes:
    return bytes([number]) * 32


@given(names=names.filter(bool).map(sorted), stretch=st.integers(0, 12), others=names)
def test_joined_paths_are_found_and_made(names: list[bytes], stretch: int, others: list[bytes]) -> None:
    with mock.patch.object(joined_module, "_SPLIT_BYTES", stretch):
        column = JoinedPaths(Column(b"\0".join(names)))
        for path in [*names, *others, b"\xff" * 6]:
            assert column.find(path) == (names.index(path) if path in names else None)
        assert [column.path(at) for at in range(len(names))] == names
        for start in range(len(names)):
            assert column.some(start, len(names)) == names[start:]
            assert column.some(start, start) == []
        listing = Listing.of([file(name, 1) for name in names])
        assert listing.paths_at(range(0, len(names), 3)) == names[::3]
        assert list(listing.each_path()) == names


changes = st.dictionaries(paths, st.tuples(st.integers(0, 3), st.booleans()))
steps = st.lists(st.tuples(changes, st.sets(paths), st.booleans(), st.booleans()), max_size=6)


@given(names=names.map(sorted), others=names.map(sorted), stretch=st.integers(0, 12))
def test_two_columns_of_paths_are_seen_beside_each_other(
    names: list[bytes], others: list[bytes], stretch: int
) -> None:
    with mock.patch.object(joined_module, "_SPLIT_BYTES", stretch):
        pairs = list(beside(Column(b"\0".join(names)), Column(b"\0".join(others))))
    assert [path for some, _ in pairs for path in some] == names
    assert [path for _, some in pairs for path in some] == others
    before = b""
    for number, (some, found) in enumerate(pairs):
        is_last = number + 1 == len(pairs)
        assert all(before < path and (is_last or path <= some[-1]) for path in found)
        before = some[-1] if some else b""


@given(
    steps=steps, listed=st.dictionaries(paths, st.integers(0, 3)), together=st.sampled_from([0, 1, 5, 4_096])
)
def test_a_cache_knows_what_a_dictionary_does(
    steps: list[tuple[dict[bytes, tuple[int, bool]], set[bytes], bool, bool]],
    listed: dict[bytes, int],
    together: int,
) -> None:
    with (
        mock.patch.object(joined_module, "_SPLIT_BYTES", together),
        mock.patch("dataver.column.HELD_BYTES_MAX", 40 * together),
        mock.patch("dataver.stat_file.HELD_BYTES_MAX", 40 * together),
        mock.patch("dataver.stat_file.MERGED_TOGETHER", together + 1),
        mock.patch("dataver.stat_cache.COMPARED_TOGETHER", together + 1),
    ):
        compare(steps, listed)


def compare(
    steps: list[tuple[dict[bytes, tuple[int, bool]], set[bytes], bool, bool]], listed: dict[bytes, int]
) -> None:
    """Take the steps with a cache and a dictionary; then both answer for `listed`, and for what is known."""
    key = b"/%d" % next(KEYS)
    model: dict[bytes, tuple[int, bool]] = {}
    cache = StatCache(key)
    for new, gone, in_columns, reopen in steps:
        forget = gone - new.keys()
        files = [file(path, number, fresh=fresh) for path, (number, fresh) in sorted(new.items())]
        if in_columns:
            digests = Column(b"".join(digest(one.size) for one in files))
            picked = Picked(Listing.of(files), range(len(files)))
            stamps = Column(b"".join(map(stamp_of, files)))
            assert cache.update_read(picked, stamps, digests, NOW_NS, forget)
        else:
            rows = [CacheRow(one, digest(one.size), NOW_NS) for one in files]
            assert cache.update(rows, forget=forget)
        model = {path: row for path, row in model.items() if path not in forget} | new
        if reopen:
            cache = StatCache(key)
    for path in PATHS:
        row = cache.recorded(path)
        assert (row is None) == (path not in model)
        if row is not None:
            number, fresh = model[path]
            assert row[:2] == (file(path, number, fresh=fresh), digest(number))
    assert len(cache) == len(model)
    exact = Listing.of([file(path, number, fresh=fresh) for path, (number, fresh) in model.items()])
    other = Listing.of([file(path, number) for path, number in listed.items()])
    same_paths = Listing.of([file(path, listed.get(path, number)) for path, (number, _) in model.items()])
    for listing in (exact, other, same_paths):
        known = [digest(one.size) if model.get(one.path) == (one.size, False) else None for one in listing]
        assert cache.unsure(listing) == [at for at, found in enumerate(known) if found is None]
        assert list(cache.absent_from(listing)) == sorted(model.keys() - set(listing.paths))
        assert cache.lookup(listing) == cache.lookup(list(listing)) == known
    assert list(cache.paths()) == sorted(model)
