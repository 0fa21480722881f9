from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.errors import BadInputError, PathNotFoundError, WouldOverwriteError
from dataver.tables import rewrite
from dataver.tables.rewrite import Rewritten, rewrite_parquet
from dataver.tables.same_rows import first_difference, same
from dataver.tables.writer import write_rows
from tests.unit.test_writer import encodings, numbers

NAN = float("nan")


def table() -> pa.Table:
    columns = {
        "f": pa.array([1.0, NAN, -0.0, None] * 500),
        "list": pa.array([[NAN], None, [], [1.0, None]] * 500),
        "struct": pa.array([{"x": NAN}, None, {"x": None}, {"x": 1.0}] * 500),
        "map": pa.array([[("a", NAN)], None] * 1000, pa.map_(pa.string(), pa.float64())),
        "coded": pa.array(["a", None] * 1000).dictionary_encode(),
        "half": pa.array((np.arange(2000) % 50).astype(np.float16)),
        "fixed": pa.array([[1.0, 2.0], None] * 1000, pa.list_(pa.float32(), 2)),
        "when": pa.array(range(2000), pa.timestamp("us", "Europe/Berlin")),
    }
    return pa.table(columns).replace_schema_metadata({"who": "me", "pandas": "{}"})


WRITINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "row groups": {"row_group_size": 300},
    "without Arrow's schema": {"store_schema": False},
    "old": {"version": "1.0", "compression": "gzip", "data_page_version": "2.0"},
    "old names of lists": {"use_compliant_nested_type": False},
    "page index": {"write_page_index": True, "use_dictionary": False},
    "sorted": {"sorting_columns": [pq.SortingColumn(7)]},
    "old times": {"use_deprecated_int96_timestamps": True},
}


def only(found: Any) -> Rewritten:
    (one,) = list(found)
    assert isinstance(one, Rewritten)
    return one


@pytest.mark.parametrize("options", WRITINGS.values(), ids=WRITINGS)
def test_rows_schema_and_metadata_are_kept(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(table(), path, **options)
    before = path.read_bytes()
    found = only(rewrite_parquet(str(path), None))
    assert (found.status, found.rows, found.reason) == (rewrite.REWRITTEN, 2000, "")
    assert (found.old_bytes, found.new_bytes) == (len(before), path.stat().st_size)
    old, new = pq.ParquetFile(pa.BufferReader(before)), pq.ParquetFile(path)
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert (new.metadata.metadata or {}).keys() == (old.metadata.metadata or {}).keys()
    assert [new.schema.column(n).path for n in range(8)] == [old.schema.column(n).path for n in range(8)]
    assert new.metadata.format_version == old.metadata.format_version
    assert new.metadata.row_group(0).sorting_columns == old.metadata.row_group(0).sorting_columns
    assert repr(new.read().to_pylist()) == repr(old.read().to_pylist())
    again = only(rewrite_parquet(str(path), None))
    assert again.status == rewrite.SAME


def test_a_folder_is_rewritten_and_what_is_no_parquet_is_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "below").mkdir(parents=True)
    (data / ".hidden").mkdir()
    for place in ("a.parquet", "below/b.parq", "below/none", ".hidden/c.parquet", ".d.parquet"):
        pq.write_table(numbers(3000), data / place)
    (data / "a.parquet").chmod(0o640)
    (data / "notes.txt").write_text("PAR")
    (data / "empty.parquet").write_bytes(b"")
    (data / "truncated.parquet").write_bytes((data / "a.parquet").read_bytes()[:2000])
    (data / "link.parquet").symlink_to("a.parquet")
    os.mkfifo(data / "pipe")
    hidden = (data / ".hidden" / "c.parquet").read_bytes()
    found = {Path(one.path).name: one for one in rewrite_parquet(str(data), None)}
    assert {name for name, one in found.items() if one.status == rewrite.REWRITTEN} == {
        "a.parquet", "b.parq", "none",
    }  # fmt: skip
    assert {name: one.reason for name, one in found.items() if one.status == rewrite.LEFT} == {
        "notes.txt": "it is not Parquet",
        "empty.parquet": "it is not Parquet",
        "truncated.parquet": "it is truncated",
        "link.parquet": "it is a symlink",
        "pipe": "it is no regular file",
    }
    assert "DELTA_BINARY_PACKED" in encodings((data / "below" / "none").read_bytes())["id"]
    assert stat.S_IMODE((data / "a.parquet").stat().st_mode) == 0o640
    assert (data / "link.parquet").is_symlink()
    assert (data / ".hidden" / "c.parquet").read_bytes() == hidden == (data / ".d.parquet").read_bytes()
    assert not [name for name in os.listdir(data) if name.endswith(".part")]


