"""Runs in real processes: what they read and made is in their records, however they end."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver import events, recording
from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.run_record import RunRecord
from dataver.keys import pack_key
from dataver.lineage.listing import RunInfo, run_infos
from dataver.lineage.model_files import hash_model
from dataver.lineage.records import Records
from dataver.log import run_state
from dataver.repository import Repository

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with caches, waiting runs and notes of its own."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _nothing_left_on() -> Iterator[None]:
    yield
    assert recording.active is None
    assert recording.RUN_VARIABLE not in os.environ


@pytest.fixture
def repository(place: Path) -> Repository:
    """`iris` of three files, one of them large enough for several chunks."""
    data = place / "data"
    data.mkdir()
    (data / "a.csv").write_text("x,y\n1,2\n")
    (data / "b.csv").write_text("x,y\n3,4\n")
    (data / "large.bin").write_bytes(bytes(range(256)) * 4000)
    made = dataver.init(str(place / ".dataver"))
    made.commit("iris", data)
    return made


def infos(repository: Repository) -> list[RunInfo]:
    state = repository.session.newest()
    return list(run_infos(state, Records(repository.session, state)))


def last(repository: Repository) -> RunRecord:
    return infos(repository)[0].record


def listed(repository: Repository, record: RunRecord, number: int = 0) -> dict[str, Any]:
    """What was read of an input: ranges by path, None for all of it."""
    records = Records(repository.session, repository.session.newest())
    lines = b"".join(records.part(part) for part in record.inputs[number].reads).splitlines()
    return {path: ranges for path, _, _, ranges in map(json.loads, lines)}


def python(script: str, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "timeout": 60, "check": True, **settings}
    return subprocess.run([sys.executable, "-c", script, *arguments], **settings)  # noqa: PLW1510 - it is


def program(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "timeout": 60, **settings}
    return subprocess.run([sys.executable, "-m", "dataver.cli", *arguments], check=False, **settings)


def test_what_a_run_resolves_and_reads_is_recorded_by_itself(repository: Repository) -> None:
    with dataver.run("train", params={"lr": 0.1}, repo=repository) as run:
        version = dataver.resolve("iris", repo=repository)
        version.read("a.csv")
        run.log_metric("f1", 0.5)
    record = last(repository)
    assert (record.run, record.name, record.status) == (run.id, "train", "done")
    assert (record.params, record.metrics) == ({"lr": 0.1}, {"f1": 0.5})
    (given,) = record.inputs
    assert (given.ref, given.role, given.dataset, given.number) == ("iris", "input", "iris", 1)
    assert (given.version, given.tree, given.repository) == (version.id, version.tree, repository.id)
    assert (given.whole, given.files, given.bytes_read) == (False, 1, 8)
    assert listed(repository, record) == {"a.csv": None}
    assert record.environment is not None
    assert record.code is not None


READS: dict[str, Callable[[dataver.Version], object]] = {
    "read": lambda v: v.read("a.csv"),
    "open": lambda v: v.open("a.csv").read(),
    "lines": lambda v: list(v.open("a.csv")),
    "copy": lambda v: v.copy("a.csv", open(os.devnull, "wb")),  # noqa: SIM115 - closed with the process
    "path": lambda v: v.path("a.csv"),
    "to_pandas": lambda v: v.to_pandas("a.csv", format="csv"),
    "to_arrow": lambda v: v.to_arrow("a.csv", format="csv"),
    "to_polars": lambda v: v.to_polars("a.csv", format="csv"),
    "to_torch": lambda v: list(v.to_torch(format="files", include=["a.csv"], iterable=True)),
    "ranges": lambda v: v.read_ranges("a.csv", [(0, 4), (4, 100)]),
    "checkout": lambda v: v.checkout("out", include=["a.csv"]),
}


@pytest.mark.parametrize("how", READS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_every_way_to_read_is_recorded(repository: Repository, how: str) -> None:
    with dataver.run("train", repo=repository):
        READS[how](repository.version("iris@v1"))
    record = last(repository)
    assert [given.files for given in record.inputs] == [1]
    assert listed(repository, record) == {"a.csv": None}


def test_the_protocol_is_recorded(repository: Repository) -> None:
    import fsspec

    url = "dataver://iris@latest/large.bin"
    with dataver.run("train", repo=repository), fsspec.open(url, "rb", repo=repository.url) as file:
        file.seek(300_000)
        file.read(10)
    record = last(repository)
    (ranges,) = listed(repository, record).values()
    assert ranges[0][0] == 300_000
    assert ranges[-1][1] < 320_000
    assert record.inputs[0].ref == "iris@latest"


@pytest.mark.parametrize("how", ["checkout", "path", "each"])
def test_all_files_are_the_whole_version(repository: Repository, how: str) -> None:
    with dataver.run("train", repo=repository) as run:
        version = run.use("iris@v1", role="training")
        if how == "checkout":
            version.checkout("out")
        elif how == "path":
            version.path()
        else:
            for entry in version.files():
                version.read(entry.path)
    (given,) = last(repository).inputs
    assert (given.role, given.whole, given.files, given.reads) == ("training", True, 3, ())
    assert given.bytes_read == 16 + 256 * 4000


def test_a_part_is_recorded_with_its_definition(repository: Repository) -> None:
    by = dataver.ColumnSplit("x", train=["1"], test=["3"], path="a.csv")
    with dataver.run("train", repo=repository) as run:
        run.use("iris@v1", role="training", split="train", by=by).to_arrow()
    (given,) = last(repository).inputs
    assert given.split is not None
    assert (given.split["part"], given.split["digest"]) == ("train", by.digest)
    assert given.split["definition"] == by.to_document()
    assert (given.role, given.files) == ("training", 1)


def test_what_a_run_makes_is_recorded(repository: Repository, place: Path) -> None:
    (place / "model").mkdir()
    (place / "model" / "weights.bin").write_bytes(b"weights")
    with dataver.run("train", repo=repository) as run:
        model = run.log_model("churn", place / "model", uri="models/churn", meta={"kind": "tree"})
        made = run.log_output("clean", place / "data")
        repository.version("clean").read("a.csv")
    record = last(repository)
    assert record.models == (model,)
    assert [str(state) for state in run.models] == ["churn@v1"]
    assert [(o.dataset, o.version, o.number) for o in record.outputs] == [("clean", made.id, 1)]
    assert record.inputs == ()  # What it made itself is no input.
    assert repository.show("clean").runs == [run.id]
    as_version = repository.commit("as-version", place / "model")
    assert model.tree == as_version.tree == hash_model(place / "model").tree


def test_how_a_run_ends_is_recorded(repository: Repository) -> None:
    with pytest.raises(ValueError, match="no"), dataver.run("fails", repo=repository):
        raise ValueError("no, password=hunter2")
    assert (last(repository).status, last(repository).reason) == ("failed", "ValueError: no, password=***")
    with pytest.raises(KeyboardInterrupt), dataver.run("stopped", repo=repository):
        raise KeyboardInterrupt
    assert last(repository).status == "cancelled"
    with dataver.run("outer", repo=repository) as outer, dataver.run("inner", repo=repository):
        pass
    by_name = {info.record.name: info.record for info in infos(repository)}
    assert by_name["inner"].parent == outer.id
    assert by_name["outer"].parent == ""


CHILDREN = """
import multiprocessing, sys, dataver
def child(how):
    version = dataver.resolve("iris")
    with version.open("large.bin") as file:
        file.seek(1000); file.read(5)
    version.read("b.csv")
