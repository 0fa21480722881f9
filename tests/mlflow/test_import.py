"""Runs and models that were in MLflow before dataver was there."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import mlflow
import pandas
import pytest
from mlflow.tracking import MlflowClient

import dataver
from dataver.integrations.importing.names import mark
from dataver.lineage.audit import audit
from dataver.lineage.records import Records, find_run
from dataver.lineage.records import find_model as model_named
from dataver.repository import Repository
from dataver.results import Json
from tests.mlflow.conftest import dataver_program, free_port, serving
from tests.mlflow.data import a_repository, log_model

pytestmark = pytest.mark.usefixtures("tracking")
AN_HOUR_AGO_S = 3600


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = dataver.init(str(tmp_path / "repository"))
    monkeypatch.setenv("DATAVER_REPO", made.url)
    return made


def write(place: Path, text: str = "x,y\n1,2\n3,4\n") -> Path:
    """A file that is older than any run."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    at = place.stat().st_mtime - AN_HOUR_AGO_S
    os.utime(place, (at, at))
    return place


def a_run(source: str | Path, *, model: str = "", name: str = "by hand", value: float = 4.0) -> str:
    """A run that read a file, and made a version of a registered model.

    Of the same values MLflow keeps the source of the first run of an experiment.
    """
    from sklearn.linear_model import LinearRegression

    with mlflow.start_run(run_name=name) as run:
        frame = pandas.DataFrame({"x": [1.0, 3.0], "y": [2.0, value]})
        mlflow.log_input(mlflow.data.from_pandas(frame, source=str(source), name="dataset"), "training")
        mlflow.log_param("lr", 0.1)
        mlflow.log_metric("loss", 0.5)
        mlflow.set_tag("mlflow.source.git.commit", "a" * 40)
        if model:
            fitted = LinearRegression().fit(frame[["x"]].to_numpy(), frame["y"].to_numpy())
            log_model(fitted, "inner", registered_model_name=model)
    id: str = run.info.run_id
    return id


def take(*arguments: str, code: int = 0) -> Json:
    told: Json = json.loads(dataver_program("import", "mlflow", *arguments, "--json", code=code))
    return told


def test_a_run_and_its_model_can_be_audited(repository: Repository, tmp_path: Path) -> None:
    model = f"model-{uuid4().hex[:8]}"
    run_id = a_run(write(tmp_path / "data" / "train.csv"), model=model)
    document = take(run_id, "--data", str(tmp_path / "data"))
    (taken,) = document["runs"]
    assert (taken["run"], taken["created"], taken["inputs"]) == (run_id, True, ["train.csv@v1"])
    assert [(one["node"], one["uri"]) for one in document["models"]] == [
        (f"{model}@v1", f"models:/{model}/1")
    ]
    assert repository.version("train.csv").read("train.csv") == b"x,y\n1,2\n3,4\n"

    state = repository.session.state()
    record = Records(repository.session, state).of(find_run(state, run_id))
    assert (record.name, record.status, record.params, record.metrics) == (
        "by hand", "done", {"lr": "0.1"}, {"loss": 0.5},
    )  # fmt: skip
    assert record.code is not None
    assert record.code.commit == "a" * 40
    assert record.trackers[0].run_id == run_id
    assert model_named(state, f"{model}@v1").run.hex() == run_id

    for asked in (f"model:{model}@v1", f"models:/{model}/1"):
        report = json.loads(dataver_program("audit", asked, "--verify", "--json"))
        assert (report["status"], report["verified"]) == ("traced", True)
        assert [(one["node"], one["role"]) for one in report["data"]] == [("train.csv@v1", "training")]
        assert any(
            "nobody knows whether train.csv@v1 is what the run read" in one for one in report["warnings"]
        )
    assert "train.csv@v1" in dataver_program("lineage", f"model:{model}@v1")


