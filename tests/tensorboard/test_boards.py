"""What TensorBoard shows of runs, asked over HTTP as its pages ask it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import dataver
from dataver.repository import Repository
from tests.tensorboard.conftest import LOADERS, board


def event(step: int, **scalars: float) -> event_pb2.Event:
    values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return event_pb2.Event(
        wall_time=1_700_000_000 + step, step=step, summary=summary_pb2.Summary(value=values)
    )


def train(version: str, folder: Path, **params: object) -> None:
    with dataver.run("train", params=params) as run:
        run.use(version, "training").read("a.csv")
        run.tensorboard(folder)
        run.log_metric("accuracy", 0.5)


@pytest.mark.parametrize("loader", LOADERS)
def test_runs_are_filtered_by_the_version_that_they_read(
    repository: Repository, tmp_path: Path, loader: str
) -> None:
    runs = tmp_path / "runs"
    train("iris@v1", runs / "r0", lr=0.1)
    train("iris@v2", runs / "r1", lr=0.1)
    with board(runs, loader) as found:
        everything = found.until(lambda board: len(board.sessions()) == 2 and board.sessions())
        second = found.sessions({"hparam": "data.iris.version", "filterRegexp": "^v2$"})
        assert everything.keys() == {"r0", "r1"}
        assert second.keys() == {"r1"}
        assert second["r1"]["hparams"]["data.iris.version"] == "v2"
        assert second["r1"]["hparams"]["data.iris.id"] == repository.version("iris@v2").id[:12]
        assert second["r1"]["hparams"]["lr"] == 0.1
        assert second["r1"]["status"] == "STATUS_SUCCESS"
        metrics = {value["name"]["tag"]: value["value"] for value in second["r1"]["metricValues"]}
        assert metrics == {"dataver/accuracy": 0.5}
        texts = found.get("plugin/text/text", run="r1", tag="dataver/inputs")
        assert [text["step"] for text in texts] == [0, 1]
        for word in ("<table>", "iris@v2", repository.version("iris@v2").id, "training", "done"):
            assert word in texts[1]["text"]


@pytest.mark.parametrize("loader", LOADERS)
def test_the_users_growing_file_goes_on_being_read(
    repository: Repository, tmp_path: Path, loader: str
) -> None:
    folder = tmp_path / "runs" / "r0"
    writer = EventFileWriter(str(folder))
    writer.add_event(event(0, loss=1.0))
    writer.flush()
    with board(tmp_path / "runs", loader) as found:
        found.until(lambda board: board.points("r0", "loss") == [1.0])
        with dataver.run("train") as run:
            run.use("iris@v1", "training")
            run.tensorboard(folder)
            writer.add_event(event(1, loss=0.5))
            writer.flush()
            found.until(lambda board: board.points("r0", "loss") == [1.0, 0.5])
        writer.add_event(event(2, loss=0.25))
        writer.close()
        found.until(lambda board: board.points("r0", "loss") == [1.0, 0.5, 0.25])
        if loader == LOADERS[0]:  # The other one sees what comes in an earlier file when it is started anew.
            shown = found.until(lambda board: board.sessions())["r0"]
            assert shown["hparams"]["data.iris.version"] == "v1"
            found.until(lambda board: board.sessions()["r0"]["status"] == "STATUS_SUCCESS")
    with board(tmp_path / "runs", loader) as found:
        assert found.until(lambda board: board.sessions())["r0"]["hparams"]["data.iris.version"] == "v1"
        assert found.points("r0", "loss") == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("loader", LOADERS)
def test_the_users_own_hyperparameters_are_shown_beside_the_version(
    repository: Repository, tmp_path: Path, loader: str
) -> None:
    folder = tmp_path / "runs" / "r0"
    with dataver.run("train", params={"lr": 0.2}) as run:
        run.use("iris@v1", "training")
        writer = EventFileWriter(str(folder))
        theirs = hparams_pb({"lr": 0.1, "optimizer": "adam", "nesterov": True})
        writer.add_event(event_pb2.Event(wall_time=1.0, summary=theirs))
        writer.close()
        run.tensorboard(folder)
    with board(tmp_path / "runs", loader) as found:
        shown = found.until(lambda board: board.sessions())["r0"]["hparams"]
    assert {name: value for name, value in shown.items() if name != "data.iris.id"} == {
        "lr": 0.2,
        "optimizer": "adam",
        "nesterov": True,
        "data.iris.version": "v1",
    }
