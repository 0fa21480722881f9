"""Runs that are done again in real processes, from real git repositories."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.repository import Repository

PROJECT = Path(__file__).parents[2]

TRAIN = """\
import sys
import numpy
import dataver

rows = dataver.resolve("iris").read("train.csv").decode().splitlines()[1:]
table = numpy.array([[float(cell) for cell in row.split(",")] for row in rows])
weights = numpy.random.default_rng(7).normal(size=table.shape[1])
for _ in range(50):
    weights -= 0.001 * table.T @ (table @ weights - 1)
numpy.save("model.npy", weights)
open("metrics.json", "w").write('{"loss": %r}' % float(((table @ weights - 1) ** 2).mean()))
"""
INSIDE = """\
import dataver

for rate in (0.1, 0.2):
    with dataver.run("fit", params={"rate": rate}) as run:
        run.seed(3)
        text = run.use("iris@prod", role="training").read("train.csv")
        text += dataver.resolve("iris@main").read("train.csv")
        open("weights.bin", "wb").write(str(rate * len(text)).encode())
        run.log_metric("size", len(text))
        run.log_model("fit", "weights.bin")
"""
WANTED = ("--model", "net=model.npy", "--metrics-file", "metrics.json", "--param", "rate=0.001")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a git repository with two scripts, and a dataset in a repository beside it."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    for name, value in (("GIT_AUTHOR", "Ada"), ("GIT_COMMITTER", "Ada")):
        monkeypatch.setenv(f"{name}_NAME", value)
        monkeypatch.setenv(f"{name}_EMAIL", "ada@example.org")
    (tmp_path / "scratch").mkdir()
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text("x,y\n1,2\n3,4\n5,7\n")
    repository = dataver.init(str(tmp_path / "repository"))
    repository.commit("iris", data, message="first")
    repository.alias("iris@v1", "prod")
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(TRAIN)
    (folder / "inside.py").write_text(INSIDE)
    (folder / ".gitignore").write_text("model.npy\nmetrics.json\nweights.bin\n")
    git("init", "--quiet")
    commit("first")
    return folder


@pytest.fixture
def repository(place: Path) -> Repository:
    return dataver.open()


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def commit(message: str) -> str:
    git("add", "--all")
    git("commit", "--quiet", "-m", message)
    return git("rev-parse", "HEAD").strip()


def program(*arguments: str, code: int = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dataver.cli", *arguments],
        capture_output=True, text=True, timeout=120, check=False, **settings,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def _as_json(arguments: tuple[str, ...]) -> tuple[str, ...]:
    verb = 2 if arguments[0] == "-R" else 0
    return (*arguments[: verb + 1], "--json", *arguments[verb + 1 :])


def document(*arguments: str, code: int = 0, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(program(*_as_json(arguments), code=code, **settings).stdout)
    return found


def record(*command: str, options: tuple[str, ...] = WANTED) -> str:
    done: dict[str, Any] = json.loads(program("run", "--json", *options, "--", *command).stdout)
    return str(done["id"])


def refused(*arguments: str, code: int) -> str:
    """What the program says where it fails."""
    error = json.loads(program(*_as_json(arguments), code=code).stderr.splitlines()[-1])["error"]
    assert error["code"] == code
    return str(error["message"])


def newest() -> str:
    return str(document("runs")["runs"][0]["id"])


def shown(run: str) -> dict[str, Any]:
    return document("runs", "show", run)


def add_row(repository: Repository) -> None:
    """A second version, to which every name of the dataset moves."""
    data = Path("../data")
    with (data / "train.csv").open("a") as file:
        file.write("9,9\n")
    repository.commit("iris", data, message="a row more")
    repository.alias("iris@v2", "prod")


def test_a_command_gives_equal_bytes_on_the_data_of_then(place: Path, repository: Repository) -> None:
    run = record("python", "train.py")
    add_row(repository)
    (place / "train.py").write_text("raise SystemExit('not this one')\n")
    commit("broken since")
    # As where git calls the program in a hook.
    done = document(
        "repro", "net@v1", env={**os.environ, "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere"}
    )
    assert (done["status"], done["original"], done["first"], done["kept"]) == ("equal", run, None, None)
    assert [(one["kind"], one["name"], one["state"]) for one in done["results"]] == [
        ("model", "net", "equal"), ("metric", "loss", "equal"),
    ]  # fmt: skip
    new = shown(done["run"])
    assert (new["reproduces"], new["params"], new["inputs"][0]["number"]) == (run, {"rate": 0.001}, 1)
    assert new["code"]["commit"] == shown(run)["code"]["commit"]
    assert [model["name"] for model in document("models")["models"]] == ["net"], "it makes no newer model"
    assert list((place.parent / "scratch").iterdir()) == []
    assert git("status", "--short") == git("worktree", "prune") == ""


def test_a_run_that_the_script_begins_is_repeated_inside_another(place: Path, repository: Repository) -> None:
    subprocess.run(["python", "inside.py"], check=True)
    add_row(repository)
    models = document("models", "fit")["models"]
    assert "for runs of `dataver run`" in refused("repro", "fit", "--model", "fit=weights.bin", code=2)
    for model in models:
        done = document("repro", f"fit@{model['version']}")
        assert (done["status"], done["original"]) == ("equal", model["run"])
        new = shown(done["run"])
        assert new["params"] == shown(model["run"])["params"]
        assert new["reproduces"] == shown(new["parent"])["reproduces"] == model["run"]
        assert [given["number"] for given in new["inputs"]] == [1]


def test_a_row_more_is_named_by_diff(place: Path, repository: Repository) -> None:
    first = record("python", "train.py")
    add_row(repository)
    second = record("python", "train.py", options=(*WANTED, "--seed", "3"))
    found = document("runs", "diff", first, f"run:{second}")
    assert found["first"]["ingredient"] == "data"
    assert (found["first"]["before"], found["first"]["after"]) == ("iris@v1", "iris@v2")
    assert found["first"]["files"]["modified"] == 1
    assert [one["ingredient"] for one in found["differences"]] == ["data", "seeds", "results", "results"]
    assert "data" in refused("runs", "diff", "net@v1", "net@v2", "--fail-on", "difference", code=9)
    assert document("runs", "diff", first, first, "--fail-on", "difference")["differences"] == []


def test_the_first_ingredient_comes_first(place: Path, repository: Repository) -> None:
    first = record("python", "train.py")
    with (place / "train.py").open("a") as file:
        file.write("# more\n")
    second = record("python", "train.py", options=(*WANTED, "--param", "rate=0.002"))
    found = document("runs", "diff", first, second)
    assert [(one["ingredient"], one["name"]) for one in found["differences"]] == [
        ("code", "uncommitted changes"), ("parameters", "rate"),
    ]  # fmt: skip
    text = program("runs", "diff", first, second).stdout
    assert "differ first in code: uncommitted changes" in text
    assert "0.001 -> 0.002" in text


def test_changes_that_were_not_committed_are_applied(place: Path) -> None:
    (place / "train.py").write_text(TRAIN.replace("default_rng(7)", "default_rng(8)"))
    (place / "new.py").write_text("print('staged')\n")
    git("add", "new.py")
    run = record("python", "train.py")
    git("checkout", "--quiet", "HEAD", "--", "train.py")
    assert document("repro", run)["status"] == "equal"
    done = document("repro", run, "--without-patch", code=9)
    assert (done["status"], done["first"]["name"]) == ("different", "uncommitted changes")
    assert "code, uncommitted changes" in refused("repro", run, "--without-patch", code=9)


def test_a_masked_patch_is_refused(place: Path) -> None:
    (place / "train.py").write_text(TRAIN + 'api_key = "hunter2-canary"\n')
    run = record("python", "train.py")
    assert "--without-patch" in refused("repro", run, code=3)
    assert document("repro", run, "--without-patch")["status"] == "equal"


def test_a_script_that_git_does_not_know(place: Path) -> None:
    (place / "extra.py").write_text(TRAIN)
    run = record("python", "extra.py")
    assert "was not known to git" in refused("repro", run, code=3)
    assert document("repro", run, "--take", "extra.py")["status"] == "equal"
    assert "extra.py" in document("repro", run, "--", "python", "train.py")["notes"][0]


def test_a_commit_that_is_not_here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = record("python", "train.py")
    moved = place.rename(tmp_path / "elsewhere")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert "--code" in refused("repro", run, code=3)
    assert document("repro", run, "--code", str(moved))["status"] == "equal"
    assert document("repro", run, "--code", moved.as_uri())["status"] == "equal"
    git("init", "--quiet")
    assert "has no commit" in refused("repro", run, "--code", ".", code=3)


def test_a_clone_of_the_recorded_url(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "origin.git"))
    git("remote", "add", "origin", (tmp_path / "origin.git").as_uri())
    run = record("python", "train.py")
    monkeypatch.chdir(tmp_path)
    done = document("repro", run)
    assert (done["status"], done["code"]["from"]) == ("equal", (tmp_path / "origin.git").as_uri())


def test_a_whole_path_of_a_folder_that_moved(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("python", str(place / "train.py"))
    moved = place.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(moved)
    (moved / "train.py").write_text("raise SystemExit('not this one')\n")
    assert document("repro", run)["status"] == "equal"


def test_a_repository_of_data_that_moved(
    place: Path, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("python", "train.py")
    moved = Path(repository.url).rename(tmp_path / "moved")
    monkeypatch.setenv("DATAVER_REPO", str(moved))
    assert document("repro", run)["status"] == "equal"


def test_runs_that_are_recorded_in_another_repository(
    place: Path, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = dataver.init(str(tmp_path / "runs"))
    with monkeypatch.context() as patch:
        patch.setenv("DATAVER_RUNS_REPO", runs.url)
        run = record("python", "train.py")
    add_row(repository)
    monkeypatch.setenv("DATAVER_REPO", runs.url)
    done = document("repro", run)
    assert done["status"] == "equal"
    assert shown(done["run"])["inputs"][0]["number"] == 1


def test_the_new_run_goes_where_runs_go(
    place: Path, tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("python", "train.py")
    runs = dataver.init(str(tmp_path / "runs"))
    monkeypatch.setenv("DATAVER_RUNS_REPO", runs.url)
    done = document("repro", run)
    assert done["status"] == "equal"
    assert [one["id"] for one in document("-R", repository.url, "runs")["runs"]] == [run]
    assert [one["id"] for one in document("runs")["runs"]] == [done["run"]]


def no_rights_of_root() -> None:
    """Root may write what nobody may; what is started from here on may not."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


