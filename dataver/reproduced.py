"""What a run that repeats another one is told: which versions names mean, and which run it repeats.

`DATAVER_REPRODUCES` names a file with the plan. The first run to find it there takes the plan into its
private folder, where its processes and the runs inside it find it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from json import dumps, loads
from typing import Any

from dataver.recording import Recorder
from dataver.values import NamedTuple

__all__ = ["PLAN_VARIABLE", "Named", "Plan", "plan_for", "plan_of", "take"]

PLAN_VARIABLE = "DATAVER_REPRODUCES"
PLAN_NAME = "reproduces.json"


class Named(NamedTuple):
    """A name and the version that it meant. `ref` is in the one spelling of refs that mean the same."""

    repository: str
    dataset: str
    ref: str
    id: str


class Plan(NamedTuple):
    """How `run` is repeated, by the run `id` and those inside it.

    `names` mean what they meant; any other name means what it did at the entry of its repository in
    `entries`. Commits go to `branch`. `seeds` are recorded.
    """

    run: str
    id: str
    branch: str
    names: tuple[Named, ...] = ()
    entries: Mapping[str, int] = {}
    seeds: Mapping[str, Any] = {}

    def encode(self) -> str:
        """The file's text."""
        return dumps(self._asdict())


def _read(path: str) -> Plan | None:
    try:
        with open(path, encoding="utf-8") as file:
            found = loads(file.read())
    except FileNotFoundError:
        return None
    return Plan(**{**found, "names": tuple([Named(*name) for name in found["names"]])})


def plan_for(outer: Recorder | None) -> tuple[Plan | None, bool]:
    """The plan for a run that begins now, and whether it is the one that the plan was made for."""
    path = os.environ.pop(PLAN_VARIABLE, None)
    if path:
        return _read(path), True
    return (None if outer is None else plan_of(outer)), False


def take(plan: Plan, recorder: Recorder) -> None:
    """Have a run, all its processes and the runs inside it go by the plan."""
    with open(os.path.join(recorder.folder, PLAN_NAME), "w", encoding="utf-8") as file:
        file.write(plan.encode())
    for name in plan.names:
        recorder.pin(name.repository, name.dataset, name.ref, name.id)


def plan_of(recorder: Recorder) -> Plan | None:
    """The plan of the run that is on, if it repeats another one."""
    if recorder.plan is recorder:
        recorder.plan = _read(os.path.join(recorder.folder, PLAN_NAME))
    plan = recorder.plan
    return plan if isinstance(plan, Plan) else None
