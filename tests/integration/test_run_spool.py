"""Runs that cannot be recorded now wait on this machine, and are recorded later; none is lost or doubled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dataver
from dataver.errors import OfflineError
from dataver.lineage.listing import run_infos
from dataver.lineage.records import Records
from dataver.lineage.spool import keep, push_one, waiting
from dataver.repository import Repository
from tests.permissions import only_to_be_read

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def repository(place: Path) -> Repository:
    (place / "data").mkdir()
    (place / "data" / "a.csv").write_text("x,y\n1,2\n")
    made = dataver.init(str(place / ".dataver"))
    made.commit("iris", place / "data")
    return made


def ids(repository: Repository) -> list[str]:
    state = repository.session.newest()
    return [info.record.run for info in run_infos(state, Records(repository.session, state))]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dataver.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def train(repository: Repository) -> dataver.Run:
    """A run that reads a file and makes a model."""
    with dataver.run("train", params={"lr": 1}, repo=repository) as run:
        repository.version("iris").read("a.csv")
        Path("model").write_text("model")
        run.log_model("churn", "model")
    return run


def run_offline(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> dataver.Run:
    """A run while appending to the log is impossible."""

    def refuse(*_: object) -> None:
        raise OfflineError("offline")

    with monkeypatch.context() as patch:
        patch.setattr(repository.session.log, "append", refuse)
        with pytest.warns(UserWarning, match="waits in"):
            return train(repository)


def test_a_run_that_cannot_be_recorded_waits(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = run_offline(repository, monkeypatch)
    assert run.waits
    assert ids(repository) == []
    (kept,) = waiting()
    assert (kept.run, kept.repository, kept.is_over) == (run.id, repository.id, True)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    shown = json.loads(cli("runs", "--json").stdout)["runs"]
    assert [(one["id"], one["waiting"], one["inputs"]) for one in shown] == [(run.id, True, ["iris@v1"])]
    assert json.loads(cli("runs", "show", run.id, "--json").stdout)["waiting"]
    assert "waiting runs" in cli("doctor").stdout
    assert json.loads(cli("runs", "push", "--json").stdout) == {"pushed": [run.id], "waiting": []}
    assert ids(repository) == [run.id]
    assert list(waiting()) == []
    assert json.loads(cli("models", "--json").stdout)["models"][0]["inputs"] == ["iris@v1"]
    assert cli("runs", "push").stdout == "no run waits here\n"
    assert repository.verify(deep=True).ok


def test_an_end_that_cannot_be_recorded_is_kept_in_any_case(repository: Repository, place: Path) -> None:
    run = dataver.run("train", repo=repository).start()
    repository.version("iris").read("a.csv")
    (place / ".dataver").rename(place / "away")
    with pytest.warns(UserWarning, match="waits in"):
        run.end()
    (place / "away").rename(place / ".dataver")
    assert [push_one(repository.session, kept) for kept in waiting()] == [True]
    assert ids(repository) == [run.id]


def test_a_run_is_recorded_once_however_often_it_is_pushed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_offline(repository, monkeypatch)
    (kept,) = waiting()
    parts = kept.parts()
    assert push_one(repository.session, kept)
    assert not push_one(repository.session, kept)
    # A push that was killed after the entry and before it forgot the run.
    keep(kept.url, kept.repository, kept.start, kept.end, parts)
    before = repository.session.newest().number
    assert push_one(repository.session, next(iter(waiting())))
    assert repository.session.newest().number == before
    assert ids(repository) == [run.id]


def test_many_push_at_once(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {run_offline(repository, monkeypatch).id for _ in range(5)}
    pushing = [
        subprocess.Popen(
            [sys.executable, "-m", "dataver.cli", "runs", "push", "--json"], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    pushed: list[str] = []
    for process in pushing:
        pushed += json.loads(process.communicate(timeout=60)[0])["pushed"]
        assert process.returncode == 0
    assert sorted(pushed) == sorted(wanted)
    assert set(ids(repository)) == wanted


def test_a_run_belongs_to_its_repository(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    run = run_offline(repository, monkeypatch)
    dataver.init(str(place / "other"))
    assert json.loads(cli("-R", "other", "runs", "push", "--json").stdout) == {
        "pushed": [],
        "waiting": [run.id],
    }
    assert json.loads(cli("-R", "other", "runs", "--json").stdout) == {"runs": []}
    (place / ".dataver").rename(place / "away")
    (place / "other").rename(place / ".dataver")
    done = cli("runs", "push")
    assert (done.returncode, "is another one now" in done.stderr) == (3, True)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert json.loads(cli("-R", "../away", "runs", "push", "--json").stdout) == {
        "pushed": [run.id],
        "waiting": [],
    }


def test_each_run_is_pushed_where_it_belongs(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    other = dataver.init(str(place / "other"))
    other.commit("iris", place / "data")
    wanted = [run_offline(one, monkeypatch).id for one in (repository, other)]
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert json.loads(cli("runs", "push", "--json").stdout) == {"pushed": wanted, "waiting": []}
    assert (ids(repository), ids(other)) == ([wanted[0]], [wanted[1]])


def test_a_run_that_crashed_while_it_waited_is_recorded_as_begun(repository: Repository, place: Path) -> None:
    script = (
        "import dataver, os\n"
        "from dataver.errors import NotPermittedError\n"
        "def refuse(*_): raise NotPermittedError('not yours')\n"
        "repository = dataver.open()\n"
        "repository.session.log.append = refuse\n"
        "with dataver.run('train', repo=repository): os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    (kept,) = waiting()
    assert kept.end is None
    assert json.loads(cli("runs", "push", "--json").stdout)["pushed"] == [kept.run]
    assert json.loads(cli("runs", "--json").stdout)["runs"][0]["status"] == "crashed"


def test_another_repository_may_take_the_runs(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    runs = dataver.init(str(place / "runs"))
    monkeypatch.setenv("DATAVER_RUNS_REPO", str(place / "runs"))
    with dataver.run("train", repo=repository) as run:
        repository.version("iris").read("a.csv")
    assert (ids(runs), ids(repository)) == ([run.id], [])
    assert run.record is not None
    assert run.record.inputs[0].repository == repository.id
    done = cli("run", "--", sys.executable, "-c", "import dataver; dataver.resolve('iris')")
    assert done.returncode == 0
    assert len(ids(runs)) == 2
    for ref in ("iris", "iris@v1", f"iris@{repository.version('iris').id}"):
        assert len(json.loads(cli("-R", "runs", "runs", "--dataset", ref, "--json").stdout)["runs"]) == 2
    assert len(json.loads(cli("runs", "--json").stdout)["runs"]) == 2
    assert json.loads(cli("-R", "runs", "runs", "--dataset", "iris@v2", "--json").stdout)["runs"] == []


def test_a_folder_that_one_may_only_read(repository: Repository, place: Path) -> None:
    with only_to_be_read(place / ".dataver"):
        with pytest.warns(UserWarning, match="waits in"):
            run = train(repository)
        assert [kept.run for kept in waiting()] == [run.id]
    assert [push_one(repository.session, kept) for kept in waiting()] == [True]
    assert ids(repository) == [run.id]
