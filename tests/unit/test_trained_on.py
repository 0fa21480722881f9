"""What a model was trained on, as the baseline of what it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.errors import BadInputError, NotFoundError, RefNotFoundError
from dataver.progress import observe_with
from dataver.repository import Repository
from dataver.tables.drift import DriftReport
from dataver.trained_on import trained_on

SPLITS = 'format = 1\nkind = "hash"\nkeys = ["id"]\n\n[parts]\ntrain = 0.5\ntest = 0.5\n'


def write(path: Path, shift: int = 0, **more: Any) -> Path:
    """A table of 1,000 people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "id": range(1000),
        "age": [18 + shift + number % 60 for number in range(1000)],
        "country": ["DE", "FR"] * 500,
        **more,
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """`people`, two tables with what is to be predicted, and `served`, which lacks that and has times."""
    found = dataver.init(tmp_path / "repository")
    for folder in ("train", "other"):
        write(tmp_path / "people" / folder / "a.parquet", churned=[False, True] * 500)
    (tmp_path / "people" / ".dataver-splits.toml").write_text(SPLITS)
    found.commit("people", tmp_path / "people")
    times = [float(number) for number in range(1000)]
    write(tmp_path / "served" / "date=2026-11-29" / "a.parquet", served_time=times)
    write(tmp_path / "served" / "date=2026-11-30" / "a.parquet", 30, served_time=times)
    found.commit("served", tmp_path / "served")
    (tmp_path / "model").write_bytes(b"weights")
    return found


def make(repository: Repository, tmp_path: Path, *reads: tuple[str, str, str | None], path: str = "") -> None:
    """Record a run that read these and made the next version of the model `churn`."""
    with dataver.run("train", repo=repository) as run:
        for ref, role, part in reads:
            if part is None:
                run.use(ref, role).to_arrow(path)
            else:
                run.use(ref, role, split=part).to_arrow()
        run.log_model("churn", tmp_path / "model")


def test_the_training_data_is_the_input_of_that_role(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path, ("served", "testing", None), ("people", "training", None))
    found = trained_on(repository, "model:churn")
    assert (found.model, found.data.name, found.path) == ("model:churn@v1", "people@v1", "")


def test_or_the_only_one(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path, ("people", "input", None), path="train/")
    found = trained_on(repository, "model:churn@v1")
    assert (found.data.name, found.path) == ("people@v1", "train/a.parquet")


def test_a_part_is_the_part(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path, ("people", "training", "train"))
    report = repository.drift("model:churn@v1", "served", "date=2026-11-29")
    assert report.baseline.name == "people@v1:train"
    assert 800 < report.baseline.rows < 1200
    assert report.target.rows == 1000
    assert report.left_out == ("churned", "served_time")


def test_a_run_of_several_inputs_or_none_is_told(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path)
    make(repository, tmp_path, ("people", "left", None), ("served", "right", None))
    with pytest.raises(BadInputError, match="recorded none"):
        trained_on(repository, "model:churn@v1")
    with pytest.raises(BadInputError, match=r"people \(left\), served \(right\)"):
        trained_on(repository, "model:churn@v2")
    with pytest.raises(RefNotFoundError):
        trained_on(repository, "model:churn@v3")


def test_data_of_another_repository_are_told(repository: Repository, tmp_path: Path) -> None:
    other = dataver.init(tmp_path / "other")
    with dataver.run("train", repo=repository) as run:
        other.commit("elsewhere", tmp_path / "people")
    with dataver.run("train", repo=repository) as run:
        other.version("elsewhere").to_arrow("train/")
        run.log_model("churn", tmp_path / "model")
    with pytest.raises(NotFoundError, match=r"not in this repository.*other"):
        trained_on(repository, "model:churn")


def test_what_is_asked_is_compared_with_what_was_learned(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path, ("people", "training", None), path="train/")
    told: list[DriftReport] = []

    class Observer:
        def began(self, operation: str, arguments: Mapping[str, Any]) -> bool:
            return operation == "drift"

        def ended(self, begun: Any, result: Any, error: BaseException | None) -> None:
            if begun:
                told.append(result)

    before = observe_with(Observer())
    try:
        same = repository.drift("model:churn@v1", "served", "date=2026-11-29")
        later = repository.drift("model:churn@v1", "served", "date=2026-11-30")
        exact = repository.drift("model:churn@v1", "served", "date=2026-11-30", exact=True)
    finally:
        observe_with(before)
    assert told == [same, later, exact]
    assert (same.drifted, later.drifted, exact.drifted) == ((), ("age",), ("age",))
    assert same.baseline.path == "train/a.parquet"
    for report in (same, later, exact):
        assert report.model == "model:churn@v1"
        assert report.left_out == ("churned", "served_time")
        assert not report.schema
        assert [column.column for column in report.columns] == ["id", "age", "country"]
    assert later.to_json()["left_out"] == ["churned", "served_time"]


def test_a_model_goes_first(repository: Repository) -> None:
    with pytest.raises(BadInputError, match="goes before what is compared"):
        repository.drift("served", "model:churn@v1")


def test_whole_numbers_and_others_are_of_one_type_and_texts_are_not(
    repository: Repository, tmp_path: Path
) -> None:
    make(repository, tmp_path, ("people", "training", None), path="train/")
    table = {"age": [1.5, 2.5], "country": [1.0, 2.0]}
    (tmp_path / "asked").mkdir()
    pq.write_table(pa.table(table), tmp_path / "asked" / "a.parquet")
    repository.commit("asked", tmp_path / "asked")
    report = repository.drift("model:churn@v1", "asked")
    assert report.schema.retyped == (("country", "string", "double"),)
    assert report.left_out == ("id", "churned")
    (tmp_path / "none").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "none" / "a.parquet")
    repository.commit("none", tmp_path / "none")
    with pytest.raises(BadInputError, match="nothing that model:churn@v1 was trained on"):
        repository.drift("model:churn@v1", "none")


def test_the_report_is_a_message_whatever_columns_are_called(repository: Repository, tmp_path: Path) -> None:
    make(repository, tmp_path, ("people", "training", None), path="train/")
    text = repository.drift("model:churn@v1", "served", "date=2026-11-30").markdown()
    subject, empty, *body = text.splitlines()
    assert subject == "served@v1 against model:churn@v1: age drifted"
    assert empty == ""
    assert "- model: model:churn@v1, trained on people@v1" in body
    assert "- left out: churned, served_time, which one side alone has" in body
    assert any(line.startswith("| `age` | wasserstein |") and line.endswith("| yes |") for line in body)
    assert body[-1] == "1 of 3 columns drifted: age"
    names = ["a|b", "c`d", "e\nf", "<g>"]
    for number, dataset in enumerate(("odd", "odder")):
        (tmp_path / dataset).mkdir()
        columns = {name: [f"x|{number}\n"] * 100 for name in names}
        pq.write_table(pa.table(columns), tmp_path / dataset / "a.parquet")
        repository.commit(dataset, tmp_path / dataset)
    lines = repository.drift("odd", "odder").markdown().splitlines()
    assert lines[0] == r"odder@v1 against odd@v1: a\|b, c\`d, e f, \<g> drifted"
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split(" | ")[0] for row in rows] == ["| `a\\|b`", "| `c'd`", "| `e f`", "| `<g>`"]