if __name__ == "__main__":
    with dataver.run("train") as run:
        version = dataver.resolve("iris")
        dataver.open().commit("other", "data")
        for how in ("fork", "spawn", "forkserver"):
            process = multiprocessing.get_context(how).Process(target=child, args=(how,))
            process.start(); process.join()
            assert process.exitcode == 0
"""


def test_child_processes_are_recorded_and_see_the_same_version(repository: Repository, place: Path) -> None:
    (place / "children.py").write_text(CHILDREN)
    done = program("run", "--", sys.executable, "-W", "ignore", "children.py")
    assert done.returncode == 0, done.stderr
    record = next(info.record for info in infos(repository) if info.record.name == "train")
    assert record.inputs[0].files == 2
    found = listed(repository, record)
    assert found["b.csv"] is None
    assert found["large.bin"][0][0] == 1000


def test_a_floating_ref_is_looked_up_once_in_a_run(repository: Repository, place: Path) -> None:
    (place / "more").mkdir()
    (place / "more" / "c.csv").write_text("z\n")
    with dataver.run("train", repo=repository):
        first = repository.version("iris").id
        before = {name: os.environ.pop(name) for name in (recording.RUN_VARIABLE, recording.FOLDER_VARIABLE)}
        python('import dataver; dataver.open().commit("iris", "more")')  # By somebody else.
        os.environ.update(before)
        assert python('import dataver; print(dataver.resolve("iris@main").id)').stdout.strip() == first
        assert repository.version("iris@latest").id == first
        (place / "more" / "d.csv").write_text("z\n")
        own = repository.commit("iris", place / "more")
        assert repository.version("iris").id == own.id != first
    assert repository.version("iris").id == own.id


def test_the_command_line_records_a_command(repository: Repository, place: Path) -> None:
    (place / "train.py").write_text(
        "import dataver, json\n"
        "dataver.resolve('iris@v1').read('a.csv')\n"
        "open('model.pkl', 'w').write('model')\n"
        "json.dump({'f1': 0.5, 'per': {'class': 1}}, open('metrics.json', 'w'))\n"
        "print('trained')\n"
    )
    done = program(
        "run", "--input", "iris@v1=training", "--model", "churn=model.pkl", "--output", "clean=data",
        "--param", "lr=0.1", "--metrics-file", "metrics.json", "--json",
        "--", sys.executable, "train.py", "--lr", "0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["models"] == ["churn@v1"]
    assert "trained" in done.stderr
    record = last(repository)
    assert (record.name, record.exit_code, record.command[1:]) == ("train", 0, ("train.py", "--lr", "0.1"))
    assert [(given.role, given.files) for given in record.inputs] == [("training", 1)]
    assert (record.metrics, record.params) == ({"f1": 0.5, "per.class": 1}, {"lr": 0.1})
    assert [made.dataset for made in record.outputs] == ["clean"]


@pytest.mark.parametrize(("script", "code", "number"), [
    ("raise SystemExit(7)", 7, 0), ("import os; os.kill(os.getpid(), 9)", 137, 9),
])  # fmt: skip
def test_the_exit_code_is_that_of_the_command(
    repository: Repository, script: str, code: int, number: int
) -> None:
    assert program("run", "--", sys.executable, "-c", script).returncode == code
    record = last(repository)
    assert (record.status, record.signal, record.exit_code) == ("failed", number, None if number else code)


def test_a_command_that_is_not_there_is_not_found(repository: Repository) -> None:
    assert program("run", "--", "no-such-program").returncode == 3
    assert last(repository).status == "failed"
    assert program("run", "--input", "nothing@v1", "--", "true").returncode == 3
    assert len(infos(repository)) == 1


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


SLEEPS = "import dataver, time; dataver.resolve('iris').read('a.csv'); open('ready', 'w'); time.sleep(60)"


@pytest.mark.parametrize(("number", "status", "code"), [
    (signal.SIGINT, "cancelled", 130), (signal.SIGTERM, "failed", 143),
])  # fmt: skip
def test_signals_reach_the_command(
    repository: Repository, place: Path, number: signal.Signals, status: str, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dataver.cli", "run", "--", sys.executable, "-c", SLEEPS],
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        wait_for(place / "ready")
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == code
    record = last(repository)
    assert (record.status, record.inputs[0].files) == (status, 1)


def test_ctrl_c_on_a_terminal_reaches_the_command_once(repository: Repository, place: Path) -> None:
    (place / "child.py").write_text(
        "import time\n"
        "try:\n    open('ready', 'w'); time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    try:\n        time.sleep(0.5)\n"
        "    except KeyboardInterrupt:\n        open('twice', 'w')\n"
        "raise SystemExit(5)\n"
    )
    script = (
        "import os, pty, sys, time\n"
        "process, terminal = pty.fork()\n"
        "if not process:\n"
        "    python = sys.executable\n"
        "    os.execv(python, [python, '-m', 'dataver.cli', 'run', '--', python, 'child.py'])\n"
        "while not os.path.exists('ready'): time.sleep(0.02)\n"
        "time.sleep(0.2); os.write(terminal, b'\\x03')\n"
        "try:\n"
        "    while os.read(terminal, 1000): pass\n"
        "except OSError: pass\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))\n"
    )
    assert python(script, check=False).returncode == 130
    assert not (place / "twice").exists()
    assert last(repository).status == "cancelled"


def test_a_run_whose_process_dies_has_crashed(repository: Repository, place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "dataver.cli", "run", "--", sys.executable, "-c", SLEEPS],
        start_new_session=True,
    ) as process:
        wait_for(place / "ready")
        assert [info.status for info in infos(repository)] == ["running"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        os.killpg(process.pid, signal.SIGKILL)
    assert [info.status for info in infos(repository)] == ["crashed"]


def test_what_a_killed_worker_read_is_known(repository: Repository) -> None:
    with dataver.run("train", repo=repository):
        python(
            "import dataver, os; v = dataver.resolve('iris'); v.read('a.csv')\n"
            "f = v.open('large.bin'); f.read(3)\n"
            "os.kill(os.getpid(), 9)",
            check=False,
        )
    assert listed(repository, last(repository))["a.csv"] is None
    assert "large.bin" in listed(repository, last(repository))


WORKERS = """
import multiprocessing, os, signal, sys, dataver
def work(version, ready, number):
    with version.open("large.bin") as file:
        file.seek(100_000); file.read(10); file.seek(900_000); file.read(10)
    version.read("a.csv" if number else "b.csv")
    ready.put(number)
    if number:
        signal.pause()
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with dataver.run("train"):
        version = dataver.resolve("iris")
        ready = context.SimpleQueue()
        workers = [context.Process(target=work, args=(version, ready, number)) for number in (0, 1)]
        for worker in workers: worker.start()
        for worker in workers: ready.get()
        workers[1].kill()
        for worker in workers: worker.join()
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_are_recorded_also_when_one_is_killed(repository: Repository, place: Path, how: str) -> None:
    (place / "workers.py").write_text(WORKERS)
    subprocess.run([sys.executable, "workers.py", how], check=True, timeout=60)
    found = listed(repository, last(repository))
    assert (found["a.csv"], found["b.csv"]) == (None, None)
    first, second = found["large.bin"]
    assert (first[0], second[0]) == (100_000, 900_000)


