"""Any collector: spans, metrics and events in the protocol's own messages, and whose children spans are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.telemetry.receivers import attributes_of

if TYPE_CHECKING:
    from tests.telemetry.conftest import Program
    from tests.telemetry.receivers import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
OUTER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{OUTER}-01"


def test_a_command_sends_spans_metrics_and_events(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    program("checkout", "iris@v2", "out", **otlp)
    command, resolve, checkout = map(
        collector.span, ("dataver.command", "dataver.resolve", "dataver.checkout")
    )
    assert resolve.parent_span_id == checkout.parent_span_id == command.span_id
    assert not command.parent_span_id
    assert attributes_of(checkout)["dataver.files.written"] == 2
    assert attributes_of(command) == {"dataver.command": "checkout", "dataver.exit_code": 0}
    (event,) = collector.logs
    assert (event.event_name, event.span_id) == ("dataver.version.resolved", resolve.span_id)
    metrics = {metric.name: metric for metric in collector.metrics}
    assert metrics["dataver.operation.duration"].unit == "s"
    durations = metrics["dataver.operation.duration"].histogram.data_points
    timed = {attributes_of(point)["dataver.operation"] for point in durations}
    assert timed == {"command", "resolve", "checkout"}
    (written,) = metrics["dataver.bytes.written"].sum.data_points
    assert written.as_double == 8
    (service,) = {attributes_of(resource)["service.name"] for resource in collector.resources}
    assert service == "dataver"


def test_the_environment_names_the_service_and_more(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    more = {"OTEL_SERVICE_NAME": "nightly", "OTEL_RESOURCE_ATTRIBUTES": "cicd.pipeline.run.id=4711"}
    program("list", **otlp, **more)
    assert len(collector.resources) >= 2
    for resource in collector.resources:
        attributes = attributes_of(resource)
        assert (attributes["service.name"], attributes["cicd.pipeline.run.id"]) == ("nightly", "4711")


@pytest.mark.parametrize("left_out", ["TRACES", "METRICS", "LOGS"])
def test_a_kind_of_signal_can_be_left_out(
    left_out: str, iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    program("ls", "iris", **otlp, **{f"OTEL_{left_out}_EXPORTER": "none"})
    sent = {"TRACES": collector.spans, "METRICS": collector.metrics, "LOGS": collector.logs}
    assert [kind for kind, records in sent.items() if not records] == [left_out]


def test_a_command_belongs_to_the_trace_of_its_environment(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    program("ls", "iris", **otlp, TRACEPARENT=TRACEPARENT)
    assert collector.span("dataver.command").parent_span_id.hex() == OUTER
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    program("ls", "iris", **otlp, TRACEPARENT="00-nonsense")
    assert len({span.trace_id for span in collector.spans}) == 2


def test_a_run_hands_its_trace_to_what_it_starts(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str], place: Path
) -> None:
    (place / "train.py").write_text(
        "import os, subprocess, sys\n"
        "print(os.environ['TRACEPARENT'])\n"
        "subprocess.run([sys.executable, '-m', 'dataver.cli', 'checkout', 'iris@v1', 'in'], check=True)\n"
        "open('model', 'w').write('weights')\n"
    )
    done = program(
        "run", "--input", "iris@v2=training", "--model", "churn=model", "--output", "made=in", "--",
        sys.executable, "train.py", **otlp, TRACEPARENT=TRACEPARENT,
    )  # fmt: skip
    run = collector.span("dataver.run")
    assert done.stdout.split()[0] == f"00-{TRACE}-{run.span_id.hex()}-01"
    commands = {
        attributes_of(span)["dataver.command"]: span
        for span in collector.spans
        if span.name == "dataver.command"
    }
    assert commands["run"].parent_span_id.hex() == OUTER
    assert run.parent_span_id == commands["run"].span_id
    assert commands["checkout"].parent_span_id == run.span_id
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    commit = collector.span("dataver.commit")
    assert commit.parent_span_id == run.span_id
    id = attributes_of(run)["dataver.run.id"]
    assert attributes_of(commit)["dataver.run.id"] == id
    assert attributes_of(run)["dataver.run.status"] == "done"
    inputs = {
        (event["dataver.version.name"], event["dataver.role"])
        for event in collector.events("dataver.run.input")
    }
    assert inputs == {("v2", "training"), ("v1", "input")}
    (output,) = collector.events("dataver.run.output")
    assert (output["dataver.dataset.name"], output["dataver.version.name"]) == ("made", "v1")
    (model,) = collector.events("dataver.model.logged")
    assert model["dataver.model.name"] == "churn@v1"
    (ended,) = collector.events("dataver.run.ended")
    assert (ended["dataver.run.inputs"], ended["process.exit.code"]) == (2, 0)
    assert {event["dataver.run.id"] for event in (output, model, ended)} == {id}


def test_a_run_that_fails_is_told_as_failed(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    program("run", "--", sys.executable, "-c", "raise SystemExit(7)", code=7, **otlp)
    run = collector.span("dataver.run")
    assert run.status.code == run.status.STATUS_CODE_ERROR
    assert attributes_of(run)["dataver.run.status"] == "failed"
    assert attributes_of(run)["process.exit.code"] == 7
    assert attributes_of(collector.span("dataver.command"))["dataver.exit_code"] == 7


def test_damage_is_an_event_and_a_figure(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str], place: Path
) -> None:
    for pack in (place / ".dataver").rglob("*"):
        if pack.is_file() and "packs" in pack.parts:
            pack.chmod(0o600)
            data = bytearray(pack.read_bytes())
            data[len(data) // 2] ^= 1
            pack.write_bytes(data)
    program("verify", "iris@v2", "--deep", code=5, **otlp)
    (event,) = collector.events("dataver.verify.failed")
    assert event["dataver.dataset.name"] == "iris"
    assert event["dataver.verify.damaged"] > 0
    assert attributes_of(collector.span("dataver.verify"))["dataver.verify.ok"] is False
    (failures,) = [metric for metric in collector.metrics if metric.name == "dataver.verify.failures"]
    assert failures.sum.data_points[0].as_double == event["dataver.verify.damaged"]


def test_a_copy_that_differs_is_told(
    iris: Path, program: Program, collector: Collector, otlp: dict[str, str]
) -> None:
    import dataver

    (iris / "a.csv").write_text("others\n")
    (iris / "more.csv").touch()
    program("verify", "iris@v1", "--at", "data", "--allow-extra", code=5, **otlp)
    (event,) = collector.events("dataver.verify.failed")
    known = dataver.open()
    assert event == event | {
        "dataver.repository.id": known.id,
        "dataver.dataset.name": "iris",
        "dataver.version.name": "v1",
        "dataver.version.id": known.version("iris@v1").id,
        "dataver.verify.copy": True,
        "dataver.verify.deep": True,
        "dataver.verify.damaged": 1,
    }
    assert attributes_of(collector.span("dataver.verify"))["dataver.verify.ok"] is False
    (failures,) = [metric for metric in collector.metrics if metric.name == "dataver.verify.failures"]
    assert failures.sum.data_points[0].as_double == 1
    program("verify", "iris@v2", "--at", "data", code=5, **otlp)
    assert [one["dataver.verify.damaged"] for one in collector.events("dataver.verify.failed")] == [1, 2]


def test_of_tests_the_one_that_found_drift_is_told_and_not_the_greatest_statistic(
    program: Program, collector: Collector, otlp: dict[str, str], place: Path
) -> None:
    import duckdb

    (place / "t").mkdir()
    program("init")
    for moved in (0, 1):
        # 50 kinds, whose counts move by chance: a statistic of about 30. Two, of which one grew: about 7.
        kinds = f"(range % 50 + {moved} * (range % 200 < 50 and range % 2 = 0)::int)"
        sides = f"(range % 50 < {25 + 3 * moved})"
        rows = f"select 'k' || {kinds} as kinds, 's' || {sides} as sides"
        duckdb.sql(f"copy ({rows} from range(1000)) to 't/t.parquet' (format parquet)")
        program("commit", "tables", "t")
    told = json.loads(program("drift", "tables@v1", "tables@v2", "--metric", "chi2", "--json", **otlp).stdout)
    tests = {
        column["column"]: measure
        for column in told["columns"]
        for measure in column["measures"]
        if measure["metric"] == "PearsonsChiSquaredTest"
    }
    assert tests["kinds"]["value"] > tests["sides"]["value"]
    assert (tests["kinds"]["drift"], tests["sides"]["drift"]) == (False, True)
    (score,) = [metric for metric in collector.metrics if metric.name == "dataver.drift.score"]
    points = {
        attributes_of(point)["dataver.drift.metric"]: (
            point.as_double, attributes_of(point)["dataver.drift.drifted"]
        )
        for point in score.gauge.data_points
    }  # fmt: skip
    assert points["PearsonsChiSquaredTest"] == (tests["sides"]["value"], True)
    assert points["missing"] == (0, False)
    (event,) = collector.events("dataver.drift.detected")
    assert event["dataver.drift.score"] == tests["sides"]["value"]


@pytest.mark.parametrize("named", [False, True])
def test_drift_is_told_with_names_of_columns_only_where_that_is_allowed(
    named: bool, program: Program, collector: Collector, otlp: dict[str, str], place: Path
) -> None:
    import duckdb

    (place / "t").mkdir()
    program("init")
    for far in (0, 3):
        rows = f"select range as steady, range + {far * 400} as moving from range(1000)"
        duckdb.sql(f"copy ({rows}) to 't/t.parquet' (format parquet)")
        program("commit", "tables", "t")
    program(
        "drift", "tables@v1", "tables@v2", **otlp, **({"DATAVER_TELEMETRY_COLUMNS": "1"} if named else {})
    )
    (event,) = collector.events("dataver.drift.detected")
    assert (event["dataver.drift.columns_drifted"], event["dataver.drift.columns_total"]) == (1, 2)
    assert event["dataver.drift.score"] > event["dataver.drift.threshold"] > 0
    assert event["dataver.version.name"] == "v2"
    (score,) = [metric for metric in collector.metrics if metric.name == "dataver.drift.score"]
    points = [(attributes_of(point), point.as_double) for point in score.gauge.data_points]
    columns = {attributes.get("dataver.column") for attributes, _ in points}
    figures = [
        value
        for attributes, value in points
        if attributes["dataver.drift.metric"] == event["dataver.drift.metric"]
    ]
    assert max(figures) == event["dataver.drift.score"]
    if named:
        assert columns == {"steady", "moving"}
        assert event["dataver.drift.columns"] == "moving"
    else:
        assert columns == {None}
        assert b"moving" not in b"".join(collector.raw)


def test_a_program_sees_operations_in_its_own_spans(iris: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With providers of the program's own, and no variable set."""
    done = run_python(
        """
import dataver
from opentelemetry import trace, metrics
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

kept, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
tracer = trace.get_tracer("mine")
with tracer.start_as_current_span("outer"):
    with dataver.run("train") as run:
        dataver.resolve("iris@v1").checkout("in")
        with tracer.start_as_current_span("inner"):
            run.use("iris@v2", "training")
repository = dataver.open()
try:
    repository.version("iris@v7")
except dataver.errors.RefNotFoundError:
    pass
spans = kept.get_finished_spans()
names = {span.context.span_id: span.name for span in spans}
for span in spans:
    parent = names.get(span.parent.span_id) if span.parent else None
    print(span.name, parent, span.attributes.get("error.type"))
(scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
print(sorted(metric.name for metric in scope.metrics))
"""
    )
    assert done.splitlines() == [
        "dataver.resolve dataver.run None",
        "dataver.checkout dataver.run None",
        "dataver.resolve inner None",
        "inner outer None",
        "dataver.run outer None",
        "outer None None",
        "dataver.resolve None RefNotFoundError",
        "['dataver.bytes.written', 'dataver.operation.duration']",
    ]


