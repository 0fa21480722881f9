"""Who may read what: readers need no more than to read, and what is private to a user is."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

import dataver
from dataver.cli.root import VERBS
from dataver.config import cache_folder, spool_folder
from dataver.repository import Repository, init, open_repository
from tests import runs
from tests.permissions import only_to_be_read, permissions_hold_for_root

Run = Callable[..., Result]

READ_ONLY = {
    "status": "status iris data",
    "list": "list",
    "log": "log iris",
    "show": "show iris --tables",
    "card": "card iris --compute",
    "ls": "ls iris -r",
    "cat": "cat iris t.parquet",
    "stats": "stats iris",
    "diff": "diff iris@v1 iris --tables",
    "drift": "drift iris@v1 iris",
    "checkout": "checkout iris out",
    "runs": "runs",
    "models": "models",
    "push": "push --to elsewhere",
    "lock": "lock add iris",
    "split": "split show iris --by split.toml",
    "overlap": "overlap iris@v1 iris",
    "lineage": "lineage model:churn@v1",
    "who-used": "who-used iris@v1",
    "config": "config",
    "served": "served served",
    "audit": "audit model --verify",
    "export": "export prov model:churn@v1",
    "verify": "verify --deep",
    "repair": "repair",
    "gc": "gc",
    "prune": "prune iris --keep-last 1",
    "erase": "erase iris 2.csv --reason asked",
    "azureml": "azureml pipeline iris -o pipeline.yml",
}
WRITES = {
    "commit": "commit iris data -m more --allow-empty",
    "tag": "tag iris paper",
    "alias": "alias iris prod",
    "branch": "branch iris side",
    "revert": "revert iris@v1",
    "rename": "rename iris roses",
    "delete": "delete iris",
    "hold": "hold iris keep",
    "pull": "pull --from elsewhere",
    "gc": "gc --yes",
    "erase": "erase iris 2.csv --reason asked --yes",
}
ELSEWHERE = {
    "init", "completion", "rewrite-parquet", "run", "merge", "repro", "sign", "verify-signature", "trust",
    "link", "import", "doctor", "telemetry",
}  # fmt: skip
"""Verbs that need no repository, more than one, keys, another tool's, or that are tried below."""


@pytest.fixture
def repository(place: Path) -> Repository:
    """Two versions of a table, with a run that made a model of the first."""
    return filled(init(place / ".dataver"), place)


def filled(repository: Repository, place: Path) -> Repository:
    """What every line of `READ_ONLY` and `WRITES` finds something in, wherever the repository is."""
    init(place / "elsewhere").commit("roses", made(place / "roses", 1))
    repository.commit("iris", made(place / "data", 1))
    (place / "split.toml").write_text(
        'kind = "hash"\nkeys = ["x"]\nsalt = "1"\n[parts]\ntrain = "0.8"\ntest = "0.2"\n'
    )
    (place / "model").mkdir()
    (place / "model" / "weights").write_bytes(b"1")
    runs.record(repository, [runs.read(repository, "iris@v1")], [runs.model_at("churn", place / "model")])
    repository.commit("iris", made(place / "data", 2))
    return repository


def made(folder: Path, number: int) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"x": range(number * 100)}), folder / "t.parquet")
    (folder / f"{number}.csv").write_text(f"x\n{number}\n")
    return folder


@pytest.fixture(params=["a cold cache", "no cache"])
def reader(
    request: pytest.FixtureRequest, repository: Repository, place: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Another user of the repository, who may only read it; whose cache folder is new or cannot be made."""
    cache = place.parent / "of-the-reader"
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(cache / "cache"))
    cache.mkdir(mode=0o700 if request.param == "a cold cache" else 0o500)
    with only_to_be_read(Path(repository.url)):
        yield
    cache.chmod(0o700)


def test_every_verb_is_tried() -> None:
    assert set(READ_ONLY) | set(WRITES) | ELSEWHERE == set(VERBS)


@pytest.mark.usefixtures("reader")
def test_readers_need_only_read(run: Run) -> None:
    told = {verb: run(*line.split()) for verb, line in READ_ONLY.items()}
    assert {verb: result.output for verb, result in told.items() if result.exit_code} == {}


@pytest.mark.usefixtures("reader")
def test_readers_may_not_write_and_are_told_so(run: Run, repository: Repository) -> None:
    before = sorted(Path(repository.url).rglob("*"))
    told = {verb: run(*line.split()) for verb, line in WRITES.items()}
    assert {verb: result.output for verb, result in told.items() if result.exit_code not in (0, 8)} == {}
    assert {verb for verb, result in told.items() if result.exit_code == 0} <= {"gc"}
    assert sorted(Path(repository.url).rglob("*")) == before


@pytest.mark.usefixtures("reader")
def test_python_reads_too(repository: Repository) -> None:
    version = dataver.resolve("iris@v2", repo=repository.url)
    assert version.read("2.csv") == b"x\n2\n"
    assert version.to_arrow("t.parquet").num_rows == 200
    with version.open("1.csv") as file:
        assert file.read() == b"x\n1\n"


@pytest.mark.usefixtures("reader")
def test_the_doctor_says_that_one_may_only_read(run: Run) -> None:
    assert "permi" in run("doctor").output.lower()


UMASKS = pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077], ids=oct)


@pytest.fixture
def own_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(place: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in [place, *place.rglob("*")]}


@UMASKS
@pytest.mark.usefixtures("own_umask")
def test_a_repository_has_sane_modes(umask: int, place: Path, run: Run) -> None:
    os.umask(umask)
    repository = init(place / ".dataver")
    repository.commit("iris", made(place / "data", 1))
    repository.commit("iris", made(place / "data", 2))
    for path, mode in modes(Path(repository.url)).items():
        if os.path.isdir(path):
            assert mode == 0o775 & ~umask, path
        else:
            assert mode == 0o444 & ~umask, path
    # Whoever may read and is not the owner reads all of it.
    with permissions_hold_for_root():
        assert open_repository(repository.url).verify(deep=True).ok


def modes_while_a_run_is_on(url: str, temporary: Path) -> dict[str, int]:
    with dataver.run("train", repo=open_repository(url)):
        dataver.resolve("iris", repo=url).read("1.csv")
        return modes(temporary)


@UMASKS
@pytest.mark.usefixtures("own_umask")
def test_what_is_kept_of_a_user_is_private(
    umask: int, repository: Repository, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(place / "home" / "cache" / "dataver"))
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(place / "home" / "state" / "runs"))
    monkeypatch.setenv("TMPDIR", str(place / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("dataver.store.probe._passed", set())
    (place / "tmp").mkdir()
    os.umask(umask)
    for line in ("doctor", "stats iris", "checkout iris out", "commit iris data -m more --allow-empty"):
        assert run(*line.split()).exit_code == 0
    version = open_repository(repository.url).version("iris")
    version.path()
    with only_to_be_read(Path(repository.url)), pytest.warns(UserWarning, match="waits in"):
        notes = modes_while_a_run_is_on(repository.url, place / "tmp")
    kept = modes(place / "home")
    assert any("/runs/" in path for path in kept)
    assert any(path.endswith("notes") or "dataver-run-" in path for path in notes)
    for folder in ("repositories", "probes", "worktrees", "statistics", "copies"):
        assert any(f"/dataver/{folder}" in path for path in kept), folder
    notes.pop(str(place / "tmp"))
    assert {path: oct(mode) for path, mode in (kept | notes).items() if mode & 0o077} == {}
    assert stat.S_IMODE(cache_folder().stat().st_mode) == stat.S_IMODE(spool_folder().stat().st_mode) == 0o700
