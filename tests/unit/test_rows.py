"""The rows of a node, made when they are asked for, and the cache of the nodes they are in."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.format.node import MUST_UNDERSTAND, Row
from dataver.repository import init
from dataver.tree import manifest
from dataver.tree.manifest import Entry, chunks_extra, manifest_link, to_row
from dataver.tree.schema import MANIFEST
from dataver.tree.walk import find, position, scan

PATHS = st.lists(st.text("ab/é", min_size=1, max_size=6), unique=True, max_size=30)


def rows_of(paths: Sequence[str]) -> list[Row]:
    """Files of all kinds: of one chunk, of several, with a column that nobody knows."""
    rows = []
    for number, path in enumerate(sorted(path.encode() for path in paths)):
        extras = [(), chunks_extra(bytes([number]) * 32), ((b"xxxx", 0, b"?" * number),)][number % 3]
        row = to_row(Entry(path, number % 2, number % 5 == 0, 1000 * number, bytes([number]) * 32, extras))
        rows.append(row)
    return rows


@given(PATHS, st.integers(-35, 35), st.integers(-35, 35), st.sampled_from([None, 1, 2, -1]))
def test_rows_are_those_that_were_written(paths: list[str], start: int, stop: int, step: int | None) -> None:
    expected = rows_of(paths)
    level, rows = MANIFEST.decode_columns(MANIFEST.encode(0, expected)[0], "it")
    assert level == 0
    assert list(rows) == expected == MANIFEST.decode(MANIFEST.encode(0, expected)[0], "it").rows
    assert len(rows) == len(expected)
    assert rows[start:stop:step] == expected[start:stop:step]
    assert [rows[n] for n in range(-len(expected), len(expected))] == expected * 2
    assert list(reversed(rows)) == expected[::-1]
    assert rows.size_bytes >= sum(len(row.key) + len(row.fixed) for row in expected)
    for key in [b"", b"a", b"b/", b"\xff", *(row.key for row in expected)]:
        assert position(rows, key) == position(expected, key)
    for outside in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            rows[outside]


def test_a_column_is_marked_as_it_was() -> None:
    row = rows_of(["a", "b"])[1]
    _, rows = MANIFEST.decode_columns(MANIFEST.encode(0, [row])[0], "it")
    assert rows[0].extras == ((b"chnk", MUST_UNDERSTAND, bytes([1]) * 32),)


def test_nodes_are_kept_within_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3000):
        (data / f"file-{number:05}").touch()
    repository = init(str(tmp_path / "repository"))
    repository.commit("things", data)
    version = repository.session.resolve("things").version
    root = manifest_link(version.manifest)
    everything = repository.session.nodes()
    paths = [row.key for row in scan(everything, root)]
    assert len(paths) == 3000
    bound = everything._size_bytes // 3
    monkeypatch.setattr(manifest, "NODES_KEPT_BYTES", bound)
    few = repository.session.nodes()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: find(few, root, path), paths[::7]))
    assert [row.key for row in found if row] == paths[::7]
    sizes = [size for _, size in few._nodes.values()]
    assert 0 < len(sizes) < len(everything._nodes)
    assert few._size_bytes == sum(sizes)
    # The node used last stays, however large it is.
    assert few._size_bytes <= bound or len(sizes) == 1