def test_another_folder_gets_the_new_files_and_the_old_ones_stay(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    (data / "below").mkdir(parents=True)
    pq.write_table(numbers(3000), data / "below" / "t.parquet")
    (data / "below" / "t.parquet").chmod(0o600)
    (data / "other").write_bytes(b"x")
    before = (data / "below" / "t.parquet").read_bytes()
    assert [one.status for one in rewrite_parquet(str(data), str(out))] == [rewrite.LEFT, rewrite.REWRITTEN]
    assert (data / "below" / "t.parquet").read_bytes() == before
    assert pq.read_table(out / "below" / "t.parquet").equals(numbers(3000))
    assert stat.S_IMODE((out / "below" / "t.parquet").stat().st_mode) == 0o600
    assert not (out / "other").exists()
    with pytest.raises(WouldOverwriteError, match=r"t\.parquet is there already"):
        list(rewrite_parquet(str(data), str(out)))


def test_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "t.parquet", tmp_path / "link"
    pq.write_table(numbers(3000), path)
    link.symlink_to("t.parquet")
    assert only(rewrite_parquet(str(link), None)).status == rewrite.REWRITTEN
    assert link.is_symlink()
    assert "DELTA_BINARY_PACKED" in encodings(path.read_bytes())["id"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    pq.write_table(numbers(3000), tmp_path / "t.parquet")
    (tmp_path / "x").write_bytes(b"x")
    before = (tmp_path / "t.parquet").read_bytes()
    found = list(rewrite_parquet(str(tmp_path), None, dry_run=True))
    assert [(one.status, one.rows, one.new_bytes) for one in found] == [
        ("rewritten", 3000, 0),
        ("left", 0, 1),
    ]
    assert (tmp_path / "t.parquet").read_bytes() == before
    list(rewrite_parquet(str(tmp_path), str(tmp_path) + "-out", dry_run=True))
    assert not Path(f"{tmp_path}-out").exists()


def test_places_that_make_no_sense(tmp_path: Path) -> None:
    pq.write_table(numbers(100), tmp_path / "t.parquet")
    with pytest.raises(PathNotFoundError, match="there is no file or folder"):
        list(rewrite_parquet(str(tmp_path / "none"), None))
    for target in (tmp_path, tmp_path / "below"):
        with pytest.raises(BadInputError, match="--in-place replaces"):
            list(rewrite_parquet(str(tmp_path), str(target)))
    with pytest.raises(BadInputError, match="is a folder and"):
        list(rewrite_parquet(str(tmp_path / "t.parquet"), str(tmp_path.parent)))


class _Keys(pe.KmsClient):  # type: ignore[misc] # pyarrow has no types
    def __init__(self, _: Any) -> None:
        super().__init__()

    def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
        return key_bytes.hex().encode()

    def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
        return bytes.fromhex(wrapped_key.decode())


def write_encrypted(rows: pa.Table, path: Path, *, plain_footer: bool) -> None:
    """A file whose first column is encrypted."""
    settings = pe.EncryptionConfiguration(
        footer_key="f", column_keys={"c": [rows.column_names[0]]}, plaintext_footer=plain_footer
    )
    factory = pe.CryptoFactory(_Keys)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(path, rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows)


@pytest.mark.parametrize("plain_footer", [False, True])
def test_encrypted_files_are_left(plain_footer: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_encrypted(numbers(100), path, plain_footer=plain_footer)
    before = path.read_bytes()
    found = only(rewrite_parquet(str(path), None))
    assert found.status == rewrite.LEFT
    assert "encrypted" in found.reason
    assert path.read_bytes() == before


def test_damaged_pages_leave_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(numbers(3000), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[4:1200] = b"\xff" * 1196
    path.write_bytes(data)
    found = only(rewrite_parquet(str(path), None))
    assert found.status == rewrite.LEFT
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_other_rows_never_take_the_place_of_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that loses a row, as one with a defect might."""
    path = tmp_path / "t.parquet"
    pq.write_table(numbers(3000), path)
    before = path.read_bytes()
    whole = write_rows

    def lossy(rows: Any, *arguments: Any, **options: Any) -> Any:
        return whole(rows._replace(batches=iter([next(rows.batches).slice(1)])), *arguments, **options)

    monkeypatch.setattr(rewrite, "write_rows", lossy)
    found = only(rewrite_parquet(str(path), None))
    assert (found.status, found.reason.partition(":")[0]) == (rewrite.LEFT, "its rows would not be the same")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_a_file_that_changes_meanwhile_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(numbers(3000), path)
    later = tmp_path / "later"
    pq.write_table(numbers(10), later)
    whole = write_rows

    def slow(*arguments: Any, **options: Any) -> Any:
        done = whole(*arguments, **options)
        os.replace(later, path)
        return done

    monkeypatch.setattr(rewrite, "write_rows", slow)
    found = only(rewrite_parquet(str(path), None))
    assert (found.status, found.reason) == (rewrite.LEFT, "it changed while it was read")
    assert pq.read_table(path).num_rows == 10


def test_a_killed_run_leaves_old_or_new_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = numbers(100_000)
    for number in range(6):
        pq.write_table(rows, data / f"{number}.parquet")
    script = f"from dataver.tables.rewrite import rewrite_parquet as r; print(list(r({str(data)!r}, None)))"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    before = {path.name: path.stat().st_ino for path in data.iterdir()}
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with_parts = [name for name in os.listdir(data) if name.endswith(".part")]
        if with_parts and (data / "0.parquet").stat().st_ino != before["0.parquet"]:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    for number in range(6):
        assert pq.read_table(data / f"{number}.parquet").equals(rows)
    found = list(rewrite_parquet(str(data), None))
    assert [Path(one.path).name for one in found] == [f"{number}.parquet" for number in range(6)]
    assert {one.status for one in found} == {rewrite.REWRITTEN, rewrite.SAME}


# How rows are compared


values = st.none() | st.floats(width=32) | st.sampled_from([0.0, -0.0, NAN])
nested = st.none() | st.lists(values, max_size=3)


@given(st.lists(st.tuples(values, nested), max_size=30), st.integers(1, 7), st.integers(1, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_only_equal_rows_are_the_same(
    rows: list[tuple[Any, Any]], left: int, right: int, data: st.DataObject
) -> None:
    def batches(rows: list[tuple[Any, Any]], size: int) -> Any:
        kinds = [pa.float32(), pa.list_(pa.float32())]
        arrays = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
        return iter(pa.table(arrays, ["a", "b"]).to_batches(size))

    assert first_difference(batches(rows, left), batches(rows, right)) is None
    if rows:
        at = data.draw(st.integers(0, len(rows) - 1))
        other = list(rows)
        other[at] = data.draw(st.tuples(values, nested))
        found = first_difference(batches(rows, left), batches(other, right))
        assert (found is None) == (repr(rows) == repr(other) and spelled(rows) == spelled(other))
        assert first_difference(batches(rows, left), batches(rows[:-1], right)) is not None


def spelled(rows: list[tuple[Any, Any]]) -> list[Any]:
    def bits(value: Any) -> Any:
        return None if value is None else np.float32(value).tobytes()

    return [(bits(a), None if b is None else [bits(one) for one in b]) for a, b in rows]


def test_sliced_arrays_are_the_same() -> None:
    for column in table().itercolumns():
        whole = column.combine_chunks()
        apart = pa.concat_arrays([whole.slice(0, 3), whole]).slice(3)
        assert same(whole, apart)
        assert not same(whole, whole.slice(1))
