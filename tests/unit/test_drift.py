"""Drift between versions: what is read for it, real tables against oracles, parts, what cannot be told."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from importlib.metadata import files
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver import tabular
from dataver.errors import BadInputError, PathNotFoundError
from dataver.keys import pack_key
from dataver.reading import file_rows
from dataver.repository import Repository, init
from dataver.tables import rowwise
from dataver.testing.stores import CountingStore
from tests import oracles
from tests.repositories import over

NAMES = count()
SPLITS = """
kind = "hash"
keys = ["id"]
parts = {train = 0.7, test = 0.3}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def put(folder: Path, name: str, content: pa.Table, **options: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    pq.write_table(content, folder / name, **options)


def table(seed: int, rows: int = 3000, shift: float = 0.0) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "id": np.arange(rows) + seed * rows,
            "x": random.normal(shift, 1, rows),
            "kind": random.choice(["a", "b", "c"], rows),
        }
    )


# What is read


def data_reads(store: CountingStore, packs: set[str]) -> list[str]:
    return [call.key for call in store.calls if call.method != "list" and call.key in packs]


def test_with_statistics_in_the_repository_no_data_are_read(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        for part in range(3):
            put(folder, f"train/{part}.parquet", table(3 * number + part, shift=number / 2))
        repository.commit("t", folder, stats=True)
    index = repository.session.index()
    packs = set()
    for ref in ("t@v1", "t@v2"):
        version = repository.version(ref)
        for path in version.tables():
            rows = file_rows(version.entry(path), version.objects(), 0, version.entry(path).size)
            for _, row in rows:
                place = index.find(row.digest)
                assert place is not None
                packs.add(pack_key(place.pack))
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(folder / "empty"))
    store = CountingStore(repository.session.store)
    report = over(store).drift("t@v1", "t@v2", "train")
    assert store.calls
    assert data_reads(store, packs) == []
    assert (report.computed, report.exact, report.drifted) == (0, False, ("id", "x"))
    store.reset()
    exact = over(store).drift("t@v1", "t@v2", "train", exact=True)
    assert data_reads(store, packs), "what reads rows is seen by this count"
    for told, true in zip(report.columns, exact.columns, strict=True):
        for one, other in zip(told.measures, true.measures, strict=True):
            assert one.value is not None
            assert abs(one.value - (other.value or 0.0)) <= one.error + 1e-9


def test_missing_statistics_are_computed_once_or_refused(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table(1))
    repository.commit("t", folder)
    put(folder, "a.parquet", table(2))
    repository.commit("t", folder, stats=True)
    with pytest.raises(BadInputError, match=r"t@v1 has no statistics at hand of 1 files.*a\.parquet"):
        repository.drift("t@v1", "t@v2", compute=False)
    assert repository.drift("t@v1", "t@v2").computed == 1
    assert repository.drift("t@v1", "t@v2", compute=False).computed == 0


