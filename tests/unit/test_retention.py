"""Which versions a retention keeps, and why it keeps each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataver.errors import BadInputError
from dataver.format.run_record import RunInput, RunRecord
from dataver.gc.prune import PruneReport, Retention, prune
from dataver.lineage.publishing import end_run
from dataver.repository import Repository
from tests.repositories import memory_repository

TIMES = (
    "2023-03-05T00:00:00Z",
    "2023-11-20T00:00:00Z",
    "2024-12-30T00:00:00Z",  # Monday of the first week of 2025
    "2025-01-02T00:00:00Z",  # Thursday of the same week
    "2025-01-12T23:59:59Z",  # Sunday
    "2025-01-13T00:00:00Z",  # Monday
    "2025-01-13T12:00:00Z",
)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One dataset with a version at each of `TIMES`."""
    repository = memory_repository()
    for number, time in enumerate(TIMES):
        commit(repository, tmp_path, number, time)
    return repository


def commit(repository: Repository, place: Path, number: int, time: str, branch: str = "main") -> str:
    folder = place / "source"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(str(number))
    return repository.commit("d", folder, time=time, branch=branch).id


def kept(repository: Repository, keep: Retention) -> dict[str, str]:
    return prune(repository.session, "d", keep).kept


@pytest.mark.parametrize(
    ("keep", "numbers"),
    [
        (Retention(daily=1), [7]),
        (Retention(daily=2), [5, 7]),
        (Retention(daily=3), [4, 5, 7]),
        (Retention(weekly=1), [7]),
        (Retention(weekly=3), [4, 5, 7]),
        (Retention(weekly=4), [2, 4, 5, 7]),
        (Retention(monthly=2), [3, 7]),
        (Retention(monthly=3), [2, 3, 7]),
        (Retention(yearly=2), [3, 7]),
        (Retention(yearly=9), [2, 3, 7]),
        (Retention(last=3), [5, 6, 7]),
        (Retention(last=99), [1, 2, 3, 4, 5, 6, 7]),
        (Retention(daily=2, yearly=3), [2, 3, 5, 7]),
        (Retention(last=2, monthly=2), [3, 6, 7]),
        (Retention(tagged=True), [7]),
    ],
    ids=str,
)
def test_the_newest_of_the_newest_periods_stay(
    repository: Repository, keep: Retention, numbers: list[int]
) -> None:
    report = prune(repository.session, "d", keep)
    assert list(report.kept) == [f"v{number}" for number in numbers]
    assert report.pruned == [f"v{n}" for n in range(1, 8) if n not in numbers]


def test_each_version_that_stays_has_its_reason(repository: Repository) -> None:
    keep = Retention(last=2, daily=2, weekly=3, monthly=2, yearly=3)
    assert kept(repository, keep) == {
        "v2": "the newest of its year",
        "v3": "the newest of its month",
        "v4": "the newest of its week",
        "v5": "the newest of its day",
        "v6": "one of the last",
        "v7": "head of main",
    }


def test_what_is_named_held_or_was_read_stays_whatever_is_asked(repository: Repository) -> None:
    repository.tag("d@v1", "paper")
    repository.tag("d@v2", "gone")
    repository.delete_ref("tag", "d", "gone")
    repository.hold("d@v3", "audit")
    repository.branch("d@v4", "x")
    found = repository.version("d@v5")
    given = RunInput("training", "d@v5", "d", found.id, found.tree, repository.id)
    end_run(repository.session, RunRecord("ab" * 16, "train", "Ana <a@x>", 0, status="done", inputs=(given,)))
    assert kept(repository, Retention(last=1)) == {
        "v1": "paper",
        "v3": "held: audit",
        "v4": "head of x",
        "v5": f"run {'ab' * 16}",
        "v7": "head of main",
    }


def test_what_is_pruned_is_what_was_announced(repository: Repository) -> None:
    session = repository.session
    keep = Retention(yearly=2)
    announced = prune(session, "d", keep)
    before = session.log.tail().entry.number
    done = prune(session, "d", keep, yes=True)
    assert (announced.done, done.done) == (False, True)
    assert (done.dataset, done.pruned, done.kept) == ("d", announced.pruned, announced.kept)
    assert [info.version for info in repository.log("d")] == ["v7"]
    assert session.log.tail().entry.number == before + 1
    again = prune(session, "d", keep, yes=True)
    assert (again.pruned, list(again.kept)) == ([], ["v3", "v7"])
    assert session.log.tail().entry.number == before + 1  # Nothing to let go: nothing is recorded.


def test_only_the_line_of_main_is_pruned(repository: Repository, tmp_path: Path) -> None:
    for number in range(2):
        commit(repository, tmp_path, 100 + number, TIMES[-1], "x")
    prune(repository.session, "d", Retention(last=1), yes=True)
    assert [info.version for info in repository.log("d@x")][:2] == [None, None]


@pytest.mark.parametrize("period", ["last", "daily", "weekly", "monthly", "yearly"])
def test_a_retention_says_what_to_keep(period: str) -> None:
    def of(**counts: Any) -> Retention:
        return Retention(**counts)

    with pytest.raises(BadInputError, match="counted from 0"):
        of(**{period: -1, "tagged": True})
    with pytest.raises(BadInputError, match="say what to keep"):
        of(**{period: 0})
    assert getattr(of(**{period: 1}), period) == 1


def test_a_report_is_a_document() -> None:
    report = PruneReport("d", True, ["v1"], {"v2": "paper"})
    assert report.to_json() == {"dataset": "d", "done": True, "pruned": ["v1"], "kept": {"v2": "paper"}}