def test_again_makes_nothing_twice(repository: Repository, tmp_path: Path) -> None:
    """Also where two runs read files of one name, so that the newest version is the other one's."""
    first = a_run(write(tmp_path / "data" / "a" / "train.csv", "x\n1\n"))
    second = a_run(write(tmp_path / "data" / "b" / "train.csv", "x\n2\n"), value=5.0)
    arguments = (first, second, "--data", str(tmp_path / "data"))
    assert [one["inputs"] for one in take(*arguments)["runs"]] == [["train.csv@v1"], ["train.csv@v2"]]
    before = repository.session.newest().number
    document = take(*arguments)
    assert (document["runs"], document["versions"], document["known"]) == ([], [], 2)
    assert repository.session.newest().number == before
    third = a_run(tmp_path / "data" / "a" / "train.csv", value=6.0)
    assert take(third, *arguments)["runs"][0]["inputs"] == ["train.csv@v1"]


def test_what_was_left_out_comes_later(repository: Repository, tmp_path: Path) -> None:
    """A run that was imported without its data, and before its model was registered."""
    run_id = a_run(write(tmp_path / "data" / "train.csv"))
    document = take(run_id)
    assert document["runs"][0]["inputs"] == []
    assert "--data" in document["unversioned"][0]["reason"]
    name = f"model-{uuid4().hex[:8]}"
    client = MlflowClient()
    from sklearn.linear_model import LinearRegression

    with mlflow.start_run(run_id=run_id):
        log_model(LinearRegression().fit([[1.0]], [1.0]), "inner", registered_model_name=name)
    assert client.get_run(run_id).info.status == "FINISHED"
    document = take(run_id, "--data", str(tmp_path))
    assert [(one["created"], one["inputs"]) for one in document["runs"]] == [(False, ["train.csv@v1"])]
    assert [one["node"] for one in document["models"]] == [f"{name}@v1"]
    assert take(run_id, "--data", str(tmp_path))["models"] == []


def test_versions_of_a_model_keep_their_order(repository: Repository, tmp_path: Path) -> None:
    name = f"model-{uuid4().hex[:8]}"
    source = write(tmp_path / "train.csv")
    first, second = a_run(source, model=name), a_run(source, model=name)
    with mlflow.start_run(run_id=first):
        from sklearn.linear_model import LinearRegression

        log_model(LinearRegression().fit([[1.0]], [7.0]), "other", registered_model_name=name)
    document = take(f"models:/{name}")
    assert {one["run"] for one in document["runs"]} == {first, second}
    assert [(one["node"], one["uri"], one["run"]) for one in document["models"]] == [
        (f"{name}@v{number}", f"models:/{name}/{number}", run)
        for number, run in enumerate((first, second, first), 1)
    ]
    report = audit(repository, f"model:{name}@v3").to_json()
    assert report["model"]["uri"] == f"models:/{name}/3"


def test_only_what_was_asked_for_is_read(repository: Repository, tmp_path: Path) -> None:
    """A server can name any file of this machine."""
    write(tmp_path / "data" / "train.csv")
    secret = write(tmp_path / "secret" / "key.txt")
    (tmp_path / "data" / "link").symlink_to(secret.parent)
    places = (f"{secret}", f"{tmp_path}/data/../secret/key.txt", f"{tmp_path}/data/link/key.txt")
    runs = [a_run(place, value=float(number)) for number, place in enumerate(places)]
    document = take(*runs, "--data", str(tmp_path / "data"))
    assert (document["versions"], len(document["unversioned"])) == ([], 3)
    assert repository.datasets() == []


def test_a_file_that_was_changed_since_is_not_what_was_read(repository: Repository, tmp_path: Path) -> None:
    source = write(tmp_path / "train.csv")
    run_id = a_run(source)
    source.write_text("others\n")
    document = take(run_id, "--data", str(tmp_path))
    assert "was changed after the run began" in document["unversioned"][0]["reason"]
    assert repository.datasets() == []
    source.unlink()
    assert "does not exist" in take(run_id, "--data", str(tmp_path))["unversioned"][0]["reason"]