def test_rows_are_read_a_few_columns_at_a_time(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = {f"c{n}": np.random.default_rng(n).normal(n, 1, 2000) for n in range(40)}
    put(folder, "a.parquet", pa.table(wide), row_group_size=300)
    repository.commit("t", folder)
    put(
        folder, "a.parquet", pa.table({name: values + 1 for name, values in wide.items()}), row_group_size=300
    )
    repository.commit("t", folder)
    asked: list[int] = []
    real = tabular.batches

    def counting(version: Any, path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        asked.append(len(columns))
        return real(version, path, columns)

    monkeypatch.setattr(tabular, "batches", counting)
    monkeypatch.setattr(rowwise, "ROOM_VALUES", 1000)
    report = repository.drift("t@v1", "t@v2", exact=True)
    assert asked == [16, 16, 16, 16, 8, 8]
    for column in report.columns:
        values = wide[column.column]
        assert column.measures[1].value == pytest.approx(oracles.wasserstein(values, values + 1), rel=1e-9)


# Real tables


def shipped() -> dict[str, pandas.DataFrame]:
    """Tables of scikit-learn, with a column of names in each."""
    found = {}
    for place in files("scikit-learn") or []:
        if place.name in ("iris.csv", "wine_data.csv", "breast_cancer.csv"):
            frame = pandas.read_csv(place.locate(), skiprows=1, header=None)
            frame["class"] = [f"class {number}" for number in frame[frame.columns[-1]]]
        elif place.name == "diabetes_data_raw.csv.gz":
            frame = pandas.read_csv(place.locate(), sep=r"\s+", header=None)
            frame["class"] = [f"sex {number:g}" for number in frame[1]]
        else:
            continue
        frame.columns = [str(name) for name in frame.columns]
        found[place.name.partition(".")[0].partition("_")[0]] = frame
    return found


@pytest.mark.parametrize("name", ["iris", "wine", "breast", "diabetes"])
def test_tables_of_scikit_learn_against_scipy_and_evidently(
    name: str, repository: Repository, folder: Path
) -> None:
    frame = shipped()[name]
    halves = frame.iloc[: len(frame) // 2], frame.iloc[len(frame) // 2 :]
    for half in halves:
        put(folder, "t.parquet", pa.Table.from_pandas(half, preserve_index=False))
        repository.commit("t", folder)
    everything = ["auto", "js", "psi", "ks", "chi2"]
    for exact in (True, False):
        report = repository.drift("t@v1", "t@v2", metrics=everything, exact=exact)
        assert len(report.columns) == len(frame.columns)
        for column in report.columns:
            a, b = (half[column.column].to_numpy() for half in halves)
            got = {measure.metric: measure for measure in column.measures}
            assert not any(measure.error for measure in got.values()), "so few values are kept whole"
            if column.kind == "categories":
                left, right = oracles.counts(a, b)
                values = {"JensenShannonDistance": oracles.evidently_jensen_shannon(a, b)}
                statistic, p_value = oracles.chi_square(left, right)
                values["PearsonsChiSquaredTest"] = statistic
                assert got["PearsonsChiSquaredTest"].p_value == pytest.approx(p_value, abs=1e-9)
            else:
                left, right = oracles.histograms(a, b)
                values = {"NormalizedWassersteinDistance": oracles.evidently_wasserstein(a, b)}
                values["TwoSampleKolmogorovSmirnovTest"], p_value = oracles.kolmogorov(a, b)
                assert got["TwoSampleKolmogorovSmirnovTest"].p_value == pytest.approx(p_value, abs=1e-9)
            values["PopulationStabilityIndex"] = oracles.stability(left, right)
            for metric, expected in values.items():
                assert got[metric].value == pytest.approx(expected, rel=1e-9, abs=1e-9), (
                    column.column,
                    metric,
                )
            js = oracles.jensen_shannon(left, right)
            assert got["JensenShannonDistance"].value == pytest.approx(js, abs=2e-8)


# What is said


def test_facts_of_schema_rows_and_columns(repository: Repository, folder: Path) -> None:
    put(
        folder,
        "a.parquet",
        pa.table({"n": [1, 2, 3, 4], "s": ["a", "b", "b", "c"], "old": [1] * 4, "t": [1] * 4}),
    )
    repository.commit("t", folder)
    put(
        folder,
        "a.parquet",
        pa.table({"n": [0.0, 9.5, None], "s": ["a", "d", "d"], "t": ["1"] * 3, "new": [2] * 3}),
    )
    repository.commit("t", folder)
    for exact in (False, True):
        report = repository.drift("t@v1", "t@v2", exact=exact)
        assert (report.baseline.rows, report.target.rows) == (4, 3)
        schema = report.schema
        assert (schema.added, schema.dropped) == (("new",), ("old",))
        assert schema.retyped == (("n", "int64", "double"), ("t", "int64", "string"))
        assert [column.column for column in report.columns] == ["n", "s", "t"]
        n, s, t = report.columns
        assert (n.baseline.min, n.target.min, n.baseline.max, n.target.max) == (1, 0.0, 4, 9.5)
        assert (n.below, n.above, n.drifted) == (True, True, True)
        assert s.new is not None
        assert s.vanished is not None
        assert (s.new.values, s.vanished.values) == ((("d", 2),), (("b", 2), ("c", 1)))
        assert (t.drifted, t.reason) == (None, "int64 does not compare with string")
        assert (report.drifted, report.undecided, bool(report)) == (("n", "s"), ("t",), True)
        assert report.release == dataver.__version__
        assert report.column("s") is s
        with pytest.raises(KeyError):
            report.column("old")
        document = report.to_json()
        assert document["drifted"] == ["n", "s"]


def test_chosen_columns_are_leaves_or_what_they_are_in(repository: Repository, folder: Path) -> None:
    rows = [{"s": {"a": n, "b": [n, -n]}, "sx": n} for n in range(50)]
    put(folder, "a.parquet", pa.Table.from_pylist(rows))
    repository.commit("t", folder)
    for exact in (False, True):

        def names(columns: Any, exact: bool = exact) -> list[str]:
            return [c.column for c in repository.drift("t", "t", columns=columns, exact=exact).columns]

        assert names(None) == ["s.a", "s.b[]", "sx"]
        assert names("s") == ["s.a", "s.b[]"]
        assert names(["s.b", "sx"]) == ["s.b[]", "sx"]
        with pytest.raises(PathNotFoundError, match=r"no column 'y'; there are s\.a, s\.b\[\], sx"):
            names("y")


def test_the_same_table_does_not_drift(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table(1))
    repository.commit("t", folder)
    for exact in (False, True):
        report = repository.version("t").drift(
            repository.version("t"), metrics=["auto", "psi", "ks", "js"], exact=exact
        )
        assert not report
        assert all(measure.value == 0.0 for column in report.columns for measure in column.measures)


def test_tables_that_are_none(repository: Repository, folder: Path) -> None:
    put(folder, "good.parquet", table(1))
    (folder / "bad.parquet").write_bytes(b"no table")
    put(folder, "other.parquet", pa.table({"y": [1]}))
    put(folder, "empty.parquet", table(1).slice(0, 0))
    repository.commit("t", folder)
    for exact in (False, True):
        for path, error in (("bad.parquet", BadInputError), ("", BadInputError), ("none", PathNotFoundError)):
            with pytest.raises(error):
                repository.drift("t", "t", path, exact=exact)
        report = repository.drift("t", "t", "empty.parquet", exact=exact)
        assert [column.drifted for column in report.columns] == [None] * 3
        none = repository.version("t").drift(repository.version("t"), "other.parquet", exact=exact)
        assert [column.drifted for column in none.columns] == [False]


def test_a_column_that_cannot_be_read_says_so(repository: Repository, folder: Path) -> None:
    for data in (table(1), table(2)):
        put(
            folder,
            "a.parquet",
            data,
            compression="none",
            use_dictionary=False,
            column_encoding={"kind": "PLAIN"},
        )
        whole = bytearray((folder / "a.parquet").read_bytes())
        metadata = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(2)
        start = metadata.data_page_offset
        whole[start + 40 : start + metadata.total_compressed_size] = b"\xff" * (
            metadata.total_compressed_size - 40
        )
        (folder / "a.parquet").write_bytes(whole)
        repository.commit("t", folder)
    for exact in (False, True):
        report = repository.drift("t@v1", "t@v2", exact=exact)
        *good, bad = report.columns
        assert all(column.measures[1].value is not None for column in good)
        assert bad.drifted is None
        assert "cannot be read" in bad.reason


# Parts


def test_parts_of_versions_are_read(repository: Repository, folder: Path) -> None:
    put(folder, "a.parquet", table(0))
    (folder / ".dataver-splits.toml").write_text(f"[default]\n{SPLITS}")
    repository.commit("t", folder)
    version = repository.version("t")
    parts = [version.split(part).to_arrow() for part in ("train", "test")]
    report = repository.drift("t:train", "t:test")
    assert (report.baseline.name, report.target.name, report.exact) == ("t@v1:train", "t@v1:test", True)
    assert (report.baseline.rows, report.target.rows) == tuple(map(len, parts))
    assert report.baseline.split == version.split("train").digest
    assert report.target.files == 1
    expected = oracles.wasserstein(*(part["x"].to_numpy() for part in parts))
    assert report.column("x").measures[1].value == pytest.approx(expected, rel=1e-9)
    whole = repository.drift("t", "t:test")
    assert (whole.baseline.rows, whole.baseline.split) == (3000, None)
    by = {"kind": "column", "column": "kind", "parts": {"ab": ["a", "b"], "c": ["c"]}}
    other = repository.drift("t:ab", "t:c", by=by, columns="kind")
    assert other.column("kind").measures[1].value == pytest.approx(1.0)
    with pytest.raises(BadInputError, match="neither t nor t names one"):
        repository.drift("t", "t", by=by)


def test_more_texts_than_categories_can_be(
    repository: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowwise, "DISTINCT_MAX", 100)
    put(folder, "a.parquet", pa.table({"s": [f"{n}" for n in range(500)]}))
    repository.commit("t", folder)
    column = repository.drift("t", "t", exact=True).column("s")
    assert column.drifted is None
    assert "more than 100 distinct values" in column.reason
    assert math.isclose(column.baseline.rows, 500)


def test_a_wide_table_without_sketches_says_so(repository: Repository, folder: Path) -> None:
    columns: dict[str, Any] = {f"c{n}": [float(n), 2.0] for n in range(1001)} | {"s": ["a", "b"]}
    put(folder, "a.parquet", pa.table(columns))
    repository.commit("t", folder)
    told = repository.drift("t", "t", columns=["c7", "s"])
    assert [column.drifted for column in told.columns] == [None, None]
    assert all("--exact" in column.reason for column in told.columns)
    exact = repository.drift("t", "t", columns=["c7", "s"], exact=True)
    assert [column.drifted for column in exact.columns] == [False, False]