def test_show_tells_the_runs_of_a_version(repository: Repository, place: Path) -> None:
    with dataver.run("clean", repo=repository) as first:
        repository.version("iris")
        repository.commit("clean", place / "data")
    with dataver.run("train", repo=repository) as second:
        repository.version("clean").read("a.csv")
    shown = json.loads(program("show", "clean", "--json").stdout)
    assert (shown["runs"], shown["read_by"]) == ([first.id, second.id], [second.id])
    text = program("show", "clean").stdout
    assert f"made by   run {first.id}" in text
    assert f"read by   run {second.id}" in text
    assert next(iter(repository.log("clean"))).runs == [first.id]


def test_runs_are_listed_and_chosen(repository: Repository, place: Path) -> None:
    with dataver.run("clean", repo=repository) as first:
        repository.version("iris")
        repository.commit("clean", place / "data")
    second = dataver.run("train", repo=repository).start()
    repository.version("clean").read("a.csv")
    second.log_model("churn", place / "data" / "a.csv")
    second.end("failed", reason="no luck")

    def chosen(*options: str) -> list[str]:
        return [run["id"] for run in json.loads(program("runs", *options, "--json").stdout)["runs"]]

    assert chosen() == [second.id, first.id]
    assert chosen("--limit", "1") == [second.id]
    assert chosen("--status", "failed") == [second.id]
    assert chosen("--dataset", "iris") == [first.id]
    assert chosen("--dataset", "clean@v1") == [second.id, first.id]
    assert chosen("--model", "churn") == [second.id]
    assert program("runs", "show", first.id[:8]).stdout.startswith(f"run:{first.id}  clean\n")
    shown = json.loads(program("runs", "show", second.id, "--json").stdout)
    assert (shown["status"], shown["reason"]) == ("failed", "no luck")
    assert [(model["name"], model["version"]) for model in shown["models"]] == [("churn", "v1")]
    assert program("runs", "show", "00000000").returncode == 3
    assert program("runs", "show").returncode == 2
    assert program("models", "nothing").returncode == 3
    assert "churn@v1" in program("models", "churn").stdout


