"""The classes of the plug-in are as all others, which can be seen where MLflow is."""

from __future__ import annotations

from tests.unit.test_values import check_fields, dataclasses_of


def test_fields_of_the_plug_in_are_their_slots() -> None:
    from dataver.integrations import mlflow

    classes = list(dataclasses_of(mlflow))
    assert classes
    check_fields(classes)
