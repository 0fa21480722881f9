"""Runs for tests, recorded by the same call that records real ones."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from dataver.format.run_record import (
    ModelFile,
    RunInput,
    RunModel,
    RunOutput,
    RunRecord,
    part_digest,
)
from dataver.lineage.local_model import local_model
from dataver.lineage.publishing import end_run
from dataver.repository import Repository

TIME_US = 1_800_000_000_000_000


def read(repository: Repository, ref: str, role: str = "training", /, **changes: Any) -> RunInput:
    """An input: the version that `ref` means now."""
    version = repository.version(ref.partition(":")[0])
    number = int(version.name.partition("@v")[2] or 0) if "@v" in version.name else 0
    return replace(
        RunInput(
            role, ref, version.dataset_name, version.id, version.tree, repository.id, repository.url, number
        ),
        **changes,
    )


def list_of(rows: Sequence[tuple[str, str, int, Any]]) -> bytes:
    """The part of a record that lists files: path, digest, size, ranges."""
    return "".join(json.dumps(list(row)) + "\n" for row in rows).encode()


def model(name: str, files: Mapping[str, bytes] | None = None, **changes: Any) -> RunModel:
    """A model made of these files; its tree is made up."""
    listed = tuple(
        ModelFile(path, len(data), blake3(data).hexdigest()) for path, data in sorted((files or {}).items())
    )
    return replace(RunModel(name, blake3(repr(listed).encode()).hexdigest(), listed), **changes)


def record(
    repository: Repository,
    inputs: Sequence[RunInput] = (),
    models: Sequence[RunModel] = (),
    outputs: Sequence[str] = (),
    parts: Sequence[bytes] = (),
    **changes: Any,
) -> RunRecord:
    """Record a run that is over, and give its record. `outputs` are refs of versions that it made."""
    made = []
    for ref in outputs:
        version = repository.version(ref)
        made.append(RunOutput(version.dataset_name, version.id, version.tree, repository.id))
    begun = RunRecord(os.urandom(16).hex(), "train", "Ana <ana@example.org>", TIME_US)
    settings: dict[str, Any] = {"status": "done", "exit_code": 0} | changes
    ended = replace(
        begun, ended_us=TIME_US + 1_000_000, inputs=tuple(inputs),
        models=tuple(models), outputs=tuple(made), **settings,
    )  # fmt: skip
    end_run(repository.session, ended, parts, start=begun)
    return ended


def part_of_list(rows: Sequence[tuple[str, str, int, Any]]) -> tuple[bytes, str]:
    """A list of files, and the digest that a record has of it."""
    data = list_of(rows)
    return data, str(part_digest(data))


def model_at(name: str, folder: Path, **changes: Any) -> RunModel:
    """A model that is a folder or a file on this machine."""
    found = local_model(folder)
    return replace(RunModel(name, found.trees[0], found.files, str(folder)), **changes)