def test_hooks_are_told_and_cannot_fail_a_run(repository: Repository, place: Path) -> None:
    told: list[str] = []

    class Hook:
        def run_started(self, run: dataver.Run) -> None:
            told.append(f"started {run.name}")

        def model_logged(self, run: dataver.Run, model: object) -> None:
            raise RuntimeError("no")

        def run_ending(self, run: dataver.Run) -> None:
            run.add_tracker("mlflow", "39a8545a")

        def run_ended(self, run: dataver.Run) -> None:
            assert run.record is not None
            told.append(f"ended {run.record.status} {run.models[0]}")

    hook = Hook()
    events.register(hook)
    try:
        run = dataver.run("train", repo=repository).start()
        with pytest.warns(UserWarning, match="failed at model_logged"):
            run.log_model("churn", place / "data")
        run.end()
    finally:
        events.unregister(hook)
    assert told == ["started train", "ended done churn@v1"]
    assert [tracker.run_id for tracker in last(repository).trackers] == ["39a8545a"]


def test_notes_of_runs_that_died_go(repository: Repository, tmp_path: Path) -> None:
    script = "import dataver, os\nwith dataver.run('train'): os.kill(os.getpid(), 9)"
    for _ in range(2):
        python(script, check=False)
    old, new = sorted(tmp_path.glob("dataver-run-*"))
    os.utime(old, (0, 0))
    with dataver.run("alive", repo=repository) as run:
        left = set(tmp_path.glob("dataver-run-*"))
        assert len(left) == 2
        assert new in left
        assert run.id[:12] in str(left - {new})
    assert set(tmp_path.glob("dataver-run-*")) == {new}


