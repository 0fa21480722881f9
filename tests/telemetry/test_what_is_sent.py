"""Nothing is sent but what the reference lists: no secret, no path, no message, and no value of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataver.integrations.telemetry.names import ATTRIBUTES, EVENTS, METRICS, OPERATIONS, RESOURCE
from tests.telemetry.life import CANARY
from tests.telemetry.receivers import attributes_of

if TYPE_CHECKING:
    from tests.telemetry.receivers import Collector, Ingestion

ADDED_BY_THE_EXPORTER = {"logger_name"}
LISTED_ELSEWHERE = {"dataver.telemetry.check"}
"""Sent by `dataver telemetry check` alone."""


def test_no_secret_reaches_application_insights(life_at_application_insights: Ingestion) -> None:
    everything = b"\n".join(life_at_application_insights.raw)
    assert CANARY.encode() not in everything
    assert b"moving" in everything, "columns may be named here"
    for there in (b"iris", b"churn@v1", b"train"):
        assert there in everything


def test_no_secret_reaches_a_collector(life_at_a_collector: Collector) -> None:
    everything = b"\n".join(life_at_a_collector.raw)
    assert CANARY.encode() not in everything
    assert b"moving" not in everything
    for there in (b"iris", b"churn@v1", b"train"):
        assert there in everything


def test_nothing_is_sent_that_the_reference_does_not_list(life_at_a_collector: Collector) -> None:
    sent = life_at_a_collector
    assert {span.name for span in sent.spans} == {f"dataver.{name}" for name in OPERATIONS}
    assert {record.event_name for record in sent.logs} == {
        f"dataver.{name}" for name in EVENTS
    } - LISTED_ELSEWHERE
    assert {metric.name for metric in sent.metrics} == set(METRICS)
    records = [*sent.spans, *sent.logs]
    for metric in sent.metrics:
        points = getattr(metric, metric.WhichOneof("data")).data_points
        records += points
    used = {name for record in records for name in attributes_of(record)}
    assert used <= set(ATTRIBUTES)
    # What it takes no such life for: an address of a tracker, a dry run of nothing, a commit of git.
    assert set(ATTRIBUTES) - used == {
        "dataver.column", "dataver.drift.columns", "dataver.run.tracker", "dataver.run.tracker.id",
        "vcs.ref.head.revision",
    }  # fmt: skip
    assert {name for resource in sent.resources for name in attributes_of(resource)} == set(RESOURCE)
    for record in sent.logs:
        assert record.body.string_value == record.event_name
    for span in sent.spans:
        assert not span.events
        assert not span.status.message


def test_application_insights_gets_the_same_attributes(life_at_application_insights: Ingestion) -> None:
    found = {
        name
        for item in life_at_application_insights.envelopes
        for name in item["data"]["baseData"].get("properties", {})
    }
    assert found - ADDED_BY_THE_EXPORTER <= set(ATTRIBUTES)
    assert {"dataver.column", "dataver.drift.columns"} <= found
    assert {path for path in life_at_application_insights.raw if path.startswith(b"/")} == {b"/v2.1/track"}
