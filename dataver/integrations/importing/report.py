"""What an import did, or would do."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from dataver.values import dataclass

__all__ = [
    "Imported",
    "Missing",
    "Refused",
    "Report",
    "RunReport",
    "Tagged",
    "TakenModel",
    "TakenRun",
    "Unversioned",
    "Version",
]


@dataclass(frozen=True, slots=True)
class Imported:
    """A version that was made of a commit. `version` is None off `main`; in a dry run, `id` too.

    `created` is False where the branch had exactly these files already.
    """

    dataset: str
    branch: str
    version: str | None
    id: str | None
    commit: str
    source: str
    files: int
    bytes: int
    created: bool


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag of git, and what it is called here. `note` says why it is called otherwise, or was not made."""

    dataset: str
    name: str | None
    git: str
    id: str | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A file whose bytes are nowhere that was looked."""

    dataset: str
    commit: str
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What is left out, and why: `file` of the other tool in this commit."""

    file: str
    commit: str
    reason: str


@dataclass(slots=True)
class Report:
    """All of an import. `known` counts versions that were imported before, `bytes` what is to be read.

    `passed_over` counts commits older than the last one known that have no version of their own: left out
    by an import before, as bytes were missing or not in its range, or without a change. They get none.
    `unopened` are remotes that were not looked in, each with the reason.
    """

    source: str
    dry_run: bool
    versions: list[Imported] = field(default_factory=list)
    known: int = 0
    passed_over: int = 0
    tags: list[Tagged] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unopened: dict[str, str] = field(default_factory=dict)
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver import … --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was made of what a tracker says a run read; in a dry run without `version` and `id`."""

    dataset: str
    version: str | None
    id: str | None
    source: str
    created: bool


@dataclass(frozen=True, slots=True)
class Unversioned:
    """An input of a run that is no version, and why. `digest` and `kind` are the tracker's."""

    run: str
    name: str
    digest: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class TakenRun:
    """A run that was recorded, or got more inputs: its id here, and what the tracker calls it."""

    run: str
    tracker_run: str
    name: str
    status: str
    created: bool
    inputs: list[str]


@dataclass(frozen=True, slots=True)
class TakenModel:
    """A version of a registered model, here `NAME@vN`; None in a dry run, and where `note` says why."""

    node: str | None
    uri: str
    run: str
    note: str = ""


@dataclass(slots=True)
class RunReport:
    """All of an import of runs. `known` counts runs that lacked nothing here, `unended` those still on."""

    source: str
    dry_run: bool
    runs: list[TakenRun] = field(default_factory=list)
    models: list[TakenModel] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    unversioned: list[Unversioned] = field(default_factory=list)
    known: int = 0
    unended: int = 0
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver import mlflow --json`."""
        return asdict(self)