def test_the_code_is_recorded(repository: Repository, place: Path) -> None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
            check=True, capture_output=True, text=True, cwd=place,
        ).stdout.strip()  # fmt: skip

    git("init", "-qb", "topic")
    (place / "train.py").write_text("lr = 0.1\n")
    (place / "uv.lock").write_text("locked\n")
    git("add", "train.py", "uv.lock")
    git("commit", "-qm", "first")
    with dataver.run("clean", repo=repository):
        pass
    code = last(repository).code
    assert code is not None
    assert (code.commit, code.branch, code.dirty, code.patch) == (
        git("rev-parse", "HEAD"),
        "topic",
        False,
        None,
    )
    (place / "train.py").write_text("lr = 0.2\n")
    (place / "new.py").write_text("")
    with dataver.run("dirty", repo=repository):
        pass
    record = last(repository)
    code = record.code
    assert code is not None
    assert code.patch is not None
    assert (code.dirty, code.masked) == (True, False)
    assert "new.py" in code.untracked
    patch = Records(repository.session, repository.session.newest()).part(code.patch)
    git("checkout", "-q", "train.py")
    (place / "patch").write_bytes(patch)
    git("apply", "patch")
    assert (place / "train.py").read_text() == "lr = 0.2\n"
    assert record.environment is not None
    assert [lock.path for lock in record.environment.locks] == ["uv.lock"]


