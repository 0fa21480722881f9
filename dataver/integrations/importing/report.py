"""What an import did, or would do."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from dataver.values import dataclass

__all__ = ["Imported", "Missing", "Refused", "Report", "Tagged"]


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
    """All of an import. `known` counts versions that were imported before, `bytes` what is to be read."""

    source: str
    dry_run: bool
    versions: list[Imported] = field(default_factory=list)
    known: int = 0
    tags: list[Tagged] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The document of `dataver import … --json`."""
        return asdict(self)