def test_a_program_may_send_as_the_command_line_does(
    iris: Path, collector: Collector, otlp: dict[str, str]
) -> None:
    script = """
import dataver
from dataver.integrations.telemetry import set_up
print(set_up())
dataver.resolve("iris@v1")
"""
    assert run_python(script) == "False\n"
    assert not collector.spans
    assert run_python(script, **otlp, TRACEPARENT=TRACEPARENT) == "True\n"
    assert collector.span("dataver.resolve").parent_span_id.hex() == OUTER
    assert collector.events("dataver.version.resolved")


def test_none_sends_nothing_whatever_a_program_has(iris: Path) -> None:
    script = """
import sys, opentelemetry.trace, dataver
dataver.resolve("iris@v1")
print("dataver.integrations.telemetry.observer" in sys.modules)
"""
    assert run_python(script) == "True\n"
    assert run_python(script, DATAVER_TELEMETRY="none") == "False\n"


def test_a_program_whose_opentelemetry_is_too_old_hears_nothing(iris: Path) -> None:
    script = """
import opentelemetry.trace, opentelemetry.version, dataver
from dataver import progress
opentelemetry.version.__version__ = "1.38.0"
dataver.resolve("iris@v1")
print(progress.observer())
"""
    assert run_python(script) == "None\n"


def test_the_console_leaves_standard_output_alone(iris: Path, program: Program) -> None:
    done = program("show", "iris@v1", "--json", DATAVER_TELEMETRY="console")
    assert json.loads(done.stdout)["version"] == "v1"
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {record.get("name") for record in told} >= {"dataver.command"}


def run_python(script: str, **environment: str) -> str:
    """What a program prints, in which a warning is an error."""
    import subprocess

    project = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": project, **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