def test_a_file_of_a_web_server(repository: Repository, tmp_path: Path) -> None:
    write(tmp_path / "web" / "train.csv")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    url = f"http://127.0.0.1:{port}/train.csv"
    with serving([*command, "--directory", str(tmp_path / "web")], url, tmp_path):
        run_id = a_run(url)
        assert take(run_id)["versions"] == []
        document = take(run_id, "--data", f"http://127.0.0.1:{port}")
        assert document["runs"][0]["inputs"] == ["train.csv@v1"]
        # What is there now is asked for no more: the run has it.
        write(tmp_path / "web" / "train.csv", "others\n")
        assert take(run_id, "--data", f"http://127.0.0.1:{port}")["known"] == 1
    assert repository.version("train.csv").sources[0].url == url


class ByQuery(BaseHTTPRequestHandler):
    """Answers with what the query says, as a server does that has one place for all downloads."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"x\n{self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that it has there
        pass


def test_files_that_differ_in_the_query_alone_are_two(repository: Repository) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ByQuery)
    threading.Thread(target=server.serve_forever).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        runs = [a_run(f"{url}/get?file={name}", value=value) for name, value in (("a", 1.0), ("b", 2.0))]
        document = take(*runs, "--data", url)
        outside = take(a_run(f"{url}/data/%2e%2e/get", value=3.0), "--data", f"{url}/data")
    finally:
        server.shutdown()
        server.server_close()
    assert [one["inputs"] for one in document["runs"]] == [["get@v1"], ["get@v2"]]
    for number, name in enumerate("ab", 1):
        version = repository.version(f"get@v{number}")
        assert [version.read(file.path) for file in version.files()] == [f"x\n/get?file={name}\n".encode()]
    assert outside["versions"] == []
    assert "has a part '..'" in outside["unversioned"][0]["reason"]


def test_inputs_that_are_versions_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_dataver("iris@v1"), context="testing")
    document = take(run.info.run_id)
    assert document["runs"][0]["inputs"] == ["iris@v1"]
    state = repository.session.state()
    record = Records(repository.session, state).of(find_run(state, run.info.run_id))
    assert [(given.role, given.version) for given in record.inputs] == [("testing", version.id)]


def test_a_dry_run_writes_nothing(repository: Repository, tmp_path: Path) -> None:
    name = f"model-{uuid4().hex[:8]}"
    run_id = a_run(write(tmp_path / "train.csv"), model=name)
    document = take(run_id, "--data", str(tmp_path), "--dry-run")
    assert ([one["run"] for one in document["runs"]], document["bytes"]) == ([run_id], 12)
    assert [(one["dataset"], one["id"]) for one in document["versions"]] == [("train.csv", None)]
    assert [one["uri"] for one in document["models"]] == [f"models:/{name}/1"]
    assert repository.datasets() == []
    shown = dataver_program("import", "mlflow", run_id, "--data", str(tmp_path), "--dry-run")
    assert "would import 1 run, 1 model, 1 version" in shown


def test_a_dry_run_after_an_import_says_what_is_left(repository: Repository, tmp_path: Path) -> None:
    name = f"model-{uuid4().hex[:8]}"
    run_id = a_run(write(tmp_path / "train.csv"), model=name)
    take(run_id)
    document = take(run_id, "--dry-run")
    assert (document["runs"], document["models"], document["known"]) == ([], [], 1)
    with mlflow.start_run(run_id=run_id):
        from sklearn.linear_model import LinearRegression

        log_model(LinearRegression().fit([[1.0]], [7.0]), "other", registered_model_name=name)
    assert [one["uri"] for one in take(run_id, "--dry-run")["models"]] == [f"models:/{name}/2"]
    shown = dataver_program("import", "mlflow", run_id, "--dry-run")
    assert "would import 0 runs, 1 model, 0 versions" in shown


def test_a_dry_run_counts_no_model_of_a_run_that_is_on(repository: Repository, tmp_path: Path) -> None:
    name = f"model-{uuid4().hex[:8]}"
    source = write(tmp_path / "train.csv")
    run_id = a_run(source, model=name)
    MlflowClient().set_terminated(run_id, "RUNNING")
    shown = [dataver_program("import", "mlflow", f"models:/{name}", *more) for more in (["--dry-run"], [])]
    assert "would import 0 runs, 0 models, 0 versions; 1 have not ended" in shown[0]
    assert "imported 0 runs, 0 models, 0 versions; 1 have not ended" in shown[1]


def test_models_whose_names_become_the_same_stay_apart(repository: Repository, tmp_path: Path) -> None:
    tail = uuid4().hex[:8]
    odd, plain = f"model {tail}", f"model-{tail}"
    source = write(tmp_path / "train.csv")
    runs = [a_run(source, model=name) for name in (odd, odd, plain)]
    marked = f"{plain}-{mark(odd)}"
    assert [(one["node"], one["uri"]) for one in take(*runs)["models"]] == [
        (f"{plain}@v1", f"models:/{plain}/1"),
        (f"{marked}@v1", f"models:/{odd}/1"),
        (f"{marked}@v2", f"models:/{odd}/2"),
    ]
    later = a_run(source, model=odd)
    assert [one["node"] for one in take(later)["models"]] == [f"{marked}@v3"]
    # The first one to come has the name, and keeps it.
    odd, plain = f"other {tail}", f"other-{tail}"
    for name, node in ((odd, plain), (plain, f"{plain}-{mark(plain)}")):
        for number in (1, 2):
            (taken,) = take(a_run(source, model=name))["models"]
            assert taken["node"] == f"{node}@v{number}"


@pytest.mark.parametrize(
    "uri", ["ftp://x", "ftp://user:hunter2@x/", "http://[bad", "mssql+none://u:hunter2@h/d"]
)
def test_a_server_that_mlflow_cannot_have_is_a_wrong_input(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    try:
        told = dataver_program("import", "mlflow", code=2)
    finally:
        mlflow.set_tracking_uri(before)
    assert "MLFLOW_TRACKING_URI" in told
    assert "defect" not in told
    assert "hunter2" not in told


def test_a_server_that_does_not_answer_is_named(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mlflow.get_tracking_uri()
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri(uri)
    try:
        told = dataver_program("import", "mlflow", code=7)
    finally:
        mlflow.set_tracking_uri(before)
    assert f"MLflow at {uri} did not give the runs that are to be imported" in told


def test_an_experiment_with_runs_that_are_on(repository: Repository, tmp_path: Path) -> None:
    experiment = f"experiment-{uuid4().hex}"
    mlflow.set_experiment(experiment)
    ids = [a_run(tmp_path / "none.csv", name=f"number {number}") for number in range(3)]
    with mlflow.start_run(), mlflow.start_run(nested=True, run_name="inner") as inner:
        pass
    parent = mlflow.start_run()
    document = take("--experiment", experiment)
    assert [one["run"] for one in document["runs"]][:3] == ids
    assert document["unended"] == 1
    state = repository.session.state()
    record = Records(repository.session, state).of(find_run(state, inner.info.run_id))
    assert record.parent == inner.data.tags["mlflow.parentRunId"]
    assert parent.info.run_id not in [one["run"] for one in document["runs"]]


def test_what_is_not_there_is_said(repository: Repository) -> None:
    for asked, code in (
        ("models:/none-such", 3),
        ("runs:/" + "0" * 32, 3),
        ("models:/a/b/c", 2),
        ("models:/a'b", 2),
    ):
        dataver_program("import", "mlflow", asked, code=code)
    dataver_program("import", "mlflow", "--experiment", "there is none", code=3)


def test_files_of_a_model_that_cannot_be_had(repository: Repository, tmp_path: Path, database: Path) -> None:
    name = f"model-{uuid4().hex[:8]}"
    run_id = a_run(tmp_path / "none.csv", model=name)
    import shutil

    (version,) = MlflowClient().search_model_versions(f"name = '{name}'")
    for folder in (database.parent / "artifacts").rglob(version.source.removeprefix("models:/")):
        shutil.rmtree(folder)
    document = take(run_id)
    assert [one["run"] for one in document["runs"]] == [run_id]
    assert [(one["node"], bool(one["note"])) for one in document["models"]] == [(None, True)]