def test_a_repository_that_one_may_only_read(place: Path, repository: Repository) -> None:
    run = record("python", "train.py")
    paths = [Path(repository.url), *Path(repository.url).rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = document("repro", run, preexec_fn=no_rights_of_root)
    assert done["status"] == "equal"
    assert document("runs", "diff", run, done["run"])["first"] is None
    assert shown(done["run"])["waiting"]
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert document("runs", "push")["pushed"] == [done["run"]]


def test_a_version_that_was_let_go(place: Path, repository: Repository) -> None:
    run = record("python", "train.py")
    repository.delete_dataset("iris")
    assert "is not there any more" in refused("repro", run, code=3)


def test_damaged_data(place: Path, repository: Repository) -> None:
    (place.parent / "data" / "large.bin").write_bytes(os.urandom(300_000))
    repository.commit("iris", place.parent / "data")
    (place / "train.py").write_text(TRAIN + 'dataver.resolve("iris").read("large.bin")\n')
    run = record("python", "train.py")
    largest = max(filter(Path.is_file, Path(repository.url).rglob("*")), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(data)
    assert "damaged" in refused("repro", run, code=5)


FAILED: dict[str, tuple[str, ...]] = {
    "failed": ("python", "-c", "raise SystemExit(3)"),
    "killed": ("sh", "-c", "kill -9 $$"),
}


@pytest.mark.parametrize("how", FAILED)
def test_a_run_that_failed_has_nothing_to_compare(place: Path, how: str) -> None:
    program("run", "--", *FAILED[how], code=3 if how == "failed" else 137)
    run = newest()
    assert "is failed" in refused("repro", run, code=3)


def test_a_run_without_an_end(place: Path) -> None:
    script = "import dataver, os; dataver.run('fit').start(); os._exit(9)"
    subprocess.run([sys.executable, "-c", script], check=False)
    run = newest()
    assert "is crashed" in refused("repro", run, code=3)


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "nothing to compare": (lambda: record("python", "train.py", options=()), "nothing to compare"),
    "masked": (lambda: record("python", "train.py", "--password", "hunter2x"), "in place of secrets"),
    "from its input": (
        lambda: record("sh", "-c", "python - < inside.py", options=()) and newest(),
        "from its input",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_known_is_refused(place: Path, what: str) -> None:
    make, reason = REFUSED[what]
    assert reason in refused("repro", make(), code=3)


def test_a_command_is_given_in_place_of_a_masked_one(place: Path) -> None:
    run = record("python", "train.py", "--password", "hunter2x")
    assert document("repro", run, "--", "python", "train.py")["status"] == "equal"


def test_a_command_with_blanks_and_a_folder_below(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a b").mkdir()
    (place / "a b" / "tr ain.py").write_text(TRAIN + "open('arguments', 'w').write(repr(sys.argv[1:]))\n")
    commit("below")
    monkeypatch.chdir(place / "a b")
    run = record("python", "tr ain.py", "two words", "", "ü'\"")
    done = document("repro", run, "--keep", "../../kept")
    assert done["status"] == "equal"
    kept = place.parent / "kept" / "code" / "a b"
    assert (kept / "arguments").read_text() == repr(["two words", "", "ü'\""])
    assert "is there already" in refused("repro", run, "--keep", "../../kept", code=4)


def test_files_that_were_checked_out_before(place: Path, repository: Repository) -> None:
    (place / "train.py").write_text("open('model.npy', 'wb').write(open('data/train.csv', 'rb').read())")
    (place / ".gitignore").write_text("data\nmodel.npy\n")
    commit("reads files")
    program("checkout", "iris@v1", "data")
    run = record("python", "train.py", options=("--input", "iris@prod", "--model", "net=model.npy"))
    add_row(repository)
    assert document("repro", run, code=9)["reason"] == "the command ended with exit code 1"
    assert document("repro", run, "--checkout", "iris=data")["status"] == "equal"
    assert "it read iris" in refused("repro", run, "--checkout", "other=data", code=2)
    assert "in this folder" in refused("repro", run, "--checkout", "iris=../data", code=2)


def test_nothing_is_written_to_the_users_folder(place: Path, tmp_path: Path) -> None:
    (place / "train.py").write_text("import sys; open(sys.argv[1].partition('=')[2], 'w').write(sys.argv[2])")
    commit("writes where it is told to")
    model = place / "model.npy"
    run = record("python", "train.py", f"--out={model}", "1", options=("--model", f"net={model}"))
    model.write_text("mine")
    assert document("repro", run)["status"] == "equal"
    assert model.read_text() == "mine"
    far = tmp_path / "far.npy"
    run = record("python", "train.py", f"--out={far}", "1", options=("--model", f"net={far}"))
    assert "what the first run made" in refused("repro", run, code=3)
    again = ("--model", "net=far.npy", "--", "python", "train.py", "--out=far.npy", "1")
    assert document("repro", run, *again)["status"] == "equal"


def test_a_lock_file_that_git_has(place: Path, repository: Repository) -> None:
    program("lock", "add", "iris")
    commit("pinned")
    add_row(repository)
    script = "import dataver; dataver.resolve('iris@v2'); a = dataver.resolve('iris').read('train.csv'); "
    (place / "train.py").write_text(script + "open('model.npy', 'wb').write(a)")
    commit("reads two versions")
    run = record("python", "train.py", options=("--model", "net=model.npy"))
    program("lock", "update", "iris")
    assert document("repro", run)["status"] == "equal"


def test_the_variables_of_then(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "train.py").write_text(
        "open('model.npy', 'w').write(str([hash('a'), __import__('time').tzname]))"
    )
    commit("depends on variables")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    run = record("python", "train.py", options=("--model", "net=model.npy"))
    monkeypatch.setenv("PYTHONHASHSEED", "8")
    monkeypatch.delenv("TZ")
    assert document("repro", run)["status"] == "equal"


def test_metrics_within_a_tolerance(place: Path) -> None:
    (place / "train.py").write_text(
        "import json, os\n"
        "open('model.npy', 'wb').write(os.urandom(8))\n"
        "loss = 1.0 + int.from_bytes(os.urandom(2), 'big') / 2**32\n"
        "json.dump({'loss': loss, 'pid': os.getpid()}, open('metrics.json', 'w'))\n"
    )
    commit("random")
    run = record("python", "train.py")
    assert document("repro", run, code=9)["status"] == "different"
    done = document("repro", run, "--tolerance", "loss=0.001")
    assert done["status"] == "within tolerance"
    assert document("repro", run, "--tolerance", "pid=0", code=9)["status"] == "different"
    assert "has no metric 'f1'" in refused("repro", run, "--tolerance", "f1=0.1", code=2)
    assert "a number is expected" in refused("repro", run, "--tolerance", "loss=-1", code=2)


def test_a_command_that_fails_now(place: Path) -> None:
    (place / "train.py").write_text(
        "import os; open('model.npy', 'w'); assert not os.path.exists('../plan.json')"
    )
    commit("fails when repeated")
    run = record("python", "train.py", options=("--model", "net=model.npy"))
    done = document("repro", run, code=9)
    assert (done["status"], done["reason"]) == ("different", "the command ended with exit code 1")
    assert shown(done["run"])["status"] == "failed"


def test_what_it_commits_moves_no_names(place: Path, repository: Repository) -> None:
    script = (
        "import dataver, os\n"
        "with dataver.run('clean') as run:\n"
        "    text = run.use('iris').read('train.csv').upper()\n"
        "    os.makedirs('out', exist_ok=True)\n"
        "    open('out/clean.csv', 'wb').write(text)\n"
        "    run.log_output('clean', 'out', tags=['paper'])\n"
        "    assert dataver.resolve('clean').read('clean.csv') == text\n"
    )
    (place / "clean.py").write_text(script)
    commit("clean")
    subprocess.run(["python", "clean.py"], check=True)
    run = newest()
    (place / "out" / "clean.csv").write_text("newer")
    head = repository.commit("clean", place / "out").id
    done = document("repro", run)
    assert [(one["kind"], one["state"]) for one in done["results"]] == [("output", "equal")]
    assert repository.version("clean").id == head
    branches = [ref.name for ref in repository.refs("clean") if ref.name.startswith("repro-")]
    assert len(branches) == 1


def test_an_output_of_the_command(place: Path) -> None:
    (place / "train.py").write_text("import os; os.mkdir('out'); open('out/a', 'w').write('a')")
    commit("writes")
    run = record("python", "train.py", options=("--input", "iris@prod=raw", "--output", "made=out"))
    done = document("repro", run)
    assert [(one["name"], one["state"]) for one in done["results"]] == [("made", "equal")]
    assert [given["role"] for given in shown(done["run"])["inputs"]] == ["raw"]


def test_ctrl_c_ends_it_and_leaves_nothing(place: Path) -> None:
    (place / "train.py").write_text(
        "import os, time; open('model.npy', 'w')\n"
        "if os.path.exists('../plan.json'):\n"
        "    open(os.environ['TMPDIR'] + '/../begun', 'w')\n"
        "    time.sleep(60)\n"
    )
    commit("waits")
    run = record("python", "train.py", options=("--model", "net=model.npy"))
    process = subprocess.Popen(
        [sys.executable, "-m", "dataver.cli", "repro", run],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (place.parent / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert document("runs")["runs"][0]["status"] == "cancelled"
    assert list((place.parent / "scratch").iterdir()) == []


def test_a_new_environment_from_requirements(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    for release in ("1.0", "2.0"):
        wheel(wheels, release)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("PYTHONPATH")
    base = Path("base")
    subprocess.run([sys.executable, "-m", "venv", base], check=True)
    subprocess.run([base / "bin" / "pip", "install", "--quiet", "petals==1.0"], check=True)
    (place / "requirements.txt").write_text("petals\n")
    (place / "train.py").write_text("import petals; open('model.npy', 'w').write(petals.release)")
    (place / ".gitignore").write_text("base\nmodel.npy\n")
    commit("needs petals")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    run = record(str(base / "bin" / "python"), "train.py", options=("--model", "net=model.npy"))
    shutil.rmtree(base)
    done = document("repro", run)
    assert (done["status"], done["environment"]) == ("equal", "a new one from requirements.txt")
    done = document("repro", run, "--env", "keep", code=9)
    assert done["first"]["ingredient"] == "environment"
    shutil.rmtree(wheels)
    assert "--env keep" in refused("repro", run, code=3)


def wheel(folder: Path, release: str) -> None:
    """The package `petals`, which knows its release."""
    from zipfile import ZipFile

    folder.mkdir(exist_ok=True)
    info = f"petals-{release}.dist-info"
    with ZipFile(folder / f"petals-{release}-py3-none-any.whl", "w") as file:
        file.writestr("petals.py", f"release = {release!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: petals\nVersion: {release}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"petals.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