def test_the_environment_is_that_of_the_command(repository: Repository, place: Path) -> None:
    other = place / "bin" / "python"
    other.parent.mkdir()
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    variables = {**os.environ, "OMP_NUM_THREADS": "2", "MINE": "yes", "DATAVER_RUN_VARIABLES": "MINE"}
    done = program("run", "--", str(other), "-c", "pass", env=variables)
    assert done.returncode == 0, done.stderr
    environment = last(repository).environment
    assert environment is not None
    assert environment.packages is not None
    assert environment.python == platform.python_version()
    assert {"MINE": "yes", "OMP_NUM_THREADS": "2"}.items() <= environment.variables.items()
    assert "PATH" not in environment.variables
    assert environment.hardware["cores"] == os.cpu_count()
    listing = Records(repository.session, repository.session.newest()).part(environment.packages).decode()
    assert f"numpy=={version('numpy')}\n" in listing


def test_damage_to_a_run_is_found(repository: Repository, place: Path) -> None:
    with dataver.run("train", repo=repository) as run:
        repository.version("iris").read("a.csv")
        run.log_model("churn", place / "data")
    assert repository.verify(deep=True).ok
    state = repository.session.newest()
    start, end = next((info.start, info.end) for info in run_state.runs(state))
    assert end is not None
    for record, harmed in ((start, {f"run:{run.id}"}), (end, {f"run:{run.id}", "model:churn"})):
        found = repository.session.index().find(record)
        assert found is not None
        path = place / ".dataver" / pack_key(found.pack)
        data = path.read_bytes()
        path.chmod(0o600)
        path.unlink()
        report = repository.verify()
        path.write_bytes(data)
        assert not report.ok
        harms = {harm.dataset for damage in report.damaged for harm in damage.harms}
        assert harmed <= harms, report.damaged
    assert repository.verify(deep=True).ok


def test_a_fork_writes_notes_of_its_own(repository: Repository) -> None:
    with dataver.run("train", repo=repository):
        version = repository.version("iris")
        version.read("a.csv")
        child = os.fork()
        if not child:
            try:
                version.read("b.csv")
                assert recording.active is not None
                os._exit(0 if len(list(Path(recording.active.folder).glob("*.notes"))) == 2 else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert set(listed(repository, last(repository))) == {"a.csv", "b.csv"}


def test_names_and_values_that_cannot_be_recorded_are_refused(repository: Repository, place: Path) -> None:
    with pytest.raises(BadInputError):
        dataver.run("")
    with dataver.run("train", repo=repository) as run:
        with pytest.raises(BadInputError):
            run.log_metric("f1", "high")  # type: ignore[arg-type]
        with pytest.raises(BadInputError):
            run.log_param("long", "x" * 100_000)
        with pytest.raises(BadInputError):
            run.log_model("../churn", place)
        with pytest.raises(PathNotFoundError):
            run.log_model("churn", "nothing")
        with pytest.raises(BadInputError):
            run.start()
    for late in (lambda: run.use("iris@v1"), lambda: run.log_param("lr", 1), lambda: run.log_metric("f1", 1)):
        with pytest.raises(BadInputError):
            late()


TRAINS = """
import sys, dataver
with dataver.run("train", params={"n": int(sys.argv[1])}) as run:
    dataver.resolve("iris").read("a.csv")
    open("model" + sys.argv[1], "w").write(sys.argv[1])
    run.log_model("churn", "model" + sys.argv[1])
"""


def test_sixteen_processes_record_runs_at_once(repository: Repository) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", TRAINS, str(number)], stderr=subprocess.PIPE)
        for number in range(16)
    ]
    for process in running:
        assert process.communicate(timeout=120)[1] == b""
        assert process.returncode == 0
    found = infos(repository)
    assert sorted(info.record.params["n"] for info in found) == list(range(16))
    assert {info.status for info in found} == {"done"}
    assert sorted(model.number for info in found for model in info.models) == list(range(1, 17))
    assert repository.verify(deep=True).ok
