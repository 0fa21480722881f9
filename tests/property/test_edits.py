"""What a commit changes, held as columns: the same as a dictionary of rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.edits import Ingested, NewRows, SourceEdits
from dataver.format.node import Row
from dataver.source import FILE, SYMLINK, SourceFile
from dataver.source.columns import Listing, Picked, stamp_of
from dataver.tree.build import build
from dataver.tree.manifest import REFERENCE, Entry, chunks_extra, reference_extra, to_row
from dataver.tree.schema import MANIFEST, MemoryNodes
from dataver.tree.update import update

INTO = b"below/"

NAMES = st.lists(
    st.text("ab/-", min_size=1, max_size=6).map(str.encode), unique=True, min_size=1, max_size=40
).map(sorted)
KINDS = st.sampled_from([FILE, SYMLINK, REFERENCE])


def digest(name: bytes) -> bytes:
    return name.ljust(32, b".")


def entry_of(name: bytes, kind: int) -> Entry:
    """A file that was read; one of five has several chunks."""
    extras = reference_extra(f"file:///{name.hex()}", "") if kind == REFERENCE else ()
    if kind == FILE and len(name) % 5 == 0:
        extras = chunks_extra(digest(b"list"))
    return Entry(name, kind, len(name) % 2 == 0, len(name), digest(name), extras)


def read(entries: list[Entry], listed: list[bytes]) -> NewRows:
    """Files that were read, among those of a listing."""
    kinds = {entry.path: FILE if entry.kind == REFERENCE else entry.kind for entry in entries}
    files = [
        SourceFile(name, kinds.get(name, FILE), len(name) % 2 == 0, len(name), 1, 2, 3) for name in listed
    ]
    listing = Listing.of(files)
    picked = Picked(listing, [at for at, file in enumerate(listing) if file.path in kinds])
    done = Ingested()
    for at, (file, entry) in enumerate(zip(picked, entries, strict=True)):
        done.take(stamp_of(file), entry.digest, entry.extras)
        if entry.kind == REFERENCE:
            done.referred.add(at)
    return NewRows(picked, done, INTO)


def below(entry: Entry) -> Row:
    return to_row(entry._replace(path=INTO + entry.path))


@given(names=NAMES, data=st.data())
def test_edits_are_the_rows_read_and_those_put(names: list[bytes], data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.sets(st.sampled_from(names)), label="read"))
    entries = [entry_of(name, data.draw(KINDS)) for name in chosen]
    rows = read(entries, names)
    assert list(rows) == list(map(below, entries))
    assert [rows.get(INTO + name) for name in names] == [
        below(entries[chosen.index(name)]) if name in chosen else None for name in names
    ]
    kept = sorted(data.draw(st.sets(st.sampled_from(range(len(chosen)))), label="kept") if chosen else ())
    others = {
        INTO + name: None if number % 2 else to_row(Entry(INTO + name, FILE, False, 9, bytes(32)))
        for number, name in enumerate(names)
        if name not in chosen or chosen.index(name) not in kept
    }
    edits, expected = SourceEdits(rows), {below(entries[at]).key: below(entries[at]) for at in kept} | others
    for path, row in others.items():
        edits.put(path, row)
    edits.keep(kept)
    assert len(edits) == len(expected)
    assert dict(edits.items()) == dict(edits) == expected
    assert list(edits.in_order()) == sorted(expected.items())
    assert sorted(edits) == sorted(expected)
    for path in (*expected, b"absent", INTO):
        assert edits.get(path) == expected.get(path)
        assert edits.has_file(path) == (expected.get(path) is not None)
    with pytest.raises(KeyError):
        edits[b"absent"]
    one, other = MemoryNodes(MANIFEST), MemoryNodes(MANIFEST)
    assert update(one, build(one, []), edits) == update(other, build(other, []), expected)


@given(names=NAMES, data=st.data())
def test_picked_files_are_those_of_their_positions(names: list[bytes], data: st.DataObject) -> None:
    listing = Listing.of([SourceFile(name, FILE, False, len(name), 1, 2, 3) for name in names])
    every = listing[:]
    positions = sorted(data.draw(st.sets(st.sampled_from(range(len(names))))))
    picked = Picked(listing, positions)
    wanted = [every[at] for at in positions]
    assert list(picked) == picked[:] == [picked[at] for at in range(len(picked))] == wanted
    assert list(picked.each_path()) == [file.path for file in wanted]
    assert list(picked.each_stamp()) == list(map(stamp_of, wanted))
    assert picked.joined_paths == b"\0".join(file.path for file in wanted)
    assert picked.size_bytes == sum(file.size for file in wanted)
    assert picked.is_all == (len(wanted) == len(every))
    assert list(picked.only(range(0, len(picked), 2))) == wanted[::2]
    assert list(picked.of_kinds({SYMLINK})) == []


@pytest.mark.parametrize("change", [list, lambda listing: listing.paths], ids=["whole", "kept"])
def test_paths_longer_than_a_stretch_of_them_are_cut_where_they_end(
    change: Callable[[Listing], object],
) -> None:
    names = [b"%06d-" % number + b"x" * (number * 37 % 3000) for number in range(400)]
    listing = Listing.of([SourceFile(name, FILE, False, 0, 1, 2, 3) for name in names])
    change(listing)
    assert list(listing.each_path()) == names == [file.path for file in listing]
