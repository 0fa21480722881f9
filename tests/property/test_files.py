"""The files of a version as columns: the same as a list of entries."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from dataver import joined as joined_module
from dataver.format.node import Rows
from dataver.tree import files as files_module
from dataver.tree import split
from dataver.tree.build import build
from dataver.tree.files import FileColumns
from dataver.tree.manifest import (
    EXECUTABLE,
    FILE,
    FOLDER,
    REFERENCE,
    SYMLINK,
    Entry,
    chunks_extra,
    reference_extra,
    to_row,
)
from dataver.tree.schema import MANIFEST, Link, MemoryNodes, Node
from dataver.tree.split import SplitRule


class ReadNodes(MemoryNodes):
    """Gives nodes as they come from a store: rows as columns."""

    def load(self, link: Link) -> Node:
        return Node(*MANIFEST.decode_columns(self.encoded[link.digest], "a node"))


def entry(path: bytes, kind: int, executable: bool, size: int) -> Entry:
    extras = reference_extra("file:///" + path.hex(), "") if kind == REFERENCE else ()
    if kind == FILE and size > 60:
        extras = chunks_extra(bytes(32))
    size = 0 if kind == FOLDER else size
    return Entry(path, kind, executable and kind == FILE, size, path.ljust(32, b"."), extras)


entries_of_all_kinds = st.lists(
    st.builds(
        entry,
        st.text("ab/c", min_size=1, max_size=6).map(str.encode),
        st.sampled_from([FILE, FILE, FILE, SYMLINK, FOLDER, REFERENCE]),
        st.booleans(),
        st.integers(0, 100) | st.just(2**40),
    ),
    unique_by=lambda entry: entry.path,
    max_size=40,
).map(sorted)


@given(entries=entries_of_all_kinds, stored=st.booleans(), together=st.integers(1, 9), data=st.data())
def test_columns_are_the_entries(
    entries: list[Entry], stored: bool, together: int, data: st.DataObject
) -> None:
    with (
        mock.patch.object(split, "LEAF_RULE", SplitRule(2, 8, 3)),
        mock.patch.object(files_module, "MADE_TOGETHER", together),
        mock.patch.object(joined_module, "_SPLIT_BYTES", together),
    ):
        nodes = (ReadNodes if stored else MemoryNodes)(MANIFEST)
        columns = FileColumns.read(nodes, build(nodes, map(to_row, entries)))
        check(columns, entries)
        start, stop = data.draw(st.integers(-50, 50)), data.draw(st.none() | st.integers(-50, 50))
        step = data.draw(st.sampled_from([None, 1, 2, -1]))
        assert columns[start:stop:step] == entries[start:stop:step]
        check(columns.at_paths(lambda path: b"a" in path), [one for one in entries if b"a" in one.path])
        check(columns.without(lambda one: one.size > 9), [one for one in entries if one.size <= 9])
        files = columns.without_folders()
        check(files, [one for one in entries if one.kind != FOLDER])
        assert (files is columns) == (len(files) == len(columns))


def check(columns: FileColumns, entries: list[Entry]) -> None:
    assert list(columns) == entries
    assert [columns[at] for at in range(len(columns))] == entries
    assert len(columns) == len(entries)
    assert list(columns.each_path()) == [one.path for one in entries]
    assert columns.size_bytes == sum(one.size for one in entries)
    assert columns.folders() == [one.path for one in entries if one.kind == FOLDER]
    special = [one for one in entries if one.extras or one.kind == REFERENCE]
    assert list(columns.special()) == special
    assert sorted(columns.special_sizes()) == sorted(one.size for one in special)


def test_paths_are_looked_through_once_however_many_entries_are_asked_for() -> None:
    entries = [
        Entry(b"%05d" % n, FOLDER if n % 3 else FILE, False, 0, bytes(32), chunks_extra(b"r"))
        for n in range(900)
    ]
    nodes = MemoryNodes(MANIFEST)
    columns = FileColumns.read(nodes, build(nodes, map(to_row, entries)))
    with (
        mock.patch.object(files_module, "MADE_TOGETHER", 7),
        mock.patch.object(files_module, "JoinedPaths", wraps=joined_module.JoinedPaths) as made,
    ):
        assert list(columns.special()) == entries
        assert [columns[at] for at in range(len(entries))] == entries
        assert len(columns.folders()) == 600
        assert made.call_count == 1


def test_rows_give_their_columns_in_the_order_of_the_schema() -> None:
    row = to_row(Entry(b"a", FILE, True, 7, bytes(range(32))))
    rows = Rows([b"a"], [(32, row.fixed[:32]), (1, row.fixed[32:33]), (8, row.fixed[33:])], {})
    assert list(rows) == [row]
    assert rows.columns == [bytes(range(32)), bytes([EXECUTABLE]), (7).to_bytes(8, "little")]
