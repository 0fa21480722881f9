"""The tables of an export, read by the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mltable
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import dataver

ROWS: dict[str, list[Any]] = {"x": list(range(100)), "name": [f'n, "{n}" ü' for n in range(100)]}


def write_parquet(place: Path, rows: dict[str, list[Any]]) -> None:
    pq.write_table(pa.table(rows), place)


def write_csv(place: Path, rows: dict[str, list[Any]]) -> None:
    pyarrow.csv.write_csv(pa.table(rows), place)


def write_lines(place: Path, rows: dict[str, list[Any]]) -> None:
    lines = (json.dumps({"x": x, "name": name}) for x, name in zip(rows["x"], rows["name"], strict=True))
    place.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("suffix", "write"), [("parquet", write_parquet), ("csv", write_csv), ("jsonl", write_lines)]
)
def test_the_engine_reads_every_row(
    suffix: str,
    write: Callable[[Path, dict[str, list[Any]]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from click.testing import CliRunner

    from dataver.cli import main

    data = tmp_path / "data"
    (data / "part two").mkdir(parents=True)
    write(data / f"a.{suffix}", {name: values[:60] for name, values in ROWS.items()})
    write(
        data / "part two" / f"b'c é\N{GRINNING FACE}.{suffix}",
        {name: values[60:] for name, values in ROWS.items()},
    )
    (data / "README.txt").write_text("not a table")
    repository = dataver.init(tmp_path / "repository")
    repository.commit("iris", data)
    monkeypatch.chdir(tmp_path)
    line = ["export", "azureml", "iris", "--type", "mltable", "--to", "out", "--yaml", "iris.yml", "--json"]
    done = CliRunner().invoke(main, ["-R", repository.url, *line])
    assert done.exit_code == 0, done.output
    frame = mltable.load(json.loads(done.stdout)["path"]).to_pandas_dataframe()
    assert sorted(frame["x"]) == ROWS["x"]
    assert set(frame["name"]) == set(ROWS["name"])
